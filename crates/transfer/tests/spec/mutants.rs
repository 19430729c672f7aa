//! Transfers changed on purpose: some as damage and couriers do, some as a sender who holds all keys could.

use std::{fs, path::Path};

use cofferdam_trust::{Envelope, STATEMENT_PAYLOAD_TYPE, SigningKey, age, sign, verify};
use cofferdam_types::Sha256;
use serde_json::{Map, Value, json};

use crate::{
    made::{key, public, sealing},
    tools::{Dice, names},
};

const HEADER: &str = "header.dsse.json";

/// A transfer that is changed and signed again.
struct Forged<'a> {
    folder: &'a Path,
    statement: Value,
    keys: [SigningKey; 2],
}

/// RFC 6962, by its definition.
fn merkle(leaves: &[&String]) -> Sha256 {
    match leaves {
        [] => Sha256::of(b""),
        [one] => Sha256::of(&[&[0], one.as_bytes()].concat()),
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            Sha256::of(&[&[1], merkle(left).0.as_slice(), &merkle(right).0].concat())
        }
    }
}

impl<'a> Forged<'a> {
    fn open(folder: &'a Path) -> Self {
        let envelope = Envelope::from_json(&fs::read(folder.join(HEADER)).unwrap()).unwrap();
        let seeds = if folder.join("root.2.dsse.json").exists() { [5, 6] } else { [1, 2] };
        let payload = verify(&envelope, &seeds.map(public), 2).unwrap().payload;
        Self { folder, statement: serde_json::from_slice(&payload).unwrap(), keys: seeds.map(key) }
    }

    fn header(&mut self) -> &mut Value {
        &mut self.statement["predicate"]
    }

    fn sign(&self) {
        self.sign_text(&self.statement.to_string());
    }

    fn sign_text(&self, text: &str) {
        let envelope = sign(STATEMENT_PAYLOAD_TYPE, text.as_bytes(), &[&self.keys[0], &self.keys[1]]);
        fs::write(self.folder.join(HEADER), envelope.to_json().unwrap()).unwrap();
    }

    fn sealed(&mut self) -> bool {
        self.header()["suite"] == "sealed-1"
    }

    fn manifest(&mut self) -> &'static str {
        if self.sealed() { "manifest.jsonl.zst.age" } else { "manifest.jsonl" }
    }

    fn lines(&mut self) -> Vec<String> {
        let name = self.manifest();
        let mut bytes = fs::read(self.folder.join(name)).unwrap();
        if self.sealed() {
            bytes = zstd::decode_all(age::open(&bytes, &sealing(7)).unwrap().as_slice()).unwrap();
        }
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    /// Writes a file of the list and what the header says of it.
    fn put(&mut self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.join(name), bytes).unwrap();
        let files = self.header()["files"].as_array_mut().unwrap();
        if let Some(entry) = files.iter_mut().find(|f| f["name"] == name) {
            entry["size"] = json!(bytes.len());
            entry["sha256"] = json!(Sha256::of(bytes));
        }
    }

    /// Parity over other bytes would be refused first.
    fn without_parity(&mut self) {
        self.header()["parity"] = Value::Null;
        let spare = |name: &str| name == "checks.ctk" || name.ends_with(".ctp");
        let files = self.header()["files"].as_array_mut().unwrap();
        files.retain(|f| !spare(f["name"].as_str().unwrap()));
        names(self.folder)
            .iter()
            .filter(|n| spare(n))
            .for_each(|n| fs::remove_file(self.folder.join(n)).unwrap());
    }

    /// Other lines under a header that agrees with them; with `agree`, totals and roots agree too.
    fn set_lines(&mut self, lines: &[String], agree: bool) {
        let plain: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.set_plain(plain.as_bytes());
        if agree {
            self.agree(lines);
        }
    }

    fn set_plain(&mut self, plain: &[u8]) {
        let digest = json!(Sha256::of(plain));
        self.statement["subject"][0]["digest"]["sha256"] = digest.clone();
        self.header()["manifest"] = json!({"plainSha256": digest, "plainSize": plain.len()});
        let mut bytes = plain.to_vec();
        if self.sealed() {
            self.without_parity();
            bytes = age::seal(&zstd::bulk::compress(plain, 3).unwrap(), &[sealing(7).recipient()]).unwrap();
        }
        let name = self.manifest();
        self.put(name, &bytes);
    }

    fn agree(&mut self, lines: &[String]) {
        let parsed: Vec<(Value, &String)> =
            lines.iter().filter_map(|l| Some((serde_json::from_str(l).ok()?, l))).collect();
        let of = |kind: &str| parsed.iter().filter(|(v, _)| v["kind"] == kind).collect::<Vec<_>>();
        let size =
            |kind: &str| of(kind).iter().map(|(v, _)| v["size"].as_u64().unwrap_or(0) as u128).sum::<u128>();
        let root = |kind: &str| merkle(&of(kind).iter().map(|(_, l)| *l).collect::<Vec<_>>());
        let carried = of("blob").len() + of("file").len();
        let bytes = u64::try_from(size("blob") + size("file")).unwrap_or(u64::MAX);
        let required = of("requires").len();
        let items = json!({"root": root("file"), "count": of("file").len(), "bytes": u64::try_from(size("file")).unwrap_or(0)});
        let (packs, base) = (of("pack").len(), json!({"root": root("requires"), "count": required}));
        let header = self.header();
        header["totals"] = json!({"blobs": carried, "expandedBytes": bytes, "rebuilt": 0, "rebuiltBytes": 0});
        header["payload"]["packs"] = json!(packs);
        header["base"] = if required > 0 { base } else { Value::Null };
        if !header["items"].is_null() {
            header["items"] = items;
        }
    }

    /// Changes what is inside the age file of one pack, and all that follows from it.
    fn repack(&mut self, dice: &mut Dice) -> Option<String> {
        let mut lines = self.lines();
        let mut at: Vec<usize> =
            (0..lines.len()).filter(|n| lines[*n].contains("\"kind\":\"pack\"")).collect();
        let chosen = *(!at.is_empty()).then(|| dice.pick(&at))?;
        let mut payload = Vec::new();
        for name in names(self.folder).iter().filter(|n| n.ends_with(".ctv")) {
            payload.extend(fs::read(self.folder.join(name)).unwrap());
        }
        let pack: Value = serde_json::from_str(&lines[chosen]).unwrap();
        let number = |member: &str| pack[member].as_u64().unwrap() as usize;
        let range = number("offset")..number("offset") + number("len");
        let packed = age::open(&payload[range.clone()], &sealing(7)).unwrap();
        let raw = zstd::decode_all(packed.as_slice()).unwrap();
        let mut wide = zstd::Encoder::new(Vec::new(), 1).unwrap();
        wide.window_log(25).unwrap();
        std::io::Write::write_all(&mut wide, &raw).unwrap();
        let half = raw.len() / 2;
        let frame = |bytes: &[u8]| zstd::bulk::compress(bytes, 19).unwrap();
        let (what, changed) = match dice.below(9) {
            0 => ("another level", frame(&raw)),
            1 => ("two frames", [frame(&raw[..half]), frame(&raw[half..])].concat()),
            2 => ("a frame less", frame(&raw[..half])),
            3 => ("a byte more", frame(&[raw.as_slice(), b"x"].concat())),
            4 => ("rubbish behind", [packed.as_slice(), b"rubbish"].concat()),
            5 => ("an empty frame behind", [packed.as_slice(), &frame(b"")].concat()),
            6 => ("a skippable frame", [b"\x52\x2a\x4d\x18\x03\0\0\0abc".as_slice(), &packed].concat()),
            7 => ("a wide window", wide.finish().unwrap()),
            _ => ("nothing at all", Vec::new()),
        };
        let sealed = age::seal(&changed, &[sealing(7).recipient()]).unwrap();
        let grown = sealed.len() as i64 - range.len() as i64;
        payload.splice(range.clone(), sealed.iter().copied());
        at.retain(|n| *n >= chosen);
        for n in at {
            let mut line: Value = serde_json::from_str(&lines[n]).unwrap();
            let member = if n == chosen { "len" } else { "offset" };
            line[member] = json!(line[member].as_i64().unwrap() + grown);
            lines[n] = line.to_string();
        }
        self.set_payload(&payload);
        self.set_lines(&lines, true);
        self.sign();
        Some(format!("pack repacked: {what}"))
    }

    fn set_payload(&mut self, payload: &[u8]) {
        let each = self.header()["payload"]["volumeSize"].as_u64().unwrap() as usize;
        names(self.folder)
            .iter()
            .filter(|n| n.ends_with(".ctv"))
            .for_each(|n| fs::remove_file(self.folder.join(n)).unwrap());
        let volumes: Vec<(String, &[u8])> =
            payload.chunks(each).enumerate().map(|(n, part)| (format!("v{:06}.ctv", n + 1), part)).collect();
        let files = self.header()["files"].as_array_mut().unwrap();
        files.retain(|f| !f["name"].as_str().unwrap().ends_with(".ctv"));
        let after =
            files.iter().position(|f| f["name"].as_str().unwrap().starts_with("manifest")).unwrap() + 1;
        let entries: Vec<Value> =
            volumes.iter().map(|(n, _)| json!({"name": n, "size": 0, "sha256": ""})).collect();
        files.splice(after..after, entries);
        self.header()["payload"]["size"] = json!(payload.len());
        volumes.iter().for_each(|(name, part)| self.put(name, part));
    }
}

type Known = (&'static str, &'static str, fn(&Path), &'static str);

/// Vectors that are refused, or that a station changed: name, what they are made from, how, and the code.
pub fn known() -> Vec<Known> {
    vec![
        (
            "at-the-door",
            "inspectable",
            |dir| {
                fs::write(dir.join("files/two-2.0.tgz"), "disarmed by a scanner\n").unwrap();
                fs::remove_file(dir.join("files/berth.bundle")).unwrap();
            },
            "",
        ),
        (
            "flipped",
            "requires",
            |dir| {
                let mut bytes = fs::read(dir.join("v000001.ctv")).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(dir.join("v000001.ctv"), bytes).unwrap();
            },
            "digest-mismatch",
        ),
        ("lost", "requires", |dir| fs::remove_file(dir.join("v000001.ctv")).unwrap(), "missing-file"),
        ("extra", "requires", |dir| fs::write(dir.join("v000002.ctv"), "more").unwrap(), "unexpected-file"),
        (
            "stripped",
            "requires",
            |dir| {
                let mut envelope = Envelope::from_json(&fs::read(dir.join(HEADER)).unwrap()).unwrap();
                envelope.signatures.truncate(1);
                fs::write(dir.join(HEADER), envelope.to_json().unwrap()).unwrap();
            },
            "too-few-signatures",
        ),
        (
            "newer",
            "requires",
            |dir| {
                let mut forged = Forged::open(dir);
                forged.statement["predicateType"] = json!("https://cofferdam.dev/transfer/v2");
                forged.sign();
            },
            "unsupported-version",
        ),
        (
            "reordered",
            "inspectable",
            |dir| {
                let mut forged = Forged::open(dir);
                let mut lines = forged.lines();
                let last = lines.len() - 1;
                lines.swap(last, last - 1);
                forged.set_lines(&lines, true);
                forged.sign();
            },
            "bad-manifest",
        ),
        (
            "case",
            "inspectable",
            |dir| {
                let mut forged = Forged::open(dir);
                let mut lines = forged.lines();
                let bundle = lines.iter().position(|l| l.contains("\"name\":\"berth.bundle\"")).unwrap();
                let line = lines.remove(bundle).replace("berth.bundle", "two-2.0.TGZ");
                let place = lines.iter().position(|l| l.contains("\"name\":\"two-2.0.tgz\"")).unwrap();
                lines.insert(place, line);
                forged.set_lines(&lines, true);
                forged.sign();
                // Not there under its new name: no clone on any file system may lose a file.
                fs::remove_file(dir.join("files/berth.bundle")).unwrap();
            },
            "bad-manifest",
        ),
        (
            "unclosed",
            "inspectable",
            |dir| {
                let mut forged = Forged::open(dir);
                let lines: Vec<String> =
                    forged.lines().into_iter().filter(|l| !l.contains("\"kind\":\"artifact\"")).collect();
                forged.set_lines(&lines, true);
                forged.sign();
            },
            "not-closed",
        ),
    ]
}

/// Changes a transfer in some way and says in which.
pub fn random(folder: &Path, dice: &mut Dice) -> String {
    match dice.below(10) {
        0..=2 => on_the_way(folder, dice),
        3 => envelope(folder, dice),
        4 | 5 => header(folder, dice),
        6..=8 => manifest(folder, dice),
        _ => Forged::open(folder).repack(dice).unwrap_or_else(|| on_the_way(folder, dice)),
    }
}

/// What needs no key.
fn on_the_way(folder: &Path, dice: &mut Dice) -> String {
    let all = names(folder);
    let files: Vec<&String> = all.iter().filter(|n| *n != "files").collect();
    let flat: Vec<String> = if all.len() > files.len() {
        names(&folder.join("files")).into_iter().map(|n| format!("files/{n}")).collect()
    } else {
        Vec::new()
    };
    let files: Vec<String> = files.into_iter().cloned().chain(flat).collect();
    let (name, other) = (dice.pick(&files).clone(), dice.pick(&files).clone());
    let path = folder.join(&name);
    let mut bytes = fs::read(&path).unwrap();
    let at = dice.below(bytes.len());
    let what = match dice.below(8) {
        0 | 1 if !bytes.is_empty() => {
            bytes[at] ^= 1 << dice.below(8);
            "a bit flipped"
        }
        2 if !bytes.is_empty() => {
            bytes[at] = dice.next() as u8;
            "a byte set"
        }
        3 => {
            bytes.truncate(at);
            "cut short"
        }
        4 => {
            let more = dice.below(3);
            bytes.extend(dice.bytes(more));
            "made longer, or not"
        }
        5 => {
            fs::remove_file(&path).unwrap();
            return format!("{name} removed");
        }
        6 => {
            let second = fs::read(folder.join(&other)).unwrap();
            fs::write(folder.join(&other), &bytes).unwrap();
            bytes = second;
            "swapped with another"
        }
        _ => {
            let new = *dice.pick(&[
                "r000001.ctr",
                "r1.ctr",
                "station-0123456789abcdef.dsse.json",
                "station-0.dsse.json",
                "v000009.ctv",
                "p000001.ctp",
                "root.9.dsse.json",
                "root.09.dsse.json",
                "manifest.jsonl",
                "Thumbs.db",
                ".hidden",
                "v000000.ctv",
                "files/new.bin",
                "checks.ctk",
            ]);
            if !new.starts_with("files/") || folder.join("files").exists() {
                fs::write(folder.join(new), dice.bytes(9)).unwrap();
            }
            return format!("{new} added");
        }
    };
    fs::write(&path, bytes).unwrap();
    format!("{name} {what}, byte {at}; other {other}")
}

fn envelope(folder: &Path, dice: &mut Dice) -> String {
    let file = folder.join(HEADER);
    let mut envelope = Envelope::from_json(&fs::read(&file).unwrap()).unwrap();
    let mut text = None;
    let what = match dice.below(10) {
        0 => {
            envelope.signatures.pop();
            "a signature removed"
        }
        1 => {
            envelope.signatures.push(envelope.signatures[0].clone());
            "a signature repeated"
        }
        2 => {
            envelope.signatures.reverse();
            "signatures in another order"
        }
        3 => {
            let mut more = envelope.signatures[0].clone();
            more.keyid = key(9).id().to_string();
            envelope.signatures.insert(0, more);
            "a stranger's signature"
        }
        4 => {
            let mut more = envelope.signatures[0].clone();
            (more.keyid, more.sig) = ("ä\n".to_owned(), "no base64".to_owned());
            envelope.signatures.push(more);
            "a stranger's rubbish"
        }
        5 => {
            envelope.signatures[0].keyid = envelope.signatures[1].keyid.clone();
            "a keyid of another"
        }
        6 => {
            envelope.payload_type = "application/json".to_owned();
            "another type"
        }
        7 => {
            let json = String::from_utf8(envelope.to_json().unwrap()).unwrap();
            text = Some(
                dice.pick(&[format!(" {json}"), format!("{json}\n"), json.replacen(':', ": ", 1)]).clone(),
            );
            "white space"
        }
        8 => {
            envelope.signatures = vec![envelope.signatures[0].clone(); 33];
            "too many signatures"
        }
        _ => {
            let at = envelope.signatures[1].sig.len() - 3;
            envelope.signatures[1].sig.replace_range(at..=at, "B");
            "loose base64"
        }
    };
    fs::write(file, text.map_or_else(|| envelope.to_json().unwrap(), String::into_bytes)).unwrap();
    format!("envelope: {what}")
}

/// Every place in a value, as JSON pointers.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| places(v, &format!("{at}/{k}"), out)),
        Value::Array(list) => list.iter().enumerate().for_each(|(n, v)| places(v, &format!("{at}/{n}"), out)),
        _ => {}
    }
}

/// Changes one place of a value.
fn change(value: &mut Value, dice: &mut Dice) -> String {
    let mut all = Vec::new();
    places(value, "", &mut all);
    let place = dice.pick(&all).clone();
    let Some(target) = value.pointer_mut(&place) else { return "nothing".to_owned() };
    let before = target.to_string();
    *target = match (&*target, dice.below(6)) {
        (_, 0) => Value::Null,
        (Value::Number(n), choice) => {
            let n = n.as_u64().unwrap_or(7);
            [json!(n.wrapping_add(1)), json!(n.saturating_sub(1)), json!(0), json!(u64::MAX), json!(n as f64)]
                [choice - 1]
                .clone()
        }
        (Value::String(s), 1) => json!(s.to_uppercase()),
        (Value::String(s), 2) => json!(format!("{s}x")),
        (Value::String(s), 3) => json!(s.chars().rev().collect::<String>()),
        (Value::String(s), 4) => json!(s.replacen('1', "2", 1)),
        (Value::Array(list), 1..=3) if !list.is_empty() => {
            let (mut list, at) = (list.clone(), dice.below(list.len()));
            match dice.below(3) {
                0 => drop(list.remove(at)),
                1 => list.insert(at, list[at].clone()),
                _ => list.reverse(),
            }
            Value::Array(list)
        }
        (Value::Object(map), 1..=3) if !map.is_empty() => {
            let at = dice.below(map.len());
            let pairs = map.iter().enumerate();
            match dice.below(3) {
                0 => pairs
                    .filter(|(n, _)| *n != at)
                    .map(|(_, (k, v))| (k.clone(), v.clone()))
                    .collect::<Map<_, _>>()
                    .into(),
                1 => pairs.rev().map(|(_, (k, v))| (k.clone(), v.clone())).collect::<Map<_, _>>().into(),
                _ => {
                    let mut map = map.clone();
                    map.insert("extra".to_owned(), json!(1));
                    map.into()
                }
            }
        }
        (Value::Bool(b), _) => json!(!b),
        _ => json!([]),
    };
    let now = value.pointer(&place).map(ToString::to_string).unwrap_or_default();
    format!(
        "{place}: {} -> {}",
        &before[..before.floor_char_boundary(60)],
        &now[..now.floor_char_boundary(60)]
    )
}

/// Other spellings of the same JSON.
fn respell(text: &str, dice: &mut Dice) -> String {
    match dice.below(7) {
        0 => text.replacen("\":", "\": ", 1),
        1 => text.replacen("\"a", "\"\\u0061", 1),
        2 => text.replacen('/', "\\/", 1),
        3 => text.replacen("\":1", "\":1.0", 1),
        4 => text.replacen("\":1", "\":01", 1),
        5 => text.replacen('{', "{\"kind\":\"blob\",", 1),
        _ => format!("{text} "),
    }
}

/// What a sender could sign: another header.
fn header(folder: &Path, dice: &mut Dice) -> String {
    let mut forged = Forged::open(folder);
    if dice.below(5) == 0 {
        let text = forged.statement.to_string();
        forged.sign_text(&respell(&text, dice));
        return "header: spelled otherwise".to_owned();
    }
    let whole = dice.below(6) == 0;
    let said = if whole { change(&mut forged.statement, dice) } else { change(forged.header(), dice) };
    forged.sign();
    format!("header{}: {said}", if whole { " (statement)" } else { "" })
}

/// What a sender could sign: another manifest.
fn manifest(folder: &Path, dice: &mut Dice) -> String {
    let mut forged = Forged::open(folder);
    let mut lines = forged.lines();
    if lines.is_empty() {
        lines.push("{\"kind\":\"repository\",\"name\":\"n\",\"format\":\"f\",\"role\":\"r\"}".to_owned());
    }
    let (at, other) = (dice.below(lines.len()), dice.below(lines.len()));
    let agree = dice.below(4) > 0;
    let what = match dice.below(11) {
        0 => {
            lines.remove(at);
            "removed".to_owned()
        }
        1 => {
            lines.insert(other, lines[at].clone());
            format!("repeated at {other}")
        }
        2 => {
            lines.swap(at, other);
            format!("swapped with {other}")
        }
        3 | 4 => {
            let mut value: Value = serde_json::from_str(&lines[at]).unwrap();
            let said = change(&mut value, dice);
            lines[at] = value.to_string();
            said
        }
        5 => {
            lines[at] = respell(&lines[at], dice);
            "spelled otherwise".to_owned()
        }
        6 => {
            let number = number(dice);
            lines.insert(0, format!("{{\"kind\":\"artifact\",\"value\":{number},\"blobs\":[]}}"));
            format!("a number: {number}")
        }
        7 => {
            let deep = 120 + dice.below(10);
            let (open, close) = ("[".repeat(deep), "]".repeat(deep));
            lines.insert(0, format!("{{\"kind\":\"artifact\",\"value\":{open}{close},\"blobs\":[]}}"));
            format!("nested {deep} deep")
        }
        8 => {
            let plain = lines.join("\n");
            forged.set_plain(plain.as_bytes());
            forged.sign();
            return "manifest: no newline at the end".to_owned();
        }
        9 => {
            let line = *dice.pick(&[
                r#"{"kind":"artifact","value":"\u007f\u0000\t ","blobs":[]}"#,
                "{\"kind\":\"artifact\",\"value\":\"\u{7f}\\u0000\\t\u{2028}\",\"blobs\":[]}",
                r#"{"kind":"artifact","value":"\ud800","blobs":[]}"#,
                r#"{"kind":"artifact","value":{"a":1,"a":1},"blobs":[]}"#,
                r#"{"kind":"artifact","value":NaN,"blobs":[]}"#,
                r#"{"kind":"repository","name":"x","format":"f","role":"r"}"#,
                r#"{"kind":"git","project":"x","refs":{"b":"1","a":"2"},"bundle":"00"}"#,
                r#"{"kind":"other"}"#,
                "[]",
                "",
            ]);
            lines.insert(0, line.to_owned());
            format!("a line more: {line}")
        }
        _ => {
            let mut plain: Vec<u8> = lines.iter().flat_map(|l| format!("{l}\n").into_bytes()).collect();
            let at = dice.below(plain.len());
            plain[at] = dice.next() as u8;
            forged.set_plain(&plain);
            forged.sign();
            return format!("manifest: byte {at} set");
        }
    };
    forged.set_lines(&lines, agree);
    forged.sign();
    format!("manifest: line {at} {what}; the header {}", if agree { "agrees" } else { "stays" })
}

/// A number in some spelling, canonical or not.
fn number(dice: &mut Dice) -> String {
    let any = f64::from_bits(dice.next() << 16 ^ dice.next());
    let digits = dice.next() % 100_000;
    let exponent = dice.below(40) as i32 - 20;
    match dice.below(6) {
        0 if any.is_finite() => json!(any).to_string(),
        1 => json!(digits as f64 * 10f64.powi(exponent)).to_string(),
        2 => format!("{digits}e{exponent}"),
        3 => format!("{}.{digits}", digits % 7),
        4 => format!("{}", u128::from(u64::MAX) - 2 + u128::from(digits % 5)),
        _ => (*dice.pick(&[
            "-0",
            "-0.0",
            "-9223372036854775808",
            "-9223372036854775809",
            "1e400",
            "1E5",
            "1e+5",
            "0.10",
            "-1",
        ]))
        .to_owned(),
    }
}

//! What the right people signed and should not have: the sender is hostile, or its keys are stolen.

use std::{io::Write as _, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    sender::{Forge, Plan, digests, noise, resign},
    table::{Bench, Case},
};

pub const CASES: &[Case] = &[
    Case {
        name: "wrong software: other bytes under a signed digest",
        code: "blob-mismatch",
        make: other_bytes,
    },
    Case { name: "wrong software: two blobs change places", code: "blob-mismatch", make: exchanged },
    Case { name: "extraneous dependencies: a blob that nothing needs", code: "not-closed", make: extraneous },
    Case { name: "a release without its blob", code: "not-closed", make: incomplete },
    Case { name: "a blob that is listed twice", code: "bad-manifest", make: listed_twice },
    Case { name: "a repository that is described twice", code: "bad-manifest", make: described_twice },
    Case { name: "a line that says a thing twice", code: "bad-manifest", make: line_twice },
    Case { name: "a line of an unknown kind", code: "bad-manifest", make: unknown_kind },
    Case { name: "packs that overlap", code: "bad-manifest", make: overlapping },
    Case { name: "sizes that overflow", code: "bad-manifest", make: overflow },
    Case { name: "another manifest than the signed one", code: "digest-mismatch", make: other_manifest },
    Case {
        name: "bomb: a manifest that unpacks to more than is signed",
        code: "too-large",
        make: manifest_bomb,
    },
    Case { name: "bomb: a manifest that is one endless line", code: "too-large", make: endless_line },
    Case { name: "bomb: more blobs than the header declares", code: "too-large", make: more_blobs },
    Case { name: "bomb: a pack that unpacks to more than is signed", code: "pack-damaged", make: pack_bomb },
    Case { name: "bomb: a pack that needs a window of 128 MiB", code: "pack-damaged", make: window_bomb },
    Case { name: "bomb: a value that is nested a thousand deep", code: "bad-manifest", make: nested },
    Case { name: "bomb: more volumes than there may be", code: "too-large", make: many_volumes },
    Case { name: "bomb: parity over more than there is", code: "bad-header", make: parity },
    Case { name: "freshness that ends before it begins", code: "bad-header", make: inverted },
    Case { name: "traversal: a flat file above the folder", code: "bad-manifest", make: flat_traversal },
    Case { name: "traversal: a flat file from the root", code: "bad-manifest", make: flat_absolute },
    Case { name: "devices: a flat file named after one", code: "bad-manifest", make: flat_device },
    Case { name: "case collision: two flat files", code: "bad-manifest", make: flat_case },
    Case { name: "a recipe that builds on another recipe", code: "not-closed", make: recipe_loop },
    Case { name: "a recipe for another size than its blob's", code: "bad-manifest", make: recipe_size },
];

fn forged(bench: &Bench) -> Forge {
    Forge::open(&bench.copy(&bench.plain))
}

fn lines(bench: &Bench, change: impl Fn(&mut Forge)) -> Vec<PathBuf> {
    let mut forge = forged(bench);
    change(&mut forge);
    vec![forge.write()]
}

fn repacked(bench: &Bench, raw: &[u8]) -> Vec<PathBuf> {
    let packed = zstd::encode_all(raw, 1).unwrap();
    lines(bench, |forge| forge.one_pack(&packed, raw.len() as u64))
}

fn good_bytes() -> (Vec<u8>, Vec<u8>) {
    let files = Plan::first().files;
    (files[0].1.clone(), files[1].1.clone())
}

fn other_bytes(bench: &Bench) -> Vec<PathBuf> {
    let (one, two) = good_bytes();
    repacked(bench, &[noise(one.len(), 666), two].concat())
}

fn exchanged(bench: &Bench) -> Vec<PathBuf> {
    let (one, two) = good_bytes();
    repacked(bench, &[two, one].concat())
}

fn extraneous(bench: &Bench) -> Vec<PathBuf> {
    lines(bench, |forge| {
        let at = forge.lines.iter().rposition(|line| line["kind"] == "artifact").unwrap();
        forge.lines.remove(at);
    })
}

fn incomplete(bench: &Bench) -> Vec<PathBuf> {
    lines(bench, |forge| {
        let missing = json!(digests(b"not here").sha256);
        forge.of_kind("artifact")[0]["blobs"].as_array_mut().unwrap().push(missing);
    })
}

fn listed_twice(bench: &Bench) -> Vec<PathBuf> {
    lines(bench, |forge| {
        let first = forge.of_kind("blob")[0].clone();
        *forge.of_kind("blob")[1] = first;
        let size = forge.of_kind("blob")[0]["size"].as_u64().unwrap();
        forge.of_kind("pack")[0]["raw"] = json!(2 * size);
        forge.header.totals.expanded_bytes = 2 * size;
    })
}

fn described_twice(bench: &Bench) -> Vec<PathBuf> {
    lines(bench, |forge| {
        let mut again = forge.lines[0].clone();
        again["role"] = json!("proxy");
        forge.lines.insert(1, again);
    })
}

fn text(bench: &Bench, change: impl Fn(String) -> String) -> Vec<PathBuf> {
    let forge = forged(bench);
    let folder = forge.folder.clone();
    let text = Forge::open(&forge.write());
    assert_eq!(text.folder, folder);
    let plain: String = text.plain();
    vec![text.write_plain(change(plain).as_bytes())]
}

impl Forge {
    /// The manifest as it lies on the medium, opened and unpacked.
    fn plain(&self) -> String {
        let manifest = std::fs::read(self.folder.join(self.header.manifest_name())).unwrap();
        let packed = cofferdam_trust::age::open(&manifest, &crate::sender::sealing(7)).unwrap();
        String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap()
    }
}

fn line_twice(bench: &Bench) -> Vec<PathBuf> {
    text(bench, |plain| plain.replacen("\"role\":\"hosted\"", "\"role\":\"hosted\",\"role\":\"hosted\"", 1))
}

fn unknown_kind(bench: &Bench) -> Vec<PathBuf> {
    text(bench, |plain| format!("{{\"kind\":\"command\",\"value\":\"sh\"}}\n{plain}"))
}

fn nested(bench: &Bench) -> Vec<PathBuf> {
    let value = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    text(bench, |plain| format!("{{\"kind\":\"artifact\",\"value\":{value},\"blobs\":[]}}\n{plain}"))
}

fn overlapping(bench: &Bench) -> Vec<PathBuf> {
    lines(bench, |forge| {
        let again = forge.of_kind("pack")[0].clone();
        forge.lines.push(again);
    })
}

fn overflow(bench: &Bench) -> Vec<PathBuf> {
    lines(bench, |forge| {
        forge.of_kind("blob")[0]["size"] = json!(u64::MAX);
        forge.header.totals.expanded_bytes = 1 << 20;
    })
}

fn other_manifest(bench: &Bench) -> Vec<PathBuf> {
    let forge = forged(bench);
    let plain = forge.plain().replacen("maps", "traps", 1);
    let same_length = plain.replacen("\"role\":\"hosted\"", "\"role\":\"hoste\"", 1);
    forge.put_manifest(same_length.as_bytes());
    vec![forge.sign()]
}

fn manifest_bomb(bench: &Bench) -> Vec<PathBuf> {
    let forge = forged(bench);
    let plain = forge.plain();
    let line = plain.lines().nth(1).unwrap().to_owned() + "\n";
    forge.put_manifest(&[plain.as_bytes(), &line.repeat(100_000).into_bytes()].concat());
    vec![forge.sign()]
}

fn endless_line(bench: &Bench) -> Vec<PathBuf> {
    vec![forged(bench).write_plain(&vec![b'x'; 17 << 20])]
}

fn more_blobs(bench: &Bench) -> Vec<PathBuf> {
    lines(bench, |forge| forge.header.totals.blobs = 1)
}

fn pack_bomb(bench: &Bench) -> Vec<PathBuf> {
    let (one, two) = good_bytes();
    let packed = zstd::encode_all(vec![0; 512 << 20].as_slice(), 1).unwrap();
    lines(bench, |forge| forge.one_pack(&packed, (one.len() + two.len()) as u64))
}

fn window_bomb(bench: &Bench) -> Vec<PathBuf> {
    let (one, two) = good_bytes();
    let raw = [one, two].concat();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&raw).unwrap();
    let packed = encoder.finish().unwrap();
    lines(bench, |forge| forge.one_pack(&packed, raw.len() as u64))
}

fn header(bench: &Bench, change: impl Fn(&mut cofferdam_transfer::Header)) -> Vec<PathBuf> {
    let mut forge = forged(bench);
    change(&mut forge.header);
    vec![forge.sign_as_it_is()]
}

fn many_volumes(bench: &Bench) -> Vec<PathBuf> {
    header(bench, |header| header.payload.size = 1 << 60)
}

fn parity(bench: &Bench) -> Vec<PathBuf> {
    let (whole, _) = Plan { parity: 100, ..Plan::first() }.write(&bench.folder());
    let geometry = Forge::open(&whole).header.parity;
    header(bench, |header| header.parity = geometry)
}

fn inverted(bench: &Bench) -> Vec<PathBuf> {
    header(bench, |header| std::mem::swap(&mut header.created, &mut header.not_after))
}

fn flat(bench: &Bench, names: [&str; 2]) -> Vec<PathBuf> {
    let mut forge = Forge::open(&bench.copy(&bench.flat));
    for (line, name) in forge.of_kind("file").into_iter().zip(names) {
        line["name"] = json!(name);
    }
    vec![forge.write()]
}

fn flat_traversal(bench: &Bench) -> Vec<PathBuf> {
    flat(bench, ["../../../etc/cron.d/x", "b.txt"])
}

fn flat_absolute(bench: &Bench) -> Vec<PathBuf> {
    flat(bench, ["/etc/cron.d/x", "b.txt"])
}

fn flat_device(bench: &Bench) -> Vec<PathBuf> {
    flat(bench, ["a.bin", "nul.txt"])
}

fn flat_case(bench: &Bench) -> Vec<PathBuf> {
    flat(bench, ["A.BIN", "a.bin"])
}

/// Lines of a recipe that makes `target` of `base`.
fn recipe(target: &Value, base: &Value, payload: &Value, output: u64) -> Value {
    let recipe = json!({ "v": 1, "base": 1, "output": output, "program": { "len": 1, "size": 1 } });
    json!({ "kind": "recipe", "sha256": target, "size": 7, "base": base, "payload": payload, "recipe": recipe })
}

fn with_recipes(bench: &Bench, output: u64) -> Vec<PathBuf> {
    lines(bench, |forge| {
        let payload = forge.of_kind("blob")[0]["sha256"].clone();
        let mut targets = [b"one", b"two"].map(|text| json!(digests(text).sha256));
        targets.sort_by_key(|digest| digest.as_str().unwrap().to_owned());
        for target in &targets {
            forge.of_kind("artifact")[0]["blobs"].as_array_mut().unwrap().push(target.clone());
        }
        let at = forge.lines.iter().position(|line| line["kind"] == "pack").unwrap();
        // Each is the other's base.
        forge.lines.insert(at, recipe(&targets[1], &targets[0], &payload, output));
        forge.lines.insert(at, recipe(&targets[0], &targets[1], &payload, output));
        (forge.header.totals.rebuilt, forge.header.totals.rebuilt_bytes) = (2, 14);
    })
}

fn recipe_loop(bench: &Bench) -> Vec<PathBuf> {
    with_recipes(bench, 7)
}

fn recipe_size(bench: &Bench) -> Vec<PathBuf> {
    with_recipes(bench, 1 << 50)
}

#[test]
fn the_forge_itself_makes_good_transfers() {
    let bench = Bench::new();
    let folder = lines(&bench, |_| ());
    crate::table::admit(&folder).unwrap_or_else(|e| panic!("{e:?}"));
    let (one, two) = good_bytes();
    crate::table::admit(&repacked(&bench, &[one, two].concat())).unwrap_or_else(|e| panic!("{e:?}"));
    let again = bench.copy(&bench.plain);
    resign(&again, "a hostile sender", "a_hostile_sender");
    crate::table::admit(&[again]).unwrap_or_else(|e| panic!("{e:?}"));
}

//! Go's checksum database: what it answered for a module, compared with the module that came.
//!
//! | checked | with |
//! |---|---|
//! | the record's `h1:` of archive and `go.mod` | the bytes' own |
//! | the tree head's signed note | a key that the site is set up with, else one that the recording brought |
//! | that the record is in that tree | the tiles that go fetched |
//!
//! The forms are those of `golang.org/x/mod/sumdb`. No key is built in. This module must never call a record
//! signed of which only the digest was compared.

use std::collections::{BTreeSet, HashMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::{
    Door, DoorExt as _,
    joined::{Finding, Joined, Origin, UpstreamKeys, Verdict},
};
use cofferdam_trust::note;
use cofferdam_types::{Result, Sha256, merkle};

use super::{
    Answer, dirhash, shown,
    tiles::{Included, Place, Tiles},
};

/// The kind of proof, and the code of a failure.
const KIND: &str = "go-checksum";
/// Bytes of one answer of the database at the most.
const ANSWER_LIMIT: u64 = 64 << 10;
/// Answers that are read, and tiles, at the most.
const MOST_ANSWERS: usize = 20_000;
const MOST_TILES: usize = 4096;
/// Heads of one database that a record is looked for in, at the most.
const MOST_HEADS: usize = 64;
/// What a head's text begins with.
const HEAD: &str = "go.sum database tree\n";

/// A signed tree head.
#[derive(Clone, Debug)]
struct Head {
    size: u64,
    root: Sha256,
    signed: Signed,
}

/// What is known of a head's signatures.
#[derive(Clone, Debug)]
enum Signed {
    By(String, Origin),
    Not(String),
    Wrongly(String),
}

/// What the database said of a module.
struct Record {
    base: String,
    id: u64,
    leaf: Sha256,
    /// The key of [`at`], and the digests.
    at: String,
    zip: Option<String>,
    go_mod: Option<String>,
    head: Head,
    database: String,
}

/// What is here of one database.
#[derive(Default)]
struct Database {
    heads: Vec<Head>,
    tiles: Tiles,
}

/// Go's verifier keys, read; a name for which the site has one of its own is the site's to say.
struct Keys(Vec<(note::NoteKey, Origin)>);

impl Keys {
    fn read(keys: &UpstreamKeys) -> Self {
        let read = |key: &cofferdam_format_kit::joined::NoteKey| Some((key.key.parse().ok()?, key.origin));
        let all: Vec<(note::NoteKey, Origin)> = keys.notes.iter().filter_map(read).collect();
        let own: BTreeSet<String> =
            all.iter().filter(|(_, o)| *o == Origin::Site).map(|(k, _)| k.name().to_owned()).collect();
        let counts =
            |(key, origin): &(note::NoteKey, Origin)| *origin == Origin::Site || !own.contains(key.name());
        Self(all.into_iter().filter(counts).collect())
    }

    fn judge(&self, text: &str, name: &str) -> Signed {
        let keys: Vec<note::NoteKey> = self.0.iter().map(|(key, _)| key.clone()).collect();
        match note::verify(text, &keys) {
            Ok(verified) => match verified.signers.first().and_then(|at| self.0.get(*at)) {
                Some((key, origin)) => Signed::By(key.to_string(), *origin),
                None => Signed::Not("nobody signed it".into()),
            },
            Err(error) if error.code() == "signature-invalid" => Signed::Wrongly(error.message().to_owned()),
            Err(_) if self.0.iter().any(|(key, _)| key.name() == name) => {
                Signed::Not(format!("the key that is known here for `{name}` is another"))
            }
            Err(_) => Signed::Not(format!("no key of `{name}` is known here")),
        }
    }
}

/// What the database's answers among these say of the modules among these.
pub async fn join(answers: &[Answer<'_>], keys: &UpstreamKeys, door: &dyn Door) -> Result<Joined> {
    let keys = Keys::read(keys);
    let mut databases: HashMap<String, Database> = HashMap::new();
    let mut records: HashMap<String, Vec<Record>> = HashMap::new();
    let small = |a: &&Answer<'_>| a.size <= ANSWER_LIMIT;
    let mut read = 0;
    for answer in answers.iter().filter(small) {
        let (lookup, latest) = (answer.url.split_once("/lookup/"), answer.url.strip_suffix("/latest"));
        let Some(base) = lookup.map(|(base, _)| base).or(latest) else { continue };
        read += 1;
        if read > MOST_ANSWERS {
            break;
        }
        let Ok(text) = String::from_utf8(door.read(&answer.sha256, ANSWER_LIMIT).await?.to_vec()) else {
            continue;
        };
        if let Some((_, asked)) = lookup {
            let Some(record) = record(&text, base, asked, &keys) else { continue };
            let database = databases.entry(base.to_owned()).or_default();
            database.heads.push(record.head.clone());
            records.entry(record.at.clone()).or_default().push(record);
        } else if let Some((head, _)) = head(&text, &keys) {
            databases.entry(base.to_owned()).or_default().heads.push(head);
        }
    }
    if records.is_empty() {
        return Ok(Joined::default());
    }
    read_tiles(answers, &mut databases, door).await?;
    let mut joined = Joined::default();
    for answer in answers {
        let Some((module, is_zip)) = module(&answer.url) else { continue };
        let Some(said) = candidates(module).find_map(|at| records.get(at)) else { continue };
        let digest = match is_zip {
            true => door.inspect(&answer.sha256, |file| Ok(dirhash::of_zip(file))).await?,
            false => Ok(dirhash::of_go_mod(answer.sha256)),
        };
        let Some((verdict, text, key)) = judge(said, is_zip, &digest, &databases) else { continue };
        joined.keys.notes.extend(key);
        joined.findings.push(Finding { path: answer.path.to_owned(), kind: KIND.into(), verdict, text });
    }
    joined.keys.notes.sort();
    joined.keys.notes.dedup();
    Ok(joined)
}

async fn read_tiles(
    answers: &[Answer<'_>],
    databases: &mut HashMap<String, Database>,
    door: &dyn Door,
) -> Result<()> {
    let mut read = 0;
    for answer in answers {
        let Some((base, place)) = answer.url.split_once("/tile/8/") else { continue };
        let (Some(place), Some(database)) = (Place::parse(place), databases.get_mut(base)) else { continue };
        if place.bytes() != answer.size {
            continue;
        }
        read += 1;
        if read > MOST_TILES {
            break;
        }
        database.tiles.add(place, door.read(&answer.sha256, place.bytes()).await?.to_vec());
    }
    Ok(())
}

/// The address of a module's archive or `go.mod` without its ending, and whether it is the archive.
fn module(url: &str) -> Option<(&str, bool)> {
    let (module, is_zip) = match url.strip_suffix(".zip") {
        Some(module) => (module, true),
        None => (url.strip_suffix(".mod")?, false),
    };
    module.contains("/@v/").then_some((module, is_zip))
}

/// Where in an address a module's path may begin, longest first.
fn candidates(url: &str) -> impl Iterator<Item = &str> {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    place.match_indices('/').filter_map(move |(at, _)| place.get(at + 1..))
}

/// A module's place below a proxy: `<path>/@v/<version>`, as addresses spell both.
fn at(module: &str, version: &str) -> String {
    format!("{}/@v/{}", escaped(module), escaped(version))
}

/// Capital letters as `!` and the small one (`golang.org/x/mod/module`, "Escaped Paths").
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            out.push('!');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Reads the answer to a lookup: the record's number, its lines, an empty line, and the signed head.
fn record(text: &str, base: &str, asked: &str, keys: &Keys) -> Option<Record> {
    let (id, rest) = text.split_once('\n')?;
    let end = rest.find("\n\n")? + 1;
    let (entry, note) = (rest.get(..end)?, rest.get(end + 1..)?);
    let (head, database) = head(note, keys)?;
    let (mut zip, mut go_mod, mut place) = (None, None, None);
    for line in entry.lines() {
        let [module, version, digest] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let (version, is_zip) = version.strip_suffix("/go.mod").map_or((version, true), |v| (v, false));
        // What the address asked for is what the record is about.
        if format!("{}@{}", escaped(module), escaped(version)) != asked || !digest.starts_with("h1:") {
            continue;
        }
        place = Some(at(module, version));
        *(if is_zip { &mut zip } else { &mut go_mod }) = Some(digest.to_owned());
    }
    let leaf = merkle::leaf(entry.as_bytes());
    Some(Record { base: base.into(), id: id.parse().ok()?, leaf, at: place?, zip, go_mod, head, database })
}

/// Reads a signed tree head: three lines, and who signed.
fn head(text: &str, keys: &Keys) -> Option<(Head, String)> {
    let (said, signatures) = note::parse(text).ok()?;
    let mut lines = said.strip_prefix(HEAD)?.lines();
    let size = lines.next()?.parse().ok()?;
    let root = Sha256(STANDARD.decode(lines.next()?).ok()?.try_into().ok()?);
    let name = signatures.first()?.name.clone();
    Some((Head { size, root, signed: keys.judge(text, &name) }, name))
}

/// What the records of a module say of bytes with this digest, and the key that signed.
fn judge(
    said: &[Record],
    is_zip: bool,
    digest: &Result<String, String>,
    databases: &HashMap<String, Database>,
) -> Option<(Verdict, String, Option<String>)> {
    let listed = |r: &Record| if is_zip { r.zip.clone() } else { r.go_mod.clone() };
    let first = said.iter().find(|r| listed(r).is_some())?;
    let name = shown(&first.database);
    let digest = match digest {
        Ok(digest) => digest,
        Err(why) => {
            let text = format!("Go checksum database {name}: not checked: {why}");
            return Some((Verdict::Unchecked, text, None));
        }
    };
    // One record for each database and recording: all of them must say the same.
    if let Some(other) = said.iter().find(|r| listed(r).is_some_and(|said| said != *digest)) {
        let said = listed(other).unwrap_or_default();
        let text = format!(
            "Go checksum database {}: it lists {} for it; the bytes have {digest}",
            shown(&other.database),
            shown(&said)
        );
        return Some((Verdict::Wrong, text, None));
    }
    let judged = said.iter().filter(|r| listed(r).is_some()).map(|r| judge_record(r, databases));
    // The worst is told, else the best.
    let rank = |v: Verdict| match v {
        Verdict::Wrong => 0,
        Verdict::Holds => 1,
        Verdict::Unchecked => 2,
    };
    judged.min_by_key(|(verdict, ..)| rank(*verdict))
}

/// A record whose digest is that of the bytes.
fn judge_record(record: &Record, databases: &HashMap<String, Database>) -> (Verdict, String, Option<String>) {
    let begin = format!("Go checksum database {}: digest compared", shown(&record.database));
    let none = Database::default();
    let database = databases.get(&record.base).unwrap_or(&none);
    let mut included = database.tiles.included(record.leaf, record.id, record.head.size, &record.head.root);
    let mut head = &record.head;
    if included == Included::Unknown {
        // Go proves a record in the newest head that it knows, which may be another answer's.
        let newer = database.heads.iter().take(MOST_HEADS).find(|head| {
            matches!(head.signed, Signed::By(..))
                && database.tiles.included(record.leaf, record.id, head.size, &head.root) == Included::Yes
        });
        if let Some(newer) = newer {
            (included, head) = (Included::Yes, newer);
        }
    }
    if let Signed::Wrongly(why) = &record.head.signed {
        return (Verdict::Wrong, format!("{begin}; {why}"), None);
    }
    let (signed, key) = match &head.signed {
        Signed::By(key, Origin::Site) => {
            (format!("tree signed by {}, a key of this site", shown(key)), Some(key))
        }
        Signed::By(key, Origin::Recording) => {
            (format!("tree signed by {}, a key that the recording brought", shown(key)), Some(key))
        }
        Signed::Not(why) | Signed::Wrongly(why) => (format!("signature not checked: {}", shown(why)), None),
    };
    let (verdict, tree) = match included {
        Included::No => {
            let text = format!("{begin}; the record {} is not in the tree that the answer names", record.id);
            return (Verdict::Wrong, text, None);
        }
        Included::Yes => (Verdict::Holds, format!("record {} is in that tree of {}", record.id, head.size)),
        Included::Unknown => {
            (Verdict::Unchecked, "inclusion not checked: the tiles were not recorded".to_owned())
        }
    };
    let verdict = if key.is_some() { verdict } else { Verdict::Unchecked };
    (verdict, format!("{begin}, {signed}, {tree}"), key.cloned())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use cofferdam_trust::SigningKey;

    use super::*;
    use crate::joined::shelf::Shelf;

    const SUMS: &str = "https://proxy.example/go/sumdb/sums.example";
    const FERRY: &str = "https://proxy.example/go/harbour.example/!ferry/@v/v1.0.0";

    /// A database with records, of which the second is that of the module.
    struct World {
        shelf: Shelf,
        key: SigningKey,
    }

    impl World {
        fn new() -> Self {
            let key = SigningKey::from_seed(&[5; 32]).unwrap();
            Self { shelf: Shelf::default(), key }
        }

        fn add(&mut self, url: &str, bytes: &[u8]) {
            self.shelf.add(url, bytes);
        }

        fn note_key(&self) -> String {
            note::NoteKey::new("sums.example", self.key.verifying_key()).unwrap().to_string()
        }

        fn head(&self, size: u64, root: &Sha256) -> String {
            let text = format!("{HEAD}{size}\n{}\n", STANDARD.encode(root.0));
            note::sign(&text, &[("sums.example", &self.key)]).unwrap()
        }

        async fn join(&self, keys: UpstreamKeys) -> Joined {
            self.shelf.join(&keys).await
        }

        /// What is said of the archive, with the database's key from a recording.
        async fn said(&self) -> (Verdict, String) {
            let joined = self.join(UpstreamKeys::notes(&[self.note_key()], Origin::Recording)).await;
            let finding = joined.findings.into_iter().find(|f| f.path.ends_with(".zip")).unwrap();
            (finding.verdict, finding.text)
        }
    }

    fn archive() -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("harbour.example/Ferry@v1.0.0/a.go", zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(b"package ferry\n").unwrap();
        zip.finish().unwrap().into_inner()
    }

    fn sums(h1: &str) -> String {
        let go_mod = dirhash::of_go_mod(Sha256::of(b"module harbour.example/Ferry\n"));
        format!("harbour.example/Ferry v1.0.0 {h1}\nharbour.example/Ferry v1.0.0/go.mod {go_mod}\n")
    }

    fn h1(bytes: &[u8]) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        dirhash::of_zip(file.reopen().unwrap()).unwrap()
    }

    /// The module, and the database's answer for it as the second of three records.
    fn world(listed: &str, tiles: bool) -> World {
        let mut world = World::new();
        world.add(&format!("{FERRY}.zip"), &archive());
        world.add(&format!("{FERRY}.mod"), b"module harbour.example/Ferry\n");
        let entry = sums(listed);
        let leaves = [merkle::leaf(b"one"), merkle::leaf(entry.as_bytes()), merkle::leaf(b"three")];
        let root = merkle::parent(&merkle::parent(&leaves[0], &leaves[1]), &leaves[2]);
        let lookup = format!("1\n{entry}\n{}", world.head(3, &root));
        world.add(&format!("{SUMS}/lookup/harbour.example/!ferry@v1.0.0"), lookup.as_bytes());
        if tiles {
            let row: Vec<u8> = leaves.iter().flat_map(|l| l.0).collect();
            world.add(&format!("{SUMS}/tile/8/0/000.p/3"), &row);
        }
        world
    }

    #[tokio::test]
    async fn a_module_is_what_the_database_lists_in_a_signed_tree() {
        let world = world(&h1(&archive()), true);
        let joined = world.join(UpstreamKeys::notes(&[world.note_key()], Origin::Site)).await;
        assert_eq!(joined.findings.len(), 2, "archive and go.mod: {joined:?}");
        for finding in &joined.findings {
            assert_eq!(finding.verdict, Verdict::Holds, "{finding:?}");
            assert!(
                finding.text.contains("a key of this site, record 1 is in that tree of 3"),
                "{finding:?}"
            );
        }
        assert_eq!(joined.keys.notes, [world.note_key()], "with it the other side checks again");
        let (verdict, text) = world.said().await;
        assert!(verdict == Verdict::Holds && text.contains("a key that the recording brought"), "{text}");
    }

    #[tokio::test]
    async fn other_bytes_than_the_database_lists_are_wrong_whoever_signed() {
        let mut world = world("h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", true);
        let (verdict, text) = world.said().await;
        assert!(verdict == Verdict::Wrong && text.contains("the bytes have h1:"), "{text}");
        let joined = world.join(UpstreamKeys::default()).await;
        assert_eq!(joined.findings[0].verdict, Verdict::Wrong, "no key is needed to compare digests");
        // The go.mod of the same record is what is listed.
        assert_ne!(joined.findings[1].verdict, Verdict::Wrong);
        world.shelf.files.retain(|file| !file.path.contains("/lookup/"));
        assert_eq!(world.join(UpstreamKeys::default()).await.findings, [], "nothing said, nothing found");
    }

    #[tokio::test]
    async fn what_cannot_be_checked_says_why_and_is_not_wrong() {
        let world = world(&h1(&archive()), false);
        let (verdict, text) = world.said().await;
        assert!(verdict == Verdict::Unchecked && text.contains("the tiles were not recorded"), "{text}");
        let joined = world.join(UpstreamKeys::default()).await;
        assert_eq!(joined.findings[0].verdict, Verdict::Unchecked);
        assert!(
            joined.findings[0].text.contains("signature not checked: no key of `sums.example`"),
            "{joined:?}"
        );
        assert!(joined.keys.notes.is_empty());
        // The site's own key for the name shuts out the one that comes along.
        let other = SigningKey::from_seed(&[6; 32]).unwrap();
        let other = note::NoteKey::new("sums.example", other.verifying_key()).unwrap().to_string();
        let keys = UpstreamKeys::notes(&[other], Origin::Site)
            .and(UpstreamKeys::notes(&[world.note_key()], Origin::Recording));
        let text = &world.join(keys).await.findings[0].text;
        assert!(text.contains("the key that is known here for `sums.example` is another"), "{text}");
    }

    #[tokio::test]
    async fn a_false_signature_and_a_record_outside_its_tree_are_wrong() {
        let honest = h1(&archive());
        let mut forged = world(&honest, true);
        let at = forged.shelf.files.iter().position(|f| f.path.contains("/lookup/")).unwrap();
        let lookup = String::from_utf8(forged.shelf.bytes[&forged.shelf.files[at].sha256].clone()).unwrap();
        forged.shelf.files.remove(at);
        // The head of another tree below the signature of this one.
        let other = lookup.replacen("tree\n3\n", "tree\n4\n", 1);
        forged.add(&format!("{SUMS}/lookup/harbour.example/!ferry@v1.0.0"), other.as_bytes());
        let (verdict, text) = forged.said().await;
        assert!(verdict == Verdict::Wrong && text.contains("does not hold"), "{text}");

        let mut moved = world(&honest, true);
        moved.shelf.files.remove(2);
        let elsewhere = lookup.replacen("1\n", "0\n", 1);
        moved.add(&format!("{SUMS}/lookup/harbour.example/!ferry@v1.0.0"), elsewhere.as_bytes());
        let (verdict, text) = moved.said().await;
        assert!(verdict == Verdict::Wrong && text.contains("is not in the tree"), "{text}");
    }

    #[tokio::test]
    async fn the_tile_of_a_newer_tree_proves_a_record_in_an_older_one() {
        let mut world = world(&h1(&archive()), false);
        let entry = sums(&h1(&archive()));
        let leaves = [b"one".to_vec(), entry.into_bytes(), b"three".to_vec(), b"four".to_vec()]
            .map(|l| merkle::leaf(&l));
        let root =
            merkle::parent(&merkle::parent(&leaves[0], &leaves[1]), &merkle::parent(&leaves[2], &leaves[3]));
        world.add(&format!("{SUMS}/latest"), world.head(4, &root).as_bytes());
        let row: Vec<u8> = leaves.iter().flat_map(|l| l.0).collect();
        world.add(&format!("{SUMS}/tile/8/0/000.p/4"), &row);
        let (verdict, text) = world.said().await;
        assert!(
            verdict == Verdict::Holds && text.contains("tree of 3"),
            "a wider tile serves the older: {text}"
        );
    }

    #[tokio::test]
    async fn answers_that_are_none_of_a_database_s_say_nothing() {
        let mut world = World::new();
        world.add(&format!("{FERRY}.zip"), b"no archive");
        for text in
            ["", "0\n", "x\n\n\n", "0\na b h1:c\n\nno note\n", "0\nharbour.example/Ferry v1.0.0 h1:x\n\n\n"]
        {
            world.add(&format!("{SUMS}/lookup/harbour.example/!ferry@v1.0.0"), text.as_bytes());
        }
        world.add(&format!("{SUMS}/tile/8/0/000.p/3"), b"short");
        assert_eq!(world.join(UpstreamKeys::default()).await, Joined::default());
        let mut broken = self::world("h1:x", true);
        broken.shelf.files.remove(0);
        broken.add(&format!("{FERRY}.zip"), b"no archive");
        let (verdict, text) = broken.said().await;
        assert!(verdict == Verdict::Unchecked && text.contains("cannot be read"), "{text}");
    }
}

//! What `cargo xtask bench transfer` runs: packs and receives by the library alone and prints one JSON object
//! with seconds, bytes and the peak of memory. Not a tool for users.

use std::{
    error::Error,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Instant,
};

use cofferdam_blobs::{Batch, Blobs as _, LocalBlobs};
use cofferdam_transfer::{
    Authority, BlobEntry, DEFAULT_VOLUME_BYTES, Door, FileEntry, Group, Header, HeaderDraft, PREDICATE_TYPE,
    Record, Refusal, Sealed, Sink, Survey, Trust, Writer, mismatch,
};
use cofferdam_trust::{SigningKey, Statement, Subject, age::SealingKey, sign_statement};
use cofferdam_types::{Sha256, Sha256Hasher, Timestamp};
use serde_json::json;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["keys", out] => keys(Path::new(out)),
        ["pack", folder, out] => pack(Path::new(folder), Path::new(out)),
        ["receive", transfer, store] => receive(Path::new(transfer), Path::new(store)),
        ["many", blobs, out] => synthetic(blobs.parse()?, 100, Path::new(out)),
        ["sparse", bytes, out] => synthetic(1, bytes.parse()?, Path::new(out)),
        ["header", out] => header(Path::new(out)),
        _ => Err("usage: keys OUT | pack FOLDER OUT | receive TRANSFER STORE | many N OUT | sparse BYTES OUT | header OUT".into()),
    }
}

fn signer() -> Outcome<SigningKey> {
    Ok(SigningKey::from_seed(&[1; 32])?)
}

fn opener() -> Outcome<SealingKey> {
    Ok(SealingKey::from_secret(&[7; 32])?)
}

/// The key file and recipient that the peer uses too.
fn keys(out: &Path) -> Outcome {
    let file = out.join("measure.age");
    if !file.exists() {
        opener()?.write_new(&file)?;
    }
    println!("{}", json!({ "identity": file, "recipient": opener()?.recipient() }));
    Ok(())
}

fn draft() -> Outcome<HeaderDraft> {
    Ok(HeaderDraft {
        source: "outside".parse()?,
        destinations: vec!["inside".parse()?],
        epoch: 1,
        seq: 1,
        prev: None,
        created: Timestamp::from_seconds(1_000),
        not_after: Timestamp::from_seconds(2_000),
        tool: "measure".to_owned(),
        receipt: None,
        claims: Default::default(),
        roots: Vec::new(),
    })
}

fn door() -> Outcome<Door> {
    Ok(Door::Sealed(Sealed::to(vec![opener()?.recipient()])))
}

fn digest(mut input: impl Read) -> io::Result<(Sha256, u64)> {
    let (mut hasher, mut buffer, mut total) = (Sha256Hasher::default(), vec![0; 1 << 20], 0);
    loop {
        let n = input.read(&mut buffer)?;
        if n == 0 {
            return Ok((hasher.finish(), total));
        }
        hasher.update(&buffer[..n]);
        total += n as u64;
    }
}

/// Packs every file of a folder. The site knows its blobs by digest, so that is not part of the time.
fn pack(folder: &Path, out: &Path) -> Outcome {
    let mut files: Vec<(PathBuf, Sha256, u64)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let (sha256, size) = digest(File::open(&path)?)?;
        files.push((path, sha256, size));
    }
    files.sort();
    files.dedup_by_key(|file| file.1);
    let total: u64 = files.iter().map(|f| f.2).sum();
    let started = Instant::now();
    let mut writer = Writer::create(out, draft()?, door()?)?;
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.1));
    writer
        .add_record(Record::Artifact { value: json!("all"), blobs: files.iter().map(|f| f.1).collect() })?;
    for (path, sha256, size) in &files {
        writer.add_blob(*sha256, *size, "file", File::open(path)?)?;
    }
    let summary = writer.finish(&[&signer()?], &())?;
    tell("pack", started, total, summary.bytes, json!({ "path": summary.path, "files": files.len() }));
    Ok(())
}

/// Durable blobs, as a site keeps them.
struct Store {
    blobs: LocalBlobs,
    open: Mutex<Vec<(std::thread::ThreadId, Box<dyn Batch>)>>,
}

impl Store {
    fn with<T>(&self, act: impl FnOnce(&mut dyn Batch) -> cofferdam_types::Result<T>) -> Result<T, Trouble> {
        let me = std::thread::current().id();
        let found = {
            let mut open = self.open.lock().map_err(|_| Trouble("poisoned".into()))?;
            open.iter().position(|(thread, _)| *thread == me).map(|at| open.swap_remove(at).1)
        };
        let mut batch = match found {
            Some(batch) => batch,
            None => self.blobs.batch().map_err(|e| Trouble(e.message().to_owned()))?,
        };
        let done = act(batch.as_mut()).map_err(|e| Trouble(e.message().to_owned()));
        self.open.lock().map_err(|_| Trouble("poisoned".into()))?.push((me, batch));
        done
    }
}

#[derive(Debug)]
struct Trouble(String);

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.to_string())
    }
}

impl Sink for Store {
    type Error = Trouble;

    fn blob(&self, entry: &BlobEntry, bytes: &mut dyn Read) -> Result<(), Trouble> {
        self.with(|batch| batch.put(&entry.sha256, entry.size, bytes)).map(drop)
    }

    fn done(&self, _: &Group) -> Result<(), Trouble> {
        self.with(|batch| batch.commit())
    }
}

/// A sink for sizes that no disk here holds: checks every blob and keeps none.
struct Hashes;

impl Sink for Hashes {
    type Error = Refusal;

    fn blob(&self, entry: &BlobEntry, bytes: &mut dyn Read) -> Result<(), Refusal> {
        match digest(bytes) {
            Ok(found) if found == (entry.sha256, entry.size) => Ok(()),
            _ => Err(mismatch(&entry.sha256)),
        }
    }

    fn done(&self, _: &Group) -> Result<(), Refusal> {
        Ok(())
    }
}

fn trust() -> Outcome<Trust> {
    let authority = Authority::Keys { keys: vec![signer()?.verifying_key()], threshold: 1 };
    Ok(Trust { authority, this_site: Some("inside".parse()?) })
}

fn receive(transfer: &Path, store: &Path) -> Outcome {
    let started = Instant::now();
    let mut survey = Survey::open(&[transfer], &trust()?)?;
    let decided = started.elapsed().as_secs_f64();
    survey.hash(&())?;
    survey.require_whole()?;
    let verified = started.elapsed().as_secs_f64();
    let contents = survey.contents(Some(opener()?), &())?;
    let total = contents.header().totals.expanded_bytes;
    let bytes = contents.header().bytes();
    if store == Path::new("none") {
        contents.read(&contents.groups(), &Hashes)?;
    } else {
        let sink = Store { blobs: LocalBlobs::open(store)?, open: Mutex::default() };
        contents.read(&contents.groups(), &sink).map_err(|trouble| trouble.0)?;
    }
    tell("receive", started, total, bytes, json!({ "decided": decided, "verified": verified }));
    Ok(())
}

/// `count` blobs of `size` bytes, the larger ones of zeros: for the peak of memory.
fn synthetic(count: u64, size: u64, out: &Path) -> Outcome {
    let bytes = |n: u64| io::Cursor::new(n.to_le_bytes()).chain(io::repeat(0)).take(size);
    let mut digests = Vec::new();
    for n in 0..count {
        digests.push(digest(bytes(n))?.0);
    }
    let started = Instant::now();
    let mut writer = Writer::create(out, draft()?, door()?)?;
    for (n, part) in digests.chunks(1000).enumerate() {
        writer.add_record(Record::Artifact { value: json!(n), blobs: part.to_vec() })?;
    }
    for (n, sha256) in digests.iter().enumerate() {
        writer.add_blob(*sha256, size, "blob", bytes(n as u64))?;
    }
    let summary = writer.finish(&[&signer()?], &())?;
    tell("synthetic", started, count * size, summary.bytes, json!({ "path": summary.path, "blobs": count }));
    Ok(())
}

/// The header of a terabyte, whose volumes are holes: only the decision about it is measured.
fn header(out: &Path) -> Outcome {
    let mut writer = Writer::create(out, draft()?, door()?)?;
    let blob = b"a".as_slice();
    writer.add_record(Record::Artifact { value: json!(1), blobs: vec![Sha256::of(blob)] })?;
    writer.add_blob(Sha256::of(blob), 1, "a", blob)?;
    let made = writer.finish(&[&signer()?], &())?;
    let mut header: Header = made.header;
    let size = 1_000_000_000_000;
    header.payload.size = size;
    header.parity = None;
    header.files.retain(|f| f.name == "README.txt" || f.name.starts_with("manifest"));
    for file in fs::read_dir(&made.path)? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "ctv" || e == "ctp" || e == "ctk") {
            fs::remove_file(path)?;
        }
    }
    let count = u32::try_from(size.div_ceil(DEFAULT_VOLUME_BYTES))?;
    for n in 1..=count {
        let name = format!("v{n:06}.ctv");
        let own = DEFAULT_VOLUME_BYTES.min(size - u64::from(n - 1) * DEFAULT_VOLUME_BYTES);
        File::create(made.path.join(&name))?.set_len(own)?;
        header.files.push(FileEntry { name, size: own, sha256: Sha256([0; 32]) });
    }
    let subject = Subject::sha256("manifest.jsonl", header.manifest.plain_sha256);
    let statement = Statement::new(vec![subject], PREDICATE_TYPE, serde_json::to_value(&header)?);
    fs::write(made.path.join("header.dsse.json"), sign_statement(&statement, &[&signer()?])?.to_json()?)?;
    let started = Instant::now();
    let survey = Survey::open(&[&made.path], &trust()?)?;
    tell("header", started, size, 0, json!({ "volumes": survey.header.volumes() }));
    Ok(())
}

fn tell(what: &str, started: Instant, input: u64, output: u64, more: serde_json::Value) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    println!(
        "{}",
        json!({
            "what": what, "seconds": started.elapsed().as_secs_f64(), "input": input, "output": output,
            "peak_bytes": peak.map(|kb| kb * 1024), "more": more,
        })
    );
}

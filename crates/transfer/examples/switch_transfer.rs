//! What `cargo xtask bench switch` receives: a transfer of very many small releases, as another site would pack it.
//! `switch_transfer FORMAT ITEMS PACKAGES TO RECIPIENT OUT` prints its folder and its sender's key. Not a tool for
//! users.

use std::{
    error::Error,
    io::{Cursor, Write as _},
    path::Path,
};

use cofferdam_blobs::MultiHasher;
use cofferdam_transfer::{Door, HeaderDraft, Record, Sealed, Writer};
use cofferdam_trust::{SigningKey, age::Recipient};
use cofferdam_types::{Digests, Timestamp};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A release and its blobs.
struct Item {
    draft: Value,
    blobs: Vec<(String, Vec<u8>)>,
}

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [format, items, packages, to, recipient, out] = args.as_slice() else {
        return Err("usage: switch_transfer FORMAT ITEMS PACKAGES TO RECIPIENT OUT".into());
    };
    let make = match *format {
        "generic" => generic,
        "pypi" => wheel,
        other => return Err(format!("no items of the format {other} are made here").into()),
    };
    let (items, packages): (usize, usize) = (items.parse()?, packages.parse()?);
    let key = SigningKey::from_seed(&[1; 32])?;
    let draft = HeaderDraft {
        source: "outside".parse()?,
        destinations: vec![to.parse()?],
        epoch: 1,
        seq: 1,
        prev: None,
        created: Timestamp::from_seconds(1_750_000_000),
        not_after: Timestamp::from_seconds(4_000_000_000),
        tool: "bench".into(),
        receipt: None,
        claims: std::collections::BTreeMap::new(),
        roots: Vec::new(),
    };
    let recipient: Recipient = recipient.parse()?;
    let mut writer = Writer::create(Path::new(out), draft, Door::Sealed(Sealed::to(vec![recipient])))?;
    let (repository, role) = (format!("{format}-mirror"), "mirror".to_owned());
    let (name, of) = (repository.clone(), (*format).to_owned());
    writer.add_record(Record::Repository { name, format: of, role })?;
    // Made twice, so that they need not be held: the lines come before the bytes.
    for n in 0..items {
        let item = make(n, packages)?;
        let blobs = item.blobs.iter().map(|(_, bytes)| digests(bytes).sha256).collect();
        let value = json!({ "repository": repository, "draft": item.draft });
        writer.add_record(Record::Artifact { value, blobs })?;
    }
    for n in 0..items {
        for (name, bytes) in make(n, packages)?.blobs {
            writer.add_blob(digests(&bytes).sha256, bytes.len() as u64, &name, bytes.as_slice())?;
        }
    }
    let summary = writer.finish(&[&key], &())?;
    println!(
        "{}",
        json!({ "path": summary.path, "key": key.verifying_key().to_string(), "bytes": summary.bytes })
    );
    Ok(())
}

fn digests(bytes: &[u8]) -> Digests {
    let mut hasher = MultiHasher::default();
    hasher.update(bytes);
    hasher.finish()
}

fn file(path: &str, role: &str, bytes: &[u8]) -> Value {
    json!({ "path": path, "role": role, "digests": digests(bytes), "meta": null })
}

fn draft(package: &str, version: &str, files: Vec<Value>) -> Value {
    json!({
        "package": package, "display": package, "version": version, "meta": null, "files": files, "pointers": [],
        "published": null, "yanked": null,
    })
}

/// A file in one of so many folders.
fn generic(n: usize, packages: usize) -> Outcome<Item> {
    let (folder, name) = (format!("folder-{:06}", n % packages), format!("file-{n:06}.txt"));
    let bytes = format!("the content of file {n}\n").repeat(8).into_bytes();
    let draft = draft(&folder, &name, vec![file(&format!("{folder}/{name}"), "file", &bytes)]);
    Ok(Item { draft, blobs: vec![(name, bytes)] })
}

/// A wheel of one of so many packages, with its metadata beside it.
fn wheel(n: usize, packages: usize) -> Outcome<Item> {
    let (package, version) = (format!("package-{:06}", n % packages), format!("1.{}", n / packages));
    let distribution = package.replace('-', "_");
    let info = format!("{distribution}-{version}.dist-info");
    let metadata = format!(
        "Metadata-Version: 2.1\nName: {package}\nVersion: {version}\nSummary: About {package}\n\
         License: Apache-2.0\nRequires-Python: >=3.8\nRequires-Dist: package-000000\n"
    );
    let members = [
        (format!("{distribution}/__init__.py"), format!("VERSION = \"{version}\"\n")),
        (format!("{info}/METADATA"), metadata.clone()),
        (format!("{info}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".into()),
        (format!("{info}/RECORD"), format!("{info}/RECORD,,\n")),
    ];
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, text) in &members {
        zip.start_file(path.as_str(), zip::write::SimpleFileOptions::default())?;
        zip.write_all(text.as_bytes())?;
    }
    let bytes = zip.finish()?.into_inner();
    let name = format!("{distribution}-{version}-py3-none-any.whl");
    let path = format!("files/{package}/{name}");
    let beside = format!("{path}.metadata");
    let files = vec![file(&path, "wheel", &bytes), file(&beside, "metadata", metadata.as_bytes())];
    let blobs = vec![(name.clone(), bytes), (format!("{name}.metadata"), metadata.into_bytes())];
    Ok(Item { draft: draft(&package, &version, files), blobs })
}

//! `cofferdam verify`, `inspect`, `release`, and what is printed for a medium: work with files alone, without a
//! site.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cofferdam_transfer::{
    Authority, Header, Media, Refusal, Suite, Survey, Trust, flat_files, freshness, lay_out, plan,
    verify as verify_folders,
};
use cofferdam_trust::{Envelope, SigningKey, VerifyingKey};
use cofferdam_types::{Clock as _, Error, Result, Sha256, Sha256Hasher, time::SystemClock};
use cofferdam_web::paper::{MediumOf, PaperFile, Set, print_me};
use serde_json::json;

use super::{Context, progress::Bar};
use crate::output;

const HEADER: &str = "header.dsse.json";

/// Bytes of a volume for what it is written on.
pub fn volume_size(media: &str) -> Result<u64> {
    Ok(cofferdam_transfer::Media::parse(media)?.volume_size())
}

/// `cofferdam verify`: works anywhere, with nothing but public keys.
pub fn verify(
    context: &Context,
    folders: &[PathBuf],
    keys: &[String],
    threshold: usize,
    destination: Option<&str>,
) -> Result<()> {
    let keys = keys.iter().map(|k| k.parse::<VerifyingKey>()).collect::<Result<Vec<_>>>()?;
    let site = |name: &str| name.parse().map_err(|e| Error::invalid("site-name", format!("{e}")));
    let trust = Trust {
        authority: Authority::Keys { keys, threshold },
        this_site: destination.map(site).transpose()?,
    };
    let bar = Bar::new();
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let verified = verify_folders(&folders, &trust, &bar).and_then(|survey| with_flat_files(survey, &bar));
    bar.end();
    let (survey, changed) = verified?;
    if !changed.is_empty() {
        let text = format!("at the door, flat files were changed or removed: {}", changed.join(", "));
        return Err(Error::verification("changed-at-the-door", text)
            .hint("ask the station what it took out; `cofferdam receive` takes the rest"));
    }
    let header = &survey.header;
    let spare: Vec<_> = survey.faults().map(|(file, _)| file.name.clone()).collect();
    let value = json!({
        "ok": true, "stream": header.stream, "epoch": header.epoch, "seq": header.seq, "created": header.created,
        "suite": header.suite, "header_sha256": survey.header_sha256, "files": header.files.len() + 1,
        "bytes": header.bytes(), "blobs": header.totals.blobs, "rebuilt": header.totals.rebuilt,
        "requires": header.base.map_or(0, |b| b.count), "spare_missing": spare,
        "freshness": format!("{:?}", freshness(header, SystemClock.now())),
        "signers": survey.signers.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    output::show(&value, context.json, |v| {
        format!(
            "the transfer is whole and signed: {} number {}, {} blobs, {}\n  identity {}\n",
            header.stream,
            header.seq,
            v["blobs"],
            output::bytes(header.bytes()),
            survey.header_sha256
        )
    });
    Ok(())
}

/// Of an inspectable transfer the flat files are read too: the signed list of files does not name them, the
/// manifest does. With them, those that are not as they were signed.
fn with_flat_files(survey: Survey, bar: &Bar) -> std::result::Result<(Survey, Vec<String>), Refusal> {
    if survey.header.suite != Suite::Inspectable {
        return Ok((survey, Vec::new()));
    }
    let contents = survey.contents(None, bar)?;
    let changed = contents.door.iter().map(|found| format!("{} ({})", found.name, found.fate)).collect();
    Ok((contents.survey, changed))
}

fn read_envelope(folder: &Path) -> Result<Envelope> {
    let json = fs::read(folder.join(HEADER)).map_err(|e| {
        Error::invalid("not-a-transfer", format!("{} has no readable header", folder.display()))
            .with_source(e)
    })?;
    Envelope::from_json(&json)
}

/// The header as it is written, believed by nobody.
fn read_header(envelope: &Envelope) -> Result<(Header, Sha256)> {
    let bad = || Error::verification("bad-header", "the header cannot be read");
    let payload = envelope.unverified_payload().map_err(|_| bad())?;
    let value: serde_json::Value = serde_json::from_slice(&payload).map_err(|_| bad())?;
    let header = serde_json::from_value(value["predicate"].clone()).map_err(|_| bad())?;
    Ok((header, Sha256::of(&payload)))
}

/// `cofferdam inspect`.
pub fn inspect(context: &Context, folder: &Path) -> Result<()> {
    let envelope = read_envelope(folder)?;
    let (header, identity) = read_header(&envelope)?;
    let signed: Vec<_> = envelope.signatures.iter().map(|s| s.keyid.clone()).collect();
    let value =
        json!({ "believed": false, "header_sha256": identity, "signed_by": signed, "header": header });
    output::show(&value, context.json, |_| {
        let mut text = format!(
            "NOT VERIFIED: this is what the header says, and anybody can write a header\n\
             stream    {}\nnumber    {} of epoch {}\ncreated   {}\nfresh to  {}\nsuite     {}\nidentity  {identity}\n",
            header.stream,
            header.seq,
            header.epoch,
            header.created,
            header.not_after,
            header.suite.as_str()
        );
        for key in &signed {
            text.push_str(&format!("signed by {key}\n"));
        }
        for file in &header.files {
            text.push_str(&format!("{:>16}  {}  {}\n", file.size, file.sha256, file.name));
        }
        text
    });
    Ok(())
}

/// `cofferdam release`: one more signature over the same payload; the identity stays.
pub fn release(context: &Context, folder: &Path, key: &Path) -> Result<()> {
    let key = SigningKey::read(key)?;
    let mut envelope = read_envelope(folder)?;
    let (header, identity) = read_header(&envelope)?;
    envelope.add_signature(&key)?;
    let at = |e| Error::io("writing the header", e);
    let temporary = folder.with_file_name(format!(".{HEADER}.{}", &identity.to_hex()[..16]));
    let file = fs::File::create(&temporary).map_err(at)?;
    let written = fs::write(&temporary, envelope.to_json()?)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, folder.join(HEADER)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(at)?;
    refresh_copies(folder, &header).map_err(at)?;
    let value = json!({ "header_sha256": identity, "signed_by": key.id().to_string(), "signatures": envelope.signatures.len() });
    output::show(&value, context.json, |v| {
        format!("{} number {} has {} signatures now\n", header.stream, header.seq, v["signatures"])
    });
    Ok(())
}

/// The folders for media have their own copy of the header: it gets the new signature too. The page that was
/// printed before shows the old signers and goes.
fn refresh_copies(folder: &Path, header: &Header) -> std::io::Result<()> {
    let (name, parent) = (header.folder_name(), folder.parent().unwrap_or(Path::new(".")));
    let discs = parent.join(format!("{name}.discs"));
    for disc in fs::read_dir(discs).into_iter().flatten().flatten() {
        let copy = disc.path().join(&name).join(HEADER);
        if copy.exists() {
            fs::remove_file(&copy)?;
            fs::copy(folder.join(HEADER), &copy)?;
        }
    }
    let page = parent.join(format!("{name}.PRINT-ME.html"));
    if page.exists() {
        fs::remove_file(page)?;
        eprintln!("the page to print showed the signers before this one and was removed");
    }
    Ok(())
}

/// What was written beside a packed transfer.
#[derive(Debug, Default, serde::Serialize)]
pub struct Papers {
    /// The page to print.
    pub page: PathBuf,
    /// One folder for each medium, when there are several.
    pub discs: Vec<PathBuf>,
    /// Files for each medium, in order.
    pub files: Vec<Vec<String>>,
    /// What could not be linked there and is to be copied: from, to.
    pub to_copy: Vec<(PathBuf, PathBuf)>,
}

/// Writes the label sheet and hash list beside a packed transfer, and a folder for each medium when the
/// transfer needs several.
pub fn write_papers(folder: &Path, media: Option<&str>) -> Result<Papers> {
    let envelope = read_envelope(folder)?;
    let (header, identity) = read_header(&envelope)?;
    let header_json = envelope.to_json()?;
    let media = Media::parse(media.unwrap_or("fat32"))?;
    let flat = if header.suite == Suite::Inspectable { flat_files(folder)? } else { Vec::new() };
    let plan = plan(&header, header_json.len() as u64, &flat, &media)?;
    let name = header.folder_name();
    let parent = folder.parent().unwrap_or(Path::new("."));
    let mut papers = Papers {
        page: parent.join(format!("{name}.PRINT-ME.html")),
        discs: Vec::new(),
        files: plan.iter().map(|disc| disc.files.clone()).collect(),
        to_copy: Vec::new(),
    };
    let paper_file = |file: &String| -> Result<PaperFile> {
        let (bytes, sha256) = match header.file(file) {
            Some(entry) => (entry.size, entry.sha256),
            None if file == HEADER => (header_json.len() as u64, Sha256::of(&header_json)),
            None => hash(&folder.join(file)).map_err(|e| Error::io(format!("reading {file}"), e))?,
        };
        Ok(PaperFile { name: file.clone(), bytes, sha256 })
    };
    let mut sheets = Vec::new();
    for disc in &plan {
        let files = disc.files.iter().map(paper_file).collect::<Result<_>>()?;
        sheets.push(MediumOf { number: disc.number, serial: String::new(), files });
    }
    let set = Set {
        folder: name,
        source: header.source.to_string(),
        destinations: header.destinations.iter().map(ToString::to_string).collect(),
        epoch: header.epoch,
        seq: header.seq,
        created: header.created,
        not_after: header.not_after,
        classification: String::new(),
        identity,
        signers: envelope.signatures.iter().map(|s| s.keyid.clone()).collect(),
        media: sheets,
    };
    fs::write(&papers.page, print_me(&set)?).map_err(|e| Error::io("writing the page to print", e))?;
    if plan.len() > 1 {
        let into = parent.join(format!("{}.discs", set.folder));
        let laid = lay_out(folder, &plan, &into)?;
        (papers.discs, papers.to_copy) = (laid.discs, laid.to_copy);
    }
    Ok(papers)
}

/// Bytes and digest of a file.
fn hash(file: &Path) -> std::io::Result<(u64, Sha256)> {
    let mut hasher = Sha256Hasher::default();
    let bytes = std::io::copy(&mut fs::File::open(file)?, &mut hasher)?;
    Ok((bytes, hasher.finish()))
}

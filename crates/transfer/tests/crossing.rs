//! A transfer is written, carried, damaged in every way we could think of, and read.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use cofferdam_transfer::{
    Freshness, HeaderDraft, Record, Refusal, Sequence, StreamState, Trust, Verified, Writer, classify,
    freshness, verify,
};
use cofferdam_trust::{Envelope, STATEMENT_PAYLOAD_TYPE, SigningKey, sign};
use cofferdam_types::{Error, Sha256, Timestamp};

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).unwrap()
}

fn trust(keys: &[u8], threshold: usize, site: &str) -> Trust {
    let keys = keys.iter().map(|n| key(*n).verifying_key()).collect();
    Trust { keys, threshold, this_site: site.parse().unwrap() }
}

fn draft(seq: u64) -> HeaderDraft {
    HeaderDraft {
        source: "outside".parse().unwrap(),
        destinations: vec!["inside".parse().unwrap()],
        epoch: 1,
        seq,
        prev: None,
        created: Timestamp::from_seconds(1_000),
        not_after: Timestamp::from_seconds(2_000),
        tool: "test 1".to_owned(),
        claims: [("rehearsal".to_owned(), Sha256::of(b"r"))].into(),
    }
}

/// Bytes that do not compress, the same every time.
fn noise(len: usize) -> Vec<u8> {
    let mut x = 0x2545_F491_4F6C_DD1Du64;
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[3]
    })
    .take(len)
    .collect()
}

fn write(parent: &Path, blobs: &[Vec<u8>], signers: &[u8]) -> PathBuf {
    let mut writer = Writer::create(parent, draft(1)).unwrap();
    let held = Sha256::of(b"held inside");
    let digests: Vec<_> = blobs.iter().map(|b| Sha256::of(b)).chain([held]).collect();
    let (name, format, role) = ("py".to_owned(), "pypi".to_owned(), "proxy".to_owned());
    writer.add_record(Record::Repository { name, format, role }).unwrap();
    writer.add_record(Record::Artifact { value: serde_json::json!({"n": 1}), blobs: digests }).unwrap();
    writer.add_required(held, 11).unwrap();
    for blob in blobs {
        writer.add_blob(Sha256::of(blob), blob.len() as u64, blob.as_slice()).unwrap();
    }
    let keys: Vec<_> = signers.iter().map(|n| key(*n)).collect();
    writer.finish(&keys.iter().collect::<Vec<_>>()).unwrap().path
}

fn small(parent: &Path) -> PathBuf {
    write(parent, &[b"hello ".repeat(50), noise(300), Vec::new()], &[1, 2])
}

fn check(dir: &Path) -> Result<Verified, Refusal> {
    verify(dir, &trust(&[1, 2], 2, "inside"), &())
}

fn code(dir: &Path) -> &'static str {
    check(dir).err().expect("it must be refused").code
}

fn read_all(transfer: &Verified) -> Result<Vec<Vec<u8>>, Error> {
    let mut out = Vec::new();
    transfer.blobs::<Error>(|_, reader| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|e| Error::io("reading", e))?;
        out.push(bytes);
        Ok(())
    })?;
    Ok(out)
}

#[test]
fn what_went_in_comes_out_across_frames_and_packs() {
    let home = tempfile::tempdir().unwrap();
    let blobs = vec![noise(70 << 20), b"text ".repeat(100_000), Vec::new(), noise(5)];
    let path = write(home.path(), &blobs, &[1, 2]);
    let transfer = check(&path).unwrap();
    assert_eq!(transfer.header.packs, 2);
    assert_eq!((transfer.signers.len(), transfer.required().len()), (2, 1));
    assert!(read_all(&transfer).unwrap() == blobs);
    let mut records = 0;
    transfer
        .records::<Error>(|_| {
            records += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(records, 2);

    let again = tempfile::tempdir().unwrap();
    let second = write(again.path(), &blobs, &[1, 2]);
    for file in fs::read_dir(&path).unwrap() {
        let name = file.unwrap().file_name();
        assert!(fs::read(path.join(&name)).unwrap() == fs::read(second.join(&name)).unwrap(), "{name:?}");
    }
}

#[test]
fn any_flipped_byte_in_any_file_is_refused_and_the_file_is_named() {
    let home = tempfile::tempdir().unwrap();
    let path = small(home.path());
    for file in fs::read_dir(&path).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let good = fs::read(file.path()).unwrap();
        for at in 0..good.len() {
            for mask in [1u8, 0x20, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= mask;
                fs::write(file.path(), &bad).unwrap();
                let refusal =
                    check(&path).err().unwrap_or_else(|| panic!("{name} byte {at} was not noticed"));
                assert_eq!(refusal.file.as_deref(), Some(name.as_str()), "{refusal:?}");
                assert!(
                    !name.ends_with(".ctp") || refusal.offset.is_some_and(|o| o <= at as u64),
                    "{refusal:?}"
                );
            }
        }
        fs::write(file.path(), good).unwrap();
    }
    check(&path).unwrap();
}

#[test]
fn damage_after_the_check_is_never_handed_out_as_a_blob() {
    let home = tempfile::tempdir().unwrap();
    let path = small(home.path());
    let transfer = check(&path).unwrap();
    let pack = path.join("p000001.ctp");
    let mut bytes = fs::read(&pack).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&pack, bytes).unwrap();
    assert_eq!(read_all(&transfer).unwrap_err().code(), "frame-damaged");
}

#[test]
fn a_folder_that_is_not_exactly_the_transfer_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = small(home.path());
    for name in ["extra", "P000001.CTP", "p000002.ctp", "p1.ctp", "p000000.ctp", "Header.dsse.json"] {
        fs::write(path.join(name), "x").unwrap();
        assert_eq!(code(&path), "unexpected-file", "{name}");
        fs::remove_file(path.join(name)).unwrap();
    }
    for name in ["header.dsse.json", "README.txt", "manifest.jsonl.zst", "p000001.ctp"] {
        let file = path.join(name);
        let good = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(code(&path), "missing-file", "{name}");
        symlink("README.txt", &file).unwrap();
        assert_eq!(code(&path), "not-a-regular-file", "{name}");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(code(&path), "not-a-regular-file", "{name}");
        fs::remove_dir(&file).unwrap();
        let header = name == "header.dsse.json";
        fs::write(&file, &good[..good.len() - 1]).unwrap();
        assert_eq!(code(&path), if header { "bad-envelope" } else { "size-mismatch" }, "{name}");
        fs::write(&file, [good.as_slice(), b"\n"].concat()).unwrap();
        assert_eq!(code(&path), if header { "bad-header" } else { "size-mismatch" }, "{name}");
        fs::write(&file, good).unwrap();
    }
    let hidden = home.path().join(".CT1-outside+inside-1-000001.partial");
    fs::rename(&path, &hidden).unwrap();
    assert_eq!(code(&hidden), "not-a-transfer");
    let other = home.path().join("CT1-outside+inside-1-000002");
    fs::rename(&hidden, &other).unwrap();
    assert_eq!(code(&other), "wrong-folder");
    symlink(&other, &path).unwrap();
    assert_eq!(code(&path), "not-a-transfer");
}

#[test]
fn only_the_right_signers_for_the_right_site_count() {
    let home = tempfile::tempdir().unwrap();
    let path = small(home.path());
    let refused = |t: &Trust| verify(&path, t, &()).err().unwrap().code;
    assert_eq!(refused(&trust(&[1, 3], 2, "inside")), "too-few-signatures");
    assert_eq!(refused(&trust(&[3], 1, "inside")), "too-few-signatures");
    assert_eq!(refused(&trust(&[], 0, "inside")), "no-threshold");
    assert_eq!(refused(&trust(&[1], 1, "elsewhere")), "other-destination");

    let file = path.join("header.dsse.json");
    let good = Envelope::from_json(&fs::read(&file).unwrap()).unwrap();
    let mut stripped = good.clone();
    stripped.signatures.truncate(1);
    fs::write(&file, stripped.to_json().unwrap()).unwrap();
    assert_eq!(code(&path), "too-few-signatures");
    stripped.signatures.push(stripped.signatures[0].clone());
    fs::write(&file, stripped.to_json().unwrap()).unwrap();
    assert_eq!(code(&path), "too-few-signatures");
}

/// Signs an altered header with the real keys: what a faulty or hostile sender could do.
fn resign(path: &Path, from: &str, to: &str) -> &'static str {
    let file = path.join("header.dsse.json");
    let good = fs::read(&file).unwrap();
    let keys = trust(&[1, 2], 2, "inside").keys;
    let payload = cofferdam_trust::verify(&Envelope::from_json(&good).unwrap(), &keys, 2).unwrap().payload;
    let text = String::from_utf8(payload).unwrap();
    assert!(text.contains(from), "{text}");
    let altered = text.replace(from, to);
    let envelope = sign(STATEMENT_PAYLOAD_TYPE, altered.as_bytes(), &[&key(1), &key(2)]);
    fs::write(&file, envelope.to_json().unwrap()).unwrap();
    let code = code(path);
    fs::write(&file, good).unwrap();
    code
}

#[test]
fn a_signed_header_is_still_held_to_the_format() {
    let home = tempfile::tempdir().unwrap();
    let path = small(home.path());
    assert_eq!(resign(&path, "transfer/v1", "transfer/v2"), "unsupported-version");
    assert_eq!(resign(&path, "\"formatVersion\":1", "\"formatVersion\":2"), "unsupported-version");
    assert_eq!(resign(&path, "clear-1", "age-1"), "unsupported-version");
    assert_eq!(resign(&path, "\"packs\":1", "\"packs\":200000"), "too-large");
    assert_eq!(resign(&path, "\"packs\":1", "\"packs\":2"), "bad-header");
    assert_eq!(resign(&path, "p000001.ctp", "../p0001.ctp"), "bad-header");
    assert_eq!(resign(&path, "\"packs\":1", "\"extra\":0,\"packs\":1"), "bad-header");
    assert_eq!(resign(&path, "\"packs\":1", "\"packs\":1,\"packs\":1"), "bad-header");
    assert_eq!(resign(&path, "\"seq\":1", "\"seq\":2"), "wrong-folder");
    assert_eq!(resign(&path, "\"blobs\":3", "\"blobs\":2"), "too-large");
    // A manifest that unpacks to more than was declared is stopped while it unpacks.
    assert_eq!(resign(&path, "\"plainSize\":", "\"plainSize\":1,\"x\":"), "bad-header");
    let plain = check(&path).unwrap().header.manifest.plain_size;
    assert_eq!(resign(&path, &format!("\"plainSize\":{plain}"), "\"plainSize\":9"), "too-large");
}

#[test]
fn a_writer_that_stops_leaves_nothing_and_one_that_lies_is_caught() {
    let home = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(home.path(), draft(1)).unwrap();
    assert_eq!(Writer::create(home.path(), draft(1)).err().unwrap().code(), "transfer-busy");
    let digest = Sha256::of(b"a");
    assert_eq!(writer.add_blob(digest, 1, b"b".as_slice()).unwrap_err().code(), "blob-mismatch");
    assert_eq!(writer.add_blob(digest, 1, b"a".as_slice()).unwrap_err().code(), "duplicate-blob");
    assert_eq!(writer.finish(&[&key(1)]).unwrap_err().code(), "unfinished");

    let mut writer = Writer::create(home.path(), draft(1)).unwrap();
    writer.add_blob(digest, 1, b"a".as_slice()).unwrap();
    assert_eq!(writer.finish(&[&key(1)]).unwrap_err().code(), "not-closed");
    let mut writer = Writer::create(home.path(), draft(1)).unwrap();
    let artifact = Record::Artifact { value: serde_json::Value::Null, blobs: vec![digest] };
    writer.add_record(artifact.clone()).unwrap();
    assert!(writer.add_record(artifact).is_err());
    assert_eq!(writer.finish(&[&key(1)]).unwrap_err().code(), "not-closed");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn order_and_age_are_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let transfer = check(&small(home.path())).unwrap();
    let (mut header, id) = (transfer.header.clone(), transfer.header_sha256);
    let mut state = StreamState { epoch: 1, ..StreamState::default() };
    assert_eq!(classify(&header, id, &state), Sequence::Next);
    state.known.insert((1, 1), id);
    assert_eq!(classify(&header, id, &state), Sequence::AlreadyImported);
    assert_eq!(classify(&header, Sha256::of(b"x"), &state), Sequence::Equivocation);
    let state = StreamState { epoch: 1, last_seq: 4, last_header: Some(id), ..StreamState::default() };
    assert_eq!(classify(&header, id, &state), Sequence::Rollback);
    header.seq = 7;
    assert_eq!(classify(&header, id, &state), Sequence::Gap { missing: 5..=6 });
    header.seq = 5;
    assert_eq!(classify(&header, Sha256::of(b"x"), &state), Sequence::Equivocation, "prev is another");
    header.prev = Some(id);
    assert_eq!(classify(&header, Sha256::of(b"x"), &state), Sequence::Next);
    assert_eq!(freshness(&header, Timestamp::from_seconds(1_500)), Freshness::Current);
    assert!(matches!(freshness(&header, Timestamp::from_seconds(2_001)), Freshness::Expired(_)));
    assert!(matches!(freshness(&header, Timestamp::from_seconds(1)), Freshness::FromTheFuture(_)));
}

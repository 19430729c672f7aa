//! What is refused, and with which code.

use std::{fs, os::unix::fs::symlink, path::Path};

use cofferdam_transfer::{Trust, Writer, verify};
use cofferdam_trust::{Envelope, STATEMENT_PAYLOAD_TYPE, sign};

use crate::made::{check, code, draft, files, key, open, read_all, sealed, small, trust};

#[test]
fn any_flipped_byte_in_any_file_is_refused_and_the_file_is_named() {
    let home = tempfile::tempdir().unwrap();
    let path = small(home.path());
    for name in files(&path) {
        let file = path.join(&name);
        let good = fs::read(&file).unwrap();
        // Every byte where there are few; a spread over all of them where there are many.
        let step = good.len() / 150 + 1;
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            bad[at] ^= [1u8, 0x20, 0x80][at % 3];
            fs::write(&file, &bad).unwrap();
            let refusal = check(&path).err().unwrap_or_else(|| panic!("{name} byte {at} was not noticed"));
            assert_eq!(refusal.file.as_deref(), Some(name.as_str()), "{refusal:?}");
            let placed = name.ends_with(".ctv") || name.ends_with(".age");
            assert!(!placed || refusal.offset.is_some_and(|o| o <= at as u64), "{refusal:?}");
        }
        fs::write(&file, good).unwrap();
    }
    check(&path).unwrap();
}

#[test]
fn damage_after_the_check_is_never_handed_out_as_a_blob() {
    let home = tempfile::tempdir().unwrap();
    let path = small(home.path());
    let contents = open(&path).unwrap();
    let volume = path.join("v000001.ctv");
    let mut bytes = fs::read(&volume).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&volume, bytes).unwrap();
    let refusal = read_all(&contents).unwrap_err();
    assert_eq!((refusal.code, refusal.file.as_deref()), ("pack-damaged", Some("v000001.ctv")));
}

#[test]
fn a_folder_that_is_not_exactly_the_transfer_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = small(home.path());
    for name in
        ["extra", "V000001.CTV", "v000002.ctv", "v1.ctv", "v000000.ctv", "Header.dsse.json", "manifest.jsonl"]
    {
        fs::write(path.join(name), "x").unwrap();
        assert_eq!(code(&path), "unexpected-file", "{name}");
        fs::remove_file(path.join(name)).unwrap();
    }
    fs::create_dir(path.join("files")).unwrap();
    assert_eq!(code(&path), "unexpected-file");
    fs::remove_dir(path.join("files")).unwrap();
    for name in ["header.dsse.json", "README.txt", "manifest.jsonl.zst.age", "v000001.ctv"] {
        let file = path.join(name);
        let good = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        // Nobody needs the README to read a transfer.
        if name != "README.txt" {
            assert_eq!(code(&path), "missing-file", "{name}");
        }
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
    let refused = |t: &Trust| verify(&[&path], t, &()).err().unwrap().code;
    assert_eq!(refused(&trust(&[1, 3], 2, "inside")), "too-few-signatures");
    assert_eq!(refused(&trust(&[3], 1, "inside")), "too-few-signatures");
    assert_eq!(refused(&trust(&[], 0, "inside")), "no-threshold");
    assert_eq!(refused(&trust(&[1], 1, "elsewhere")), "other-destination");
    let station = Trust { this_site: None, ..trust(&[1], 1, "elsewhere") };
    verify(&[&path], &station, &()).unwrap();

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
    let keys = [key(1).verifying_key(), key(2).verifying_key()];
    let payload = cofferdam_trust::verify(&Envelope::from_json(&good).unwrap(), &keys, 2).unwrap().payload;
    let text = String::from_utf8(payload).unwrap();
    assert!(text.contains(from), "{text}");
    let altered = text.replacen(from, to, 1);
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
    let header = check(&path).unwrap().header;
    let plain = header.manifest.plain_size;
    for (from, to, refused) in [
        ("transfer/v1", "transfer/v2", "unsupported-version"),
        ("dev/transfer/v1", "dev/other/v1", "bad-header"),
        ("\"formatVersion\":1", "\"formatVersion\":2", "unsupported-version"),
        ("sealed-1", "sealed-9", "unsupported-version"),
        ("sealed-1", "inspectable-1", "bad-header"),
        ("\"packs\":1", "\"packs\":9000000", "too-large"),
        ("\"packs\":1", "\"packs\":2", "bad-manifest"),
        ("v000001.ctv", "../v0001.ctv", "bad-header"),
        ("v000001.ctv", "v000002.ctv", "bad-header"),
        ("\"packs\":1", "\"extra\":0,\"packs\":1", "bad-header"),
        ("\"packs\":1", "\"packs\":1,\"packs\":1", "bad-header"),
        ("\"volumeSize\":4000000000", "\"volumeSize\":1", "bad-header"),
        ("\"seq\":1", "\"seq\":2", "wrong-folder"),
        ("\"blobs\":3", "\"blobs\":2", "too-large"),
        ("\"plainSize\":", "\"plainSize\":1,\"x\":", "bad-header"),
        // A manifest that unpacks to more than was declared is stopped while it unpacks.
        (&format!("\"plainSize\":{plain}"), "\"plainSize\":9", "too-large"),
        (&format!("\"plainSize\":{plain}"), &format!("\"plainSize\":{}", plain + 1), "digest-mismatch"),
        ("\"parity\":{\"slice\":4096", "\"parity\":{\"slice\":4097", "bad-parity-geometry"),
        ("\"count\":1", "\"count\":2", "bad-manifest"),
    ] {
        assert_eq!(resign(&path, from, to), refused, "{from} -> {to}");
    }
}

#[test]
fn the_roots_of_a_header_stand_in_their_order_and_once() {
    let home = tempfile::tempdir().unwrap();
    let mut draft = draft(1);
    draft.roots = vec![(2, b"two".to_vec()), (3, b"three".to_vec())];
    let writer = Writer::create(home.path(), draft, sealed(4_000_000_000, 0)).unwrap();
    let path = writer.finish(&[&key(1), &key(2)], &()).unwrap().path;
    let entry = |name: &str| serde_json::to_string(check(&path).unwrap().header.file(name).unwrap()).unwrap();
    let (two, three) = (entry("root.2.dsse.json"), entry("root.3.dsse.json"));
    for wrong in [format!("{three},{two}"), format!("{two},{two},{three}")] {
        assert_eq!(resign(&path, &format!("{two},{three}"), &wrong), "bad-header", "{wrong}");
    }
}

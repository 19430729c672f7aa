//! An archive of one package, signed by GnuPG (`tests/fixtures/debian`), and what is made of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::joined::{Keys, Origin, PlacedKey, UpstreamKeys, Verdict};
use cofferdam_types::Sha256;

use crate::joined::shelf::Shelf;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/debian/", $name))
    };
}

const DIST: &str = "http://deb.example/debian/dists/stable";
const FERRY: &str = "http://deb.example/debian/pool/main/f/ferry_1.0-1_all.deb";
const LATEST: &str = "http://deb.example/debian/pool/main/f/ferry-latest.deb";
const KEY: &[u8] = fixture!("archive.gpg");

fn keys(key: &[u8], place: &str, origin: Origin) -> UpstreamKeys {
    let archives = vec![PlacedKey { place: place.into(), key: STANDARD.encode(key) }];
    UpstreamKeys::of(&Keys { archives, ..Keys::default() }, origin)
}

fn known() -> UpstreamKeys {
    keys(KEY, "deb.example/debian", Origin::Recording)
}

fn at(name: &str) -> String {
    format!("{DIST}/{name}")
}

/// What apt fetches: the list, the index, and a package.
fn archive() -> Shelf {
    let mut shelf = Shelf::default();
    shelf.add(&at("InRelease"), fixture!("InRelease"));
    shelf.add(&at("main/binary-all/Packages.xz"), fixture!("Packages.xz"));
    shelf.add(FERRY, fixture!("ferry.deb"));
    shelf
}

#[tokio::test]
async fn a_package_is_what_the_signed_index_lists() {
    let shelf = archive();
    let joined = shelf.join(&known()).await;
    assert_eq!(joined.findings.len(), 3, "list, index and package: {joined:#?}");
    for finding in &joined.findings {
        assert_eq!(finding.verdict, Verdict::Holds, "{finding:?}");
        assert!(
            finding.text.contains("signed by Harbour archive <archive@harbour.example> ("),
            "{finding:?}"
        );
        assert!(finding.text.contains("a key that the recording brought"), "{finding:?}");
    }
    assert!(joined.findings[0].text.contains("until when it is valid was not looked at"));
    // With the key that came of it, the other side finds the same.
    let again = UpstreamKeys::of(&joined.keys, Origin::Recording);
    assert_eq!(shelf.join(&again).await, joined);
    assert_eq!(joined.keys.archives[0].place, "deb.example/debian");
    let (_, text) = shelf.said(FERRY, &keys(KEY, "*", Origin::Site)).await.unwrap();
    assert!(text.contains("a key of this site"), "{text}");
}

#[tokio::test]
async fn an_index_is_known_by_its_hash_packed_or_not_and_behind_a_redirect() {
    for (bytes, listed) in [
        (&fixture!("Packages")[..], "Packages"),
        (fixture!("Packages.gz"), "Packages.gz"),
        (fixture!("Packages.xz"), "Packages.xz"),
    ] {
        let hashed = at(&format!("main/binary-all/by-hash/SHA256/{}", Sha256::of(bytes)));
        let mut shelf = archive();
        shelf.remove(&at("main/binary-all/Packages.xz"));
        shelf.add(&hashed, bytes);
        let (verdict, text) = shelf.said(&hashed, &known()).await.unwrap();
        assert!(verdict == Verdict::Holds && text.contains(listed), "{text}");
        assert_eq!(shelf.said(FERRY, &known()).await.unwrap().0, Verdict::Holds);
    }
    let mut shelf = archive();
    let (bytes, elsewhere) = (fixture!("ferry.deb"), "https://cdn.example/blob/7.deb");
    shelf.remove(FERRY);
    shelf.lead(FERRY, "https://mirror.example/x");
    shelf.lead("https://mirror.example/x", "//cdn.example/blob/7.deb?sig=***");
    shelf.add(elsewhere, bytes);
    assert_eq!(shelf.said(elsewhere, &known()).await.unwrap().0, Verdict::Holds);
}

#[tokio::test]
async fn without_a_key_the_digests_are_compared_and_the_missing_key_is_named() {
    let shelf = archive();
    let elsewhere = keys(KEY, "deb.example/debian-security", Origin::Recording);
    let shut_out = keys(fixture!("stranger.gpg"), "deb.example", Origin::Site).and(known());
    for keys in [UpstreamKeys::default(), elsewhere, shut_out, keys(b"no key", "*", Origin::Site)] {
        let joined = shelf.join(&keys).await;
        assert_eq!(joined.findings.len(), 3);
        assert!(joined.keys.archives.is_empty());
        for finding in joined.findings {
            assert_eq!(finding.verdict, Verdict::Unchecked, "{finding:?}");
            let (_, key) = finding.text.split_once("signature not checked: no key ").unwrap_or_default();
            assert!(key.len() > 40 && key.contains(" is known here for deb.example"), "{finding:?}");
        }
    }
}

#[tokio::test]
async fn a_release_and_its_signature_beside_it_do_the_same() {
    let mut shelf = archive();
    shelf.remove(&at("InRelease"));
    shelf.add(&at("Release"), fixture!("Release"));
    let (verdict, text) = shelf.said(FERRY, &known()).await.unwrap();
    assert!(verdict == Verdict::Unchecked && text.contains("no signature of it was recorded"), "{text}");
    shelf.add(&at("Release.gpg"), fixture!("Release.gpg"));
    assert_eq!(shelf.said(FERRY, &known()).await.unwrap().0, Verdict::Holds);
    // Another recording's, of another day.
    let newer = String::from_utf8_lossy(fixture!("Release")).replace("01 Jan", "02 Jan");
    shelf.add(&at("Release"), newer.as_bytes());
    let joined = shelf.join(&known()).await;
    assert!(joined.findings.iter().all(|f| f.verdict != Verdict::Wrong), "{joined:#?}");
    assert_eq!(shelf.said(FERRY, &known()).await.unwrap().0, Verdict::Holds);
    let first = shelf.files.iter().position(|f| f.path == at("Release")).unwrap();
    shelf.files.remove(first);
    let (verdict, text) = shelf.said(&at("Release"), &known()).await.unwrap();
    assert!(verdict == Verdict::Wrong && text.contains("does not hold over it"), "one of each: {text}");
}

#[tokio::test]
async fn a_changed_list_is_wrong_and_proves_nothing() {
    let mut shelf = archive();
    let changed = String::from_utf8_lossy(fixture!("InRelease")).replace("stable", "stages");
    shelf.remove(&at("InRelease"));
    shelf.add(&at("InRelease"), changed.as_bytes());
    let (verdict, text) = shelf.said(&at("InRelease"), &known()).await.unwrap();
    assert!(verdict == Verdict::Wrong && text.contains("does not hold over it"), "{text}");
    assert_eq!(shelf.said(FERRY, &known()).await.unwrap().0, Verdict::Unchecked);
    // What a list puts outside of what is signed counts for nothing.
    let around = format!("{}Suite: evil\n", String::from_utf8_lossy(fixture!("InRelease")));
    shelf.remove(&at("InRelease"));
    shelf.add(&at("InRelease"), around.as_bytes());
    let (verdict, text) = shelf.said(&at("InRelease"), &known()).await.unwrap();
    assert!(verdict == Verdict::Unchecked && text.contains("something stands behind"), "{text}");
}

#[tokio::test]
async fn a_package_with_other_bytes_under_a_name_with_its_version_is_wrong() {
    let mut shelf = archive();
    shelf.remove(FERRY);
    shelf.add(FERRY, b"ferry 6.6\n");
    let (verdict, text) = shelf.said(FERRY, &known()).await.unwrap();
    assert!(verdict == Verdict::Wrong && text.contains("under its name; these are 10 with"), "{text}");
    // Nobody vouches for the index: it may as well be the index that is false.
    assert_eq!(shelf.said(FERRY, &UpstreamKeys::default()).await.unwrap().0, Verdict::Unchecked);
}

#[tokio::test]
async fn what_is_of_another_time_is_not_checked_and_not_wrong() {
    let mut shelf = archive();
    let newer = "http://deb.example/debian/pool/main/f/ferry_1.1-1_all.deb";
    shelf.add(newer, b"ferry 1.1\n");
    shelf.add(LATEST, b"a newer one under a name without its version\n");
    let elsewhere = "http://deb.example/other/pool/x_1_all.deb";
    shelf.add(elsewhere, b"of no archive that is here\n");
    for (url, words) in [(newer, "does not list it: is older or newer"), (LATEST, "one of the two is older")]
    {
        let (verdict, text) = shelf.said(url, &known()).await.unwrap();
        assert!(verdict == Verdict::Unchecked && text.contains(words), "{text}");
    }
    assert_eq!(shelf.said(elsewhere, &known()).await, None);
    // An index of another day, beside the one that the list names: what is listed holds, what is not is not checked.
    let index = at("main/binary-all/Packages");
    shelf.add(&index, b"Package: ferry\n");
    let (verdict, text) = shelf.said(&index, &known()).await.unwrap();
    assert!(verdict == Verdict::Unchecked && text.contains("lists other bytes"), "{text}");
    assert_eq!(shelf.said(FERRY, &known()).await.unwrap().0, Verdict::Holds);
    shelf.remove(&at("InRelease"));
    let (verdict, text) = shelf.said(FERRY, &known()).await.unwrap();
    assert!(verdict == Verdict::Unchecked && text.contains("no Release of it was recorded"), "{text}");
}

#[tokio::test]
async fn a_file_that_is_not_what_its_hash_in_the_address_says_is_wrong() {
    let mut shelf = archive();
    let hashed = at(&format!("main/binary-all/by-hash/SHA256/{}", Sha256::of(fixture!("Packages"))));
    shelf.add(&hashed, b"Package: evil\n");
    let (verdict, text) = shelf.said(&hashed, &known()).await.unwrap();
    assert!(verdict == Verdict::Wrong && text.contains("another SHA-256"), "{text}");
}

#[tokio::test]
async fn a_flat_archive_is_read_too() {
    let mut shelf = Shelf::default();
    let package = b"ferry\n";
    let index = format!(
        "Package: f\nVersion: 1\nFilename: ./f_1_all.deb\nSize: 6\nSHA256: {}\n",
        Sha256::of(package)
    );
    let release = format!("Suite: x\nSHA256:\n {} {} Packages\n", Sha256::of(index.as_bytes()), index.len());
    shelf.add("http://deb.example/flat/Release", release.as_bytes());
    shelf.add("http://deb.example/flat/Packages", index.as_bytes());
    shelf.add("http://deb.example/flat/f_1_all.deb", package);
    let (verdict, text) = shelf.said("http://deb.example/flat/f_1_all.deb", &known()).await.unwrap();
    assert_eq!(verdict, Verdict::Unchecked);
    assert!(text.starts_with("digest compared with deb.example/flat/Packages; no signature of it"), "{text}");
}

#[tokio::test]
async fn damaged_answers_never_stop_the_program() {
    for cut in 0..60 {
        let mut shelf = Shelf::default();
        for (name, bytes) in [
            ("InRelease", &fixture!("InRelease")[..]),
            ("Release", fixture!("Release")),
            ("Release.gpg", fixture!("Release.gpg")),
            ("main/binary-all/Packages.xz", fixture!("Packages.xz")),
            ("main/binary-all/Packages.gz", fixture!("Packages.gz")),
        ] {
            let mut bytes = bytes[..bytes.len() * cut / 60].to_vec();
            if let Some(byte) = bytes.get_mut(cut * 3) {
                *byte ^= 0x55;
            }
            shelf.add(&at(name), &bytes);
        }
        shelf.add(FERRY, fixture!("ferry.deb"));
        let joined = shelf.join(&known()).await;
        let package = joined.findings.iter().find(|f| f.path == FERRY);
        assert!(package.is_none_or(|f| f.verdict == Verdict::Unchecked), "{joined:?}");
    }
}

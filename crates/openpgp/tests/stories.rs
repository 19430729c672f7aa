//! Documents signed by GnuPG, judged here.

use std::{path::PathBuf, process::Command};

use cofferdam_openpgp::{Keyring, Outcome, verify_cleartext, verify_detached};
use proptest::prelude::*;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

fn ring() -> Keyring {
    Keyring::read(&file("ring.gpg")).unwrap()
}

fn detached(signature: &str) -> Vec<Outcome> {
    verify_detached(&file("message.txt"), &file(signature), &ring()).unwrap()
}

fn only(mut outcomes: Vec<Outcome>) -> Outcome {
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    outcomes.remove(0)
}

fn name(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Good(signer) => &signer.name,
        other => panic!("it does not hold: {other:?}"),
    }
}

fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::NotCounted { why, .. } => why,
        other => panic!("it counts: {other:?}"),
    }
}

#[test]
fn every_kind_of_key_that_archives_have_signs_a_document() {
    for (signature, by) in [
        ("rsa.sig", "rsa"),
        ("rsa.asc", "rsa"),
        ("text.sig", "rsa"),
        ("ed25519.sig", "ed25519"),
        ("p256.sig", "p256"),
        ("p384.sig", "p384"),
        ("notation.sig", "ed25519"),
    ] {
        let outcome = only(detached(signature));
        assert_eq!(name(&outcome), format!("{by} <{by}@harbour.example>"), "{signature}");
    }
}

#[test]
fn a_document_with_one_changed_byte_is_not_what_was_signed() {
    let mut changed = file("message.txt");
    changed[3] ^= 1;
    for signature in ["rsa.sig", "rsa.asc", "text.sig", "ed25519.sig", "p256.sig", "p384.sig", "both.asc"] {
        for outcome in verify_detached(&changed, &file(signature), &ring()).unwrap() {
            assert!(matches!(outcome, Outcome::Bad { .. }), "{signature}: {outcome:?}");
        }
    }
}

#[test]
fn a_text_is_signed_whatever_its_line_ends_and_bytes_are_not() {
    let text = String::from_utf8(file("message.txt")).unwrap().replace('\n', "\r\n");
    let judged = |signature| only(verify_detached(text.as_bytes(), &file(signature), &ring()).unwrap());
    assert!(matches!(judged("text.sig"), Outcome::Good(_)));
    assert!(matches!(judged("rsa.sig"), Outcome::Bad { .. }));
}

#[test]
fn several_signatures_are_judged_one_by_one() {
    let both = detached("both.asc");
    assert_eq!(both.iter().map(name).filter(|n| n.ends_with("@harbour.example>")).count(), 2);
    let one = Keyring::read(&file("stranger.asc")).unwrap();
    let none = verify_detached(&file("message.txt"), &file("both.asc"), &one).unwrap();
    assert!(none.iter().all(|o| matches!(o, Outcome::NoKey { asked: Some(_) })), "{none:?}");
}

#[test]
fn a_signed_message_gives_its_text_as_it_was_signed() {
    let (text, outcomes) = verify_cleartext(&file("message.asc"), &ring()).unwrap();
    assert_eq!(outcomes.iter().map(name).count(), 2);
    assert_eq!(text, "Origin: harbour\n- a dash\n-----BEGIN\ntrailing\n\nSHA256:\n 00 1 Packages");
    let message = String::from_utf8(file("message.asc")).unwrap();
    let (_, outcomes) = verify_cleartext(message.replace('\n', "\r\n").as_bytes(), &ring()).unwrap();
    assert_eq!(outcomes.iter().map(name).count(), 2, "line ends are no matter");
    let (_, outcomes) = verify_cleartext(message.replace("00 1", "00 2").as_bytes(), &ring()).unwrap();
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Bad { .. })), "{outcomes:?}");
    let (_, outcomes) = verify_cleartext(&file("unknown.asc"), &ring()).unwrap();
    assert!(
        matches!(&outcomes[..], [Outcome::NoKey { asked: Some(key) }] if key.len() == 40),
        "{outcomes:?}"
    );
}

#[test]
fn what_is_too_weak_or_demands_what_is_not_known_does_not_count() {
    assert!(why(only(detached("sha1.sig"))).contains("too weak"));
    assert!(why(only(detached("small.sig"))).contains("too weak"));
    assert!(why(only(detached("critical.sig"))).contains("critical"));
}

#[test]
fn a_key_that_had_expired_or_was_revoked_does_not_count_and_a_replaced_one_does_for_what_it_signed_before() {
    assert!(why(only(detached("short.sig"))).contains("expired"));
    assert!(why(only(detached("gone.sig"))).contains("revoked"));
    assert!(name(&only(detached("replaced.sig"))).starts_with("replaced"));
}

#[test]
fn an_expiring_signature_is_told_and_not_compared_with_a_clock() {
    let Outcome::Good(signer) = only(detached("expiring.sig")) else { panic!() };
    assert_eq!(signer.expires, Some(signer.made + 86_400));
}

#[test]
fn a_certificate_that_was_taken_from_a_signature_verifies_it_again() {
    let Outcome::Good(signer) = only(detached("rsa.sig")) else { panic!() };
    assert_ne!(signer.key, signer.primary, "a subkey signed");
    let alone = Keyring::read(&signer.cert).unwrap();
    assert_eq!((alone.0.len(), alone.0[0].fingerprint()), (1, signer.primary.clone()));
    let again = only(verify_detached(&file("message.txt"), &file("rsa.sig"), &alone).unwrap());
    assert_eq!(again, Outcome::Good(signer));
}

#[test]
fn a_keyring_is_read_armored_too_and_other_files_are_no_keyrings() {
    let (one, two) = (ring(), Keyring::read(&file("ring.asc")).unwrap());
    let numbers =
        |ring: &Keyring| ring.0.iter().map(cofferdam_openpgp::Cert::fingerprint).collect::<Vec<_>>();
    assert_eq!(numbers(&one), numbers(&two));
    assert_eq!(one.0.len(), 9);
    for wrong in [&b"\0\0\0\x20KBXf"[..], b"no key", &file("ring.gpg")[..100]] {
        assert_eq!(Keyring::read(wrong).unwrap_err().code(), "bad-openpgp");
    }
}

#[test]
fn gpgv_says_the_same_of_each_document() {
    if Command::new("gpgv").arg("--version").output().is_err() {
        eprintln!("skipped: gpgv is not on this machine");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for signature in
        ["rsa.sig", "rsa.asc", "text.sig", "ed25519.sig", "p256.sig", "p384.sig", "both.asc", "sha1.sig"]
    {
        for (document, sound) in [("message.txt", true), ("make.sh", false)] {
            let theirs = Command::new("gpgv")
                .args(["--homedir"])
                .arg(home.path())
                .arg("--keyring")
                .args([path("ring.gpg"), path(signature), path(document)])
                .output()
                .unwrap();
            let ours = verify_detached(&file(document), &file(signature), &ring()).unwrap();
            let ours = ours.iter().all(|o| matches!(o, Outcome::Good(_)));
            // GnuPG still takes SHA-1 over documents.
            let same = ours == theirs.status.success() || (signature == "sha1.sig" && !ours);
            assert!(
                same && (ours == sound || signature == "sha1.sig"),
                "{signature} of {document}: {theirs:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn damaged_files_never_stop_the_program_nor_let_a_changed_document_through(
        at in 0usize..4000, to in any::<u8>(), cut in 0usize..4000, which in 0usize..8,
    ) {
        let names = ["ring.gpg", "ring.asc", "rsa.sig", "both.asc", "message.asc", "ed25519.sig", "p256.sig", "sha1.sig"];
        let mut bytes = file(names[which]);
        let length = bytes.len();
        bytes[at % length] = to;
        if cut % 3 == 0 {
            bytes.truncate(cut % length);
        }
        let keys = Keyring::read(&bytes).unwrap_or_default();
        let _ = verify_cleartext(&bytes, &ring());
        let _ = verify_cleartext(&file("message.asc"), &keys);
        for (signature, keys) in [(bytes.clone(), ring()), (file("rsa.sig"), keys)] {
            let outcomes = verify_detached(b"another document", &signature, &keys).unwrap_or_default();
            prop_assert!(!outcomes.iter().any(|o| matches!(o, Outcome::Good(_))));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = (Keyring::read(&bytes), verify_detached(b"", &bytes, &ring()), verify_cleartext(&bytes, &ring()));
    }
}

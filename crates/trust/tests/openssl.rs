//! A second program agrees with our keys and signatures.

use std::process::Command;

use cofferdam_trust::{SigningKey, pae, sign};

fn openssl(args: &[&str], dir: &std::path::Path) -> Option<bool> {
    Command::new("openssl").args(args).current_dir(dir).output().ok().map(|out| out.status.success())
}

#[test]
fn openssl_verifies_what_we_sign_and_we_read_the_key_it_makes() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    if openssl(&["version"], dir).is_none() {
        println!("skipped: openssl: the program is not installed");
        return;
    }
    assert_eq!(openssl(&["genpkey", "-algorithm", "ed25519", "-out", "made.key"], dir), Some(true));
    let key = SigningKey::read(&dir.join("made.key")).unwrap();
    key.write_new(&dir.join("ours.key")).unwrap();
    assert_eq!(std::fs::read(dir.join("made.key")).unwrap(), std::fs::read(dir.join("ours.key")).unwrap());

    let envelope = sign("text/plain", b"hello", &[&key]);
    assert_eq!(envelope.signatures.len(), 1);
    std::fs::write(dir.join("key.pem"), key.verifying_key().to_pem()).unwrap();
    std::fs::write(dir.join("message"), pae("text/plain", b"hello")).unwrap();
    std::fs::write(dir.join("sig"), key.sign(&pae("text/plain", b"hello"))).unwrap();
    let verify =
        ["pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "message", "-sigfile", "sig"];
    assert_eq!(openssl(&verify, dir), Some(true));
    std::fs::write(dir.join("message"), b"hellp").unwrap();
    assert_eq!(openssl(&verify, dir), Some(false));
}

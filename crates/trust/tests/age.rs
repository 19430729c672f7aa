//! The stock `age` program opens what we seal, and we open what it seals.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use cofferdam_trust::age::{Sealer, SealingKey, open, seal};

fn run(program: &str, args: &[&str], dir: &Path) -> Option<bool> {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).stdin(Stdio::null()).stderr(Stdio::null());
    command.output().ok().map(|out| out.status.success())
}

/// What `age -d` writes; to its output, because with `-o` it makes no file for an empty one.
fn decrypt(file: &str, key: &str, dir: &Path) -> Option<Vec<u8>> {
    let out = Command::new("age").args(["-d", "-i", key, file]).current_dir(dir).output().unwrap();
    out.status.success().then_some(out.stdout)
}

fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 % 253) as u8).collect()
}

#[test]
fn age_opens_what_we_seal_and_we_open_what_it_seals() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    if run("age", &["--version"], dir).is_none() || run("age-keygen", &["--version"], dir).is_none() {
        println!("skipped: age: the program is not installed");
        return;
    }
    // One key of theirs, read by us; one of ours, read by them.
    assert_eq!(run("age-keygen", &["-o", "theirs.key"], dir), Some(true));
    let theirs = SealingKey::read(&dir.join("theirs.key")).unwrap();
    let ours = SealingKey::generate().unwrap();
    ours.write_new(&dir.join("ours.key")).unwrap();
    let (a, b) = (theirs.recipient().to_string(), ours.recipient().to_string());

    for len in [0, 1, 65_535, 65_536, 65_537, 200_000] {
        let plain = plain(len);
        std::fs::write(dir.join("plain"), &plain).unwrap();
        std::fs::write(dir.join("ours.age"), seal(&plain, &[theirs.recipient(), ours.recipient()]).unwrap())
            .unwrap();
        for key in ["theirs.key", "ours.key"] {
            assert_eq!(decrypt("ours.age", key, dir), Some(plain.clone()), "{len}");
        }
        assert_eq!(run("age", &["-r", &a, "-r", &b, "-o", "theirs.age", "plain"], dir), Some(true));
        let sealed = std::fs::read(dir.join("theirs.age")).unwrap();
        for key in [&theirs, &ours] {
            assert_eq!(open(&sealed, key).unwrap(), plain, "{len}");
        }
    }

    // A file made with fixed secrets, such as the vectors of our own tests.
    let (mut vector, mut draw) = (Vec::new(), 0);
    let mut entropy = |out: &mut [u8]| {
        draw += 1;
        out.fill(draw);
        Ok(())
    };
    let sealer = Sealer::new(&[ours.recipient()]).unwrap();
    sealer.seal_into_with(b"hello", &mut vector, &mut entropy).unwrap();
    std::fs::write(dir.join("vector.age"), &vector).unwrap();
    assert_eq!(decrypt("vector.age", "ours.key", dir), Some(b"hello".to_vec()));

    // Both refuse the same damage.
    let mut sealed = seal(&plain(70_000), &[ours.recipient()]).unwrap();
    sealed.truncate(sealed.len() - 1);
    std::fs::write(dir.join("cut.age"), &sealed).unwrap();
    assert_eq!(decrypt("cut.age", "ours.key", dir), None);
    assert_eq!(open(&sealed, &ours).unwrap_err().code(), "age-damaged");
}

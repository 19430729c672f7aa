//! The program as a person at a kiosk runs it.

#[path = "../../station/tests/made/mod.rs"]
mod made;

use std::{
    fs,
    process::{Command, Output},
};

use made::{flat, public, sealed};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cofferdam-verify")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn exit_codes_tell_sound_from_damaged_from_incomplete_from_misused() {
    let home = tempfile::tempdir().unwrap();
    let path = sealed(home.path());
    let folder = path.to_str().unwrap();
    let key = public(1);
    let code = |args: &[&str]| run(args).status.code().unwrap();
    let out = run(&[folder, "--key", &key]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).starts_with("SOUND") && out.stderr.is_empty(), "quiet without a terminal");
    assert_eq!(code(&[folder, "--key", &key, "--for", "inside"]), 0);
    assert_eq!(code(&[folder, "--key", &key, "--for", "elsewhere"]), 3);
    assert_eq!(code(&[folder, "--key", &public(2)]), 3);
    assert_eq!(code(&[folder]), 3, "nobody is believed unless a key is given");
    assert_eq!(code(&[folder, "--key", "nonsense"]), 2);
    for threshold in ["0", "2"] {
        assert_eq!(code(&[folder, "--key", &key, "--key", &key, "--threshold", threshold]), 2);
    }
    let endless = run(&[folder, "--root", "/dev/zero"]);
    assert!(endless.status.code() == Some(2) && text(&endless.stderr).contains("too long"));
    assert_eq!(code(&[]), 2);
    assert_eq!(code(&[folder, "--key", &key, "--statement", folder]), 2);

    let volume = path.join("v000002.ctv");
    let bytes = fs::read(&volume).unwrap();
    fs::remove_file(&volume).unwrap();
    let out = run(&[folder, "--key", &key]);
    assert!(out.status.code() == Some(6) && text(&out.stdout).contains("v000002.ctv"));
    fs::write(&volume, &bytes[1..]).unwrap();
    assert_eq!(code(&[folder, "--key", &key]), 3);
}

#[test]
fn json_is_one_value_whether_it_holds_or_not() {
    let home = tempfile::tempdir().unwrap();
    let path = flat(home.path());
    let folder = path.to_str().unwrap();
    fs::remove_file(path.join("files/item-0.whl")).unwrap();
    let out = run(&[folder, "--key", &public(1), "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((out.status.code(), &value["verdict"]), (Some(3), &"changed-at-the-door".into()));
    assert_eq!(
        (&value["flat"][0]["name"], &value["flat"][0]["state"]),
        (&"item-0.whl".into(), &"removed".into())
    );
    let out = run(&[folder, "--key", &public(2), "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(value["error"]["code"], "too-few-signatures");
}

#[test]
fn a_station_makes_its_key_signs_what_it_saw_and_the_next_one_reads_it() {
    let home = tempfile::tempdir().unwrap();
    let path = sealed(home.path());
    let (folder, out) = (path.to_str().unwrap(), home.path().join("out"));
    fs::create_dir(&out).unwrap();
    let key = home.path().join("gate.key");
    let (key, out) = (key.to_str().unwrap(), out.to_str().unwrap());
    let made = run(&["--make-station-key", key]);
    let station_public = text(&made.stdout).trim().to_owned();
    assert!(made.status.success() && station_public.starts_with("cofferdam-ed25519:"));
    assert!(!run(&["--make-station-key", key]).status.success(), "a key is never overwritten");

    let person = ["--station", "Gate 3", "--person", "J. Doe", "--station-key", key];
    let facts = ["--engine", "scanner,1.2,2026-11-20,clean"];
    let sender = public(1);
    let args = [&[folder, "--key", &sender, "--statement", out][..], &person, &facts].concat();
    let said = run(&args);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let names: Vec<_> = fs::read_dir(out).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1);
    assert!(
        fs::read_dir(folder).unwrap().all(|f| !f.unwrap().file_name().to_str().unwrap().contains("station"))
    );

    fs::copy(format!("{out}/{}", names[0].to_str().unwrap()), path.join(&names[0])).unwrap();
    let next = run(&[folder, "--key", &sender, "--believe-station", &station_public]);
    let shown = text(&next.stdout);
    assert!(next.status.success() && shown.contains("Gate 3 (J. Doe): sound"), "{shown}");
    let doubting = run(&[folder, "--key", &sender, "--believe-station", &public(8)]);
    assert!(doubting.status.success() && text(&doubting.stdout).contains("not believed"));
}

/// A folder for statements, a station's key, and the arguments that ask for one.
fn asking(home: &std::path::Path) -> (std::path::PathBuf, Vec<String>) {
    let (out, key) = (home.join("out"), home.join("gate.key"));
    fs::create_dir(&out).unwrap();
    assert!(run(&["--make-station-key", key.to_str().unwrap()]).status.success());
    let paths = [out.to_str().unwrap(), key.to_str().unwrap()].map(str::to_owned);
    let [folder, key] = paths;
    let named = ["--statement", &folder, "--station-key", &key, "--station", "Gate 3", "--person", "J. Doe"];
    (out, named.map(str::to_owned).to_vec())
}

#[test]
fn what_a_statement_lacks_is_said_before_anything_is_read() {
    let home = tempfile::tempdir().unwrap();
    let path = sealed(home.path());
    let (out, good) = asking(home.path());
    // Nobody believes this key: whoever reads the transfer first ends with 3.
    let stranger = public(2);
    let start = [path.to_str().unwrap(), "--key", &stranger];
    let end = |args: &[String]| {
        let args: Vec<&str> = start.into_iter().chain(args.iter().map(String::as_str)).collect();
        let done = run(&args);
        (done.status.code().unwrap(), text(&done.stderr))
    };
    assert_eq!(end(&good).0, 3);
    let long = ["--engine".to_owned(), format!("scanner,1,2026-11-20,{}", "x".repeat(201))];
    let (code, said) = end(&[&good[..], &long].concat());
    assert!(code == 2 && said.contains("bad-station") && said.contains("--engine"), "{said}");
    fs::remove_dir(out).unwrap();
    let (code, said) = end(&good);
    assert!(code == 2 && said.contains("statement-not-written"), "{said}");
}

#[test]
fn a_statement_that_cannot_be_written_hides_nothing_and_leaves_no_half() {
    let home = tempfile::tempdir().unwrap();
    let path = flat(home.path());
    let (out, asks) = asking(home.path());
    // No file may be longer than 512 bytes, and a statement is: the first half of it fits.
    let short = |args: &[&str]| {
        let shell = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
        let program = env!("CARGO_BIN_EXE_cofferdam-verify");
        Command::new("sh").args(["-c", shell, program]).args(args).args(&asks).output().unwrap()
    };
    let sender = public(1);
    let args = [path.to_str().unwrap(), "--key", &sender, "--json"];
    let json = |done: &Output| serde_json::from_slice::<serde_json::Value>(&done.stdout).unwrap();
    let empty = || fs::read_dir(&out).unwrap().next().is_none();

    let done = short(&args);
    assert_eq!((done.status.code(), &json(&done)["verdict"]), (Some(2), &"sound".into()));
    assert_eq!(json(&done)["statement"]["error"]["code"], "statement-not-written");
    assert!(text(&done.stderr).contains("NO STATEMENT") && empty());

    fs::remove_file(path.join("files/item-0.whl")).unwrap();
    let done = short(&args);
    assert_eq!((done.status.code(), &json(&done)["verdict"]), (Some(3), &"changed-at-the-door".into()));
    assert_eq!(json(&done)["statement"]["error"]["code"], "statement-not-written");
    let done = short(&args[..3]);
    assert!(text(&done.stdout).starts_with("CHANGED AT THE DOOR") && text(&done.stderr).contains("next:"));
    assert!(done.status.code() == Some(3) && empty());
}

//! Random versions compared here and by the ecosystems' own programs. One that is absent is skipped by name.

use std::{
    cmp::Ordering,
    io::Write as _,
    process::{Command, Stdio},
};

use cofferdam_versions::{Scheme, precedence};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::TestRunner,
};

const MANY: usize = 4000;

/// The same versions in every run.
fn some(strategy: impl Strategy<Value = String>) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    (0..MANY).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// What a program writes when it reads the versions, a line each; none, with a line of its own, without the program.
fn said(name: &str, command: &mut Command, versions: &[String]) -> Option<Vec<String>> {
    let mut child = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) => {
            println!("skipped: {name}: {error}");
            return None;
        }
    };
    let mut input = child.stdin.take().unwrap();
    let text = versions.join("\n") + "\n";
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let out = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    if !out.status.success() {
        println!("skipped: {name}: it ends with {}", out.status);
        return None;
    }
    Some(String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// Compares each version with the next one; `said` has `<`, `=`, `>` for each, or `?` where one is no version.
#[track_caller]
fn agree(scheme: Scheme, versions: &[String], said: &[String]) {
    assert_eq!(said.len(), versions.len() - 1);
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for (pair, said) in versions.windows(2).zip(said) {
        let ours = match precedence(scheme, &pair[0], &pair[1]) {
            Some(Ordering::Less) => "<",
            Some(Ordering::Equal) => "=",
            Some(Ordering::Greater) => ">",
            None => "?",
        };
        compared += usize::from(ours != "?");
        if ours != said {
            wrong.push(format!("{} {said} {}, here {ours}", pair[0], pair[1]));
        }
    }
    assert!(compared * 3 > versions.len(), "only {compared} of {} were versions", versions.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), said.len(), wrong.join("\n"));
}

#[test]
fn gem_version_says_the_same() {
    let versions = some(prop_oneof![
        "[0-3]{1,2}(\\.[0-2]{1,2}){0,4}",
        "[0-2](\\.([0-2]|a|b1|rc|pre|1x0)){0,4}(-(a|rc\\.1|0|b-c))?",
        "[0-9a-z.-]{1,5}",
    ]);
    let script = "a = STDIN.read.split(\"\\n\").map { |v| Gem::Version.new(v) rescue nil }\n\
        a.each_cons(2) { |x, y| puts(x && y ? %w[= > <][x <=> y] : '?') }";
    if let Some(said) = said("ruby", Command::new("ruby").args(["-e", script]), &versions) {
        agree(Scheme::Gem, &versions, &said);
    }
}

//! Random versions compared here and by the ecosystems' own programs. One that is absent is skipped by name.

use std::{
    cmp::Ordering,
    io::Write as _,
    process::{Command, Stdio},
};

use cofferdam_versions::{Scheme, precedence};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

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

#[test]
fn composer_and_php_say_the_same() {
    let versions = some(prop_oneof![
        "v?[0-2](\\.[0-2]{1,2}){0,4}([._-]?(dev|alpha|a|beta|b|rc|RC|pl|p|patch|stable)([.-]?[0-2]){0,2})?([.-]?dev)?",
        "[0-2](\\.([0-2]|x)){0,3}[.-]?dev",
        "20[0-9]{2}[.:-]?[01][0-9]([.:-]?[0-3][0-9]){0,2}([.:-]?[0-9]{1,3})?(-(beta|p1))?",
        "[0-1]\\.[0-1](\\+[a-z1]{1,2}|@dev| as 1\\.0)?",
        "(dev-)?[0-9a-z.-]{1,6}",
    ]);
    let script = "require 'Composer/Semver/autoload.php'; $p = new Composer\\Semver\\VersionParser; $last = null;\n\
        foreach (explode(\"\\n\", rtrim(stream_get_contents(STDIN), \"\\n\")) as $n => $v) {\n\
            try { $w = $p->normalize($v); } catch (Exception $e) { $w = 'dev-'; }\n\
            if ($n > 0) {\n\
                if (!strncmp($w, 'dev-', 4) || !strncmp($last, 'dev-', 4)) echo \"?\\n\";\n\
                else echo ['<', '=', '>'][version_compare($last, $w) + 1], \"\\n\";\n\
            }\n\
            $last = $w;\n\
        }";
    if let Some(said) = said("php with Composer", Command::new("php").args(["-r", script]), &versions) {
        agree(Scheme::Composer, &versions, &said);
    }
}

#[test]
fn maven_says_the_same() {
    // What the specification is about: numbers first. Where more follows a word behind a dot (`2.rc-1`), Maven itself departs
    // from it, so no such version is asked for.
    let versions = some(prop_oneof![
        "[1-2](\\.[0-2]{1,2}){0,4}([.-](SNAPSHOT|alpha|beta2|b1|rc|RC1|M1|sp|GA|Final|foo|x2))?",
        "[1-2](\\.[0-2]{1,2}){0,2}(-(0|1|12|alpha|a1|b|m2|rc|CR|snapshot|ga|final|sp|foo|x2)(\\.[0-2]){0,2}){0,4}",
        "[1-9][0-9]{0,30}[.-]?[a-d.-]{0,2}",
    ]);
    // Mavens before 3.9 say otherwise where a word follows a dot; the specification is that of later ones.
    let Some(library) = std::env::var_os("COFFERDAM_TEST_MAVEN_ARTIFACT") else {
        println!(
            "skipped: maven-artifact: COFFERDAM_TEST_MAVEN_ARTIFACT names no library of Maven 3.9 or later"
        );
        return;
    };
    let mut command = Command::new("java");
    command
        .arg("-cp")
        .arg(library)
        .arg("org.apache.maven.artifact.versioning.ComparableVersion")
        .args(&versions);
    if let Some(lines) = said("java with Maven's library", &mut command, &versions) {
        let between =
            |line: &String| line.strip_prefix("   ")?.split(' ').nth(1).map(|c| c.replace("==", "="));
        agree(Scheme::Maven, &versions, &lines.iter().filter_map(between).collect::<Vec<_>>());
    }
}

//! apt without root, from a repository of one package.

use std::{fs, process::Command};

use cofferdam_types::Sha256;

use crate::{
    Build, addresses,
    common::tools::{have, have_sandbox},
    world::{NONE, World},
};

/// A flat repository: what belongs behind each name.
fn repository() -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("ferry");
    fs::create_dir_all(root.join("DEBIAN")).unwrap();
    fs::create_dir_all(root.join("usr/share/ferry")).unwrap();
    let control = "Package: ferry\nVersion: 1.0-1\nArchitecture: all\nMaintainer: Ann <ann@harbour.example>\nDescription: a ferry\n";
    fs::write(root.join("DEBIAN/control"), control).unwrap();
    fs::write(root.join("usr/share/ferry/timetable"), "at noon\n").unwrap();
    let deb = folder.path().join("ferry.deb");
    let made = Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .arg(&root)
        .arg(&deb)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let deb = fs::read(deb).unwrap();
    let packages = format!(
        "{control}Filename: ./ferry_1.0-1_all.deb\nSize: {}\nSHA256: {}\n\n",
        deb.len(),
        Sha256::of(&deb)
    );
    let release = format!(
        "Origin: harbour\nSuite: stable\nDate: Mon, 01 Jan 2024 00:00:00 UTC\nArchitectures: all amd64 arm64\nSHA256:\n {} {} Packages\n",
        Sha256::of(packages.as_bytes()),
        packages.len()
    );
    vec![
        ("Release".into(), release.into_bytes()),
        ("Packages".into(), packages.into_bytes()),
        ("ferry_1.0-1_all.deb".into(), deb),
    ]
}

#[test]
fn apt_downloads_a_package_without_root_and_it_is_unpacked() {
    if !have("apt-get") || !have("dpkg-deb") || !have_sandbox() {
        return;
    }
    let base = "http://deb.example/stable/";
    let world = World::new(repository().into_iter().map(|(name, bytes)| (format!("{base}{name}"), bytes)));
    let pair = world.pair(NONE);
    let build = Build {
        files: &[("sources.list", b"deb [trusted=yes] http://deb.example/stable ./\n")],
        // The project's own sources, instead of the machine's: whoever reads this has others.
        command: "apt='apt-get -o Dir::Etc::sourcelist='$PWD'/sources.list -o Dir::Etc::sourceparts=/none'\n\
                  rm -rf *.deb root; $apt update; $apt download ferry; dpkg-deb -x ferry_*.deb root\n\
                  grep -q noon root/usr/share/ferry/timetable",
        person: &[],
    };
    let recorded = build.crosses(&pair, world);
    let found = addresses(&recorded);
    assert!(found.iter().any(|url| url.ends_with("/ferry_1.0-1_all.deb")), "{found:?}");
}

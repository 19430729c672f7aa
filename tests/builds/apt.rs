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

#[test]
fn packages_that_are_wanted_by_name_are_collected_without_running_and_installed_from_what_is_kept() {
    if !have("apt-get") || !have("dpkg-deb") || !have_sandbox() {
        return;
    }
    let base = "http://deb.example/stable/";
    let world = World::new(repository().into_iter().map(|(name, bytes)| (format!("{base}{name}"), bytes)));
    let pair = world.pair(NONE);
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    // This person's apt has sources of its own, which a sandbox can see.
    let settings = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let sources = settings.path().join("sources.list");
    fs::write(&sources, "deb [trusted=yes] http://deb.example/stable ./\n").unwrap();
    let own = format!("Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"/none\";\n", sources.display());
    fs::write(settings.path().join("apt.conf"), own).unwrap();
    let environment = [("APT_CONFIG", settings.path().join("apt.conf").display().to_string())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let folder = tempfile::tempdir().unwrap();
    let want =
        |text: &str| fs::write(folder.path().join("cofferdam.want"), format!("[deb]\n{text}\n")).unwrap();
    let from = folder.path().to_str().unwrap();
    let collect = || {
        outside.by_with(folder.path(), &environment, officer, &["collect", "--from", from, "--as", "boats"])
    };
    for wrong in ["canoe = \"*\"", "ferry = \"2.0-1\"", "ferry = \">=1\""] {
        want(wrong);
        let done = collect();
        assert_eq!(
            (done.code, done.json["left"].as_array().map(Vec::len)),
            (1, Some(1)),
            "{wrong}: {done:#?}"
        );
    }
    want("ferry = \"1.0-1\"");
    let done = collect().ok();
    assert_eq!(done["complete"], true, "{done}");
    drop(world);
    let collection = outside.by(officer, &["collect", "boats"]).ok();
    let items = collection["items"].as_array().unwrap();
    let deb = items.iter().find(|i| i["address"].as_str().unwrap().ends_with(".deb")).expect("the package");
    assert_eq!(deb["mentioned"], serde_json::json!(["cofferdam.want:2"]), "{deb}");

    let packed = pair.pack("boats", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&packed).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    fs::copy(&sources, folder.path().join("sources.list")).unwrap();
    let build = "apt='apt-get -o Dir::Etc::sourcelist='$PWD'/sources.list -o Dir::Etc::sourceparts=/none'\n\
                 $apt update; $apt download ferry; dpkg-deb -x ferry_*.deb root; grep -q noon root/usr/share/ferry/timetable";
    let built = pair.inside.by_in(folder.path(), &pair.developers.1, &["inside", "--", "sh", "-ec", build]);
    assert_eq!(built.code, 0, "{built:#?}");
}

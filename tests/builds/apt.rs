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

/// An archive that GnuPG signed, and its key (`crates/formats/web/tests/fixtures/debian`).
macro_rules! signed {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../formats/web/tests/fixtures/debian/", $name))
    };
}

const DIST: &str = "http://deb.example/debian/dists/stable";
const FERRY: &str = "http://deb.example/debian/pool/main/f/ferry_1.0-1_all.deb";

/// What apt would fetch of that archive, with these bytes as its package.
fn archive(package: &[u8]) -> World {
    World::new([
        (format!("{DIST}/InRelease"), signed!("InRelease").to_vec()),
        (format!("{DIST}/main/binary-all/Packages.xz"), signed!("Packages.xz").to_vec()),
        (FERRY.to_owned(), package.to_vec()),
    ])
}

fn fetch() -> String {
    format!("curl -fsS {DIST}/InRelease {DIST}/main/binary-all/Packages.xz {FERRY} -o a -o b -o c; rm a b c")
}

/// A person whose apt believes that archive's key, for that archive: settings, and the folder they lie in.
fn believer() -> (tempfile::TempDir, String) {
    let settings = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| settings.path().join(name).display().to_string();
    fs::write(at("archive.gpg"), signed!("archive.gpg")).unwrap();
    let source = format!("deb [signed-by={}] http://deb.example/debian stable main\n", at("archive.gpg"));
    fs::write(at("sources.list"), source).unwrap();
    let own = format!(
        "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"/none\";\nDir::Etc::trusted \"/none\";\n\
         Dir::Etc::trustedparts \"/none\";\n",
        at("sources.list")
    );
    fs::write(at("apt.conf"), own).unwrap();
    let path = at("apt.conf");
    (settings, path)
}

/// The sentences of proofs in these lines.
fn proofs(lines: &serde_json::Value, at: &str) -> Vec<String> {
    let texts = lines.as_array().unwrap().iter().filter_map(|line| line.pointer(at)?.as_array());
    texts.flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_an_archive_signed_is_checked_when_recorded_and_again_inside_with_the_keys_of_the_person_s_apt() {
    if !have("curl") || !have_sandbox() {
        return;
    }
    let world = archive(signed!("ferry.deb"));
    let pair = world.pair(NONE);
    let (_settings, path) = believer();
    let build = Build { files: &[], command: &fetch(), person: &[("APT_CONFIG", &path)] };
    build.crosses(&pair, world);
    let collection = pair.outside.by(&pair.officers.0, &["collect", "boat"]).ok();
    let received = pair.inside.by(&pair.officers.1, &["transfers", "1"]).ok();
    for texts in
        [proofs(&collection["items"], "/proofs"), proofs(&received["difference"]["known"], "/traits/proofs")]
    {
        assert_eq!(texts.len(), 3, "list, index and package: {texts:?}");
        for text in texts {
            assert!(text.contains("signed by Harbour archive <archive@harbour.example> ("), "{text}");
            assert!(text.contains("a key that the recording brought"), "{text}");
        }
    }
}

#[test]
fn a_package_that_is_not_what_its_archive_signed_is_not_rehearsed_nor_packed() {
    if !have("curl") || !have_sandbox() {
        return;
    }
    let world = archive(b"ferry 6.6\n");
    let pair = world.pair(NONE);
    let (folder, officer) = (tempfile::tempdir().unwrap(), &pair.officers.0);
    let (settings, path) = believer();
    let words = ["record", "--name", "boat", "--", "sh", "-ec", &fetch()];
    let record = || pair.outside.by_with(folder.path(), &[("APT_CONFIG", &path)], officer, &words);
    let text = record().fails(3, "upstream-proof");
    assert!(text.contains("under its name; these are 10 with"), "{text}");
    pair.outside.by(officer, &["rehearse", "boat"]).fails(3, "upstream-proof");
    // Without the key nobody vouches for the index: it is told, and refuses nothing.
    fs::remove_file(settings.path().join("archive.gpg")).unwrap();
    record().ok();
    let collection = pair.outside.by(officer, &["collect", "boat"]).ok();
    let texts = proofs(&collection["items"], "/proofs");
    assert!(texts.iter().any(|text| text.contains("is known here for deb.example")), "{texts:?}");
}

#[test]
fn apt_itself_and_the_site_find_the_same_key_over_a_signed_archive() {
    if !["apt-get", "dpkg-deb", "gpg", "gpgv"].iter().all(|name| have(name)) || !have_sandbox() {
        return;
    }
    let settings = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| settings.path().join(name).display().to_string();
    let home = tempfile::tempdir().unwrap();
    let gpg = |arguments: &[&str]| {
        let done = Command::new("gpg")
            .args(["--batch", "--quiet", "--yes", "--passphrase", "", "--pinentry-mode", "loopback"])
            .args(arguments)
            .env("GNUPGHOME", home.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    gpg(&["--quick-generate-key", "Harbour <a@harbour.example>", "rsa2048", "sign", "never"]);
    gpg(&["--output", &at("key.gpg"), "--export", "Harbour"]);
    let mut files = repository();
    let (_, release) = files.remove(0);
    fs::write(at("Release"), release).unwrap();
    gpg(&["--output", &at("InRelease"), "--clear-sign", &at("Release")]);
    let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", home.path()).output();
    files.push(("InRelease".into(), fs::read(at("InRelease")).unwrap()));
    let base = "http://deb.example/stable/";
    let world = World::new(files.into_iter().map(|(name, bytes)| (format!("{base}{name}"), bytes)));
    let pair = world.pair(NONE);
    let source = format!("deb [signed-by={}] http://deb.example/stable ./\n", at("key.gpg"));
    fs::write(at("sources.list"), &source).unwrap();
    let own = format!("Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"/none\";\n", at("sources.list"));
    fs::write(at("apt.conf"), own).unwrap();
    let build = Build {
        files: &[("sources.list", source.as_bytes())],
        command: "apt='apt-get -o Dir::Etc::sourcelist='$PWD'/sources.list -o Dir::Etc::sourceparts=/none'\n\
                  rm -rf *.deb root; $apt update; $apt download ferry; dpkg-deb -x ferry_*.deb root\n\
                  grep -q noon root/usr/share/ferry/timetable",
        person: &[("APT_CONFIG", &at("apt.conf"))],
    };
    build.crosses(&pair, world);
    let received = pair.inside.by(&pair.officers.1, &["transfers", "1"]).ok();
    let texts = proofs(&received["difference"]["known"], "/traits/proofs");
    let held = texts.iter().filter(|text| text.contains("signed by Harbour <a@harbour.example> ("));
    assert_eq!(held.count(), 3, "list, index and package: {texts:?}");
}

//! Collections: what was found only by running, what people decide about items, files to read and compare, collecting
//! without running, and the proof that a receiver compares with the medium.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::common::{
    Pair,
    packages::{upload_distribution, wheel},
    tools::{have, have_sandbox},
    upstream::{pair_with, upstream},
};

const INSTALL: &str =
    "rm -rf site; python3 -m pip install --no-compile --no-cache-dir --target site -r requirements.txt";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        fs::write(folder.path().join(path), text).unwrap();
    }
    folder
}

fn record(pair: &Pair, folder: &Path, name: &str, command: &str) -> Value {
    let arguments = ["record", "--name", name, "--", "sh", "-ec", command];
    pair.outside.by_in(folder, &pair.officers.0, &arguments).ok()
}

fn item<'a>(collection: &'a Value, purl: &str) -> &'a Value {
    let found = collection["items"].as_array().unwrap().iter().find(|item| item["purl"] == purl);
    found.unwrap_or_else(|| panic!("{purl} in {collection}"))
}

#[test]
fn what_no_lock_file_names_is_found_only_by_running_and_what_is_taken_out_is_not_there_to_rehearse() {
    if !have("pip") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let folder = folder(&[(
        "requirements.txt",
        "# what we say that we need\nferry==2.1\nunused==1.0 ; sys_platform == 'win32'\n",
    )]);
    let recorded = record(&pair, folder.path(), "boat", INSTALL);
    assert_eq!((&recorded["releases"], &recorded["found_by_running"]), (&json!(2), &json!(1)), "{recorded}");
    assert_eq!(recorded["lock_files"], json!(["requirements.txt"]));
    assert!(recorded["result"]["files"].as_u64().unwrap() > 2, "what pip installed: {recorded}");

    let collection = outside.by(officer, &["collect", "boat"]).ok();
    let (ferry, oars) = (item(&collection, "pkg:pypi/ferry@2.1"), item(&collection, "pkg:pypi/oars@1.0"));
    assert_eq!(ferry["mentioned"], json!(["requirements.txt:2"]));
    assert_eq!(oars["mentioned"], json!([]));
    assert!(oars["asked_by"][0].as_str().unwrap().starts_with("pip/"), "{oars}");
    assert!(oars["source"].as_str().unwrap().starts_with(&upstream.url), "{oars}");
    assert_eq!(collection["unused"][0]["name"], "unused");

    // The same collection is the same bytes.
    let file = folder.path().join("boat.collection.toml");
    let written = file.to_str().unwrap();
    outside.by(officer, &["collect", "boat", "--write", written]).ok();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("named_in = [\"requirements.txt:2\"]"), "{text}");
    let again = outside.by(officer, &["collect", written, "--write", written]);
    assert!(again.stderr.contains("is up to date"), "{again:#?}");
    let page = outside.get(&format!("/api/v1/recordings/{}/collection.toml", recorded["id"]));
    assert_eq!(page.status, 401, "nobody reads what a team builds with without a name");

    outside.by(officer, &["rehearse", "boat"]).ok();
    let oars = "pkg:pypi/oars@1.0";
    outside.by(officer, &["collect", "boat", "--exclude", oars, "--reason", "we row by hand"]).ok();
    let medium = folder.path().to_str().unwrap();
    let pack = ["pack", "--to", "inside", "--recording", "boat", "--dry-run", medium];
    outside.by(officer, &pack).fails(1, "not-rehearsed");
    let rehearsed = outside.by(officer, &["rehearse", "boat"]);
    assert_eq!((rehearsed.code, &rehearsed.json["complete"]), (1, &json!(false)), "{rehearsed:#?}");
    let missing = rehearsed.json["missing"].to_string();
    assert!(missing.contains("oars"), "the build needs it: {missing}");
    outside.by(officer, &["collect", "boat", "--undo", oars]).ok();
    assert_eq!(outside.by(officer, &["rehearse", "boat"]).ok()["complete"], true);
    outside.by(officer, &pack).ok();
    outside
        .by(officer, &["collect", "boat", "--exclude", "pkg:pypi/sail@1", "--reason", "x"])
        .fails(1, "not-found");
}

#[test]
fn what_a_client_asks_without_a_token_is_in_the_collection_too() {
    if !have("pip") || !have("curl") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let folder = folder(&[]);
    // The address of the index without what pip puts before the host; once over HTTP/2 and once over HTTP/1.1.
    let bare = "index=$(printf %s \"$PIP_INDEX_URL\" | sed 's#//.*@#//#')\n\
                curl --http2 -sSf \"$index\"ferry/ >index.json\n\
                path=$(sed -n 's#.*\"url\":\"../../\\([^\"]*\\).*#\\1#p' index.json)\n\
                curl -sSf -o ferry \"${index%simple/}$path\"";
    let recorded = record(&pair, folder.path(), "bare", bare);
    assert_eq!((&recorded["exit_code"], &recorded["releases"]), (&json!(0), &json!(1)), "{recorded}");
    let collection = outside.by(officer, &["collect", "bare"]).ok();
    let ferry = &collection["items"][0];
    assert_eq!(ferry["name"].as_str().or(ferry["package"].as_str()), Some("ferry"), "{collection}");
    // And so it is refused to the rehearsal when it was taken out, with or without a token.
    let purl = ferry["purl"].as_str().unwrap();
    outside.by(officer, &["collect", "bare", "--exclude", purl, "--reason", "to see"]).ok();
    let rehearsed = outside.by(officer, &["rehearse", "bare"]);
    assert_eq!(rehearsed.json["complete"], false, "{rehearsed:#?}");
}

#[test]
fn a_build_whose_files_outgrow_memory_is_recorded_from_the_beginning_on_disk() {
    let kind = |folder: &Path| {
        let told = Command::new("stat").args(["-f", "-c", "%T"]).arg(folder).output();
        told.map(|t| String::from_utf8_lossy(&t.stdout).trim().to_owned()).unwrap_or_default()
    };
    if !have_sandbox() {
        return;
    }
    if kind(Path::new("/dev/shm")) != "tmpfs" || kind(&std::env::temp_dir()) == "tmpfs" {
        eprintln!(
            "skipped: a build that leaves memory: this machine has no /dev/shm, or its disk is memory itself"
        );
        return;
    }
    let pair = Pair::new("");
    let folder = folder(&[("seed", "x")]);
    // In memory it goes on until it is ended.
    let command = "head -c 8000000 /dev/zero >big; while [ \"$(stat -f -c %T .)\" = tmpfs ]; do :; done; cat seed; rm seed";
    let record = ["record", "--name", "big", "--", "sh", "-ec", command];
    let memory = [("COFFERDAM_BUILD_MEMORY", "4000000")];
    let recorded = pair.outside.by_with(folder.path(), &memory, &pair.officers.0, &record);
    assert!(recorded.stderr.contains("once more from the beginning, on disk"), "{recorded:#?}");
    assert_eq!(recorded.ok()["result"]["files"], 1, "the big file, and nothing of the first try");
}

#[test]
fn the_closure_is_proved_inside_from_the_medium_and_only_by_whom_the_site_believes() {
    if !have("pip") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let folder = folder(&[("requirements.txt", "ferry\n")]);
    record(&pair, folder.path(), "boat", INSTALL);
    let rehearsed = outside.by(officer, &["rehearse", "boat"]).ok();
    assert_eq!((&rehearsed["complete"], &rehearsed["outside"]), (&json!(true), &json!(0)));
    drop(upstream);
    let packed = pair.pack("boat", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&packed).ok()["id"].to_string();
    let difference = || {
        let path = format!("/api/v1/transfers/{id}/difference");
        pair.inside.send(&pair.officers.1, "GET", &path, b"").json()["rehearsals"][0].clone()
    };
    let rehearsal = difference();
    let proof = &rehearsal["proof"];
    assert_eq!((&proof["holds"], &proof["troubles"]), (&json!(true), &json!([])), "{rehearsal}");
    assert_eq!((&proof["files"], &proof["carried"]), (&json!(2), &json!(2)), "{rehearsal}");
    assert_eq!(proof["inputs"], rehearsed["inputs"], "{rehearsal}");
    assert_eq!(proof["result"], rehearsed["result"], "{rehearsal}");
    assert!(proof["network"].is_string(), "a log of every connection: {rehearsal}");
    let page = pair.inside.by(&pair.officers.1, &["transfers", &id]);
    assert_eq!(page.code, 0, "{page:#?}");

    // Who no longer believes the sender no longer believes its proof.
    let key = outside.keys().0;
    pair.inside.by(&pair.inside.admin, &["key", "forget", "outside", &key]).ok();
    let proof = difference()["proof"].clone();
    assert_eq!(proof["holds"], false, "{proof}");
    assert!(proof["troubles"][0].as_str().unwrap().contains("nobody whom this site believes"), "{proof}");
}

#[test]
fn lock_files_and_wants_are_collected_without_running_and_what_cannot_be_is_named() {
    if !have("pip") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let want =
        "images = [\"harbour.example/crane:2\"]\n[pypi]\nferry = \">=2\"\n[npm]\noars = { latest = 1 }\n";
    let folder = folder(&[("requirements.txt", "oars==1.0\n"), ("cofferdam.want", want)]);
    let from = folder.path().to_str().unwrap();
    let done = outside.by(officer, &["collect", "--from", from, "--as", "lists"]);
    assert_eq!((done.code, &done.json["complete"]), (1, &json!(false)), "{done:#?}");
    let left = done.json["left"].to_string();
    assert!(left.contains("harbour.example/crane") && left.contains("http"), "{left}");
    fs::write(folder.path().join("cofferdam.want"), want.split_once('\n').unwrap().1).unwrap();
    let done = outside.by(officer, &["collect", "--from", from, "--as", "lists"]).ok();
    assert_eq!(done["complete"], true, "{done}");
    let collection = outside.by(officer, &["collect", "lists"]).ok();
    let purls: Vec<_> =
        collection["items"].as_array().unwrap().iter().map(|i| i["purl"].as_str().unwrap()).collect();
    assert_eq!(purls, ["pkg:npm/oars@1.0.0", "pkg:pypi/ferry@2.1", "pkg:pypi/oars@1.0"]);
    assert_eq!(collection["recordings"][0]["state"], "listed");

    // Nothing was run, and yet it travels; the receiver sees that no rehearsal speaks for it.
    let packed = pair.pack("lists", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&packed).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    let install =
        ["inside", "--", "sh", "-ec", "python3 -m pip install --no-compile --target site ferry oars"];
    let built = pair.inside.by_in(folder.path(), &pair.developers.1, &install);
    assert_eq!(built.code, 0, "{built:#?}");

    // A collection file says the bytes: upstream cannot give others for them.
    let file = folder.path().join("lists.collection.toml");
    let file = file.to_str().unwrap();
    outside.by(officer, &["collect", "lists", "--write", file]).ok();
    let again = outside.by(officer, &["collect", "--from", file, "--as", "again"]).ok();
    assert_eq!((&again["releases"], &again["complete"]), (&json!(3), &json!(true)), "{again}");
    let text = fs::read_to_string(file).unwrap();
    let (before, digest) = text.split_once("sha256 = \"").unwrap();
    let other = format!("{before}sha256 = \"{}{}", "0".repeat(64), &digest[64..]);
    let other: String =
        other.lines().filter(|l| !l.starts_with("digest")).fold(String::new(), |all, l| all + l + "\n");
    fs::write(file, other).unwrap();
    let changed = outside.by(officer, &["collect", "--from", file, "--as", "changed"]);
    assert_eq!(changed.code, 1, "{changed:#?}");
    assert!(changed.json["left"].to_string().contains("other bytes"), "{changed:#?}");
}

#[test]
fn an_update_says_what_changed_what_was_pinned_and_what_each_destination_lacks() {
    if !have("pip") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let folder = folder(&[("requirements.txt", "ferry\n")]);
    record(&pair, folder.path(), "boat", INSTALL);
    outside.by(officer, &["rehearse", "boat"]).ok();
    let packed = pair.pack("boat", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&packed).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    pair.receipt(&id);
    let blobs = outside.blobs();
    let idle = outside.by(officer, &["collect", "--update"]).ok();
    let (idle, none) = (&idle["updated"][0], json!([]));
    assert_eq!((&idle["complete"], &idle["updated"], &idle["added"]), (&json!(true), &none, &none), "{idle}");
    assert_eq!(idle["destinations"][0]["purls"], none, "the receipt proves that it is all there: {idle}");
    assert_eq!(outside.blobs(), blobs, "nothing new, and nothing was kept");

    let ferry = "pkg:pypi/ferry@2.1";
    outside.by(officer, &["collect", "boat", "--pin", ferry, "--reason", "the pier is too short"]).ok();
    let developer = upstream.person("second", "developer");
    let (file, bytes) = wheel("ferry", "2.2", &["oars>=1"]);
    assert_eq!(upload_distribution(&upstream, &developer, "pypi-local", (&file, &bytes), &[]).status, 200);
    let news = outside.by(officer, &["collect", "--update", "boat"]);
    let update = &news.json["updated"][0];
    assert_eq!(update["updated"], json!([["pkg:pypi/ferry", ["2.1"], ["2.2"]]]), "{news:#?}");
    assert_eq!(update["destinations"][0]["purls"], json!(["pkg:pypi/ferry@2.2"]), "{news:#?}");
    assert!(update["unpinned"][0].as_str().unwrap().contains("the pier is too short"), "{news:#?}");
    assert_eq!(news.code, 1, "a pin that does not hold is no success");
}

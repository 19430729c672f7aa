//! Advisories: an update that leaves an advisory's range is named first, with the destination that still lacks it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
};

use serde_json::{Value, json};

use crate::common::{
    Pair, Site,
    packages::{upload_distribution, wheel},
    tools::{have, have_sandbox},
    upstream::{configuration, upstream},
};

const INSTALL: &str =
    "rm -rf site; python3 -m pip install --no-compile --no-cache-dir --target site -r requirements.txt";

fn advisory(id: &str, name: &str, fixed: &str, vector: &str) -> Value {
    json!({
        "id": id, "modified": "2026-01-01T00:00:00Z", "aliases": [format!("CVE-{id}")],
        "summary": format!("water comes into {name}"),
        "severity": [{ "type": "CVSS_V3", "score": vector }],
        "affected": [{
            "package": { "ecosystem": "PyPI", "name": name },
            "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": fixed }] }],
        }],
    })
}

fn feed() -> String {
    let leak = advisory("X-1", "Ferry", "2.2", "CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H");
    let hole = advisory("X-2", "ferry", "2.2", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H");
    let open = advisory("X-3", "oars", "1.1", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H");
    [leak, hole, open].map(|record| record.to_string()).join("\n")
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

fn recording(site: &Site, token: &str, path: &str) -> Value {
    let answer = site.send(token, "GET", &format!("/api/v1/recordings/{path}"), b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The upstream also has the feed, as a file.
fn with_feed(upstream: &Site) -> String {
    let developer = upstream.person("clerk", "developer");
    let path = "/r/generic-local/feeds/PyPI/all.jsonl";
    let answer = upstream.send(&developer, "PUT", path, feed().as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.text());
    format!("{}{path}", upstream.url)
}

/// An address that leads to another one, asked once.
fn leading_to(target: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/latest.jsonl", listener.local_addr().unwrap());
    let answer =
        format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 4096];
        let _ = stream.read(&mut question).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    address
}

#[test]
fn an_update_names_its_security_fixes_first_and_who_still_lacks_them() {
    if !have("pip") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let address = with_feed(&upstream);
    let pair = Pair::new(&format!("{}[web]\nlocal_addresses = true\n", configuration(&upstream.url)));
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("requirements.txt"), "ferry\n").unwrap();
    let record = ["record", "--name", "boat", "--", "sh", "-ec", INSTALL];
    outside.by_in(folder.path(), officer, &record).ok();
    outside.by(officer, &["rehearse", "boat"]).ok();
    let packed = pair.pack("boat", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&packed).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    pair.receipt(&id);

    // A feed in a file judges what was collected.
    let file = folder.path().join("feed.jsonl");
    fs::write(&file, feed()).unwrap();
    let file = file.to_str().unwrap();
    let shown = outside.by(officer, &["collect", "boat", "--advisories", file]).ok();
    let affected = &shown["affected"];
    assert_eq!(ids(affected), ["X-2", "X-3", "X-1"], "the worst first: {affected}");
    assert_eq!((&affected[0]["fix"], &affected[0]["score"]), (&json!("2.2"), &json!(9.8)), "{affected}");
    assert_eq!((&shown["not_judged"], &shown["feeds"][0]["advisories"]), (&json!([]), &json!(3)), "{shown}");
    outside.by(officer, &["collect", "boat", "--advisories", "/nowhere"]).fails(1, "not-found");
    let gone = address.replace("all.jsonl", "gone.jsonl");
    outside.by(officer, &["collect", "boat", "--advisories", &gone]).fails(1, "upstream-status");
    assert_eq!(recording(outside, officer, "advisories")["state"], "failed", "it does not go on for ever");

    // The site keeps what was said, for its page and its API.
    let told = recording(outside, officer, "boat/judgement");
    assert_eq!(
        (ids(&told["affected"]), &told["not_judged"]),
        (vec!["X-2", "X-3", "X-1"], &json!([])),
        "{told}"
    );
    assert_eq!(
        (&told["feeds"][0]["newest"], &told["affected"][0]["source"]),
        (&json!("2026-01-01T00:00:00Z"), &json!(file))
    );

    // Upstream has the fixed version; the feed comes by its address, through the site.
    let developer = upstream.person("second", "developer");
    let (name, bytes) = wheel("ferry", "2.2", &["oars>=1"]);
    assert_eq!(upload_distribution(&upstream, &developer, "pypi-local", (&name, &bytes), &[]).status, 200);
    let done = outside.by(officer, &["collect", "--update", "boat", "--advisories", &address]).ok();
    let update = &done["updated"][0];
    assert_eq!(ids(&update["security"]), ["X-2", "X-1"], "{update}");
    let fix = &update["security"][0];
    assert_eq!(
        (&fix["package"], &fix["from"], &fix["to"]),
        (&json!("pkg:pypi/ferry"), &json!("2.1"), &json!(["2.2"])),
        "{fix}"
    );
    assert_eq!(ids(&update["affected"]), ["X-3"], "oars is still as it was: {update}");
    let lacks = &update["destinations"][0]["security"][0];
    assert_eq!(
        (&lacks["has"], &lacks["lacks"], &lacks["id"]),
        (&json!("pkg:pypi/ferry@2.1"), &json!("pkg:pypi/ferry@2.2"), &json!("X-2")),
        "{update}"
    );
    let told = recording(outside, officer, &format!("{}/judgement", update["id"]));
    assert_eq!((ids(&told["security"]), ids(&told["affected"])), (vec!["X-2", "X-1"], vec!["X-3"]), "{told}");
    // What was fetched was kept, as a recording of its own that can be packed.
    let kept = outside.by(officer, &["collect", "advisories"]).ok();
    assert_eq!(kept["items"][0]["address"], json!(address), "{kept}");
}

#[test]
fn a_list_of_wants_brings_a_feed_from_the_base_that_a_person_sets() {
    let upstream = upstream();
    let address = with_feed(&upstream);
    let pair = Pair::new(&format!("{}[web]\nlocal_addresses = true\n", configuration(&upstream.url)));
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cofferdam.want"), "advisories = [\"pypi\"]\n").unwrap();
    let from = ["collect", "--from", folder.path().to_str().unwrap(), "--as", "feeds"];
    let told = outside.by(officer, &from);
    assert_eq!(told.code, 1, "{told:#?}");
    assert!(told.json["left"].to_string().contains("COFFERDAM_ADVISORIES"), "{told:#?}");
    let base = address.replace("/PyPI/", "/{ecosystem}/");
    let set = [("COFFERDAM_ADVISORIES", base.as_str())];
    let done = outside.by_with(folder.path(), &set, officer, &from).ok();
    assert_eq!((&done["complete"], &done["fetched"]), (&json!(true), &json!(1)), "{done}");
    let kept = outside.by(officer, &["collect", "feeds"]).ok();
    assert_eq!(kept["items"][0]["address"], json!(address), "{kept}");
    let word =
        outside.by_with(folder.path(), &set, officer, &["collect", "feeds", "--advisories", "pypi"]).ok();
    assert_eq!(word["feeds"][0]["advisories"], 3, "{word}");
    assert_eq!(word["not_judged"].as_array().unwrap().len(), 1, "a feed is judged by nobody: {word}");
    // One that leads elsewhere is followed through the site, which keeps each step.
    let leading = leading_to(&address);
    let led = outside.by(officer, &["collect", "feeds", "--advisories", &leading]).ok();
    assert_eq!(led["feeds"][0]["advisories"], 3, "{led}");
    let steps = outside.by(officer, &["collect", "advisories"]).ok();
    assert_eq!(steps["items"].as_array().unwrap().len(), 2, "{steps}");
}

//! Stories of a mirror: upstream's index shown as it is, crates recorded, crossed and admitted.

mod common;

use cofferdam_format_cargo::Cargo;
use cofferdam_format_kit::{
    Body, Change, Draft, Format as _, RepositoryKind, Want,
    conformance::{MemoryRepository, MemoryUpstream, check},
};
use cofferdam_types::{Error, ErrorKind, Sha256, Timestamp};
use common::crate_file;
use http::Method;
use serde_json::{Value, json};

const INDEX: &str = "https://index.upstream.example/";
const MANIFEST_END: &str = "links = \"z\"\n[dependencies]\nalias = { version = \"1\", package = \"real_dep\" }\n\
    [target.'cfg(unix)'.build-dependencies]\ncc = \"1\"\n[dev-dependencies]\ntesting = \"1\"";

/// The index line that a registry would have for a crate file.
fn line(name: &str, version: &str, crate_file: &[u8]) -> Value {
    json!({
        "name": name, "vers": version, "deps": [], "cksum": Sha256::of(crate_file).to_hex(),
        "features": {}, "yanked": false,
    })
}

fn mirror() -> MemoryRepository {
    MemoryRepository::new("crates", RepositoryKind::Mirror, "http://site.example/r/crates")
}

/// A line with everything that a line may have, and one field that nobody knows yet.
fn rich_line(file: &[u8]) -> Value {
    let mut line = line("Some_Crate", "1.2.3", file);
    line["deps"] = json!([
        {"name": "alias", "package": "real_dep", "req": "^1", "features": [], "optional": false,
         "default_features": true, "target": null, "kind": "normal"},
        {"name": "cc", "req": "^1", "features": [], "optional": false, "default_features": true,
         "target": "cfg(unix)", "kind": "build"},
        {"name": "testing", "req": "^1", "features": [], "optional": false, "default_features": true,
         "target": null, "kind": "dev"},
    ]);
    line["features2"] = json!({"extra": ["dep:alias"]});
    line["v"] = 2.into();
    line["links"] = "z".into();
    line["rust_version"] = "1.60".into();
    line["pubtime"] = "2025-03-04T05:06:07Z".into();
    line["yanked"] = true.into();
    line["not-known-yet"] = json!({"n": 1});
    line
}

fn upstream(rich: &Value, dl: &str, url: &str, file: &[u8]) -> MemoryUpstream {
    let index = format!("{}\n{rich}\n", line("Some_Crate", "1.0.0", b"other"));
    MemoryUpstream::new(INDEX)
        .with("config.json", "application/json", json!({ "dl": dl }).to_string())
        .with("so/me/some_crate", "text/plain", index)
        .with(url, "application/gzip", file.to_vec())
}

fn want() -> Want {
    Want::File { package: "some-crate".into(), path: "crates/Some_Crate/1.2.3/download".into() }
}

async fn record(repository: &MemoryRepository, upstream: &MemoryUpstream) -> Result<Draft, Error> {
    let recorded = Cargo.record(&want(), repository, upstream, repository).await?;
    repository.commit(&Cargo, &recorded.changes).await?;
    match recorded.changes.into_iter().next() {
        Some(Change::Release(draft)) => Ok(draft),
        other => panic!("a release was expected, not {other:?}"),
    }
}

async fn recorded(repository: &MemoryRepository) -> Draft {
    let file = crate_file("Some_Crate", "1.2.3", MANIFEST_END);
    let url = "https://dl.upstream.example/Some_Crate/1.2.3/download";
    let upstream = upstream(&rich_line(&file), "https://dl.upstream.example", url, &file);
    record(repository, &upstream).await.unwrap()
}

#[tokio::test]
async fn the_live_index_is_upstreams_text_whatever_spelling_the_key_hides() {
    let repository = mirror();
    let line = rich_line(b"");
    let upstream = upstream(&line, "x", "y", b"");
    let request = repository.request(Method::GET, "/so/me/some_crate", &[]);
    let route = Cargo.route(&request).unwrap();
    let want = Cargo.want(&request, &route).unwrap();
    assert_eq!(want, Want::Index { package: Some("some-crate".into()) });
    let live = Cargo.record(&want, &repository, &upstream, &repository).await.unwrap();
    assert!(live.changes.is_empty());
    let Body::Bytes(text) = live.answer.unwrap().body else { panic!("a text") };
    assert!(text.ends_with(format!("{line}\n").as_bytes()));
    let asked = upstream.asked();
    assert_eq!(asked, [format!("{INDEX}so/me/some-crate"), format!("{INDEX}so/me/some_crate")]);
}

#[tokio::test]
async fn a_live_index_lists_its_crates_and_passes_over_what_it_cannot_read() {
    let repository = mirror();
    let rich = rich_line(b"new");
    let text = format!(
        "{rich}\njunk\n{}\n{}\n",
        line("Some_Crate", "1.0.0", b"old"),
        line("other", "3.0.0", b"of another")
    );
    let upstream = MemoryUpstream::new(INDEX).with("so/me/some_crate", "text/plain", text);
    let path = Cargo.index_path("Some_Crate").unwrap();
    let request = repository.request(Method::GET, &format!("/{path}"), &[]);
    let want = Cargo.want(&request, &Cargo.route(&request).unwrap()).unwrap();
    let live = Cargo.record(&want, &repository, &upstream, &repository).await.unwrap();
    let Body::Bytes(text) = live.answer.unwrap().body else { panic!("a text") };

    let listed = Cargo.listed("some-crate", &text).unwrap();
    let shown: Vec<_> = listed.iter().map(|f| (f.version.as_str(), f.path.as_str(), f.yanked)).collect();
    let expected = [
        ("1.0.0", "crates/Some_Crate/1.0.0/download", false),
        ("1.2.3", "crates/Some_Crate/1.2.3/download", true),
    ];
    assert_eq!(shown, expected);
    assert_eq!(listed[0].digests, [format!("sha256:{}", Sha256::of(b"old").to_hex())]);
    assert_eq!(Cargo.listed("absent", &text).unwrap_err().code(), "index-document");
    assert_eq!(Cargo.listed("some-crate", b"").unwrap(), []);
}

#[tokio::test]
async fn what_is_no_index_is_not_shown_as_one() {
    let repository = mirror();
    let upstream = MemoryUpstream::new(INDEX).with("po/rt/portal", "text/html", "<html>sign in</html>");
    let ask = |name: &str| Want::Index { package: Some(name.into()) };
    let error = Cargo.record(&ask("portal"), &repository, &upstream, &repository).await.unwrap_err();
    assert_eq!(error.code(), "upstream-index");
    let error = Cargo.record(&ask("absent"), &repository, &upstream, &repository).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_recorded_release_shows_upstreams_line_field_for_field() {
    let repository = mirror();
    let draft = recorded(&repository).await;
    assert_eq!(draft.published, Timestamp::parse("2025-03-04T05:06:07Z"));
    assert_eq!(draft.yanked, Some(String::new()));
    let file = crate_file("Some_Crate", "1.2.3", MANIFEST_END);
    let (_, _, text) = repository.get(&Cargo, "/so/me/some_crate", "*/*").await;
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), rich_line(&file));
    assert_eq!(repository.get(&Cargo, "/crates/Some_Crate/1.2.3/download", "*/*").await.2, file);
    check(&Cargo, &repository).await;
}

#[tokio::test]
async fn downloads_follow_upstreams_own_address_scheme() {
    let file = crate_file("Some_Crate", "1.2.3", MANIFEST_END);
    let cksum = Sha256::of(&file);
    let cases = [
        (
            "https://dl.upstream.example/api/v1",
            "https://dl.upstream.example/api/v1/Some_Crate/1.2.3/download",
        ),
        (
            "https://dl.upstream.example/{prefix}/{crate}-{version}",
            "https://dl.upstream.example/So/me/Some_Crate-1.2.3",
        ),
        (
            "https://dl.upstream.example/{lowerprefix}/{sha256-checksum}",
            &format!("https://dl.upstream.example/so/me/{cksum}"),
        ),
    ];
    for (dl, url) in cases {
        let upstream = upstream(&rich_line(&file), dl, url, &file);
        record(&mirror(), &upstream).await.unwrap();
        assert!(upstream.asked().iter().any(|asked| asked == url), "{dl}");
    }
}

#[tokio::test]
async fn what_upstream_cannot_prove_is_not_recorded() {
    let file = crate_file("Some_Crate", "1.2.3", MANIFEST_END);
    let url = "https://dl.upstream.example/Some_Crate/1.2.3/download";
    let (good, dl) = (rich_line(&file), "https://dl.upstream.example");
    let mut no_checksum = good.clone();
    no_checksum["cksum"] = "short".into();
    let mut other_deps = good.clone();
    other_deps["deps"][0]["package"] = "evil".into();
    let cases = [
        (upstream(&good, dl, url, b"other bytes"), "upstream-checksum"),
        (upstream(&no_checksum, dl, url, &file), "upstream-index"),
        (upstream(&other_deps, dl, url, &file), "index-mismatch"),
        (upstream(&good, dl, "elsewhere", &file), "not-found"),
        (upstream(&line("Some_Crate", "9.9.9", &file), dl, url, &file), "not-found"),
        (
            MemoryUpstream::new(INDEX).with("so/me/some_crate", "text/plain", good.to_string()),
            "upstream-config",
        ),
    ];
    for (upstream, code) in cases {
        let repository = mirror();
        let error = record(&repository, &upstream).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(repository.package_count(), 0);
    }
}

#[tokio::test]
async fn an_honest_claim_is_admitted_as_it_was_recorded() {
    let repository = mirror();
    let claim = recorded(&repository).await;
    assert_eq!(Cargo.admit(&claim, &repository).await.unwrap(), claim);
    let mut unyanked = claim.clone();
    unyanked.yanked = None;
    assert_eq!(Cargo.admit(&unyanked, &repository).await.unwrap().meta["yanked"], false);
}

#[tokio::test]
async fn a_claim_that_disagrees_with_its_bytes_is_refused() {
    let repository = mirror();
    let claim = recorded(&repository).await;
    type Edit = fn(&mut Draft);
    let edits: [Edit; 12] = [
        |d| d.package = "other".into(),
        |d| d.display = "some_crate".into(),
        |d| d.version = "1.2.4".into(),
        |d| d.files[0].path = "crates/Some_Crate/1.2.4/download".into(),
        |d| d.files[0].digests.size += 1,
        |d| d.files.clear(),
        |d| d.meta = Value::Null,
        |d| d.meta["cksum"] = "0".repeat(64).into(),
        |d| d.meta["name"] = "other".into(),
        |d| d.meta["deps"] = json!([]),
        |d| d.meta["deps"][1]["name"] = "evil".into(),
        |d| d.meta["links"] = "other".into(),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut wrong = claim.clone();
        edit(&mut wrong);
        let error = Cargo.admit(&wrong, &repository).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::VerificationFailed, "edit {number}: {error}");
    }
}

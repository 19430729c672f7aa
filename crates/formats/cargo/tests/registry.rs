//! Stories of a crate registry: publish, read, yank, search, and everything that is refused.

mod common;

use std::io::Write as _;

use bytes::Bytes;
use cofferdam_format_cargo::Cargo;
use cofferdam_format_kit::{
    Format as _, RepositoryKind, Upload,
    conformance::{MemoryRepository, check},
};
use cofferdam_types::{Error, ErrorKind};
use common::{archive, crate_file};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

const BASE: &str = "http://site.example/r/crates";

/// The body of a publish.
fn frame(metadata: &Value, crate_file: &[u8]) -> Bytes {
    let json = metadata.to_string();
    let mut out = Vec::new();
    for part in [json.as_bytes(), crate_file] {
        out.write_all(&u32::try_from(part.len()).unwrap().to_le_bytes()).unwrap();
        out.write_all(part).unwrap();
    }
    out.into()
}

fn hosted() -> MemoryRepository {
    MemoryRepository::new("crates", RepositoryKind::Hosted, BASE)
}

async fn send(repository: &MemoryRepository, metadata: Value, file: &[u8]) -> Result<(), Error> {
    let body = frame(&metadata, file);
    let answer = repository.publish(&Cargo, Method::PUT, "/api/v1/crates/new", &[], body).await?;
    assert_eq!(answer.status, StatusCode::OK);
    Ok(())
}

async fn publish(repository: &MemoryRepository, name: &str, version: &str) -> Result<(), Error> {
    send(repository, json!({"name": name, "vers": version}), &crate_file(name, version, "")).await
}

async fn index(repository: &MemoryRepository, path: &str) -> Vec<Value> {
    let (status, _, body) = repository.get(&Cargo, path, "*/*").await;
    assert_eq!(status, StatusCode::OK, "{path}");
    body.split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect()
}

#[tokio::test]
async fn it_keeps_the_rules_of_every_format() {
    let repository = hosted();
    publish(&repository, "Some_Crate", "1.0.0").await.unwrap();
    publish(&repository, "x", "1.0.0+build.1").await.unwrap();
    check(&Cargo, &repository).await;
}

#[tokio::test]
async fn a_published_crate_is_in_the_index_and_can_be_fetched() {
    let repository = hosted();
    for version in ["1.10.0", "1.9.0"] {
        publish(&repository, "Some_Crate", version).await.unwrap();
    }
    let lines = index(&repository, "/so/me/some_crate").await;
    let versions: Vec<&str> = lines.iter().map(|l| l["vers"].as_str().unwrap()).collect();
    assert_eq!(versions, ["1.9.0", "1.10.0"]);
    assert_eq!(lines[0]["name"], "Some_Crate");
    assert_eq!(lines[0]["pubtime"], "2026-01-01T00:00:00Z");
    for path in ["/crates/Some_Crate/1.9.0/download", "/api/v1/crates/Some_Crate/1.9.0/download"] {
        let (status, _, body) = repository.get(&Cargo, path, "*/*").await;
        assert_eq!((status, body), (StatusCode::OK, crate_file("Some_Crate", "1.9.0", "")));
    }
    for absent in ["/so/me/some-crate", "/se/rd/serde", "/So/me/Some_Crate", "/xx/yy/some_crate"] {
        assert_eq!(repository.get(&Cargo, absent, "*/*").await.0, StatusCode::NOT_FOUND, "{absent}");
    }
}

#[tokio::test]
async fn config_speaks_of_the_address_under_which_the_client_came() {
    let repository = hosted();
    let mut request = repository.request(Method::GET, "/config.json", &[]);
    request.base = "http://other.example/t/secret/r/crates".into();
    let route = Cargo.route(&request).unwrap();
    let answer = Cargo.serve(&request, &route, &repository).await.unwrap();
    let cofferdam_format_kit::Body::Bytes(text) = answer.body else { panic!("a small body") };
    let config: Value = serde_json::from_slice(&text).unwrap();
    let base = &request.base;
    assert_eq!(config, json!({"dl": format!("{base}/crates/{{crate}}/{{version}}/download"), "api": base}));
}

#[tokio::test]
async fn a_yanked_release_stays_for_those_who_pinned_it() {
    let repository = hosted();
    publish(&repository, "a", "1.0.0").await.unwrap();
    let path = "/api/v1/crates/a/1.0.0";
    for (method, action, yanked) in [(Method::DELETE, "yank", true), (Method::PUT, "unyank", false)] {
        repository.publish(&Cargo, method, &format!("{path}/{action}"), &[], "").await.unwrap();
        assert_eq!(index(&repository, "/1/a").await[0]["yanked"], yanked);
        assert_eq!(repository.get(&Cargo, "/crates/a/1.0.0/download", "*/*").await.0, StatusCode::OK);
    }
    let error =
        repository.publish(&Cargo, Method::DELETE, "/api/v1/crates/a/2.0.0/yank", &[], "").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn search_finds_names_and_shows_the_newest_usable_version() {
    let repository = hosted();
    for version in ["1.0.0", "1.1.0", "2.0.0-rc.1"] {
        publish(&repository, "tool_box", version).await.unwrap();
    }
    publish(&repository, "other", "1.0.0").await.unwrap();
    for query in ["tool", "TOOL_box", "tool-box"] {
        let (_, _, body) =
            repository.get(&Cargo, &format!("/api/v1/crates?q={query}&per_page=5"), "*/*").await;
        let found: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            found,
            json!({
                "crates": [{"name": "tool_box", "max_version": "1.1.0", "description": "About tool_box"}],
                "meta": {"total": 1},
            }),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_release_never_changes_but_the_same_bytes_may_come_again() {
    let repository = hosted();
    publish(&repository, "a", "1.0.0").await.unwrap();
    publish(&repository, "a", "1.0.0").await.unwrap();
    let other = crate_file("a", "1.0.0", "license = \"MIT\"");
    let error = send(&repository, json!({"name": "a", "vers": "1.0.0"}), &other).await.unwrap_err();
    assert_eq!(error.code(), "immutable");
    let error = publish(&repository, "a", "1.0.0+other").await.unwrap_err();
    assert_eq!(error.code(), "immutable");
    assert_eq!(index(&repository, "/1/a").await.len(), 1);
}

#[tokio::test]
async fn names_that_are_too_much_alike_are_one_name() {
    let repository = hosted();
    publish(&repository, "some-crate", "1.0.0").await.unwrap();
    for alike in ["some_crate", "Some-Crate"] {
        let error = publish(&repository, alike, "1.0.1").await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "crate-name-taken"), "{alike}");
    }
    for wrong in ["9lives", "a.b", "nul", ""] {
        assert_eq!(publish(&repository, wrong, "1.0.0").await.unwrap_err().code(), "crate-name", "{wrong}");
    }
    assert_eq!(publish(&repository, "b", "1.0").await.unwrap_err().code(), "crate-version");
}

#[tokio::test]
async fn a_crate_must_be_what_the_upload_says() {
    let good = "[package]\nname = \"a\"\nversion = \"1.0.0\"\n";
    let whole = crate_file("a", "1.0.0", "");
    let cases = [
        (crate_file("a", "1.0.1", ""), "crate-layout"),
        (
            archive(&[("a-1.0.0/Cargo.toml", "[package]\nname = \"b\"\nversion = \"1.0.0\"")]),
            "crate-mismatch",
        ),
        (
            archive(&[("a-1.0.0/Cargo.toml", "[package]\nname = \"a\"\nversion = \"1.0.1\"")]),
            "crate-mismatch",
        ),
        (archive(&[("a-1.0.0/Cargo.toml", "nonsense")]), "crate-manifest"),
        (archive(&[("a-1.0.0/src/lib.rs", "")]), "crate-layout"),
        (archive(&[("a-1.0.0/Cargo.toml", good), ("b/x", "")]), "crate-layout"),
        (archive(&[("a-1.0.0/Cargo.toml", good), ("a-1.0.0/Cargo.toml", good)]), "crate-layout"),
        (archive(&[("a-1.0.0/Cargo.toml", good), ("a-1.0.0/../../x", "")]), "archive-path"),
        (whole.slice(..whole.len() - 9), "archive-broken"),
        ("plain text".into(), "archive-broken"),
        (crate_file("a", "1.0.0", "[dependencies]\nhidden = \"1\""), "index-mismatch"),
    ];
    for (file, code) in cases {
        let repository = hosted();
        let error = send(&repository, json!({"name": "a", "vers": "1.0.0"}), &file).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(repository.package_count(), 0);
    }
}

#[tokio::test]
async fn a_crate_that_would_publish_the_token_of_its_author_is_refused() {
    let repository = hosted();
    let mut request = repository.request(Method::PUT, "/api/v1/crates/new", &[]);
    request.base = "http://site.example/t/secret/r/crates".into();
    let registry = format!("sparse+{}/", request.base);
    let more = format!("[dev-dependencies]\nb = {{ version = \"1\", registry-index = \"{registry}\" }}");
    let file = crate_file("a", "1.0.0", &more);
    let body = frame(&json!({"name": "a", "vers": "1.0.0"}), &file);
    let body = Box::pin(futures::stream::once(async move { Ok(body) }));
    let upload = Upload { route: Cargo.route(&request).unwrap(), request, body };
    let error = Cargo.accept(upload, &repository, &repository).await.unwrap_err();
    assert_eq!(error.code(), "crate-holds-token");
    assert!(!format!("{error} {:?}", error.advice()).contains("secret"));
}

#[tokio::test]
async fn an_upload_that_is_cut_or_goes_on_too_long_is_refused() {
    let file = crate_file("a", "1.0.0", "");
    let body = frame(&json!({"name": "a", "vers": "1.0.0"}), &file);
    let mut longer = body.to_vec();
    longer.push(0);
    let huge = [&u32::MAX.to_le_bytes()[..], b"{"].concat();
    let huge_crate = [&2u32.to_le_bytes()[..], b"{}", &u32::MAX.to_le_bytes()].concat();
    for (body, kind) in [
        (body[..2].to_vec(), ErrorKind::Invalid),
        (body[..10].to_vec(), ErrorKind::Invalid),
        (body[..body.len() - 1].to_vec(), ErrorKind::Invalid),
        (longer, ErrorKind::Invalid),
        (huge, ErrorKind::TooLarge),
        (huge_crate, ErrorKind::TooLarge),
        (frame(&json!({"name": 7}), &file).to_vec(), ErrorKind::Invalid),
    ] {
        let repository = hosted();
        let sent = repository.publish(&Cargo, Method::PUT, "/api/v1/crates/new", &[], body).await;
        assert_eq!(sent.unwrap_err().kind(), kind);
        assert_eq!(repository.package_count(), 0);
    }
}

#[tokio::test]
async fn refusals_have_the_shape_that_cargo_prints() {
    let mirror = MemoryRepository::new("crates", RepositoryKind::Mirror, BASE);
    let answer = Cargo.error(&publish(&mirror, "a", "1.0.0").await.unwrap_err());
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    let (status, _, body) = mirror.get(&Cargo, "/api/v1/crates/a/owners", "*/*").await;
    let text: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text["errors"][0]["detail"].as_str().unwrap().contains("no owners"));
    assert_eq!(mirror.get(&Cargo, "/me", "*/*").await.0, StatusCode::OK);
}

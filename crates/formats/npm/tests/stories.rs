//! What a person with npm does with a hosted repository, from the first publish to the last tag.

mod support;

use cofferdam_format_kit::{Body, Change, Format as _, conformance::check};
use cofferdam_format_npm::Npm;
use cofferdam_types::{Error, ErrorKind};
use http::Method;
use serde_json::{Value, json};
use support::{INSTALL, document, get, hosted, publish, send, tarball};

#[tokio::test]
async fn a_published_package_is_found_by_every_address_that_clients_use() {
    let repository = hosted();
    assert_eq!(publish(&repository, "@acme/tool", "1.0.0", "latest").await.unwrap().status, 201);
    publish(&repository, "plain", "0.1.0", "latest").await.unwrap();

    for path in ["/@acme%2ftool", "/@acme%2Ftool", "/@acme/tool", "/@acme/tool/"] {
        let packument = get(&repository, path, INSTALL).await;
        assert_eq!(packument["name"], "@acme/tool", "{path}");
        let url = "http://site.example/r/js/@acme/tool/-/tool-1.0.0.tgz";
        assert_eq!(packument["versions"]["1.0.0"]["dist"]["tarball"], url);
    }
    for path in [
        "/@acme/tool/-/tool-1.0.0.tgz",
        "/@acme%2ftool/-/tool-1.0.0.tgz",
        "/@acme/tool/-/@acme/tool-1.0.0.tgz",
    ] {
        let (status, _, bytes) = repository.get(&Npm, path, "*/*").await;
        assert_eq!(status, 200, "{path}");
        assert_eq!(bytes, tarball("@acme/tool", "1.0.0"), "{path}");
    }
    for path in ["/plain/0.1.0", "/plain/latest", "/@acme%2ftool/latest", "/@acme/tool/1.0.0"] {
        assert!(get(&repository, path, "*/*").await["dist"]["integrity"].is_string(), "{path}");
    }
    assert_eq!(get(&repository, "/-/ping", "*/*").await, json!({}));
    check(&Npm, &repository).await;
}

#[tokio::test]
async fn the_accept_header_chooses_between_the_short_and_the_full_document() {
    let repository = hosted();
    publish(&repository, "tool", "1.0.0", "latest").await.unwrap();

    let accept = format!("{INSTALL}; q=1.0, application/json; q=0.8, */*");
    let (_, headers, bytes) = repository.get(&Npm, "/tool", &accept).await;
    assert_eq!(headers["content-type"], INSTALL);
    assert_eq!(headers["vary"], "Accept");
    let short: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(short["versions"]["1.0.0"]["hasInstallScript"], true);
    assert!(short["versions"]["1.0.0"].get("x-unknown").is_none());
    assert_eq!(short["modified"], "2026-01-01T00:00:00.000Z");

    let (_, headers, bytes) = repository.get(&Npm, "/tool", "application/json").await;
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["vary"], "Accept");
    let full: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(full["time"]["1.0.0"], "2026-01-01T00:00:00.000Z");
    assert_eq!(full["description"], "a small tool");
    let manifest = &full["versions"]["1.0.0"];
    assert_eq!(manifest["x-unknown"], json!({ "kept": [1, 2, 3] }), "unknown fields survive");
    assert_eq!(manifest["dist"]["signatures"], json!([{ "keyid": "k", "sig": "s" }]));
    assert_eq!(manifest["dist"]["integrity"], support::sri(&tarball("tool", "1.0.0")));
    assert!(!full.to_string().contains("upstream.example"), "no foreign address is handed out");
}

#[tokio::test]
async fn latest_is_decided_by_version_and_not_by_the_time_of_upload() {
    let repository = hosted();
    publish(&repository, "tool", "2.0.0-rc.1", "next").await.unwrap();
    assert_eq!(get(&repository, "/tool", INSTALL).await["dist-tags"]["latest"], "2.0.0-rc.1");
    publish(&repository, "tool", "1.10.0", "old").await.unwrap();
    publish(&repository, "tool", "1.9.0", "older").await.unwrap();

    let tags = get(&repository, "/-/package/tool/dist-tags", "*/*").await;
    let expected = json!({ "next": "2.0.0-rc.1", "old": "1.10.0", "older": "1.9.0", "latest": "1.10.0" });
    assert_eq!(tags, expected);
}

#[tokio::test]
async fn a_tag_is_moved_read_and_removed() {
    let repository = hosted();
    publish(&repository, "@acme/tool", "1.0.0", "latest").await.unwrap();
    publish(&repository, "@acme/tool", "1.1.0", "latest").await.unwrap();
    let path = "/-/package/@acme%2ftool/dist-tags/stable";

    repository.publish(&Npm, Method::PUT, path, &[], "\"1.0.0\"").await.unwrap();
    assert_eq!(get(&repository, path, "*/*").await, "1.0.0");
    assert_eq!(get(&repository, "/@acme/tool/stable", "*/*").await["version"], "1.0.0");

    let missing = repository.publish(&Npm, Method::PUT, path, &[], "\"9.0.0\"").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    for wrong in ["1.0.0", "{}", ""] {
        let error = repository.publish(&Npm, Method::PUT, path, &[], wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{wrong}");
    }

    repository.publish(&Npm, Method::DELETE, path, &[], "").await.unwrap();
    assert_eq!(repository.get(&Npm, path, "*/*").await.0, 404);
    let latest = path.replace("stable", "latest");
    assert_eq!(
        repository.publish(&Npm, Method::DELETE, &latest, &[], "").await.unwrap_err().code(),
        "dist-tag"
    );
}

#[tokio::test]
async fn deprecating_changes_the_notice_and_nothing_else() {
    let repository = hosted();
    publish(&repository, "tool", "1.0.0", "latest").await.unwrap();
    publish(&repository, "tool", "1.1.0", "latest").await.unwrap();
    let mut document = get(&repository, "/tool?write=true", "*/*").await;
    document["versions"]["1.0.0"]["deprecated"] = json!("use 1.1");
    document["versions"]["1.0.0"]["dependencies"] = json!({ "evil": "*" });
    document["versions"]["1.0.0"]["dist"]["integrity"] = json!("sha512-AAAA");
    let before = get(&repository, "/tool/1.0.0", "*/*").await;

    send(&repository, "tool", &document).await.unwrap();
    let mut after = get(&repository, "/tool/1.0.0", "*/*").await;
    assert_eq!(after["deprecated"], "use 1.1");
    assert_eq!(get(&repository, "/tool", INSTALL).await["versions"]["1.0.0"]["deprecated"], "use 1.1");
    after.as_object_mut().unwrap().remove("deprecated");
    assert_eq!(after, before, "the manifest is what was published");

    document["versions"]["1.0.0"]["deprecated"] = json!("");
    send(&repository, "tool", &document).await.unwrap();
    assert_eq!(get(&repository, "/tool/1.0.0", "*/*").await, before);
}

#[tokio::test]
async fn unpublishing_takes_the_revision_that_was_read() {
    let repository = hosted();
    publish(&repository, "tool", "1.0.0", "latest").await.unwrap();
    publish(&repository, "tool", "1.1.0", "next").await.unwrap();
    let mut document = get(&repository, "/tool?write=true", "*/*").await;
    let rev = document["_rev"].as_str().unwrap().to_owned();
    document["versions"].as_object_mut().unwrap().remove("1.1.0");

    let old = repository.publish(&Npm, Method::DELETE, "/tool/-rev/1-00", &[], "").await.unwrap_err();
    assert_eq!(old.code(), "revision");
    let path = format!("/tool/-rev/{rev}");
    repository.publish(&Npm, Method::PUT, &path, &[], document.to_string()).await.unwrap();
    assert_eq!(repository.get(&Npm, "/tool/1.1.0", "*/*").await.0, 404);
    assert_eq!(repository.get(&Npm, "/tool/-/tool-1.1.0.tgz", "*/*").await.0, 404);
    let last_step = format!("/tool/-/tool-1.1.0.tgz/-rev/{rev}");
    repository.publish(&Npm, Method::DELETE, &last_step, &[], "").await.unwrap();
    assert_eq!(repository.get(&Npm, "/tool/1.0.0", "*/*").await.0, 200);

    let rev = get(&repository, "/tool", "*/*").await["_rev"].as_str().unwrap().to_owned();
    repository.publish(&Npm, Method::DELETE, &format!("/tool/-rev/{rev}"), &[], "").await.unwrap();
    for path in ["/tool/1.0.0", "/tool", "/-/package/tool/dist-tags"] {
        assert_eq!(repository.get(&Npm, path, INSTALL).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_yanked_release_stays_installable_with_a_notice_and_is_not_latest() {
    let repository = hosted();
    publish(&repository, "tool", "1.0.0", "a").await.unwrap();
    publish(&repository, "tool", "1.1.0", "b").await.unwrap();
    let yank = Change::Yank { package: "tool".into(), version: "1.1.0".into(), reason: "it leaks".into() };
    repository.commit(&Npm, &[yank]).await.unwrap();

    let packument = get(&repository, "/tool", INSTALL).await;
    assert_eq!(packument["versions"]["1.1.0"]["deprecated"], "yanked: it leaks");
    assert_eq!(packument["dist-tags"]["latest"], "1.0.0");
}

#[tokio::test]
async fn search_finds_packages_page_by_page() {
    let repository = hosted();
    for name in ["tool-a", "tool-b", "tool-c", "other"] {
        publish(&repository, name, "1.0.0", "latest").await.unwrap();
    }
    let found = get(&repository, "/-/v1/search?text=tool&size=2&from=1", "*/*").await;
    let names: Vec<_> = found["objects"].as_array().unwrap().iter().map(|o| &o["package"]["name"]).collect();
    assert_eq!(names, ["tool-b", "tool-c"]);
    assert_eq!(found["total"], 3);
    assert!(found["objects"][0]["package"]["maintainers"].is_array(), "npm calls a method on it");
    assert_eq!(found["objects"][0]["package"]["description"], "a small tool");
}

#[tokio::test]
async fn an_audit_is_told_that_nothing_is_known() {
    let repository = hosted();
    publish(&repository, "tool", "1.0.0", "latest").await.unwrap();
    let request = repository.request(Method::POST, "/-/npm/v1/security/advisories/bulk", &[]);
    let route = Npm.route(&request).unwrap();
    let answer = Npm.serve(&request, &route, &repository).await.unwrap();
    assert_eq!(answer.status, 501);
    let Body::Bytes(text) = answer.body else { panic!("a small text is expected") };
    assert!(String::from_utf8_lossy(&text).contains("no advisory data"));
}

#[tokio::test]
async fn errors_have_the_shape_that_npm_prints() {
    let repository = hosted();
    let (status, _, body) = repository.get(&Npm, "/nothing", INSTALL).await;
    assert_eq!(status, 404);
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(body["error"].as_str().unwrap().contains("nothing"));

    let nobody =
        Error::new(ErrorKind::Unauthenticated, "unauthenticated", "a token is needed").hint("get one");
    let answer = Npm.error(&nobody);
    assert_eq!(answer.status, 401);
    assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    let Body::Bytes(text) = answer.body else { panic!("a small text is expected") };
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["error"], "a token is needed (get one)");
}

#[test]
fn a_client_is_told_the_registry_and_its_token() {
    let setup = Npm.client_setup("http://127.0.0.1:8080/r/js", Some("secret"));
    let value = |name: &str| setup.env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(value("npm_config_registry"), Some("http://127.0.0.1:8080/r/js/"));
    assert_eq!(value("YARN_NPM_REGISTRY_SERVER"), Some("http://127.0.0.1:8080/r/js"));
    assert_eq!(value("YARN_UNSAFE_HTTP_WHITELIST"), Some("127.0.0.1"));
    assert_eq!((value("YARN_NPM_AUTH_TOKEN"), value("COREPACK_NPM_TOKEN")), (Some("secret"), Some("secret")));
    let https = Npm.client_setup("https://site.example/r/js", None).env;
    assert!(!https.iter().any(|(name, _)| name.contains("WHITELIST") || name.contains("TOKEN")), "{https:?}");
    let (path, npmrc) = &setup.files[0];
    assert_eq!(path, ".npmrc");
    assert!(npmrc.contains("registry=http://127.0.0.1:8080/r/js/\n"));
    assert!(npmrc.contains("//127.0.0.1:8080/r/js/:_authToken=secret\n"));
    assert!(!Npm.client_setup("http://127.0.0.1:8080/r/js/", None).files[0].1.contains("_authToken"));
}

#[tokio::test]
async fn a_mirror_takes_nothing_from_clients() {
    let kind = cofferdam_format_kit::RepositoryKind::Mirror;
    let mirror =
        cofferdam_format_kit::conformance::MemoryRepository::new("m", kind, "http://site.example/r/m");
    let document = document("tool", "1.0.0", "latest", &tarball("tool", "1.0.0"));
    assert_eq!(send(&mirror, "tool", &document).await.unwrap_err().kind(), ErrorKind::Forbidden);
}

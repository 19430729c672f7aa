//! Stories of plain files: stored, listed, fetched, refused, removed, recorded and admitted.

use cofferdam_format_generic::Generic;
use cofferdam_format_kit::{
    Change, Format as _, RepositoryKind, View as _, Want,
    conformance::{MemoryRepository, MemoryUpstream, check},
};
use cofferdam_types::{ErrorKind, Sha256};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

const BASE: &str = "http://site.example/r/files";

fn hosted() -> MemoryRepository {
    MemoryRepository::new("files", RepositoryKind::Hosted, BASE)
}

async fn put(repository: &MemoryRepository, path: &str, text: &'static str) -> StatusCode {
    match repository.publish(&Generic, Method::PUT, path, &[], text).await {
        Ok(answer) => answer.status,
        Err(error) => Generic.error(&error).status,
    }
}

async fn list(repository: &MemoryRepository, path: &str) -> Value {
    let (status, headers, body) = repository.get(&Generic, path, "*/*").await;
    assert_eq!(status, StatusCode::OK, "{path}");
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn it_keeps_the_rules_of_every_format() {
    let repository = hosted();
    put(&repository, "/tools/1.0/x.bin", "x").await;
    put(&repository, "/top.txt", "t").await;
    check(&Generic, &repository).await;
}

#[tokio::test]
async fn a_file_is_stored_once_and_never_changes() {
    let repository = hosted();
    let created = repository.publish(&Generic, Method::PUT, "/a%20b/c.txt", &[], "one").await.unwrap();
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.headers[header::LOCATION], format!("{BASE}/a%20b/c.txt"));
    assert_eq!(put(&repository, "/a%20b/c.txt", "one").await, StatusCode::OK);
    assert_eq!(put(&repository, "/a%20b/c.txt", "two").await, StatusCode::CONFLICT);

    let (status, headers, body) = repository.get(&Generic, "/a%20b/c.txt", "*/*").await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"one"[..]));
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(repository.get(&Generic, "/a%20b/d.txt", "*/*").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn create_only_means_what_it_says() {
    let repository = hosted();
    let only = [("if-none-match", "*")];
    for status in [StatusCode::CREATED, StatusCode::PRECONDITION_FAILED] {
        let answer = repository.publish(&Generic, Method::PUT, "/a/b", &only, "one").await.unwrap();
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn a_declared_digest_is_checked_whatever_header_declares_it() {
    let repository = hosted();
    let sha256 = Sha256::of(b"abc").to_hex();
    let good = [
        ("x-checksum-sha256", sha256.as_str()),
        ("x-checksum-sha1", "A9993E364706816ABA3E25717850C26C9CD0D89D"),
        ("digest", "md5=kAFQmDzST7DWlj99KOF/cg==,unixsum=7"),
        ("content-digest", "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:"),
        ("content-md5", "kAFQmDzST7DWlj99KOF/cg=="),
    ];
    for (number, header) in good.into_iter().enumerate() {
        let path = format!("/good/{number}");
        let answer = repository.publish(&Generic, Method::PUT, &path, &[header], "abc").await;
        assert_eq!(answer.unwrap().status, StatusCode::CREATED, "{header:?}");
    }
    for header in good {
        let error = repository.publish(&Generic, Method::PUT, "/bad/x", &[header], "abd").await.unwrap_err();
        assert_eq!(error.code(), "digest-mismatch", "{header:?}");
    }
    for header in [("digest", "sha-256"), ("content-md5", "?"), ("repr-digest", "sha-256=:!:")] {
        let error = repository.publish(&Generic, Method::PUT, "/bad/x", &[header], "abc").await.unwrap_err();
        assert_eq!(error.code(), "digest-header", "{header:?}");
    }
    assert_eq!(repository.get(&Generic, "/bad/x", "*/*").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn folders_list_what_lies_directly_in_them() {
    let repository = hosted();
    for path in ["/top", "/a/1", "/a/2", "/a/b/3", "/a/b/c/4", "/a/b-c/5", "/a/b.d/6", "/a/b0/7", "/ab/8"] {
        assert_eq!(put(&repository, path, "x").await, StatusCode::CREATED, "{path}");
    }
    let names = |list: &Value| -> Vec<String> {
        list["files"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap().to_owned()).collect()
    };
    let root = list(&repository, "/").await;
    assert_eq!((root["folders"].clone(), names(&root)), (json!(["a", "ab"]), vec!["top".to_owned()]));
    let a = list(&repository, "/a/").await;
    assert_eq!(a["folders"], json!(["b", "b-c", "b.d", "b0"]));
    assert_eq!(names(&a), ["1", "2"]);
    assert_eq!(a["files"][0]["sha256"], Sha256::of(b"x").to_hex());
    assert_eq!(names(&list(&repository, "/a/?after=1").await), ["2"]);
    assert_eq!(list(&repository, "/a/b/").await["folders"], json!(["c"]));

    let (_, headers, page) = repository.get(&Generic, "/a/", "text/html,*/*").await;
    assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    assert!(String::from_utf8_lossy(&page).contains("<a href=\"b-c/\">"));
    let (status, headers, _) = repository.get(&Generic, "/a/b", "*/*").await;
    assert_eq!(
        (status, &headers[header::LOCATION]),
        (StatusCode::PERMANENT_REDIRECT, &"./b/".parse().unwrap())
    );
    assert_eq!(repository.get(&Generic, "/zzz/", "*/*").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn names_in_a_page_are_text_and_not_markup() {
    let repository = hosted();
    put(&repository, "/a/%3Cscript%3E", "x").await;
    let (_, _, page) = repository.get(&Generic, "/a/", "text/html").await;
    let page = String::from_utf8_lossy(&page).into_owned();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"));
}

#[tokio::test]
async fn a_path_is_a_file_or_a_folder_but_never_both() {
    let repository = hosted();
    put(&repository, "/a/b", "x").await;
    assert_eq!(put(&repository, "/a/b/c", "x").await, StatusCode::CONFLICT);
    assert_eq!(put(&repository, "/a", "x").await, StatusCode::CONFLICT);
}

#[tokio::test]
async fn removing_a_file_removes_nothing_else() {
    let repository = hosted();
    put(&repository, "/a/1", "x").await;
    put(&repository, "/a/2", "x").await;
    let gone = repository.publish(&Generic, Method::DELETE, "/a/1", &[], "").await.unwrap();
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(repository.get(&Generic, "/a/1", "*/*").await.0, StatusCode::NOT_FOUND);
    assert_eq!(repository.get(&Generic, "/a/2", "*/*").await.0, StatusCode::OK);
    let again = repository.publish(&Generic, Method::DELETE, "/a/1", &[], "").await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_mirror_takes_nothing_from_clients_and_says_so_as_a_problem() {
    let mirror = MemoryRepository::new("files", RepositoryKind::Mirror, BASE);
    for method in [Method::PUT, Method::DELETE] {
        let error = mirror.publish(&Generic, method, "/a/b", &[], "x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        let answer = Generic.error(&error);
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
    }
}

#[tokio::test]
async fn a_file_is_recorded_as_it_came_crosses_and_is_served_inside() {
    let upstream = MemoryUpstream::new("https://upstream.example/dist/").with(
        "tools/a%20b.bin",
        "application/octet-stream",
        "bytes",
    );
    let outside = MemoryRepository::new("files", RepositoryKind::Mirror, BASE);
    let request = outside.request(Method::GET, "/tools/a%20b.bin", &[]);
    let route = Generic.route(&request).unwrap();
    let want = Generic.want(&request, &route).unwrap();
    let recorded = Generic.record(&want, &outside, &upstream, &outside).await.unwrap();
    outside.commit(&Generic, &recorded.changes).await.unwrap();
    assert_eq!(outside.get(&Generic, "/tools/a%20b.bin", "*/*").await.2, "bytes");
    let Change::Release(claim) = &recorded.changes[0] else { panic!("a release") };

    // The door of the same repository stands for the one that received the transfer's bytes.
    let admitted = Generic.admit(claim, &outside).await.unwrap();
    assert_eq!(&admitted, claim);
    let mut moved = claim.clone();
    moved.files[0].path = "tools/other.bin".into();
    let mut unsized_claim = claim.clone();
    unsized_claim.files[0].digests.size += 1;
    for wrong in [moved, unsized_claim] {
        assert_eq!(Generic.admit(&wrong, &outside).await.unwrap_err().code(), "claim-mismatch");
    }

    let missing = Want::File { package: "tools".into(), path: "tools/none".into() };
    let error = Generic.record(&missing, &outside, &upstream, &outside).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(outside.package("tools").await.unwrap().unwrap().releases.len(), 1);
}

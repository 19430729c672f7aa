//! Stories of recorded addresses: kept as they came, replayed as they were seen, admitted, refused.

use cofferdam_format_kit::{
    Change, Connection, Draft, Format as _, Recorded, RepositoryKind, Route, Tls, View as _,
    conformance::{MemoryRepository, MemoryUpstream, check},
};
use cofferdam_format_web::Web;
use cofferdam_types::{ErrorKind, Result, Sha256, Timestamp};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::Value;

const BASE: &str = "http://site.example/r/web";
const TOOL: &str = "/https/files.example/o/r/v1/tool.tar.gz";

fn mirror() -> MemoryRepository {
    MemoryRepository::new("web", RepositoryKind::Mirror, BASE)
}

fn upstream() -> MemoryUpstream {
    MemoryUpstream::new("")
}

/// Records a request as a registry does, and commits what came.
async fn record_as(
    repository: &MemoryRepository,
    upstream: &MemoryUpstream,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Recorded> {
    let request = repository.request(Method::GET, path, headers);
    let route = Web.route(&request).expect("a route");
    let want = Web.want(&request, &route).expect("something to ask");
    let recorded = Web.record(&want, repository, upstream, repository).await?;
    repository.commit(&Web, &recorded.changes).await?;
    repository.give(recorded.file.as_deref().expect("a file"));
    Ok(recorded)
}

async fn record(repository: &MemoryRepository, upstream: &MemoryUpstream, path: &str) -> Recorded {
    record_as(repository, upstream, path, &[]).await.expect("an answer")
}

fn claim(recorded: &Recorded) -> Draft {
    let [Change::Release(draft)] = recorded.changes.as_slice() else { panic!("one release") };
    draft.clone()
}

async fn get(repository: &MemoryRepository, path: &str) -> (StatusCode, HeaderMap, String) {
    let (status, headers, body) = repository.get(&Web, path, "*/*").await;
    (status, headers, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn it_keeps_the_rules_of_every_format() {
    let (repository, upstream) = (mirror(), upstream());
    let upstream = upstream.with("https://files.example/o/r/v1/tool.tar.gz", "application/gzip", "tool");
    let upstream = upstream.with("http://[2001:db8::1]:8080/", "text/html", "root");
    record(&repository, &upstream, TOOL).await;
    record(&repository, &upstream, "/http/[2001:db8::1]:8080/").await;
    check(&Web, &repository).await;
}

#[tokio::test]
async fn an_answer_is_kept_as_it_came_with_the_headers_that_matter() {
    let (repository, address) = (mirror(), "https://files.example/a//b%2Fc?q=1");
    let there = [("content-type", "text/x-own"), ("etag", "W/\"7\""), ("set-cookie", "s=1"), ("server", "x")];
    let upstream = upstream().with_answer(address, StatusCode::OK, &there, "body");
    record(&repository, &upstream, "/https/Files.Example:443/a//b%2Fc?q=1").await;
    assert_eq!(upstream.asked(), [address], "path and query are asked for byte for byte");
    let (status, headers, body) = get(&repository, "/https/files.example/a//b%2Fc?q=1").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "body"));
    assert_eq!(headers[header::CONTENT_TYPE], there[0].1);
    assert_eq!(headers[header::ETAG], there[1].1);
    assert!(!headers.contains_key(header::SET_COOKIE) && !headers.contains_key(header::SERVER));
    assert_eq!(headers[&cofferdam_format_web::DIGEST], format!("sha256:{}", Sha256::of(b"body")));
}

#[tokio::test]
async fn a_probe_that_finds_nothing_and_a_redirect_are_answers_too() {
    let location = [("location", "https://files.example/real")];
    let upstream = upstream().with_answer("https://files.example/old", StatusCode::FOUND, &location, "moved");
    let repository = mirror();
    record(&repository, &upstream, "/https/files.example/old").await;
    record(&repository, &upstream, "/https/files.example/none").await;
    let (status, headers, body) = get(&repository, "/https/files.example/old").await;
    assert_eq!((status, body.as_str()), (StatusCode::FOUND, "moved"));
    assert_eq!(headers[header::LOCATION], "https://files.example/real");
    let (status, headers, body) = get(&repository, "/https/files.example/none").await;
    assert_eq!((status, body.as_str()), (StatusCode::NOT_FOUND, "not found"));
    assert!(headers.contains_key(&cofferdam_format_web::DIGEST), "the server's own 404, not ours");
}

#[tokio::test]
async fn an_answer_that_says_later_is_not_kept() {
    let address = "https://files.example/busy";
    let upstream = upstream().with_answer(address, StatusCode::TOO_MANY_REQUESTS, &[], "later");
    let repository = mirror();
    let error = record_as(&repository, &upstream, "/https/files.example/busy", &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "upstream-status"));
    assert_eq!(repository.package_count(), 0);
}

#[tokio::test]
async fn an_address_that_changes_has_two_answers_and_a_replay_gets_the_one_its_recording_saw() {
    let address = "https://files.example/o/r/v1/tool.tar.gz";
    let all = mirror();
    let first = record(&all, &upstream().with(address, "text/plain", "one"), TOOL).await;
    let later = mirror();
    later.commit(&Web, &first.changes).await.unwrap();
    let second = record(&later, &upstream().with(address, "text/plain", "two"), TOOL).await;
    assert_ne!(first.file, second.file);
    assert_eq!(get(&later, TOOL).await.2, "two", "the second recording saw the second");
    // The same repository, looked at for the first recording.
    let replay = mirror();
    for change in [&first.changes, &second.changes] {
        replay.commit(&Web, change).await.unwrap();
    }
    replay.give(first.file.as_deref().unwrap());
    let request = replay.request(Method::GET, TOOL, &[]);
    let route = Web.route(&request).unwrap();
    let settled = Web.settle(&request, &route, &replay).await.unwrap();
    assert!(matches!(settled, Route::File { path, .. } if Some(&path) == first.file.as_ref()));
}

#[tokio::test]
async fn within_one_recording_an_address_has_one_answer() {
    let address = "https://files.example/o/r/v1/tool.tar.gz";
    let repository = mirror();
    let first = record(&repository, &upstream().with(address, "text/plain", "one"), TOOL).await;
    let changed = upstream().with(address, "text/plain", "two");
    let again = record(&repository, &changed, TOOL).await;
    assert_eq!((again.file, again.changes.len()), (first.file, 0));
    assert_eq!(changed.asked().len(), 0, "upstream was not asked again");
}

#[tokio::test]
async fn the_same_answer_again_is_no_new_release() {
    let address = "https://files.example/o/r/v1/tool.tar.gz";
    let with = |tag: &str| upstream().with_answer(address, StatusCode::OK, &[("etag", tag)], "one");
    let repository = mirror();
    let first = record(&repository, &with("\"a\""), TOOL).await;
    let other = mirror();
    other.commit(&Web, &first.changes).await.unwrap();
    let again = record(&other, &with("\"b\""), TOOL).await;
    assert_eq!((again.file, again.changes.len()), (first.file, 0), "another tag is no other answer");
}

#[tokio::test]
async fn credentials_are_asked_with_and_never_kept() {
    let signed = "https://store.example/x?X-Amz-Signature=hunter2&n=1";
    let location = [("location", signed)];
    let upstream = upstream()
        .with_answer(
            "https://files.example/get",
            StatusCode::FOUND,
            &location,
            "go to X-Amz-Signature=hunter2",
        )
        .with(signed, "application/octet-stream", "bytes");
    let repository = mirror();
    let redirect = record(&repository, &upstream, "/https/files.example/get").await;
    let live = redirect.answer.as_ref().expect("the recorded client is led to the real place");
    assert_eq!(live.headers[header::LOCATION], signed);
    let target = record(&repository, &upstream, "/https/store.example/x?X-Amz-Signature=hunter2&n=1").await;
    let kept = format!("{:?}{:?}", redirect.changes, target.changes);
    assert!(!kept.contains("hunter2"), "{kept}");
    let (_, headers, body) = get(&repository, "/https/files.example/get").await;
    assert_eq!(body, "", "a redirect's text repeats its target");
    let shown = headers[header::LOCATION].to_str().unwrap().replace("https://", "/https/");
    assert_eq!(shown, "/https/store.example/x?X-Amz-Signature=***&n=1");
    assert_eq!(get(&repository, &shown).await.2, "bytes", "the replay follows the kept target");
    assert_eq!(get(&repository, "/https/store.example/x?X-Amz-Signature=new&n=1").await.2, "bytes");
}

#[tokio::test]
async fn a_user_and_password_in_a_redirect_or_its_text_are_never_kept() {
    let location = [("location", "https://me:hunter2@store.example/x"), ("etag", "\"r\"")];
    let upstream = upstream()
        .with_answer("https://files.example/a", StatusCode::FOUND, &location, "at me:hunter2@store.example")
        .with_answer(
            "https://files.example/b",
            StatusCode::FOUND,
            &[("location", "/c")],
            "<a href=\"https://me:hunter2@store.example/x\">here</a>",
        );
    let repository = mirror();
    let first = record(&repository, &upstream, "/https/files.example/a").await;
    let live = first.answer.as_ref().expect("the recorded client is led to the real place");
    assert_eq!(live.headers[header::LOCATION], location[0].1);
    let second = record(&repository, &upstream, "/https/files.example/b").await;
    let kept = format!("{:?}{:?}", first.changes, second.changes);
    assert!(!kept.contains("hunter2"), "{kept}");
    for path in ["/https/files.example/a", "/https/files.example/b"] {
        let (status, headers, body) = get(&repository, path).await;
        assert_eq!((status, body.as_str()), (StatusCode::FOUND, ""));
        assert!(!headers.contains_key(header::ETAG), "a tag is one of bytes");
    }
    assert_eq!(Web.admit(&claim(&first), &repository).await.unwrap(), claim(&first));
    record(&repository, &upstream, "/https/files.example/a").await;
    assert_eq!(upstream.asked().len(), 3, "only upstream knows the password: it is asked again");
}

#[tokio::test]
async fn a_link_with_a_token_is_followed_by_the_recorded_client_and_kept_without_it() {
    let link = "<https://files.example/list?page=2&private_token=hunter2>; rel=\"next\"";
    let upstream =
        upstream().with_answer("https://files.example/list", StatusCode::OK, &[("link", link)], "[1]");
    let repository = mirror();
    let recorded = record(&repository, &upstream, "/https/files.example/list").await;
    assert_eq!(recorded.answer.as_ref().expect("the real link").headers[header::LINK], link);
    assert!(!format!("{:?}", recorded.changes).contains("hunter2"));
    let (_, headers, body) = get(&repository, "/https/files.example/list").await;
    assert_eq!(body, "[1]", "it is no redirect: its body stays");
    assert_eq!(headers[header::LINK], "<https://files.example/list?page=2&private_token=***>; rel=\"next\"");
}

#[tokio::test]
async fn two_credentials_are_asked_twice_even_in_one_recording() {
    let repository = mirror();
    let upstream = upstream().with("https://files.example/x?key=1", "text/plain", "one").with(
        "https://files.example/x?key=2",
        "text/plain",
        "two",
    );
    let one = record(&repository, &upstream, "/https/files.example/x?key=1").await;
    let two = record(&repository, &upstream, "/https/files.example/x?key=2").await;
    assert_ne!(one.file, two.file, "another credential may open another thing");
}

#[tokio::test]
async fn a_compressed_answer_is_given_only_to_those_who_take_it() {
    let there = [("content-encoding", "gzip"), ("vary", "accept-encoding")];
    let upstream = upstream().with_answer("https://files.example/x", StatusCode::OK, &there, "squeezed");
    let repository = mirror();
    let path = "/https/files.example/x";
    record_as(&repository, &upstream, path, &[("accept-encoding", "gzip, br")]).await.unwrap();
    let settle = |headers: &'static [(&'static str, &'static str)]| {
        let request = repository.request(Method::GET, path, headers);
        let repository = &repository;
        async move { Web.settle(&request, &Web.route(&request).unwrap(), repository).await }
    };
    assert!(settle(&[("accept-encoding", "gzip")]).await.is_ok());
    assert_eq!(settle(&[]).await.unwrap_err().code(), "not-recorded");
}

#[tokio::test]
async fn what_is_not_recorded_says_what_was_asked_and_what_helps() {
    let repository = mirror();
    let (status, headers, text) = get(&repository, "/https/files.example/o/r/v1/x?token=abc").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    assert!(text.contains("https://files.example/o/r/v1/x?token=*** is not recorded"), "{text}");
    assert!(text.contains("cofferdam want add web 'files.example/o/r'"), "{text}");
    assert!(!headers.contains_key(&cofferdam_format_web::DIGEST));
    let (status, _, text) = get(&repository, "/https/no host/").await;
    assert_eq!((status, text.contains("bad-address")), (StatusCode::BAD_REQUEST, false));
}

#[tokio::test]
async fn what_changes_things_upstream_is_refused() {
    let repository = mirror();
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let request = repository.request(method.clone(), TOOL, &[]);
        let route = Web.route(&request).unwrap();
        assert_eq!(Web.want(&request, &route), None);
        let error = Web.serve(&request, &route, &repository).await.unwrap_err();
        let answer = Web.error(&error);
        assert_eq!(
            (answer.status, &answer.headers[header::ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &header::HeaderValue::from_static("GET, HEAD"))
        );
        assert!(error.message().contains(method.as_str()));
    }
}

#[tokio::test]
async fn a_claim_crosses_and_one_that_does_not_follow_from_its_bytes_is_refused() {
    let upstream = upstream().with("https://files.example/o/r/v1/tool.tar.gz", "application/gzip", "tool");
    let repository = mirror();
    let good = claim(&record(&repository, &upstream, TOOL).await);
    assert_eq!(good.package, "files.example/o/r");
    assert!(good.version.starts_with("tool.tar.gz~"), "{}", good.version);
    assert_eq!(Web.admit(&good, &repository).await.unwrap(), good);

    let meta = |edit: &dyn Fn(&mut Value)| {
        let mut draft = good.clone();
        edit(&mut draft.files[0].meta);
        draft
    };
    let wrong = [
        meta(&|m| m["url"] = "https://other.example/o/r/v1/tool.tar.gz".into()),
        meta(&|m| m["url"] = "https://files.example/o/r/v1/tool.tar.gz?token=abc".into()),
        meta(&|m| m["status"] = 500.into()),
        meta(&|m| m["headers"]["set-cookie"] = "a=b".into()),
        meta(&|m| m["headers"]["content-type"] = "text/html".into()),
        meta(&|m| m["headers"]["location"] = "https://me:pw@files.example/".into()),
        meta(&|m| m["more"] = 1.into()),
        Draft { version: "tool.tar.gz~000000000000".into(), ..good.clone() },
        Draft { package: "files.example".into(), display: "files.example".into(), ..good.clone() },
        Draft { files: Vec::new(), ..good.clone() },
        Draft { pointers: vec!["latest".into()], ..good.clone() },
        Draft { yanked: Some(String::new()), ..good.clone() },
    ];
    for (number, draft) in wrong.iter().enumerate() {
        let error = Web.admit(draft, &repository).await.expect_err("a wrong claim");
        assert_eq!(error.code(), "claim-mismatch", "number {number}");
    }
    let mut elsewhere = good.clone();
    elsewhere.files[0].path = "kept/files.example/tool.tar.gz/0/0".into();
    assert!(Web.admit(&elsewhere, &repository).await.is_err());
}

#[tokio::test]
async fn what_the_connection_said_crosses_with_an_answer_and_makes_it_no_other() {
    let tls = Tls {
        version: "1.3".into(),
        chain: vec![Sha256::of(b"own"), Sha256::of(b"between")],
        subject: "CN=files.example".into(),
        issuer: "CN=Authority".into(),
        not_after: Timestamp::from_seconds(2_000_000_000),
    };
    let said = Connection { peer: "192.0.2.7:443".parse().ok(), tls: Some(tls) };
    let upstream = || upstream().with("https://files.example/o/r/v1/tool.tar.gz", "application/gzip", "tool");
    let repository = mirror();
    let good = claim(&record(&repository, &upstream().over(said.clone()), TOOL).await);
    assert_eq!(serde_json::from_value::<Connection>(good.meta["connection"].clone()).unwrap(), said);
    assert_eq!(Web.admit(&good, &repository).await.unwrap(), good);

    let other = mirror();
    let without = claim(&record(&other, &upstream(), TOOL).await);
    assert_eq!((&without.version, &without.files), (&good.version, &good.files));
    assert!(without.meta.get("connection").is_none());

    for (pointer, wrong) in [
        ("/connection/tls/version", "0.9".into()),
        ("/connection/tls/subject", "a\u{1b}[2J".into()),
        ("/connection/tls/chain", serde_json::json!([])),
        ("/connection/peer", "me:secret@192.0.2.7".into()),
        ("/connection", "anything".into()),
    ] {
        let mut claim = good.clone();
        *claim.meta.pointer_mut(pointer).unwrap() = wrong;
        let error = Web.admit(&claim, &repository).await.unwrap_err();
        assert_eq!(error.code(), "claim-mismatch", "{pointer}");
    }
    let mut more = good.clone();
    more.meta["connection"]["cookie"] = "a".into();
    assert_eq!(Web.admit(&more, &repository).await.unwrap_err().code(), "claim-mismatch");
}

#[tokio::test]
async fn a_page_lists_addresses_as_text_and_a_program_gets_json() {
    let address = "https://files.example/o/r/v1/%3Cb%3E.sh?q=\"'<i>";
    let asked = address.replace("\"'<i>", "%22%27%3Ci%3E");
    let repository = mirror();
    record(&repository, &upstream().with(&asked, "text/plain", "x"), &asked.replace("https://", "/https/"))
        .await;
    let (_, _, root) = get(&repository, "/").await;
    let root: Value = serde_json::from_str(&root).unwrap();
    assert_eq!(root["packages"], serde_json::json!(["files.example/o/r"]));
    let (_, _, one) = get(&repository, "/?package=files.example%2Fo%2Fr").await;
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!((&one["answers"][0]["url"], &one["answers"][0]["size"]), (&Value::from(asked), &1.into()));
    let (status, headers, page) = repository.get(&Web, "/?package=files.example%2Fo%2Fr", "text/html").await;
    let page = String::from_utf8_lossy(&page).into_owned();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "default-src 'none'");
    assert!(page.contains("1 bytes") && !page.contains("<b>"), "{page}");
    assert_eq!(get(&repository, "/?package=nobody.example").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_fetched_script_is_named_to_those_who_approve() {
    let meta = serde_json::json!({ "url": "https://get.example/install.sh?x=1", "status": 200 });
    assert_eq!(Web.traits(&meta, &[]).scripts, ["https://get.example/install.sh?x=1"]);
    let meta = serde_json::json!({ "url": "https://get.example/tool.tar.gz", "status": 200 });
    assert_eq!(Web.traits(&meta, &[]).scripts, Vec::<String>::new());
    let repository = mirror();
    assert!(repository.packages(None, 1).await.unwrap().is_empty());
}

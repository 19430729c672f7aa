//! How [`HttpUpstream`] behaves towards registries that are slow, broken, moved or hostile. Every
//! registry here is a socket on the loopback interface that plays a fixed script.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cofferdam_format_kit::{Fetched, Upstream};
use cofferdam_types::{Error, ErrorKind, Result, Secret};
use cofferdam_upstream::{Found, HttpUpstream, Options, Retries};
use futures::{FutureExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What a registry says to a request; it gets the request's text.
type Script = dyn Fn(&str) -> Say + Send + Sync;

enum Say {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes, then nothing for as long as the client listens.
    ThenSilence(Vec<u8>),
    /// These bytes, then more of a body for as long as the client listens.
    ThenForever(Vec<u8>),
}

/// A registry on the loopback interface that remembers what it was asked.
struct Registry {
    origin: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    async fn playing(script: impl Fn(&str) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, script): (_, Arc<Script>) = (asked.clone(), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(converse(socket, log.clone(), script.clone()));
            }
        });
        Self { origin, asked }
    }

    /// The text of every request so far.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn found(&self) -> Found {
        Found {
            format: "pypi",
            root: format!("{}/simple/", self.origin).parse().unwrap(),
            source: "the test".to_owned(),
            credentials: None,
            ca_bundle: None,
            proxy: None,
        }
    }

    fn upstream(&self) -> HttpUpstream {
        HttpUpstream::new(self.found(), &quick()).unwrap()
    }

    fn with_credentials(&self) -> HttpUpstream {
        let credentials = Some(Secret::new("Bearer hunter2".to_owned()));
        HttpUpstream::new(Found { credentials, ..self.found() }, &quick()).unwrap()
    }
}

async fn converse(mut socket: TcpStream, log: Arc<Mutex<Vec<String>>>, script: Arc<Script>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let say = script(&request);
    log.lock().unwrap().push(request);
    // A client that has heard enough hangs up: that is no failure of the registry's.
    let _ = match say {
        Say::Bytes(bytes) => socket.write_all(&bytes).await,
        Say::ThenSilence(bytes) => {
            let _ = socket.write_all(&bytes).await;
            socket.read_u8().await.map(drop)
        }
        Say::ThenForever(bytes) => {
            let _ = socket.write_all(&bytes).await;
            while socket.write_all(&[b'x'; 4096]).await.is_ok() {}
            Ok(())
        }
    };
}

/// No pauses between attempts and no proxy: nothing here depends on time.
fn quick() -> Options {
    Options {
        retries: Retries { first_pause: Duration::ZERO, longest_pause: Duration::ZERO, ..Retries::default() },
        proxy_from_env: false,
        ..Options::default()
    }
}

fn ok(body: &str) -> Say {
    Say::Bytes(
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
            .into(),
    )
}

fn status(line: &str) -> Say {
    Say::Bytes(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into())
}

fn moved_to(url: &str) -> Say {
    status(&format!("302 Found\r\nlocation: {url}"))
}

async fn text(fetched: Result<Fetched>) -> Result<String> {
    Ok(String::from_utf8(fetched?.bytes(1 << 20).await?.to_vec()).unwrap())
}

async fn failure(fetched: Result<Fetched>) -> Error {
    text(fetched).await.expect_err("this must not succeed")
}

#[tokio::test]
async fn an_index_is_asked_for_below_the_root_with_its_accept_and_our_name() {
    let registry = Registry::playing(|_| ok("list")).await;
    assert_eq!(
        text(registry.upstream().get("flask/", Some("application/json")).await).await.unwrap(),
        "list"
    );
    let asked = registry.asked().remove(0);
    assert!(asked.starts_with("get /simple/flask/ http/1.1"), "{asked}");
    assert!(asked.contains("accept: application/json"), "{asked}");
    assert!(asked.contains("user-agent: cofferdam/"), "{asked}");
    assert!(asked.contains("accept-encoding: gzip"), "{asked}");
    assert!(!asked.contains("authorization"), "{asked}");
}

#[tokio::test]
async fn a_file_is_asked_for_as_it_is_and_never_decoded() {
    // A server may mark a .tar.gz as encoded although nobody asked: its bytes are still the file.
    let answer = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\nconnection: close\r\n\r\n\
                  not gzip!";
    let registry = Registry::playing(move |_| Say::Bytes(answer.into())).await;
    let fetched = registry.upstream().get("flask.tar.gz", None).await.unwrap();
    assert_eq!(fetched.headers["content-encoding"], "gzip");
    assert_eq!(&fetched.bytes(100).await.unwrap()[..], b"not gzip!");
    assert!(registry.asked()[0].contains("accept-encoding: identity"), "{:?}", registry.asked());
}

#[tokio::test]
async fn an_index_that_does_not_decompress_is_refused() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\nconnection: close\r\n\r\n\
                  not gzip!";
    let registry = Registry::playing(move |_| Say::Bytes(answer.into())).await;
    let error = failure(registry.upstream().get("flask/", Some("text/html")).await).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "upstream-encoding"));
}

#[tokio::test]
async fn a_redirect_is_followed_and_its_end_is_the_base_of_relative_links() {
    let registry = Registry::playing(|request| match request {
        r if r.starts_with("get /simple/old/") => moved_to("../new/"),
        _ => ok("moved"),
    })
    .await;
    let fetched = registry.upstream().get("old/", None).await.unwrap();
    assert_eq!(fetched.url, format!("{}/simple/new/", registry.origin));
    assert_eq!(&fetched.bytes(100).await.unwrap()[..], b"moved");
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let registry = Registry::playing(|_| moved_to("/simple/round/")).await;
    let error = failure(registry.upstream().get("round/", None).await).await;
    assert_eq!(error.code(), "upstream-redirects");
    assert_eq!(registry.asked().len(), 11, "the first request and ten redirects");
}

#[tokio::test]
async fn credentials_go_to_the_registry_and_to_nobody_it_points_at() {
    let elsewhere = Registry::playing(|_| ok("file")).await;
    let target = format!("{}/file", elsewhere.origin);
    let registry = Registry::playing(move |_| moved_to(&target)).await;
    let upstream = registry.with_credentials();
    text(upstream.get("file", None).await).await.unwrap();
    text(upstream.get(&format!("{}/linked", elsewhere.origin), None).await).await.unwrap();
    assert!(registry.asked()[0].contains("authorization: bearer hunter2"));
    assert_eq!(elsewhere.asked().len(), 2);
    assert!(
        elsewhere.asked().iter().all(|asked| !asked.contains("authorization") && !asked.contains("hunter2"))
    );
}

#[tokio::test]
async fn credentials_come_back_when_a_redirect_leads_home() {
    let registry = Registry::playing(|request| match request {
        r if r.starts_with("get /simple/there") => moved_to("/files/here"),
        _ => ok("here"),
    })
    .await;
    text(registry.with_credentials().get("there", None).await).await.unwrap();
    assert!(registry.asked().iter().all(|asked| asked.contains("authorization: bearer hunter2")));
}

#[tokio::test]
async fn a_user_in_a_link_is_not_sent_and_a_key_in_a_link_is_not_shown() {
    let elsewhere =
        Registry::playing(|_| Say::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".into())).await;
    let target = elsewhere.origin.replace("://", "://u:hunter2@") + "/file?key=hunter3";
    let registry = Registry::playing(move |_| moved_to(&target)).await;
    let error = failure(registry.upstream().get("file", None).await).await;
    let asked = elsewhere.asked().remove(0);
    assert!(asked.contains("key=hunter3") && !asked.contains("authorization"), "{asked}");
    assert!(
        error.message().contains(&elsewhere.origin) && !format!("{error:?}").contains("hunter"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_registry_that_is_used_over_https_cannot_send_us_to_an_open_line() {
    let registry = Registry::playing(|_| ok("secret")).await;
    let found = Found { root: "https://upstream.example/simple/".parse().unwrap(), ..registry.found() };
    let upstream = HttpUpstream::new(found, &quick()).unwrap();
    let error = failure(upstream.get(&format!("{}/file", registry.origin), None).await).await;
    assert_eq!(error.code(), "upstream-downgrade");
    assert!(registry.asked().is_empty(), "nothing was asked over the open line");
}

#[tokio::test]
async fn an_address_that_is_no_web_address_is_never_opened() {
    let registry = Registry::playing(|_| ok("x")).await;
    for url in ["file:///etc/hostname", "data:text/plain,x", "ftp://upstream.example/x"] {
        assert_eq!(
            failure(registry.upstream().get(url, None).await).await.code(),
            "upstream-downgrade",
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_registry_that_is_busy_for_a_moment_is_asked_again() {
    let count = Mutex::new(0);
    let registry = Registry::playing(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count < 3 { status("503 Service Unavailable\r\nretry-after: 86400") } else { ok("at last") }
    })
    .await;
    assert_eq!(text(registry.upstream().get("flask/", None).await).await.unwrap(), "at last");
    assert_eq!(registry.asked().len(), 3);
}

#[tokio::test]
async fn a_status_is_the_formats_to_judge_and_a_no_is_not_asked_for_twice() {
    let registry = Registry::playing(|request| match request {
        r if r.starts_with("get /simple/busy") => status("503 Service Unavailable"),
        _ => status("404 Not Found"),
    })
    .await;
    assert_eq!(registry.upstream().get("gone/", None).await.unwrap().status, 404);
    assert_eq!(registry.asked().len(), 1);
    assert_eq!(registry.upstream().get("busy/", None).await.unwrap().status, 503);
    assert_eq!(registry.asked().len(), 1 + 4);
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named_with_advice() {
    // Bound, but not listening: refused, and no other test can be given the port meanwhile.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let origin = format!("http://{}", silent.local_addr().unwrap());
    let found = Found {
        format: "npm",
        root: format!("{origin}/").parse().unwrap(),
        source: "the test".to_owned(),
        credentials: Some(Secret::new("Bearer hunter2".to_owned())),
        ca_bundle: None,
        proxy: None,
    };
    let error = failure(HttpUpstream::new(found, &quick()).unwrap().get("x", None).await).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "upstream-unreachable"));
    assert!(error.message().contains(&origin) && error.advice().is_some());
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_body_that_ends_too_soon_is_an_error() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n9\r\nonly this\r\n",
    ] {
        let registry = Registry::playing(move |_| Say::Bytes(answer.into())).await;
        let error = failure(registry.upstream().get("file", None).await).await;
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "upstream-truncated"), "{answer}");
        assert!(error.message().contains(&registry.origin));
    }
}

#[tokio::test]
async fn bytes_past_the_content_length_are_not_part_of_the_body() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfileand more";
    let registry = Registry::playing(move |_| Say::Bytes(answer.into())).await;
    assert_eq!(text(registry.upstream().get("file", None).await).await.unwrap(), "file");
}

#[tokio::test]
async fn two_content_lengths_that_disagree_are_refused() {
    let answer =
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 8\r\nconnection: close\r\n\r\nfilefile";
    let registry = Registry::playing(move |_| Say::Bytes(answer.into())).await;
    assert_eq!(failure(registry.upstream().get("file", None).await).await.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_answer_without_an_end_is_bounded_by_who_reads_it() {
    let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nmore";
    let registry = Registry::playing(move |_| Say::ThenSilence(head.to_vec())).await;
    let mut fetched = registry.upstream().get("endless", None).await.unwrap();
    assert_eq!(&fetched.body.next().await.unwrap().unwrap()[..], b"more");
    // Nobody has to read on: the rest of the body is dropped with its connection.
    drop(fetched);

    let endless = Registry::playing(move |_| Say::ThenForever(head.to_vec())).await;
    let error = endless.upstream().get("endless", None).await.unwrap().bytes(4096).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn silence_in_the_middle_ends_at_the_read_time_out() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this";
    let registry = Registry::playing(move |_| Say::ThenSilence(head.to_vec())).await;
    let options = Options { read_timeout: Duration::from_millis(80), ..quick() };
    let upstream = HttpUpstream::new(registry.found(), &options).unwrap();
    let error = failure(upstream.get("file", None).await).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "upstream-timeout"));
}

#[tokio::test]
async fn a_host_gets_no_more_requests_at_once_than_the_bound() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nheld";
    let registry = Registry::playing(move |r| {
        if r.starts_with("get /simple/held") { Say::ThenSilence(head.to_vec()) } else { ok("free") }
    })
    .await;
    let upstream = HttpUpstream::new(registry.found(), &Options { per_host: 1, ..quick() }).unwrap();
    let held = upstream.get("held", None).await.unwrap();
    assert!(upstream.get("next", None).now_or_never().is_none(), "the only turn is taken");
    drop(held);
    assert_eq!(text(upstream.get("next", None).await).await.unwrap(), "free");
    assert_eq!(registry.asked().len(), 2);
}

#[test]
fn settings_that_cannot_work_are_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let found = || Found {
        format: "pypi",
        root: "https://upstream.example/simple/".parse().unwrap(),
        source: "pip config".to_owned(),
        credentials: None,
        ca_bundle: None,
        proxy: None,
    };
    let code = |found: Found| HttpUpstream::new(found, &quick()).err().map(|error| error.code());
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    assert_eq!(code(Found { ca_bundle: Some(empty), ..found() }), Some("upstream-ca-bundle"));
    assert_eq!(
        code(Found { ca_bundle: Some(folder.path().join("none")), ..found() }),
        Some("upstream-ca-bundle")
    );
    let torn = Some(Secret::new("Bearer a\nb".to_owned()));
    assert_eq!(code(Found { credentials: torn, ..found() }), Some("upstream-credentials"));
    let root = "ftp://upstream.example/".parse().unwrap();
    assert_eq!(code(Found { root, ..found() }), Some("upstream-address"));
    assert_eq!(code(found()), None);
}

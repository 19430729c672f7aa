//! How [`WebUpstream`] behaves towards servers that redirect, break off, ask for credentials or are this
//! machine itself. Every server here is a socket on the loopback interface that plays a fixed script.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cofferdam_format_kit::{Fetched, Upstream as _};
use cofferdam_types::{Error, ErrorKind};
use cofferdam_upstream::{Options, Retries, WebUpstream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// What a server says to the n-th request (from 1), given its text in lower case.
type Script = dyn Fn(usize, &str) -> String + Send + Sync;

struct Server {
    origin: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn playing(script: impl Fn(usize, &str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, script): (_, Arc<Script>) = (asked.clone(), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = socket.read_u8().await else { break };
                    request.push(byte);
                }
                let request = String::from_utf8_lossy(&request).to_lowercase();
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.len()
                };
                // A client that has heard enough hangs up: that is no failure of the server's.
                let _ = socket.write_all(script(number, &request).as_bytes()).await;
            }
        });
        Self { origin, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    async fn get(&self, path: &str) -> Result<Fetched, Error> {
        self.with(path, &HeaderMap::new()).await
    }

    async fn with(&self, path: &str, headers: &HeaderMap) -> Result<Fetched, Error> {
        web(true).fetch(&format!("{}{path}", self.origin), headers).await
    }
}

/// No pauses between attempts and no proxy: nothing here depends on time.
fn web(local: bool) -> WebUpstream {
    let retries =
        Retries { first_pause: Duration::ZERO, longest_pause: Duration::ZERO, ..Retries::default() };
    WebUpstream::new(&Options { retries, proxy_from_env: false, ..Options::default() }, local).unwrap()
}

fn says(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n{body}")
}

async fn text(fetched: Fetched) -> Result<String, Error> {
    Ok(String::from_utf8(fetched.bytes(1 << 20).await?.to_vec()).unwrap())
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let server = Server::playing(|_, _| says("302 Found\r\nlocation: /else\r\ncontent-length: 0", "")).await;
    let fetched = server.get("/x").await.unwrap();
    assert_eq!(fetched.status, StatusCode::FOUND);
    assert_eq!(fetched.headers[header::LOCATION], "/else");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn the_headers_given_are_sent_and_no_credential_is_added() {
    let server = Server::playing(|_, _| says("200 OK\r\ncontent-length: 2", "ok")).await;
    let headers = HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static("tool/1"))]);
    let url = server.origin.replace("http://", "http://me:secret@");
    let fetched = web(true).fetch(&format!("{url}/a//b%2F?x=1#part"), &headers).await.unwrap();
    assert_eq!(text(fetched).await.unwrap(), "ok");
    let asked = server.asked().remove(0);
    assert!(asked.starts_with("get /a//b%2f?x=1 http/1.1"), "{asked}");
    assert!(asked.contains("user-agent: tool/1") && asked.contains("accept-encoding: identity"), "{asked}");
    assert!(!asked.contains("authorization"), "{asked}");
}

#[tokio::test]
async fn a_compressed_body_comes_as_it_was_sent() {
    let server =
        Server::playing(|_, _| says("200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4", "gzip")).await;
    let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
    let fetched = server.with("/x", &headers).await.unwrap();
    assert_eq!(fetched.headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(text(fetched).await.unwrap(), "gzip");
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_asked_again() {
    let server = Server::playing(|n, _| match n {
        1 => says("503 Busy\r\ncontent-length: 0", ""),
        _ => says("200 OK\r\ncontent-length: 2", "ok"),
    })
    .await;
    assert_eq!(text(server.get("/x").await.unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_body_that_breaks_off_goes_on_where_it_was() {
    let server = Server::playing(|n, _| match n {
        1 => says("200 OK\r\netag: \"v1\"\r\ncontent-length: 10", "01234"),
        2 => says("206 Partial\r\ncontent-range: bytes 5-9/10\r\ncontent-length: 5", "56"),
        _ => says("206 Partial\r\ncontent-range: bytes 7-9/10\r\ncontent-length: 3", "789"),
    })
    .await;
    assert_eq!(text(server.get("/x").await.unwrap()).await.unwrap(), "0123456789");
    let asked = server.asked();
    assert!(asked[1].contains("range: bytes=5-") && asked[1].contains("if-range: \"v1\""), "{}", asked[1]);
    assert!(asked[2].contains("range: bytes=7-"), "{}", asked[2]);
}

#[tokio::test]
async fn a_server_that_asks_for_a_pause_in_the_middle_gets_it_within_the_bound() {
    let server = Server::playing(|n, _| match n {
        1 => says("200 OK\r\netag: \"v1\"\r\ncontent-length: 10", "01234"),
        2 => says("503 Busy\r\nretry-after: 86400\r\ncontent-length: 0", ""),
        _ => says("206 Partial\r\ncontent-range: bytes 5-9/10\r\ncontent-length: 5", "56789"),
    })
    .await;
    let longest_pause = Duration::from_millis(120);
    let retries = Retries { first_pause: Duration::ZERO, longest_pause, ..Retries::default() };
    let options = Options { retries, proxy_from_env: false, ..Options::default() };
    let web = WebUpstream::new(&options, true).unwrap();
    let start = std::time::Instant::now();
    let fetched = web.fetch(&format!("{}/x", server.origin), &HeaderMap::new()).await.unwrap();
    assert_eq!(text(fetched).await.unwrap(), "0123456789");
    assert!(start.elapsed() >= longest_pause, "{:?}", start.elapsed());
}

#[tokio::test]
async fn parts_of_two_answers_are_never_joined() {
    for second in [
        says("200 OK\r\netag: \"v2\"\r\ncontent-length: 10", "abcdefghij"),
        says("206 Partial\r\ncontent-range: bytes 4-9/10\r\ncontent-length: 6", "456789"),
    ] {
        let server = Server::playing(move |n, _| match n {
            1 => says("200 OK\r\netag: \"v1\"\r\ncontent-length: 10", "01234"),
            _ => second.clone(),
        })
        .await;
        let error = text(server.get("/x").await.unwrap()).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "upstream-truncated"));
    }
}

#[tokio::test]
async fn a_body_without_a_tag_is_not_picked_up_again() {
    let server =
        Server::playing(|_, _| says("200 OK\r\netag: W/\"v1\"\r\ncontent-length: 10", "01234")).await;
    let error = text(server.get("/x").await.unwrap()).await.unwrap_err();
    assert_eq!(error.code(), "upstream-truncated");
    assert_eq!(server.asked().len(), 1, "a weak tag proves nothing about bytes");
}

#[tokio::test]
async fn this_machine_is_not_reached_through_the_site() {
    let server = Server::playing(|_, _| says("200 OK\r\ncontent-length: 6", "secret")).await;
    let port = server.origin.rsplit_once(':').unwrap().1.to_owned();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"] {
        let url = format!("http://{host}:{port}/x");
        let error = web(false).fetch(&url, &HeaderMap::new()).await.err().expect("a refusal");
        assert_eq!(error.code(), "upstream-local", "{host}");
    }
    assert_eq!(server.asked().len(), 0);
    for wrong in ["ftp://files.example/x", "file:///etc/passwd", "nothing"] {
        let error = web(false).fetch(wrong, &HeaderMap::new()).await.err().expect("a refusal");
        assert_eq!(error.code(), "upstream-address", "{wrong}");
    }
}

/// What a registry and its realm say: the registry gives nothing without the token `hush`.
fn registry(realm: &str, request: &str) -> String {
    if request.starts_with("get /token?") {
        return says("200 OK\r\ncontent-length: 33", "{\"token\":\"hush\",\"expires_in\":300}");
    }
    if request.contains("authorization: bearer hush") {
        return says("307 There\r\nlocation: http://store.example/x\r\ncontent-length: 0", "");
    }
    let wants =
        format!("www-authenticate: Bearer realm=\"{realm}\",service=\"r\",scope=\"repository:a:pull\"");
    says(&format!("401 Who\r\n{wants}\r\ncontent-length: 0"), "")
}

fn own(request: &str) -> String {
    let host = request.lines().find_map(|l| l.strip_prefix("host: ")).unwrap_or_default();
    format!("http://{host}/token")
}

#[tokio::test]
async fn a_registry_is_asked_again_with_the_anonymous_token_that_its_realm_gives_and_nobody_else_sees_it() {
    let server = Server::playing(|_, request| registry(&own(request), request)).await;
    let other = Server::playing(|_, request| registry(&own(request), request)).await;
    let web = web(true);
    for (server, path) in
        [(&server, "/v2/a/manifests/1"), (&server, "/v2/a/blobs/2"), (&other, "/v2/a/manifests/1")]
    {
        let fetched = web.fetch(&format!("{}{path}", server.origin), &HeaderMap::new()).await.unwrap();
        assert_eq!(fetched.status, StatusCode::TEMPORARY_REDIRECT);
    }
    let asked = server.asked();
    let lines: Vec<&str> = asked.iter().map(|a| a.split(" http").next().unwrap()).collect();
    let (manifest, blob) = ("get /v2/a/manifests/1", "get /v2/a/blobs/2");
    assert_eq!(lines, [manifest, "get /token?scope=repository%3aa%3apull&service=r", manifest, blob, blob]);
    assert!(!asked[1].contains("authorization"), "{}", asked[1]);
    assert_eq!(other.asked().len(), 3, "another registry has a token of its own");
    let root = web.fetch(&format!("{}/v2/", server.origin), &HeaderMap::new()).await.unwrap();
    assert_eq!(root.status, StatusCode::UNAUTHORIZED, "clients are told what the registry wants");
}

#[tokio::test]
async fn a_realm_that_gives_nothing_leaves_the_answer_and_one_that_is_away_is_no_answer() {
    for realm in ["ftp://127.0.0.1/token", "/token", "https://"] {
        let server = Server::playing(move |_, request| registry(realm, request)).await;
        let fetched = server.get("/v2/a/manifests/1").await.unwrap();
        assert_eq!((fetched.status, server.asked().len()), (StatusCode::UNAUTHORIZED, 1), "{realm}");
    }
    let server = Server::playing(|_, request| match request.starts_with("get /token") {
        true => says("403 No\r\ncontent-length: 0", ""),
        false => registry(&own(request), request),
    })
    .await;
    assert_eq!(server.get("/v2/a/manifests/1").await.unwrap().status, StatusCode::UNAUTHORIZED);
    let server = Server::playing(|_, request| match request.starts_with("get /token") {
        true => says("302 There\r\nlocation: /token2\r\ncontent-length: 0", ""),
        false => registry(&own(request), request),
    })
    .await;
    assert_eq!(server.get("/v2/a/manifests/1").await.unwrap().status, StatusCode::UNAUTHORIZED);
    assert!(!server.asked().iter().any(|a| a.contains("token2")), "no realm leads elsewhere");
    let server = Server::playing(|_, request| match request.starts_with("get /token") {
        true => says("503 Busy\r\ncontent-length: 0", ""),
        false => registry(&own(request), request),
    })
    .await;
    let error = server.get("/v2/a/manifests/1").await.err().expect("it says nothing of the manifest");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "upstream-token"));
}

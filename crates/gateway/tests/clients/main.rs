//! Real clients through the gateway, against a site that answers from a table. Clients that are not on this
//! machine are skipped by name.

mod support;

use cofferdam_testkit::GitBackend;
use support::{World, digest_of, ran};

#[tokio::test(flavor = "multi_thread")]
async fn curl_fetches_over_tls_and_the_site_is_asked_with_the_token_and_nothing_of_the_clients() {
    let world = World::new().await;
    world.site.answers(
        "https/files.example:PORT/a//tool.tar.gz?sig=secret&n=1",
        200,
        &[("etag", "\"up\"")],
        b"bytes",
    );
    let url = world.url("/a//tool.tar.gz?sig=secret&n=1");
    let Some(done) = ran(world.curl().args([
        "-fsS",
        "-H",
        "Cookie: a=b",
        "-H",
        "X-Cofferdam-Asked-By: me",
        "-u",
        "me:pw",
        &url,
    ])) else {
        return;
    };
    assert!(done.ok, "{}", done.stderr);
    assert_eq!(done.stdout, b"bytes");
    let asked = world.site.asked();
    assert_eq!(asked[0].authorization, "Bearer cfd_test");
    assert!(!asked[0].headers.contains(&"cookie".to_owned()), "{:?}", asked[0].headers);
    assert_eq!(asked[0].by, "curl for tool@1", "not what the client says");
    let told = world.told(1).await;
    assert_eq!((told[0].status, told[0].bytes), (Some(200), 5));
    assert_eq!(told[0].by.as_deref(), Some("curl for tool@1"));
    assert_eq!(told[0].digest.as_deref(), Some(digest_of(b"bytes").as_str()));
    assert!(told[0].url.ends_with("/a//tool.tar.gz?sig=***&n=1"), "{}", told[0].url);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_statuses_and_head_reach_the_client_as_they_are_kept() {
    let world = World::new().await;
    let target = world.url("/real");
    world.site.answers("https/files.example:PORT/moved", 302, &[("location", &target)], b"");
    world.site.answers("https/files.example:PORT/real", 200, &[("content-type", "text/x-own")], b"here");
    world.site.answers("https/files.example:PORT/gone", 404, &[], b"the server's own words");
    let show = "%{http_code} %{content_type} %{num_redirects}";
    let Some(done) = ran(world.curl().args(["-sSL", "-o", "/dev/null", "-w", show, &world.url("/moved")]))
    else {
        return;
    };
    assert_eq!(done.text(), "200 text/x-own 1", "{}", done.stderr);
    let gone = ran(world.curl().args(["-sS", "-w", " %{http_code}", &world.url("/gone")])).unwrap();
    assert_eq!(gone.text(), "the server's own words 404");
    let head = ran(world.curl().args(["-sSI", &world.url("/real")])).unwrap();
    assert!(head.text().to_lowercase().contains("content-length: 4"), "{}", head.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_recorded_is_forbidden_in_the_sites_own_words() {
    let world = World::new().await;
    let show = ["-sS", "-w", "%{http_code} %{content_type}"];
    let Some(done) = ran(world.curl().args(show).arg(world.url("/nothing"))) else { return };
    assert!(done.text().contains("is not recorded here"), "{}", done.text());
    assert!(done.text().ends_with("403 text/plain; charset=utf-8"), "{}", done.text());
    assert!(world.told(1).await[0].refused.as_deref().unwrap().contains("not recorded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_proxies_websockets_and_foreign_hosts_are_refused_with_the_reason() {
    let world = World::new().await;
    let url = world.url("/x");
    let refused = |extra: &[&str]| {
        let done = ran(world.curl().args(["-sS", "-w", " %{http_code}"]).args(extra).arg(&url))?;
        Some(done.text())
    };
    let Some(post) = refused(&["-d", "a=b"]) else { return };
    assert!(post.contains("POST is not recorded") && post.ends_with("405"), "{post}");
    let large = world.folder().join("large");
    std::fs::write(&large, vec![b'x'; 3_000_000]).unwrap();
    let large = format!("@{}", large.display());
    let expects = refused(&["-H", "Expect: 100-continue", "--data-binary", &large]).unwrap();
    assert!(expects.ends_with("405"), "{expects}");
    let upgrade = refused(&["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"]).unwrap();
    assert!(upgrade.contains("websocket") && upgrade.ends_with("403"), "{upgrade}");
    let fronting = refused(&["-H", "Host: other.example"]).unwrap();
    assert!(fronting.contains("other.example") && fronting.ends_with("421"), "{fronting}");
    assert_eq!(world.site.asked().len(), 0, "none of it reached the site");
    let told = world.told(4).await;
    assert!(told.iter().all(|t| t.refused.is_some()) && told.len() == 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_another_trust_store_fails_and_is_told_of_by_its_alert() {
    let world = World::new().await;
    let other = world.other_authority();
    let with_other = world.bare_curl().args(["-sS", "--cacert", &other, &world.url("/x")]).output();
    let Ok(done) = with_other else {
        println!("skipped: curl: not on this machine");
        return;
    };
    assert!(!done.status.success());
    let told = world.told(1).await;
    let why = told[0].refused.clone().unwrap();
    assert!(why.contains("certificate pinning") && why.contains("UnknownCA"), "{why}");
    assert_eq!((told[0].status, told[0].method.as_str()), (None, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pins_a_key_hangs_up_and_is_told_of() {
    let world = World::new().await;
    let pin = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let Some(done) = ran(world.curl().args(["-sS", "--pinnedpubkey", pin, &world.url("/x")])) else { return };
    assert!(!done.ok);
    let why = world.told(1).await[0].refused.clone().unwrap();
    assert!(why.contains("pin"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_closed_and_told() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::new().await;
    let mut socket = tokio::net::TcpStream::connect(world.front).await.unwrap();
    socket.write_all(b"SSH-2.0-client\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    let told = world.told(1).await;
    assert!(told[0].refused.as_deref().unwrap().contains("no HTTP"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_forwarded_and_one_connection_serves_many_requests() {
    let world = World::new().await;
    world.site.answers("http/files.example:PORT/1", 200, &[], b"one ");
    world.site.answers("http/files.example:PORT/2", 200, &[], b"two ");
    let (one, two) = (world.url("/1").replace("https", "http"), world.url("/2").replace("https", "http"));
    let args = ["-sS", "-w", "%{num_connects};", &one, &two];
    let Some(done) = ran(world.curl().args(args)) else { return };
    assert_eq!(done.text(), "one 1;two 0;", "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_asked_of_the_site_and_a_large_body_streams_through() {
    let world = World::new().await;
    let large: Vec<u8> = (0..8_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    world.site.answers("https/files.example:PORT/large", 200, &[], &large);
    let Some(done) = ran(world.curl().args(["-fsS", "-r", "0-9", &world.url("/large")])) else { return };
    assert!(done.ok, "{}", done.stderr);
    assert!(world.site.asked()[0].headers.contains(&"range".to_owned()));
    let whole = ran(world.curl().args(["-fsS", &world.url("/large")])).unwrap();
    assert!(whole.stdout == large, "every byte came");
    assert_eq!(world.told(2).await[1].bytes, large.len() as u64);
}

const PYTHON: &str = r"
import socket, ssl, sys, urllib.request
real = socket.getaddrinfo
socket.getaddrinfo = lambda host, *a, **k: real('127.0.0.1' if host == 'files.example' else host, *a, **k)
ssl.create_default_context().verify_flags |= getattr(ssl, 'VERIFY_X509_STRICT', 0)
print(urllib.request.urlopen(sys.argv[1]).read().decode(), end='')
try:
    import requests
except ImportError:
    print(' no requests', end='')
else:
    print(' ' + requests.get(sys.argv[1]).text, end='')
";

#[tokio::test(flavor = "multi_thread")]
async fn python_believes_the_bundle_in_its_own_library_and_in_requests() {
    let world = World::new().await;
    world.site.answers("https/files.example:PORT/py", 200, &[], b"snake");
    let mut python = world.trusting("python3");
    let Some(done) = ran(python.args(["-c", PYTHON, &world.url("/py")])) else { return };
    assert!(
        matches!(done.text().as_str(), "snake snake" | "snake no requests"),
        "{} {}",
        done.text(),
        done.stderr
    );
}

const STRICT_PYTHON: &str = r"
import os, socket, ssl, sys
context = ssl.create_default_context(cafile=os.environ['SSL_CERT_FILE'])
context.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as raw:
    with context.wrap_socket(raw, server_hostname='files.example') as tls:
        print(tls.version(), tls.getpeercert()['subjectAltName'][0][1])
";

#[tokio::test(flavor = "multi_thread")]
async fn the_certificates_stand_up_to_the_strictest_reading() {
    let world = World::new().await;
    let port = world.front.port().to_string();
    let Some(done) = ran(world.trusting("python3").args(["-c", STRICT_PYTHON, &port])) else { return };
    assert_eq!(done.text().trim(), "TLSv1.3 files.example", "{}", done.stderr);
}

const NODE: &str = r"
const [port, path] = process.argv.slice(1);
require('https').get({ host: '127.0.0.1', port, path, servername: 'files.example', headers: { host: 'files.example' } },
  (answer) => answer.on('data', (data) => process.stdout.write(data)));
";

#[tokio::test(flavor = "multi_thread")]
async fn node_believes_the_extra_certificate() {
    let world = World::new().await;
    world.site.answers("https/files.example:PORT/js", 200, &[], b"node");
    let port = world.front.port().to_string();
    let Some(done) = ran(world.trusting("node").args(["-e", NODE, &port, "/js"])) else { return };
    assert_eq!(done.text(), "node", "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones_over_plain_files() {
    let world = World::new().await;
    let made = support::bare_repository(world.folder());
    if !made {
        println!("skipped: git: not on this machine");
        return;
    }
    world.site.answers_folder("https/files.example:PORT/repo.git", &world.folder().join("repo.git"));
    let resolve = format!("http.curloptResolve=files.example:{}:127.0.0.1", world.front.port());
    let target = world.folder().join("clone");
    let mut git = world.trusting("git");
    git.args(["-c", &resolve, "clone", "-q", &world.url("/repo.git")]).arg(&target);
    let done = ran(&mut git).unwrap();
    assert!(done.ok, "{}", done.stderr);
    assert_eq!(std::fs::read_to_string(target.join("hello.txt")).unwrap(), "hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones_by_its_own_protocol_and_the_site_gets_the_question_decoded() {
    let world = World::new().await;
    let Some(backend) = GitBackend::find(world.folder()) else {
        println!("skipped: git: not on this machine");
        return;
    };
    // Sixty branches that share nothing: a question of more than 1024 bytes, which git compresses.
    backend.script(
        "git init -q work; cd work; for n in $(seq 60); do git checkout -q --orphan b$n; echo $n > n; \
         git add n; git commit -qm $n; done; cd ..; git clone -q --bare work repo.git",
    );
    world.site.answers_git("https/files.example:PORT", backend);
    let resolve = format!("http.curloptResolve=files.example:{}:127.0.0.1", world.front.port());
    for (protocol, header) in [("2", "version=2"), ("1", "version=1"), ("0", "")] {
        let target = world.folder().join(format!("clone-{protocol}"));
        let mut git = world.trusting("git");
        let version = format!("protocol.version={protocol}");
        git.args(["-c", &resolve, "-c", &version, "clone", "-q", &world.url("/repo.git")]).arg(&target);
        let done = ran(&mut git).unwrap();
        assert!(done.ok, "{protocol}: {}", done.stderr);
        assert_eq!(std::fs::read_to_string(target.join("n")).unwrap().trim(), "60");
        let asked = world.site.asked();
        let post = asked.iter().rfind(|a| a.method == "POST").expect("a question");
        assert!(post.path.ends_with("/repo.git/git-upload-pack"), "{}", post.path);
        assert_eq!(post.git_protocol, header);
        assert!(!post.headers.contains(&"content-encoding".to_owned()), "{:?}", post.headers);
        let text = String::from_utf8_lossy(&post.body);
        assert!(post.body.len() > 1024 && text.contains("want "), "{text}");
    }
    let told = world.told(1).await;
    assert!(told.iter().all(|t| t.refused.is_none()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_and_a_question_that_is_too_long_are_refused_with_the_reason() {
    let world = World::new().await;
    let show = ["-sS", "-w", " %{http_code}", "-H", "Expect:"];
    let large = world.folder().join("large");
    std::fs::write(&large, vec![b'0'; (4 << 20) + 1]).unwrap();
    let large = format!("@{}", large.display());
    let asks = "Content-Type: application/x-git-upload-pack-request";
    let pushes = "Content-Type: application/x-git-receive-pack-request";
    for (kind, path, body, status, word) in [
        (pushes, "/r.git/git-receive-pack", "0000", "405", "git-upload-pack"),
        (asks, "/api/query", "0000", "405", "POST is not recorded"),
        (asks, "/r.git/git-upload-pack", large.as_str(), "413", "more than"),
    ] {
        let args = ["-H", kind, "--data-binary", body, &world.url(path)];
        let Some(done) = ran(world.curl().args(show).args(args)) else { return };
        assert!(done.text().ends_with(status) && done.text().contains(word), "{path}: {}", done.text());
    }
    let asks = ["-H", asks, "-H", "Content-Encoding: br", "--data-binary", "0000"];
    let done = ran(world.curl().args(show).args(asks).arg(world.url("/r.git/git-upload-pack"))).unwrap();
    assert!(done.text().ends_with("415"), "{}", done.text());
    assert_eq!(world.site.asked().len(), 0, "none of it reached the site");
}

const JAVA: &str = r#"
import java.net.URI;
import java.net.http.*;
class Get {
    public static void main(String[] a) throws Exception {
        var client = HttpClient.newHttpClient();
        var got = client.send(HttpRequest.newBuilder(URI.create(a[0])).build(), HttpResponse.BodyHandlers.ofString());
        System.out.print(got.statusCode() + " " + got.body());
    }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn java_believes_the_trust_store() {
    let world = World::new().await;
    world.site.answers("https/files.example:PORT/jar", 200, &[], b"coffee");
    let store = world.folder().join("trust.p12");
    std::fs::write(&store, world.gateway.java_trust_store().unwrap()).unwrap();
    let store = store.display().to_string();
    let list = ["-list", "-storetype", "PKCS12", "-keystore", &store, "-storepass", ""];
    if let Some(done) = ran(std::process::Command::new("keytool").args(list)) {
        assert!(done.text().contains("trustedCertEntry"), "{} {}", done.text(), done.stderr);
    }
    let source = world.folder().join("Get.java");
    std::fs::write(&source, JAVA).unwrap();
    let hosts = world.folder().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 files.example\n").unwrap();
    let (name, value) = cofferdam_gateway::java_trust(&store, None);
    let mut java = world.trusting("java");
    java.env(name, value).arg(format!("-Djdk.net.hosts.file={}", hosts.display()));
    let Some(done) = ran(java.arg(&source).arg(world.url("/jar"))) else { return };
    if done.stderr.contains("jdk.compiler") {
        println!("skipped: java: this machine has a runtime without a compiler");
        return;
    }
    assert_eq!(done.text(), "200 coffee", "{}", done.stderr);
}

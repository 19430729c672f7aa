//! What TLS said is told with an answer. The server is a socket on the loopback interface with a chain of the
//! test's own, which a process of its own is told to believe (`SSL_CERT_FILE`).

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
};

use cofferdam_format_kit::{Connection, Upstream as _};
use cofferdam_types::{Sha256, Timestamp};
use cofferdam_upstream::{Options, WebUpstream};
use http::HeaderMap;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, SupportedProtocolVersion,
        pki_types::{CertificateDer, PrivateKeyDer},
        version::{TLS12, TLS13},
    },
};

/// A root, and what a server below an authority in between sends.
struct Chain {
    root: String,
    sent: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

fn chain() -> Chain {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let (root_key, between_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let root = authority("Root of the test").self_signed(&root_key).unwrap();
    let root_issuer = Issuer::new(authority("Root of the test"), root_key);
    let between = authority("Authority in between").signed_by(&between_key, &root_issuer).unwrap();
    let between_issuer = Issuer::new(authority("Authority in between"), between_key);
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "files.example");
    params.not_after = rcgen::date_time_ymd(2040, 1, 2);
    let key = KeyPair::generate().unwrap();
    let own = params.signed_by(&key, &between_issuer).unwrap();
    Chain { root: root.pem(), sent: vec![own.der().clone(), between.der().clone()], key }
}

/// Answers `ok` over TLS of one version, and gives its port.
async fn server(chain: &Chain, version: &'static SupportedProtocolVersion) -> u16 {
    let key = PrivateKeyDer::try_from(chain.key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain.sent.clone(), key).unwrap();
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(byte) = socket.read_u8().await else { break };
                request.push(byte);
            }
            let said = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            let _ = socket.write_all(said).await;
            let _ = socket.shutdown().await;
        }
    });
    port
}

/// The process that believes the root which the environment names; it prints what it is told, twice.
#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn a_process_that_believes_a_root() {
    let Ok(url) = std::env::var("TEST_URL") else { return };
    let options = Options { proxy_from_env: false, ..Options::default() };
    let web = WebUpstream::new(&options, true).unwrap();
    for _ in 0..2 {
        let said = match web.fetch(&url, &HeaderMap::new()).await {
            Ok(fetched) => serde_json::to_string(&fetched.connection.unwrap()).unwrap(),
            Err(error) => error.code().to_owned(),
        };
        writeln!(std::io::stdout(), "\nsaid {said}").unwrap();
    }
}

async fn told(root: &str, port: u16) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), root).unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "a_process_that_believes_a_root", "--ignored", "--nocapture"]);
    process.env("SSL_CERT_FILE", file.path()).env("TEST_URL", format!("https://localhost:{port}/x"));
    let run = move || process.stderr(Stdio::null()).output().unwrap();
    let done = tokio::task::spawn_blocking(run).await.unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    text.lines().filter_map(|l| l.strip_prefix("said ").map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_with_what_tls_said_also_when_the_session_is_resumed() {
    let chain = chain();
    for (version, written) in [(&TLS13, "1.3"), (&TLS12, "1.2")] {
        let port = server(&chain, version).await;
        let told = told(&chain.root, port).await;
        assert_eq!(told.len(), 2, "{told:?}");
        for said in &told {
            let said: Connection = serde_json::from_str(said).unwrap();
            assert_eq!(said.peer.unwrap().port(), port);
            assert!(said.is_sound());
            let tls = said.tls.unwrap();
            assert_eq!(tls.version, written);
            assert_eq!(tls.chain, chain.sent.iter().map(|c| Sha256::of(c)).collect::<Vec<_>>());
            assert!(tls.subject.contains("files.example"), "{}", tls.subject);
            assert!(tls.issuer.contains("Authority in between"), "{}", tls.issuer);
            assert_eq!(tls.not_after, Timestamp::parse("2040-01-02T00:00:00Z").unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_the_machine_does_not_believe_is_refused_as_ever() {
    let (ours, other) = (chain(), chain());
    let port = server(&ours, &TLS13).await;
    assert_eq!(told(&other.root, port).await, ["upstream-unreachable", "upstream-unreachable"]);
}

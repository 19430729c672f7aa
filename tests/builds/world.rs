//! The outside world as a proxy sees it: files behind `http://` and `https://` addresses, and 404 for all others. Its
//! TLS ends at an authority of its own, which the outside site believes and nobody else.
//!
//! It must never ask anybody itself: what a test did not put there does not exist.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use cofferdam_gateway::Authority;
use cofferdam_types::{Clock as _, time::SystemClock};
use md5::Digest as _;

use crate::common::{Pair, upstream::configuration};

/// A world that lasts until it is dropped.
pub struct World {
    address: SocketAddr,
    /// The authority's certificate, and where it lies.
    pem: String,
    folder: tempfile::TempDir,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    /// A world of these addresses, each with its bytes.
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let files: Arc<BTreeMap<String, Vec<u8>>> = Arc::new(files.into_iter().collect());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, ended) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let over = Arc::clone(&ended);
        let authority = Arc::new(Authority::generate(SystemClock.now()).unwrap());
        let pem = authority.pem().to_owned();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (files, authority) = (Arc::clone(&files), Arc::clone(&authority));
                std::thread::spawn(move || serve(stream, &files, &authority));
            }
        });
        Self { address, pem, folder: tempfile::tempdir().unwrap(), ended, thread: Some(thread) }
    }

    /// Two sites whose outside one reaches this world and, at `upstream`, packages.
    pub fn pair(&self, upstream: &str) -> Pair {
        let proxy = format!("http://{}", self.address);
        let authority = self.folder.path().join("authority.pem");
        std::fs::write(&authority, &self.pem).unwrap();
        let believed = authority.to_str().unwrap();
        let environment = [
            ("HTTP_PROXY", proxy.as_str()),
            ("HTTPS_PROXY", &proxy),
            ("NO_PROXY", "127.0.0.1"),
            ("SSL_CERT_FILE", believed),
        ];
        Pair::with(&configuration(upstream), &environment)
    }
}

/// An upstream for those who want no packages.
pub const NONE: &str = "http://nobody.example";

impl Drop for World {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // One more caller, so that it looks up.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One connection: a request of a proxy's client, or a tunnel with TLS in it.
fn serve(mut stream: TcpStream, files: &BTreeMap<String, Vec<u8>>, authority: &Authority) {
    let Some(first) = head(&mut stream) else { return };
    let Some(host) = first.strip_prefix("CONNECT ").and_then(|rest| rest.split(':').next()) else {
        let _ = answer(&mut stream, first.split(' ').nth(1).unwrap_or_default(), files);
        return;
    };
    let (Ok(settings), Ok(())) =
        (authority.server_config(host), stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n"))
    else {
        return;
    };
    let Ok(mut tls) = rustls::ServerConnection::new(settings) else { return };
    let mut inner = rustls::Stream::new(&mut tls, &mut stream);
    let Some(first) = head(&mut inner) else { return };
    let path = first.split(' ').nth(1).unwrap_or_default();
    let _ = answer(&mut inner, &format!("https://{host}{path}"), files);
    tls.send_close_notify();
    let _ = tls.complete_io(&mut stream);
}

/// The first line of a request, whose headers are read and forgotten.
fn head(stream: &mut impl Read) -> Option<String> {
    let mut lines = BufReader::with_capacity(1, stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    lines.find(|line| line.is_empty()).map(|_| first)
}

fn answer(stream: &mut impl Write, url: &str, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    let (status, bytes) =
        files.get(url).map_or(("404 Not Found", &b""[..]), |bytes| ("200 OK", bytes.as_slice()));
    // A document of a container registry says its own type. Bundler compares its index with the tag.
    let json: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let kind = json.is_object().then(|| json["mediaType"].as_str().unwrap_or("application/json"));
    let kind = kind.or(bytes.starts_with(b"<?xml").then_some("application/atom+xml"));
    let kind = kind.map(|kind| format!("content-type: {kind}\r\n")).unwrap_or_default();
    let (tag, length) = (hex::encode(md5::Md5::digest(bytes)), bytes.len());
    let head = format!(
        "HTTP/1.1 {status}\r\n{kind}etag: \"{tag}\"\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(bytes)?;
    stream.flush()
}

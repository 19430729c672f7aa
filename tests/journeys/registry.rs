//! A small world as a proxy sees it: a container registry that wants a token, its realm, its store of layers, and git.
//!
//! It must never ask anybody itself, and it notes what was asked of it, so that a story can tell who was shown what.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use cofferdam_testkit::{GitAsked, GitBackend};
use cofferdam_types::Sha256;
use serde_json::{Value, json};

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What is behind an address: media type and bytes.
type Files = BTreeMap<String, (&'static str, Vec<u8>)>;

/// The addresses of a registry at `http://reg.example/`.
#[derive(Default)]
pub struct Content {
    files: Files,
}

impl Content {
    /// Adds bytes; their descriptor.
    pub fn blob(&mut self, name: &str, bytes: &[u8]) -> Value {
        let digest = format!("sha256:{}", Sha256::of(bytes));
        self.files.insert(format!("/v2/{name}/blobs/{digest}"), ("application/octet-stream", bytes.to_vec()));
        json!({ "mediaType": "application/octet-stream", "digest": digest, "size": bytes.len() })
    }

    /// Adds a manifest under its digest and a tag; its descriptor.
    pub fn manifest(&mut self, name: &str, tag: &str, kind: &'static str, manifest: &Value) -> Value {
        let bytes = manifest.to_string().into_bytes();
        let digest = format!("sha256:{}", Sha256::of(&bytes));
        for reference in [tag, &digest].into_iter().filter(|r| !r.is_empty()) {
            self.files.insert(format!("/v2/{name}/manifests/{reference}"), (kind, bytes.clone()));
        }
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    }

    /// Adds an image of one layer; its descriptor.
    pub fn image(&mut self, name: &str, tag: &str, architecture: &str, layer: &[u8]) -> Value {
        let config = json!({ "architecture": architecture, "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", Sha256::of(layer))] } });
        let mut config = self.blob(name, config.to_string().as_bytes());
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let mut layer = self.blob(name, layer);
        layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        let mut named = self.manifest(name, tag, MANIFEST, &manifest);
        named["platform"] = json!({ "os": "linux", "architecture": architecture });
        named
    }

    /// Puts other bytes behind an address.
    pub fn replace(&mut self, path: &str, kind: &'static str, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), (kind, bytes));
    }
}

/// A world until it is ended.
pub struct World {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

struct Place {
    files: Files,
    git: Option<GitBackend>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub fn new(content: Content, git: Option<GitBackend>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let place = Arc::new(Place { files: content.files, git, asked: Arc::clone(&asked) });
        let thread = std::thread::spawn(move || {
            std::thread::scope(|scope| {
                for stream in listener.incoming().map_while(Result::ok) {
                    let mut first = [0; 3];
                    if stream.peek(&mut first).is_ok_and(|n| first[..n] == *b"END") {
                        return;
                    }
                    let place = Arc::clone(&place);
                    scope.spawn(move || place.answer(stream));
                }
            });
        });
        Self { address, asked, thread }
    }

    /// Everything that was asked of it; nothing answers any more.
    pub fn end(self) -> Vec<String> {
        TcpStream::connect(self.address).unwrap().write_all(b"END").unwrap();
        self.thread.join().unwrap();
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

type Said = (u16, Vec<(String, String)>, Vec<u8>);

impl Place {
    fn answer(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut lines = (&mut reader).lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let header = |name: &str| {
            let found = headers.iter().find(|h| h.to_lowercase().starts_with(name));
            found.map_or("", |h| h[name.len()..].trim())
        };
        let mut body = vec![0; header("content-length:").parse().unwrap_or(0)];
        let _ = reader.read_exact(&mut body);
        let Some((method, rest)) = first.split_once(' ') else { return };
        let url = rest.split(' ').next().unwrap_or_default();
        let token = header("authorization:");
        self.asked.lock().unwrap().push(format!("{method} {url} {token}"));
        let place = url.strip_prefix("http://").unwrap_or_default();
        let (host, path) = place.find('/').map_or((place, "/"), |at| place.split_at(at));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (status, more, body) = match host {
            "reg.example" => self.registry(path, token),
            "auth.example" => self.realm(query),
            "store.example" => self.file(path),
            "code.example" => self.git.as_ref().map_or_else(nothing, |git| {
                let (media_type, protocol) = (header("content-type:"), header("git-protocol:"));
                git.answer(&GitAsked { method, path, query, media_type, protocol, body: &body })
            }),
            _ => nothing(),
        };
        let mut head =
            format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
        for (name, value) in more {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let _ = stream.write_all(format!("{head}\r\n").as_bytes());
        let _ = stream.write_all(&body);
    }

    /// Gives nothing without a token for just this name, and layers from another host.
    fn registry(&self, path: &str, token: &str) -> Said {
        let name = path.strip_prefix("/v2/").unwrap_or_default().split('/').next().unwrap_or_default();
        if name.is_empty() || token != format!("Bearer hush-{name}") {
            // One that sends people to a realm of another kind.
            let realm = if name == "evil" { "ftp://auth.example/token" } else { "http://auth.example/token" };
            let scope =
                if name.is_empty() { String::new() } else { format!(",scope=\"repository:{name}:pull\"") };
            let wants = format!("Bearer realm=\"{realm}\",service=\"reg.example\"{scope}");
            return (401, vec![("WWW-Authenticate".into(), wants)], b"{\"errors\":[]}".to_vec());
        }
        if path.contains("/blobs/") && self.files.contains_key(path) && name == "boat" {
            return (
                307,
                vec![("Location".into(), format!("http://store.example{path}?sig={}", token.len()))],
                Vec::new(),
            );
        }
        self.file(path)
    }

    fn realm(&self, query: &str) -> Said {
        let scope = query.split('&').find_map(|part| part.strip_prefix("scope=repository%3A"));
        let name = scope.and_then(|s| s.split("%3A").next()).unwrap_or("nobody");
        let body = json!({ "token": format!("hush-{name}"), "expires_in": 300 }).to_string();
        (200, vec![("content-type".into(), "application/json".into())], body.into_bytes())
    }

    fn file(&self, path: &str) -> Said {
        let Some((kind, bytes)) = self.files.get(path) else { return nothing() };
        (200, vec![("content-type".into(), (*kind).to_owned())], bytes.clone())
    }
}

fn nothing() -> Said {
    (404, Vec::new(), Vec::new())
}

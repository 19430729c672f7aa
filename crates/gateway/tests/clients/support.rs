//! A site that answers from a table, a front that hands connections to the gateway, and clients.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use cofferdam_gateway::{Asked, Authority, Destination, Gateway, Report, client_trust};
use cofferdam_testkit::{GitAsked, GitBackend};
use cofferdam_types::{Clock as _, Secret, Sha256, address::DIGEST_HEADER, time::SystemClock};
use tokio::{net::TcpListener, sync::watch};

pub const NAME: &str = "files.example";

#[derive(Clone, Default)]
pub struct FakeSite(Arc<Mutex<Table>>);

/// Status, headers and body.
type Kept = (u16, Vec<(String, String)>, Vec<u8>);

#[derive(Default)]
struct Table {
    port: u16,
    answers: HashMap<String, Kept>,
    /// A server for git and the path before its repositories.
    git: Option<(String, GitBackend)>,
    asked: Vec<SiteAsked>,
}

#[derive(Clone, Debug)]
pub struct SiteAsked {
    pub method: String,
    pub path: String,
    pub git_protocol: String,
    pub body: Vec<u8>,
    pub authorization: String,
    pub headers: Vec<String>,
    pub by: String,
}

pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::of(bytes))
}

impl FakeSite {
    /// `PORT` in a path is the front's port.
    pub fn answers(&self, path: &str, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let mut table = self.0.lock().unwrap();
        let path = format!("/r/web/{path}").replace("PORT", &table.port.to_string());
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        table.answers.insert(path, (status, headers, body.to_vec()));
    }

    /// Every file below a folder.
    pub fn answers_folder(&self, path: &str, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let below = format!("{path}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                self.answers_folder(&below, &entry.path());
            } else {
                let bytes = std::fs::read(entry.path()).unwrap();
                self.answers(&below, 200, &[], &bytes);
                self.answers(&format!("{below}?service=git-upload-pack"), 200, &[], &bytes);
            }
        }
    }

    /// Every repository of a server for git.
    pub fn answers_git(&self, path: &str, git: GitBackend) {
        let mut table = self.0.lock().unwrap();
        let path = format!("/r/web/{path}").replace("PORT", &table.port.to_string());
        table.git = Some((path, git));
    }

    pub fn asked(&self) -> Vec<SiteAsked> {
        self.0.lock().unwrap().asked.clone()
    }

    async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        address
    }
}

async fn answer(State(site): State<FakeSite>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let mut table = site.0.lock().unwrap();
    let header = |name| parts.headers.get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
    let path = parts.uri.path_and_query().unwrap().as_str();
    table.asked.push(SiteAsked {
        method: parts.method.to_string(),
        path: path.to_owned(),
        git_protocol: header("git-protocol"),
        body: body.to_vec(),
        authorization: header("authorization"),
        by: header("x-cofferdam-asked-by"),
        headers: parts.headers.keys().map(|k| k.as_str().to_owned()).collect(),
    });
    if let Some((below, git)) = &table.git
        && let Some(path) = parts.uri.path().strip_prefix(below.as_str())
    {
        let (status, headers, body) = git.answer(&GitAsked {
            method: parts.method.as_str(),
            path,
            query: parts.uri.query().unwrap_or_default(),
            media_type: &header("content-type"),
            protocol: &header("git-protocol"),
            body: &body,
        });
        return kept(status, &headers, &body);
    }
    let Some((status, headers, body)) = table.answers.get(path) else {
        let text = format!("cofferdam: {path} is not recorded here\nask for it\n");
        return Response::builder().status(404).body(Body::from(text)).unwrap();
    };
    kept(*status, headers, body)
}

fn kept(status: u16, headers: &[(String, String)], body: &[u8]) -> Response {
    let mut response = Response::builder().status(status).header(DIGEST_HEADER, digest_of(body));
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body.to_vec())).unwrap()
}

#[derive(Clone, Default)]
struct Told(watch::Sender<Vec<Asked>>);

impl Report for Told {
    fn request(&self, asked: Asked) {
        self.0.send_modify(|lines| lines.push(asked));
    }
}

/// A gateway with its site and its front.
pub struct World {
    pub gateway: Gateway,
    pub site: FakeSite,
    pub front: SocketAddr,
    folder: tempfile::TempDir,
    told: Told,
}

impl World {
    pub async fn new() -> Self {
        let site = FakeSite::default();
        let address = site.listen().await;
        let authority = Authority::generate(SystemClock.now()).unwrap();
        let gateway =
            Gateway::new(authority, address, "/r/web/", Secret::new("cfd_test".to_owned())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = listener.local_addr().unwrap();
        site.0.lock().unwrap().port = front.port();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), gateway.authority().pem()).unwrap();
        std::fs::write(folder.path().join("bundle.pem"), gateway.bundle(None)).unwrap();
        let told = Told::default();
        let (serving, report) = (gateway.clone(), told.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (gateway, report) = (serving.clone(), report.clone());
                let address = SocketAddr::new([203, 0, 113, 7].into(), front.port());
                let to = Destination {
                    name: Some(NAME.to_owned()),
                    address,
                    tls: true,
                    asked_by: Some("curl for tool@1".to_owned()),
                };
                tokio::spawn(async move { gateway.serve(stream, to, &report).await.unwrap() });
            }
        });
        Self { gateway, site, front, folder, told }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{NAME}:{}{path}", self.front.port())
    }

    /// What was told, once there are so many lines: they come at a connection's end, after the client's.
    pub async fn told(&self, many: usize) -> Vec<Asked> {
        self.told.0.subscribe().wait_for(|lines| lines.len() >= many).await.unwrap().clone()
    }

    pub fn other_authority(&self) -> String {
        let path = self.folder().join("other.pem");
        let other = Authority::generate(SystemClock.now()).unwrap();
        std::fs::write(&path, other.pem()).unwrap();
        path.display().to_string()
    }

    /// A client that is told of the authority as a sandbox tells it, and knows nothing else.
    pub fn trusting(&self, program: &str) -> Command {
        let path = |name: &str| self.folder().join(name).display().to_string();
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.folder()).envs(client_trust(&path("ca.pem"), &path("bundle.pem")));
        command
    }

    pub fn curl(&self) -> Command {
        let mut curl = self.trusting("curl");
        curl.args(["--resolve", &format!("{NAME}:{}:127.0.0.1", self.front.port())]);
        curl
    }

    pub fn bare_curl(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        curl.args(["--resolve", &format!("{NAME}:{}:127.0.0.1", self.front.port())]);
        curl
    }
}

pub struct Ran {
    pub ok: bool,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs a client; nothing when it is not on this machine.
pub fn ran(command: &mut Command) -> Option<Ran> {
    let Ok(done) = command.output() else {
        println!("skipped: {}: not on this machine", command.get_program().display());
        return None;
    };
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    Some(Ran { ok: done.status.success(), stdout: done.stdout, stderr })
}

/// A bare repository with one commit that can be cloned from plain files.
pub fn bare_repository(folder: &Path) -> bool {
    let script = "set -e; git init -q work; cd work; printf 'hello\\n' > hello.txt; git add .; \
        git -c user.name=t -c user.email=t@t.example commit -qm one; cd ..; \
        git clone -q --bare work repo.git; cd repo.git; git update-server-info";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).current_dir(folder).env("HOME", folder);
    shell.status().is_ok_and(|s| s.success())
}

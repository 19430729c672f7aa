//! Downloads that go on after the process that began them was killed. Every server here is a socket on the
//! loopback interface; a "restart" is a second [`WebUpstream`] over the same folder.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use cofferdam_format_kit::{Fetched, Upstream as _};
use cofferdam_types::{Clock, Sha256, Timestamp};
use cofferdam_upstream::{Options, Retries, WebUpstream};
use futures::TryStreamExt as _;
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const MIB: usize = 1 << 20;

/// A file on a server, which may change.
#[derive(Clone)]
struct Served {
    bytes: Arc<Vec<u8>>,
    tag: &'static str,
    /// Whether parts are given.
    ranges: bool,
    /// After so many bytes of an answer nothing more comes.
    stalls_at: usize,
}

struct Server {
    url: String,
    served: Arc<Mutex<Served>>,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Bytes of which no two blocks are alike.
fn body(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![seed; len];
    for (number, chunk) in bytes.chunks_mut(4096).enumerate() {
        chunk[..8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    bytes
}

impl Server {
    async fn of(bytes: Vec<u8>, tag: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tool.tar", listener.local_addr().unwrap());
        let served = Served { bytes: Arc::new(bytes), tag, ranges: true, stalls_at: usize::MAX };
        let served = Arc::new(Mutex::new(served));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (now, log) = (served.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(answer(socket, now.clone(), log.clone()));
            }
        });
        Self { url, served, asked }
    }

    fn change(&self, edit: impl FnOnce(&mut Served)) {
        edit(&mut self.served.lock().unwrap());
    }

    fn bytes(&self) -> Vec<u8> {
        self.served.lock().unwrap().bytes.to_vec()
    }

    /// The first bytes that were asked for, one for each request.
    fn asked_from(&self) -> Vec<usize> {
        let from = |text: &String| {
            let range = text.lines().find_map(|l| l.strip_prefix("range: bytes=")?.strip_suffix('-'));
            range.map_or(0, |n| n.parse().unwrap())
        };
        self.asked.lock().unwrap().iter().map(from).collect()
    }
}

async fn answer(mut socket: TcpStream, served: Arc<Mutex<Served>>, log: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let served = served.lock().unwrap().clone();
    let range = request.lines().find_map(|l| l.strip_prefix("range: bytes=")?.strip_suffix('-'));
    let same = request.contains(&format!("if-range: {}", served.tag));
    let from = range.filter(|_| served.ranges && same).map(|n| n.parse::<usize>().unwrap());
    log.lock().unwrap().push(request);
    let (len, tag) = (served.bytes.len(), served.tag);
    let head = match from {
        Some(at) => format!("206 Partial Content\r\ncontent-range: bytes {at}-{}/{len}", len - 1),
        None => "200 OK".to_owned(),
    };
    let part = &served.bytes[from.unwrap_or(0)..];
    let head = format!(
        "HTTP/1.1 {head}\r\netag: {tag}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        part.len()
    );
    // A client that has heard enough hangs up: that is no failure of the server's.
    let _ = socket.write_all(head.as_bytes()).await;
    let _ = socket.write_all(&part[..part.len().min(served.stalls_at)]).await;
    if part.len() > served.stalls_at {
        let _ = socket.read_u8().await;
    }
}

struct Fixed(Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn web(folder: &Path, now: Timestamp) -> WebUpstream {
    let retries =
        Retries { first_pause: Duration::ZERO, longest_pause: Duration::ZERO, ..Retries::default() };
    let options = Options { retries, proxy_from_env: false, ..Options::default() };
    WebUpstream::new(&options, true).unwrap().keeping(folder.to_owned(), Arc::new(Fixed(now)))
}

async fn fetch(folder: &Path, url: &str) -> Fetched {
    web(folder, Timestamp(0)).fetch(url, &HeaderMap::new()).await.unwrap()
}

/// Reads so many bytes and leaves.
async fn read_and_leave(folder: &Path, url: &str, bytes: usize) {
    let (mut body, mut read) = (fetch(folder, url).await.body, 0);
    while read < bytes {
        read += body.try_next().await.unwrap().expect("more of the body").len();
    }
}

async fn whole(folder: &Path, url: &str) -> Vec<u8> {
    fetch(folder, url).await.bytes(64 * MIB).await.unwrap().to_vec()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|all| all.map(|e| e.unwrap().path()).collect()).unwrap_or_default()
}

fn part(folder: &Path) -> PathBuf {
    files(folder).into_iter().find(|p| p.extension().is_some_and(|e| e == "part")).expect("a partial")
}

/// The process that [`a_download_goes_on_after_kill_9`] kills.
#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn a_process_that_is_killed() {
    let (Ok(url), Ok(folder)) = (std::env::var("TEST_URL"), std::env::var("TEST_FOLDER")) else { return };
    let (mut body, mut read) = (fetch(Path::new(&folder), &url).await.body, 0);
    while let Some(chunk) = body.try_next().await.unwrap() {
        read += chunk.len();
        writeln!(std::io::stdout(), "\nread {read}").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_after_kill_9() {
    let server = Server::of(body(1, 20 * MIB), "\"v1\"").await;
    server.change(|s| s.stalls_at = 13 * MIB);
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_that_is_killed", "--ignored", "--nocapture"])
        .envs([("TEST_URL", server.url.as_str()), ("TEST_FOLDER", folder.path().to_str().unwrap())])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let read = |line: String| line.strip_prefix("read ").and_then(|n| n.parse::<usize>().ok());
    assert!(lines.filter_map(read).any(|n| n >= 12 * MIB), "the child reads until the server stalls");
    child.kill().unwrap();
    child.wait().unwrap();
    server.change(|s| s.stalls_at = usize::MAX);
    assert!(whole(folder.path(), &server.url).await == server.bytes(), "every byte is there, once");
    assert_eq!(server.asked_from(), [0, 0, 12 * MIB], "what was there is not fetched again");
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new(), "and it is removed when it is whole");
}

#[tokio::test]
async fn a_file_that_has_changed_or_has_no_parts_is_fetched_anew() {
    for change in [
        (|s: &mut Served| (s.tag, s.bytes) = ("\"v2\"", Arc::new(body(2, 16 * MIB)))) as fn(&mut Served),
        |s| s.ranges = false,
        |s| (s.tag, s.bytes) = ("W/\"v1\"", Arc::new(body(3, 16 * MIB))),
        |s| s.bytes = Arc::new(body(4, 17 * MIB)),
    ] {
        let server = Server::of(body(1, 16 * MIB), "\"v1\"").await;
        let folder = tempfile::tempdir().unwrap();
        read_and_leave(folder.path(), &server.url, 9 * MIB).await;
        server.change(change);
        assert!(whole(folder.path(), &server.url).await == server.bytes(), "no byte of another file");
    }
}

#[tokio::test]
async fn bytes_that_were_changed_in_the_folder_are_not_believed() {
    let server = Server::of(body(1, 20 * MIB), "\"v1\"").await;
    let folder = tempfile::tempdir().unwrap();
    read_and_leave(folder.path(), &server.url, 13 * MIB).await;
    let part = part(folder.path());
    let mut bytes = fs::read(&part).unwrap();
    bytes[5 * MIB] ^= 1;
    fs::write(&part, bytes).unwrap();
    assert!(whole(folder.path(), &server.url).await == server.bytes());
    assert_eq!(server.asked_from(), [0, 0, 4 * MIB], "only the block before the damage is used");
}

#[tokio::test]
async fn two_downloads_at_once_do_not_share_what_is_kept() {
    let server = Server::of(body(1, 16 * MIB), "\"v1\"").await;
    let folder = tempfile::tempdir().unwrap();
    let first = fetch(folder.path(), &server.url).await;
    let second = fetch(folder.path(), &server.url).await;
    let (first, second) = tokio::join!(first.bytes(64 * MIB), second.bytes(64 * MIB));
    assert!(first.unwrap() == server.bytes() && second.unwrap() == server.bytes());
    assert_eq!(server.asked_from(), [0, 0]);
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_signed_link_goes_on_under_another_signature_when_the_tag_is_a_digest() {
    let tag = "\"6eca9cd6da25b1f0c0a86fbd6fa4e0c1\"";
    let server = Server::of(body(1, 16 * MIB), tag).await;
    let folder = tempfile::tempdir().unwrap();
    let signed = |n: u8| format!("{}?X-Amz-Signature={n}", server.url);
    read_and_leave(folder.path(), &signed(1), 9 * MIB).await;
    assert!(whole(folder.path(), &signed(2)).await == server.bytes());
    assert_eq!(server.asked_from(), [0, 0, 8 * MIB]);
    server.change(|s| s.tag = "\"v1\"");
    read_and_leave(folder.path(), &signed(1), 9 * MIB).await;
    whole(folder.path(), &signed(2)).await;
    assert_eq!(server.asked_from().last(), Some(&0), "a short tag may stand for two files");
}

#[tokio::test]
async fn small_files_are_not_kept_and_old_ones_are_removed() {
    let small = Server::of(body(1, 2 * MIB), "\"v1\"").await;
    let large = Server::of(body(1, 16 * MIB), "\"v1\"").await;
    let folder = tempfile::tempdir().unwrap();
    read_and_leave(folder.path(), &small.url, MIB).await;
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
    read_and_leave(folder.path(), &large.url, 9 * MIB).await;
    let written = fs::metadata(part(folder.path())).unwrap().modified().unwrap();
    let written = Timestamp(0).plus(written.duration_since(std::time::UNIX_EPOCH).unwrap());
    let day = Duration::from_secs(24 * 3600);
    let _later = web(folder.path(), written.plus(6 * day));
    assert_eq!(files(folder.path()).len(), 2);
    fs::write(folder.path().join("notes.txt"), "of a person").unwrap();
    let _later = web(folder.path(), written.plus(8 * day));
    assert_eq!(files(folder.path()), [folder.path().join("notes.txt")]);
}

#[tokio::test]
async fn the_folder_has_a_bound_and_what_is_oldest_goes_first_but_nothing_that_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Vec::new();
    // By hand: what a download leaves may still be written to when it is dropped.
    for n in 0..2u64 {
        let left = folder.path().join(format!("{n:064x}.part"));
        fs::write(&left, body(1, 8 * MIB)).unwrap();
        let written = std::time::UNIX_EPOCH + Duration::from_secs(1_000 + n);
        fs::File::options().write(true).open(&left).unwrap().set_modified(written).unwrap();
        parts.push(left);
    }
    // Room for one that is in use and one that is not.
    let web = web(folder.path(), Timestamp(0)).at_most(26 * MIB as u64);
    let server = Server::of(body(1, 16 * MIB), "\"c\"").await;
    let using = web.fetch(&server.url, &HeaderMap::new()).await.unwrap();
    assert_eq!((parts[0].exists(), parts[1].exists()), (false, true));
    let other = Server::of(body(1, 16 * MIB), "\"d\"").await;
    let second = web.fetch(&other.url, &HeaderMap::new()).await.unwrap();
    assert!(parts[1].exists(), "what finds no room beside one in use takes none from others");
    let (first, second) = tokio::join!(using.bytes(64 * MIB), second.bytes(64 * MIB));
    assert!(first.unwrap() == server.bytes() && second.unwrap() == other.bytes(), "both come all the same");
}

#[tokio::test]
async fn what_is_whole_already_is_not_fetched_again() {
    let server = Server::of(body(1, 12 * MIB), "\"v1\"").await;
    let folder = tempfile::tempdir().unwrap();
    read_and_leave(folder.path(), &server.url, 12 * MIB).await;
    let fetched = fetch(folder.path(), &server.url).await;
    server.change(|s| s.bytes = Arc::new(body(9, 12 * MIB)));
    let sum = Sha256::of(&fetched.bytes(64 * MIB).await.unwrap());
    assert_eq!(sum, Sha256::of(&body(1, 12 * MIB)));
    assert_eq!(server.asked_from(), [0, 0]);
}

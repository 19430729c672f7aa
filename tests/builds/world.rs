//! The outside world as a proxy sees it: files behind `http://` addresses, and 404 for all others.
//!
//! It must never ask anybody itself: what a test did not put there does not exist.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use crate::common::{Pair, upstream::configuration};

/// A world that lasts until it is dropped.
pub struct World {
    address: SocketAddr,
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
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let files = Arc::clone(&files);
                std::thread::spawn(move || answer(stream, &files));
            }
        });
        Self { address, ended, thread: Some(thread) }
    }

    /// Two sites whose outside one reaches this world and, at `upstream`, packages.
    pub fn pair(&self, upstream: &str) -> Pair {
        let proxy = format!("http://{}", self.address);
        Pair::with(&configuration(upstream), &[("HTTP_PROXY", &proxy), ("NO_PROXY", "127.0.0.1")])
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

fn answer(mut stream: TcpStream, files: &BTreeMap<String, Vec<u8>>) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut lines = BufReader::new(reading).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let _ = lines.take_while(|line| !line.is_empty()).count();
    let url = first.split(' ').nth(1).unwrap_or_default();
    let (status, bytes) =
        files.get(url).map_or(("404 Not Found", &b""[..]), |bytes| ("200 OK", bytes.as_slice()));
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", bytes.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(bytes));
}

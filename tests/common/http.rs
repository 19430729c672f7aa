//! A small HTTP/1.1 client that sends exactly what a test says, wrong requests included.
//!
//! It must not repair anything: paths are sent as they are, and lengths may be lies.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()))
    }
}

fn head(address: &str, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    if !matches!(method, "GET" | "HEAD") {
        text.push_str(&format!("content-length: {length}\r\n"));
    }
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    text + "\r\n"
}

/// Sends one request and reads its answer.
pub fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the site listens");
    stream.write_all(head(address, method, path, headers, body.len()).as_bytes()).expect("a request is sent");
    // A site that refuses does not read the rest; its answer is what counts then.
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    read(&bytes, method)
}

/// Announces a whole body, sends a part of it, and hangs up. What the site answers, if it does.
pub fn cut_off(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).expect("the site listens");
    stream.write_all(head(address, method, path, headers, body.len()).as_bytes()).expect("a request is sent");
    let _ = stream.write_all(&body[..body.len() / 2]);
    stream.shutdown(Shutdown::Write).expect("half of the connection closes");
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    (!bytes.is_empty()).then(|| read(&bytes, method))
}

fn read(bytes: &[u8], method: &str) -> Answer {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = text.lines();
    let status =
        lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).expect("a status");
    let pair = |line: &str| line.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned()));
    let mut answer = Answer { status, headers: lines.filter_map(pair).collect(), body: Vec::new() };
    let body = &bytes[end + 4..];
    answer.body = if answer.header("transfer-encoding") == "chunked" { chunks(body) } else { body.to_vec() };
    let length = answer.header("content-length").parse::<usize>();
    if let Ok(length) = length
        .as_ref()
        .copied()
        .map_err(drop)
        .and_then(|n| if method == "HEAD" || status == 304 { Err(()) } else { Ok(n) })
    {
        assert_eq!(answer.body.len(), length, "the answer's body is cut off");
    }
    answer
}

fn chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").expect("a chunk's length");
        let text = std::str::from_utf8(&rest[..line]).expect("a chunk's length is text");
        let size = usize::from_str_radix(text.trim(), 16).expect("a chunk's length");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
}

/// A `multipart/form-data` body as twine sends it: its type, and its bytes.
pub fn form(fields: &[(&str, &str)], file: (&str, &[u8])) -> (String, Vec<u8>) {
    let mark = "an-unlikely-line-of-text";
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--{mark}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let part = format!(
        "--{mark}\r\ncontent-disposition: form-data; name=\"content\"; filename=\"{}\"\r\n\
         content-type: application/octet-stream\r\n\r\n",
        file.0
    );
    body.extend_from_slice(part.as_bytes());
    body.extend_from_slice(file.1);
    body.extend_from_slice(format!("\r\n--{mark}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={mark}"), body)
}

//! One HTTP/1.1 connection for what happens around a measurement: filling, asking, following.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::Outcome;

/// An answer: its status, its header lines in small letters, its body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let start = format!("{name}:");
        let line = self.head.iter().find(|l| l.to_ascii_lowercase().starts_with(&start))?;
        Some(line[start.len()..].trim().to_owned())
    }
}

/// A kept-alive connection.
pub(super) struct Client {
    stream: TcpStream,
    input: BufReader<TcpStream>,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let input = BufReader::new(stream.try_clone().map_err(|e| e.to_string())?);
        Ok(Self { stream, input })
    }

    /// Sends a request; the answer is still to be read.
    pub(super) fn send(&mut self, first: &str, headers: &[String], body: &[u8]) -> Outcome {
        let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
        let head =
            format!("{first} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        let bytes = [head.as_bytes(), body].concat();
        self.stream.write_all(&bytes).map_err(|e| e.to_string())
    }

    /// The next line of the answer.
    pub(super) fn line(&mut self) -> Outcome<String> {
        let mut text = String::new();
        match self.input.read_line(&mut text) {
            Ok(0) => Err("the server closed the connection".into()),
            Ok(_) => Ok(text.trim_end().into()),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Sends a request and reads the whole answer.
    pub(super) fn ask(&mut self, first: &str, headers: &[String], body: &[u8]) -> Outcome<Answer> {
        self.send(first, headers, body)?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or("no status")?;
        let mut head = Vec::new();
        loop {
            match self.line()? {
                line if line.is_empty() => break,
                line => head.push(line),
            }
        }
        let mut answer = Answer { status, head, body: Vec::new() };
        if answer.header("transfer-encoding").is_some() {
            loop {
                let size = u64::from_str_radix(&self.line()?, 16).map_err(|e| e.to_string())?;
                self.read(size, &mut answer.body)?;
                self.line()?;
                if size == 0 {
                    return Ok(answer);
                }
            }
        }
        let length = answer.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        self.read(length, &mut answer.body)?;
        Ok(answer)
    }

    /// [`Client::ask`] for JSON; anything but a success is an error.
    pub(super) fn json(&mut self, first: &str, headers: &[String], body: &[u8]) -> Outcome<Value> {
        let answer = self.ask(first, headers, body)?;
        if !(200..300).contains(&answer.status) {
            return Err(format!("{first}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)));
        }
        serde_json::from_slice(&answer.body).map_err(|e| format!("{first}: {e}"))
    }

    fn read(&mut self, length: u64, into: &mut Vec<u8>) -> Outcome {
        let read = (&mut self.input).take(length).read_to_end(into).map_err(|e| e.to_string())?;
        if read as u64 == length { Ok(()) } else { Err(format!("{read} of {length} bytes came")) }
    }
}

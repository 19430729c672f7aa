//! Load over HTTP/1.1: as many connections as asked for, a thread each, kept alive.
//!
//! Counts only answers with the expected status and a body read to its end; anything else is an
//! error, because a fast failure is no measurement.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::percentile;
use crate::Outcome;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked, and how hard.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the server listens.
    pub address: SocketAddr,
    /// The request's target, such as `/health`.
    pub target: String,
    /// Header lines beside `Host`, such as `Authorization: Bearer x`.
    pub headers: Vec<String>,
    /// The status that every answer must have.
    pub status: u16,
    /// Connections at once.
    pub connections: usize,
    /// Requests on each connection.
    pub requests: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Requests per second over all connections.
    pub per_second: f64,
    /// The median time of an answer, in milliseconds.
    pub p50_ms: f64,
    /// The time within which 95 % of the answers came, in milliseconds.
    pub p95_ms: f64,
    /// Bytes of all bodies.
    pub bytes: u64,
}

/// Sends the load and measures it.
///
/// # Errors
/// When a connection fails or an answer has another status.
pub fn measure(load: &Load) -> Outcome<Measured> {
    let start = Instant::now();
    let threads: Vec<_> = (0..load.connections)
        .map(|_| {
            let load = load.clone();
            thread::spawn(move || connection(&load))
        })
        .collect();
    let (mut times, mut bytes) = (Vec::new(), 0);
    for thread in threads {
        let (own, read) = thread.join().map_err(|_| "a load thread panicked")??;
        times.extend(own);
        bytes += read;
    }
    let seconds = start.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let at = |share| percentile(&times, share).ok_or("no request was sent");
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let per_second = times.len() as f64 / seconds;
    Ok(Measured { per_second, p50_ms: at(0.5)?, p95_ms: at(0.95)?, bytes })
}

fn connection(load: &Load) -> Outcome<(Vec<f64>, u64)> {
    let broken = |e: std::io::Error| format!("{}: {e}", load.address);
    let mut stream = TcpStream::connect(load.address).map_err(broken)?;
    stream.set_nodelay(true).map_err(broken)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    let mut input = BufReader::new(stream.try_clone().map_err(broken)?);
    let headers: String = load.headers.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", load.target, load.address);
    let (mut times, mut bytes) = (Vec::with_capacity(load.requests), 0);
    for _ in 0..load.requests {
        let start = Instant::now();
        stream.write_all(request.as_bytes()).map_err(broken)?;
        bytes += answer(&mut input, load.status).map_err(|why| format!("GET {}: {why}", load.target))?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok((times, bytes))
}

/// Reads one answer to its end and returns the length of its body.
fn answer(input: &mut impl BufRead, expected: u16) -> Outcome<u64> {
    let status = line(input)?;
    let (mut length, mut chunked) = (None, false);
    loop {
        let header = line(input)?.to_ascii_lowercase();
        match header.split_once(':') {
            None => break,
            Some(("content-length", value)) => length = value.trim().parse::<u64>().ok(),
            Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
            Some(_) => {}
        }
    }
    if status.split(' ').nth(1) != Some(expected.to_string().as_str()) {
        return Err(format!("the server said `{status}`"));
    }
    if expected == 304 {
        return Ok(0);
    }
    if !chunked {
        return skip(input, length.ok_or("the answer does not say its length")?);
    }
    let mut total = 0;
    loop {
        let size = line(input)?;
        let size = size.split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(|e| format!("the chunk size `{size}`: {e}"))?;
        if size == 0 {
            while !line(input)?.is_empty() {}
            return Ok(total);
        }
        total += skip(input, size)?;
        line(input)?;
    }
}

fn line(input: &mut impl BufRead) -> Outcome<String> {
    let mut text = String::new();
    match input.read_line(&mut text) {
        Ok(0) => Err("the server closed the connection".into()),
        Ok(_) => Ok(text.trim_end().into()),
        Err(e) => Err(e.to_string()),
    }
}

fn skip(input: &mut impl BufRead, length: u64) -> Outcome<u64> {
    let read =
        std::io::copy(&mut input.by_ref().take(length), &mut std::io::sink()).map_err(|e| e.to_string())?;
    if read == length { Ok(read) } else { Err(format!("{read} of {length} bytes came")) }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn answers_are_read_to_their_end_and_failures_are_no_answers() {
        let mut both = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                        HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
            .as_bytes();
        assert_eq!(answer(&mut both, 200), Ok(3));
        assert_eq!(answer(&mut both, 200), Ok(2));
        assert!(answer(&mut "HTTP/1.1 404 No\r\n\r\n".as_bytes(), 200).unwrap_err().contains("404"));
        assert!(answer(&mut "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi".as_bytes(), 200).is_err());
    }

    #[test]
    fn every_request_of_every_connection_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut input = BufReader::new(stream.try_clone().unwrap());
                    while let Ok(first) = line(&mut input) {
                        if first.is_empty() {
                            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").unwrap();
                        }
                    }
                });
            }
        });
        let load =
            Load { address, target: "/".into(), headers: vec![], status: 200, connections: 2, requests: 5 };
        let measured = measure(&load).unwrap();
        assert_eq!(measured.bytes, 40);
        assert!(measured.per_second > 0.0 && measured.p50_ms <= measured.p95_ms);
    }
}

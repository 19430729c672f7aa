//! The first bytes of a connection, before HTTP sees it.
//!
//! Two things may stand there. A **greeting**, one line that the door of a sandbox sends: in whose name everything on this
//! connection is asked, also by a client that sends no token of its own. And an **upgrade to HTTP/2 without TLS**
//! (RFC 7540, section 3.2): cargo opens two connections at the most and asks hundreds of things, which over HTTP/1.1
//! wait for each other. The HTTP library knows only HTTP/2 from the first byte on, so the upgraded request is handed to it as
//! the first stream of such a connection.
//!
//! Everything else passes as it is. This module must never decide who may do what: [`crate::auth`] reads the greeting.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{Buf as _, BytesMut};
use cofferdam_types::{Secret, address::DOOR_GREETING};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// Bytes of a greeting at the most.
const LONGEST_GREETING: usize = 512;
/// Bytes of a request's head that are looked through; a longer one passes as it is.
const LONGEST_HEAD: usize = 16 << 10;
/// Header fields of it at the most.
const MOST_FIELDS: usize = 64;
/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes before the payload of a frame (section 4.1).
const FRAME_HEAD: usize = 9;
/// Bytes of a frame's payload that nobody has to ask for (section 4.2).
const LARGEST_FRAME: usize = 1 << 14;
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

/// A site's socket.
pub struct Front(pub TcpListener);

/// Who is on a connection, as far as the connection itself says.
#[derive(Clone, Debug, Default)]
pub struct Caller(Arc<OnceLock<Secret<String>>>);

impl Caller {
    /// The token of the run whose sandbox's door this connection came through.
    #[must_use]
    pub fn door(&self) -> Option<&Secret<String>> {
        self.0.get()
    }
}

impl Listener for Front {
    type Io = Opening<TcpStream>;
    type Addr = Caller;

    async fn accept(&mut self) -> (Self::Io, Caller) {
        // The library's own `accept` knows which errors pass.
        let (stream, _) = Listener::accept(&mut self.0).await;
        // Answers of several small writes would wait 40 ms for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let caller = Caller::default();
        (Opening::new(stream, caller.clone()), caller)
    }

    fn local_addr(&self) -> io::Result<Caller> {
        Ok(Caller::default())
    }
}

impl Connected<IncomingStream<'_, Front>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Front>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A connection whose first bytes are looked at.
pub struct Opening<S> {
    inner: S,
    caller: Caller,
    state: State,
    /// Read and not handed on yet.
    held: BytesMut,
}

enum State {
    /// Nothing is decided.
    First,
    /// The upgrade is being granted: what is left of the answer, and the first stream's frame.
    Granting(&'static [u8], Vec<u8>),
    /// The client's preface and settings are waited for; then comes the frame.
    Preface(Vec<u8>),
    /// Everything passes.
    Open,
}

/// What the first bytes are.
#[derive(Debug, PartialEq, Eq)]
enum First {
    /// Not all here yet.
    More,
    /// A greeting with its token, and how many bytes it has.
    Greeting(String, usize),
    /// An upgrade: the frame of its request, and how many bytes it had.
    Upgrade(Vec<u8>, usize),
    /// Something that passes.
    Other,
}

impl<S> Opening<S> {
    fn new(inner: S, caller: Caller) -> Self {
        Self { inner, caller, state: State::First, held: BytesMut::new() }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Opening<S> {
    /// Reads more into `held`; false at the end.
    fn more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut chunk = [0; 4096];
        let mut read = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.inner).poll_read(context, &mut read))?;
        self.held.extend_from_slice(read.filled());
        Poll::Ready(Ok(!read.filled().is_empty()))
    }

    /// Goes on until everything passes.
    fn open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.state {
                State::Open => return Poll::Ready(Ok(())),
                State::First => match first(&self.held) {
                    First::Other => self.state = State::Open,
                    First::More => {
                        if !ready!(self.more(context))? {
                            self.state = State::Open;
                        }
                    }
                    First::Greeting(token, length) => {
                        self.held.advance(length);
                        // Only the first greeting counts: a build cannot speak in another's name.
                        let _ = self.caller.0.set(Secret::new(token));
                    }
                    First::Upgrade(frame, length) => {
                        self.held.advance(length);
                        self.state = State::Granting(SWITCHING, frame);
                    }
                },
                State::Granting(rest, frame) => {
                    while !rest.is_empty() {
                        let written = ready!(Pin::new(&mut self.inner).poll_write(context, rest))?;
                        if written == 0 {
                            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                        }
                        *rest = rest.get(written..).unwrap_or_default();
                    }
                    let frame = std::mem::take(frame);
                    self.state = State::Preface(frame);
                }
                State::Preface(frame) => match settings_end(&self.held) {
                    Some(end) => {
                        let rest = self.held.split_off(end);
                        self.held.extend_from_slice(frame);
                        self.held.unsplit(rest);
                        self.state = State::Open;
                    }
                    None if wrong_preface(&self.held) => self.state = State::Open,
                    None => {
                        if !ready!(self.more(context))? {
                            self.state = State::Open;
                        }
                    }
                },
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.open(context))?;
        if self.held.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let length = self.held.len().min(buffer.remaining());
        buffer.put_slice(&self.held.split_to(length));
        if self.held.is_empty() {
            // A connection may live for hours.
            self.held = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Decides what the first bytes are.
fn first(held: &[u8]) -> First {
    let greeting = DOOR_GREETING.as_bytes();
    if let Some(rest) = held.strip_prefix(greeting) {
        return match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => match rest.get(..at).map(std::str::from_utf8) {
                Some(Ok(token)) => First::Greeting(token.trim().to_owned(), greeting.len() + at + 1),
                _ => First::Other,
            },
            None if rest.len() < LONGEST_GREETING => First::More,
            None => First::Other,
        };
    }
    if greeting.starts_with(held) {
        return First::More;
    }
    // Only what may become a request without a body is waited for.
    let may_be = [b"GET ".as_slice(), b"HEAD "].iter().any(|method| held.starts_with(method));
    match held.windows(4).position(|end| end == b"\r\n\r\n") {
        _ if !may_be => First::Other,
        Some(at) => held.get(..at + 4).and_then(upgrade).map_or(First::Other, |f| First::Upgrade(f, at + 4)),
        None if held.len() < LONGEST_HEAD => First::More,
        None => First::Other,
    }
}

/// The frame of a request that wants to go on in HTTP/2 and may.
fn upgrade(head: &[u8]) -> Option<Vec<u8>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    if !request.parse(head).ok()?.is_complete() || request.version != Some(1) {
        return None;
    }
    let named = |name: &'static str| {
        let of = move |f: &&httparse::Header<'_>| f.name.eq_ignore_ascii_case(name);
        request.headers.iter().filter(of).map(|f| f.value)
    };
    let lists = |name, word: &str| {
        named(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    let one = |name| {
        let mut all = named(name);
        all.next().filter(|_| all.next().is_none())
    };
    // The settings are said again in the client's preface; here they only have to be some.
    let settings = URL_SAFE_NO_PAD.decode(one("http2-settings")?).ok()?;
    let body = named("transfer-encoding").next().is_some() || named("content-length").any(|v| v != b"0");
    if !lists("upgrade", "h2c") || !lists("connection", "upgrade") || settings.len() % 6 != 0 || body {
        return None;
    }
    let mut block = Vec::with_capacity(head.len());
    field(&mut block, b":method", request.method?.as_bytes());
    field(&mut block, b":scheme", b"http");
    field(&mut block, b":authority", one("host")?);
    field(&mut block, b":path", request.path?.as_bytes());
    for header in request.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        if !OF_THE_CONNECTION.contains(&name.as_str()) {
            field(&mut block, name.as_bytes(), header.value);
        }
    }
    let length = u32::try_from(block.len()).ok().filter(|_| block.len() <= LARGEST_FRAME)?.to_be_bytes();
    // HEADERS, at its end both of the fields and of the request, on stream 1 (section 6.2).
    let mut frame = vec![length[1], length[2], length[3], 0x1, 0x4 | 0x1, 0, 0, 0, 1];
    frame.append(&mut block);
    Some(frame)
}

/// Fields that HTTP/2 has not got, or has as `:authority` (RFC 9113, section 8.2.2).
const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "upgrade",
    "http2-settings",
    "host",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "te",
    "content-length",
];

/// A literal field that is never indexed, with a new name (RFC 7541, section 6.2.3): no state of the connection changes.
fn field(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0x10);
    for text in [name, value] {
        length(block, text.len());
        block.extend_from_slice(text);
    }
}

/// A string's length, not Huffman coded: an integer with a 7-bit prefix (RFC 7541, section 5.1).
fn length(block: &mut Vec<u8>, mut n: usize) {
    const PREFIX: usize = 127;
    if n < PREFIX {
        block.push(n as u8);
        return;
    }
    block.push(PREFIX as u8);
    n -= PREFIX;
    while n >= 128 {
        block.push((n % 128) as u8 | 128);
        n /= 128;
    }
    block.push(n as u8);
}

/// Where the client's preface and its settings frame end, when they are here.
fn settings_end(held: &[u8]) -> Option<usize> {
    let frame = held.strip_prefix(PREFACE)?;
    let payload = match *frame.get(..FRAME_HEAD)? {
        [high, middle, low, 0x4, ..] => usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low),
        // Not settings: the library says what is wrong with it.
        _ => return Some(PREFACE.len()),
    };
    let end = PREFACE.len() + FRAME_HEAD + payload;
    (payload <= LARGEST_FRAME && held.len() >= end).then_some(end)
}

/// Whether it can never become a preface with settings.
fn wrong_preface(held: &[u8]) -> bool {
    let common = held.len().min(PREFACE.len());
    held.get(..common) != PREFACE.get(..common) || held.len() > PREFACE.len() + FRAME_HEAD + LARGEST_FRAME
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "GET /r/cargo/config.json HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                           Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAQAAAAIAAAAA\r\naccept: text/plain\r\n\r\n";

    #[test]
    fn a_greeting_is_taken_off_in_whatever_pieces_it_comes() {
        let text = format!("{DOOR_GREETING}cfd_abc\nGET / HTTP/1.1\r\n\r\n");
        for end in 0..DOOR_GREETING.len() + 7 {
            assert_eq!(first(&text.as_bytes()[..end]), First::More, "{end}");
        }
        assert_eq!(first(text.as_bytes()), First::Greeting("cfd_abc".into(), DOOR_GREETING.len() + 8));
        let endless = format!("{DOOR_GREETING}{}", "x".repeat(LONGEST_GREETING));
        assert_eq!(first(endless.as_bytes()), First::Other);
    }

    #[test]
    fn only_a_whole_request_that_may_be_upgraded_is() {
        assert!(matches!(first(UPGRADE.as_bytes()), First::Upgrade(_, n) if n == UPGRADE.len()));
        assert_eq!(first(&UPGRADE.as_bytes()[..60]), First::More);
        let not = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\nHost: a\r\n".to_owned(),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            "\x16\x03\x01".to_owned(),
            UPGRADE.replace("accept: text/plain", "content-length: 4"),
            UPGRADE.replace("accept: text/plain", "transfer-encoding: chunked"),
            UPGRADE.replace("accept: text/plain", "host: b"),
            UPGRADE.replace("h2c", "websocket"),
            UPGRADE.replace("AAMAAABkAAQAAQAAAAIAAAAA", "AAM"),
            UPGRADE.replace("text/plain", &"x".repeat(LONGEST_HEAD)),
        ];
        for text in not {
            assert_eq!(first(text.as_bytes()), First::Other, "{text}");
        }
    }

    #[test]
    fn lengths_are_written_as_the_norm_has_them() {
        // RFC 7541, appendix C.1.2, with a 7-bit prefix: 1337 is 127 + 1210.
        for (n, bytes) in
            [(10, vec![10]), (126, vec![126]), (127, vec![127, 0]), (1337, vec![127, 0xba, 0x09])]
        {
            let mut block = Vec::new();
            length(&mut block, n);
            assert_eq!(block, bytes, "{n}");
        }
    }

    #[test]
    fn settings_are_waited_for_whole() {
        let settings = [PREFACE, &[0, 0, 6, 4, 0, 0, 0, 0, 0], &[0, 3, 0, 0, 0, 100], b"more"].concat();
        let whole = PREFACE.len() + 15;
        for end in 0..whole {
            assert_eq!(settings_end(&settings[..end]), None, "{end}");
            assert!(!wrong_preface(&settings[..end]), "{end}");
        }
        assert_eq!(settings_end(&settings), Some(whole));
        assert!(wrong_preface(b"GET / HTTP/1.1"));
    }

    #[tokio::test]
    async fn an_upgraded_request_is_the_first_stream_of_what_follows() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut client, site) = tokio::io::duplex(64);
        let caller = Caller::default();
        let mut site = Opening::new(site, caller.clone());
        let settings = [PREFACE, &[0, 0, 6, 4, 0, 0, 0, 0, 0], &[0, 3, 0, 0, 0, 100]].concat();
        let following = settings.clone();
        let asking = tokio::spawn(async move {
            client.write_all(format!("{DOOR_GREETING}cfd_abc\n{UPGRADE}").as_bytes()).await.unwrap();
            let mut answer = vec![0; SWITCHING.len()];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, SWITCHING, "nothing follows before it is granted");
            client.write_all(&[following.as_slice(), b"rest"].concat()).await.unwrap();
            client.shutdown().await.unwrap();
            client
        });
        let mut read = Vec::new();
        site.read_to_end(&mut read).await.unwrap();
        asking.await.unwrap();
        let frame = upgrade(UPGRADE.as_bytes()).unwrap();
        assert_eq!(read, [settings.as_slice(), &frame, b"rest"].concat());
        assert_eq!(&frame[3..9], [1, 5, 0, 0, 0, 1], "HEADERS, complete, stream 1");
        for text in [":path", "/r/cargo/config.json", "text/plain", "127.0.0.1:1"] {
            assert!(frame.windows(text.len()).any(|part| part == text.as_bytes()), "{text}");
        }
        assert!(!frame.windows(3).any(|part| part == b"h2c"), "what belongs to the connection ended with it");
        assert_eq!(caller.door().map(|t| t.expose().as_str()), Some("cfd_abc"));
    }
}

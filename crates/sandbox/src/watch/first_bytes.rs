//! What the first bytes of a connection claim: TLS and its server name, or HTTP and its host.
//!
//! The bytes are a stranger's. Nothing is believed beyond "this was claimed"; every length is
//! checked, nothing panics, and the work is bounded by [`MAX_LOOK`].

/// More than any client hello or request head of an honest client.
pub const MAX_LOOK: usize = 16 * 1024;
const MAX_HEAD: usize = 8 * 1024;
/// The longest name of the DNS, with room for a port.
const MAX_NAME: usize = 261;

/// What was claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The bytes begin a TLS handshake.
    pub tls: bool,
    /// The server name in its client hello.
    pub server_name: Option<String>,
    /// The `Host` of a plain HTTP request.
    pub http_host: Option<String>,
    /// The host in its request target, as proxies are asked.
    pub http_target: Option<String>,
}

/// Reads the claim in `bytes`; `false` when more bytes could tell more.
pub fn look(bytes: &[u8]) -> (Claim, bool) {
    match bytes.first() {
        None => (Claim::default(), false),
        Some(0x16) => tls(bytes),
        Some(first) if first.is_ascii_uppercase() => http(bytes),
        Some(_) => (Claim::default(), true),
    }
}

fn tls(bytes: &[u8]) -> (Claim, bool) {
    if bytes.get(1).is_some_and(|major| *major != 3) {
        return (Claim::default(), true);
    }
    let mut claim = Claim { tls: bytes.len() >= 6, ..Claim::default() };
    let full = bytes.len() >= MAX_LOOK;
    let (handshake, plain) = handshake(bytes);
    if handshake.first().is_some_and(|kind| *kind != 1) {
        return (Claim::default(), true);
    }
    let mut reader = Reader(&handshake);
    let Some(hello) = reader.bytes(1).and_then(|_| reader.sized(3)) else {
        return (claim, full || !plain);
    };
    claim.server_name = server_name(hello);
    (claim, true)
}

/// The handshake messages of the records at the start, and whether nothing else came in between.
fn handshake(bytes: &[u8]) -> (Vec<u8>, bool) {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some(kind) = rest.first() {
        if *kind != 0x16 {
            return (out, false);
        }
        let Some(length) = rest.get(3..5) else { break };
        let end = 5 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        out.extend(rest.get(5..end.min(rest.len())).unwrap_or_default());
        rest = rest.get(end..).unwrap_or_default();
    }
    (out, true)
}

/// RFC 8446 section 4.1.2 and RFC 6066 section 3.
fn server_name(hello: &[u8]) -> Option<String> {
    let mut reader = Reader(hello);
    reader.bytes(2 + 32)?; // version, random
    reader.sized(1)?; // session
    reader.sized(2)?; // cipher suites
    reader.sized(1)?; // compression
    let mut extensions = Reader(reader.sized(2)?);
    loop {
        let kind = extensions.bytes(2)?;
        let body = extensions.sized(2)?;
        if kind == [0, 0] {
            let mut names = Reader(body);
            let mut names = Reader(names.sized(2)?);
            let kind = names.bytes(1)?;
            return if kind == [0] { text(names.sized(2)?) } else { None };
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A field behind its length of `width` bytes.
    fn sized(&mut self, width: usize) -> Option<&'a [u8]> {
        let length = self.bytes(width)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.bytes(length)
    }
}

fn http(bytes: &[u8]) -> (Claim, bool) {
    let head = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let method = head.iter().position(|byte| !byte.is_ascii_uppercase());
    match method {
        Some(end) if end <= 20 && head.get(end) == Some(&b' ') => {}
        None if head.len() <= 20 => return (Claim::default(), false),
        _ => return (Claim::default(), true),
    }
    let complete = head.len() >= MAX_HEAD
        || head.windows(4).any(|end| end == b"\r\n\r\n")
        || head.windows(2).any(|end| end == b"\n\n");
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut claim = Claim { http_target: lines.next().and_then(target_host), ..Claim::default() };
    for line in lines {
        let line = line.trim_ascii();
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"host") {
            claim.http_host = text(value.get(1..).unwrap_or_default().trim_ascii());
            break;
        }
    }
    // A last line without its end may still grow, and with it the host.
    if !complete && claim.http_host.is_some() && !head.ends_with(b"\n") {
        return (claim, false);
    }
    let done = complete || claim.http_host.is_some();
    (claim, done)
}

/// The host of `CONNECT host:443` and of `GET http://host/path`.
fn target_host(line: &[u8]) -> Option<String> {
    let mut words = line.trim_ascii().split(|byte| *byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    if method == b"CONNECT" {
        return text(target);
    }
    let at = target.windows(3).position(|part| part == b"://")?;
    text(target.get(at + 3..)?.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next()?)
}

/// Printable ASCII of a sensible length, in lower case.
fn text(bytes: &[u8]) -> Option<String> {
    let fine = !bytes.is_empty() && bytes.len() <= MAX_NAME && bytes.iter().all(u8::is_ascii_graphic);
    fine.then(|| String::from_utf8_lossy(bytes).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sized(width: usize, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_be_bytes();
        [&length[4 - width..], body].concat()
    }

    fn hello(name: &str) -> Vec<u8> {
        let entry = [&[0][..], &sized(2, name.as_bytes())].concat();
        let extension = [&[0, 0][..], &sized(2, &sized(2, &entry))].concat();
        let other = [&[0, 43][..], &sized(2, &[2, 3, 4])].concat();
        let extensions = sized(2, &[other, extension].concat());
        let body =
            [&[3, 3][..], &[7; 32], &sized(1, &[1; 32]), &sized(2, &[19, 1]), &sized(1, &[0]), &extensions]
                .concat();
        [&[1][..], &sized(3, &body)].concat()
    }

    fn record(handshake: &[u8]) -> Vec<u8> {
        [&[0x16, 3, 1][..], &sized(2, handshake)].concat()
    }

    #[test]
    fn the_server_name_is_found_whole_or_in_pieces() {
        let whole = record(&hello("Files.Example.org"));
        let want = Claim { tls: true, server_name: Some("files.example.org".into()), ..Claim::default() };
        assert_eq!(look(&whole), (want.clone(), true));
        let hello = hello("Files.Example.org");
        let pieces = [record(&hello[..40]), record(&hello[40..])].concat();
        assert_eq!(look(&pieces), (want, true));
        for length in 0..whole.len() {
            let (claim, complete) = look(&whole[..length]);
            assert!(!complete && claim.server_name.is_none(), "{length}");
        }
    }

    #[test]
    fn the_host_of_a_plain_request_is_found() {
        let (claim, complete) = look(b"GET / HTTP/1.1\r\nAccept: */*\r\nHOST: Files.Example:8080\r\n\r\n");
        assert!(complete);
        assert_eq!((claim.tls, claim.http_host.as_deref()), (false, Some("files.example:8080")));
        let (claim, _) = look(b"GET http://files.example/a HTTP/1.1\r\nHost: other\r\n\r\n");
        assert_eq!(claim.http_target.as_deref(), Some("files.example"));
        let (claim, _) = look(b"CONNECT files.example:443 HTTP/1.1\r\n\r\n");
        assert_eq!(claim.http_target.as_deref(), Some("files.example:443"));
        assert!(!look(b"GET / HTTP/1.1\r\nHost: fil").1);
    }

    #[test]
    fn other_protocols_are_left_alone() {
        for bytes in [&b"SSH-2.0-x\r\n"[..], b"\x00\x01", b"git-upload", b"AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(look(bytes), (Claim::default(), true), "{bytes:?}");
        }
        assert_eq!(look(b"GET / HTTP/1.1\r\nHost: a\x07b\r\n\r\n").0.http_host, None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_no_harm(start in prop::sample::select(vec![0x16_u8, b'G', 0]), bytes: Vec<u8>) {
            let _ = look(&[&[start][..], &bytes].concat());
        }

        #[test]
        fn a_damaged_hello_does_no_harm(at in 0..150_usize, value: u8, length in 0..200_usize) {
            let mut bytes = record(&hello("files.example.org"));
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            bytes.truncate(length);
            let _ = look(&bytes);
        }
    }
}

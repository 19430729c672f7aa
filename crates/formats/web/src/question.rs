//! git's fetching: the one thing that is asked by `POST`, and when two such questions are the same.
//!
//! A question is a list of pkt-lines (gitprotocol-common(5)). Two clients that ask for the same differ in how
//! they call themselves: `agent=…` and `session-id=…` do not count (gitprotocol-capabilities(5)). What is asked
//! of upstream is never changed. Pure text work.

use cofferdam_format_kit::Request;
use cofferdam_types::{Error, Result, Sha256, Sha256Hasher};
use http::{Method, header};

/// The media type of a question to git's upload-pack (gitprotocol-http(5)).
pub const MEDIA_TYPE: &str = "application/x-git-upload-pack-request";

/// How the path of an address ends that takes one.
pub const SERVICE: &str = "/git-upload-pack";

/// Bytes of one at the most. It names what is wanted and what is there already: 4 MiB are 80,000 commits.
pub const MAX: u64 = 4 << 20;

/// Whether a request asks git's upload-pack something.
pub fn is_one(request: &Request) -> bool {
    let text = |name| request.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    request.method == Method::POST
        && request.path.ends_with(SERVICE)
        && request.raw_query.is_empty()
        && text(header::CONTENT_TYPE).eq_ignore_ascii_case(MEDIA_TYPE)
        && text(header::CONTENT_ENCODING).is_empty()
}

/// The number of a question: the same for all who ask for the same.
///
/// # Errors
/// `Invalid` (`bad-question`) for what are no pkt-lines.
pub fn number(body: &[u8]) -> Result<Sha256> {
    let mut hasher = Sha256Hasher::default();
    let mut rest = body;
    while !rest.is_empty() {
        let (head, after) = rest.split_at_checked(4).ok_or_else(bad)?;
        let len = str::from_utf8(head).ok().filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
        let len = len.and_then(|h| usize::from_str_radix(h, 16).ok()).ok_or_else(bad)?;
        // 0000 to 0002 end a list, a part of one, or the answer; there is no 0003.
        if len < 3 {
            hasher.update(head);
            rest = after;
            continue;
        }
        let (line, after) = len.checked_sub(4).and_then(|n| after.split_at_checked(n)).ok_or_else(bad)?;
        if let Some(line) = without_names(line) {
            hasher.update(format!("{:04x}", line.len() + 4).as_bytes());
            hasher.update(&line);
        }
        rest = after;
    }
    Ok(hasher.finish())
}

/// A line without what a client calls itself; none where it says nothing else.
fn without_names(line: &[u8]) -> Option<Vec<u8>> {
    let is_name = |word: &[u8]| word.starts_with(b"agent=") || word.starts_with(b"session-id=");
    if is_name(line) {
        return None;
    }
    if !line.starts_with(b"want ") {
        return Some(line.to_vec());
    }
    // Versions 0 and 1 have their capabilities behind the first want.
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let words: Vec<&[u8]> = text.split(|b| *b == b' ').filter(|word| !is_name(word)).collect();
    Some(words.join(&b' '))
}

fn bad() -> Error {
    Error::invalid("bad-question", "what was sent to git-upload-pack are no pkt-lines")
        .hint("fetch with git; nothing else can be asked here by POST")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<u8> {
        let one = |line: &&str| match line.len() {
            4 => (*line).to_owned(),
            len => format!("{:04x}{line}", len + 4),
        };
        lines.iter().map(one).collect::<String>().into_bytes()
    }

    #[test]
    fn two_clients_that_ask_for_the_same_have_one_number() {
        let second = |agent, id| {
            lines(&[
                "command=fetch",
                agent,
                id,
                "object-format=sha1",
                "0001",
                "want 1111\n",
                "done\n",
                "0000",
            ])
        };
        let one = number(&second("agent=git/2.39.5", "session-id=1")).unwrap();
        assert_eq!(one, number(&second("agent=git/2.51.0-Linux", "session-id=22")).unwrap());
        let first = |agent: &str| {
            let want = format!("want 1111 multi_ack side-band-64k {agent}\n");
            lines(&[&want, "want 2222\n", "0000", "done\n"])
        };
        let other = number(&first("agent=git/1.0 session-id=7")).unwrap();
        assert_eq!(other, number(&first("session-id=8 agent=git/2")).unwrap());
        assert_ne!(other, number(&first("thin-pack")).unwrap(), "what is asked for counts");
        assert_ne!(one, number(&lines(&["command=fetch", "0001", "want 2222\n", "0000"])).unwrap());
    }

    #[test]
    fn what_are_no_pkt_lines_is_refused() {
        for wrong in ["a=b", "00", "0003", "0005", "00zz", "+004", "0010short", "ffff"] {
            assert_eq!(number(wrong.as_bytes()).unwrap_err().code(), "bad-question", "{wrong}");
        }
        assert!(number(b"").is_ok() && number(b"0000").is_ok() && number(b"0004").is_ok());
    }
}

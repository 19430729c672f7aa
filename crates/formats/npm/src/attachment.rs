//! Takes the tarball out of a publish request while it streams.
//!
//! npm sends the tarball as base64 *inside* a JSON document. [`Scanner`] walks the JSON, decodes the
//! string at `_attachments.<file>.tgz.data` wherever it stands, and keeps everything else (bounded)
//! with an empty string in its place, to be parsed afterwards. It must never hold more than one
//! chunk of the tarball, and never decide whether the JSON is valid: `serde_json` does that with
//! what is kept, and on valid JSON both see the same structure.

use std::collections::VecDeque;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cofferdam_format_kit::{ByteStream, Door};
use cofferdam_types::{Digests, Error, ErrorKind, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::oneshot;

/// Bytes of a publish document beside its tarball, at the most.
pub const DOCUMENT_LIMIT: usize = 8 << 20;
/// Bytes of a tarball, at the most.
pub const TARBALL_LIMIT: u64 = 2 << 30;
/// Nesting of the JSON document, at the most; `serde_json` has the same limit.
const DEPTH_LIMIT: usize = 128;
/// What is fed at once: it bounds the events that wait.
const PIECE: usize = 64 << 10;

/// What the scanner found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The tarball's text begins; the attachment's name.
    Begin(String),
    /// Decoded bytes.
    Data(Bytes),
    /// The tarball's text has ended.
    End,
}

/// See the module's first lines.
#[derive(Default)]
pub struct Scanner {
    kept: Vec<u8>,
    /// The containers around the current place: `Some(key)` in an object, `None` in an array.
    stack: Vec<Option<String>>,
    /// In an object, before the colon: the next string is a key.
    at_key: bool,
    string: Option<Text>,
    found: bool,
}

/// The string that is being read.
enum Text {
    /// A key; its raw text begins here in `kept`.
    Key {
        start: usize,
        escaped: bool,
    },
    Value {
        escaped: bool,
    },
    Data(Base64),
}

impl Scanner {
    /// Takes the next bytes of the document.
    ///
    /// # Errors
    /// `Invalid` for base64 that is none or a second tarball; `TooLarge` past [`DOCUMENT_LIMIT`].
    pub fn feed(&mut self, mut bytes: &[u8], events: &mut VecDeque<Event>) -> Result<()> {
        while let Some((&first, rest)) = bytes.split_first() {
            if let Some(Text::Data(base64)) = &mut self.string {
                let taken = base64.take(bytes, events)?;
                bytes = &bytes[taken..];
                if base64.ended {
                    events.push_back(Event::End);
                    self.string = None;
                    self.kept.push(b'"');
                }
            } else {
                bytes = rest;
                self.keep(first)?;
                self.step(first, events)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, byte: u8) -> Result<()> {
        if self.kept.len() >= DOCUMENT_LIMIT {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "publish-document-too-large",
                format!("the publish request has more than {DOCUMENT_LIMIT} bytes beside its tarball"),
            ));
        }
        self.kept.push(byte);
        Ok(())
    }

    fn step(&mut self, byte: u8, events: &mut VecDeque<Event>) -> Result<()> {
        match &mut self.string {
            Some(Text::Key { escaped, .. } | Text::Value { escaped }) if *escaped => *escaped = false,
            Some(Text::Key { escaped, .. } | Text::Value { escaped }) if byte == b'\\' => *escaped = true,
            Some(Text::Key { start, .. }) if byte == b'"' => {
                let key = serde_json::from_slice(&self.kept[*start..]).unwrap_or_default();
                if let Some(place) = self.stack.last_mut() {
                    *place = Some(key);
                }
                self.string = None;
            }
            Some(Text::Value { .. }) if byte == b'"' => self.string = None,
            Some(_) => {}
            None => return self.structure(byte, events),
        }
        Ok(())
    }

    fn structure(&mut self, byte: u8, events: &mut VecDeque<Event>) -> Result<()> {
        match byte {
            b'{' | b'[' => {
                if self.stack.len() >= DEPTH_LIMIT {
                    let text = format!("the publish request nests deeper than {DEPTH_LIMIT} levels");
                    return Err(Error::invalid("publish-document", text));
                }
                self.stack.push((byte == b'{').then(String::new));
                self.at_key = byte == b'{';
            }
            b'}' | b']' => {
                self.stack.pop();
                self.at_key = false;
            }
            b':' => self.at_key = false,
            b',' => self.at_key = matches!(self.stack.last(), Some(Some(_))),
            b'"' if self.at_key => {
                self.string = Some(Text::Key { start: self.kept.len() - 1, escaped: false });
            }
            b'"' => self.begin_value(events)?,
            _ => {}
        }
        Ok(())
    }

    fn begin_value(&mut self, events: &mut VecDeque<Event>) -> Result<()> {
        let Some(file) = self.tarball_here() else {
            self.string = Some(Text::Value { escaped: false });
            return Ok(());
        };
        if self.found {
            return Err(Error::invalid("attachments", "the publish request holds more than one tarball"));
        }
        self.found = true;
        events.push_back(Event::Begin(file));
        self.string = Some(Text::Data(Base64::default()));
        Ok(())
    }

    fn tarball_here(&self) -> Option<String> {
        let [Some(root), Some(file), Some(field)] = self.stack.as_slice() else { return None };
        let wanted = root == "_attachments" && field == "data" && file.ends_with(".tgz");
        wanted.then(|| file.clone())
    }

    /// The document without the tarball.
    ///
    /// # Errors
    /// `Invalid` (`body-truncated`) when it ended inside a string or a container.
    pub fn finish(self) -> Result<Vec<u8>> {
        if self.string.is_some() || !self.stack.is_empty() || self.kept.is_empty() {
            return Err(truncated());
        }
        Ok(self.kept)
    }
}

fn truncated() -> Error {
    Error::invalid("body-truncated", "the publish request ends before its JSON document does")
        .hint("publish again; nothing of this upload was kept")
}

/// Base64 inside a JSON string, decoded piece by piece.
#[derive(Default)]
struct Base64 {
    /// Characters that do not fill a group of four yet.
    carry: Vec<u8>,
    /// An escape sequence that is not complete yet, from its backslash on.
    escape: Vec<u8>,
    padded: bool,
    ended: bool,
}

impl Base64 {
    /// Takes bytes up to the closing quote and returns how many.
    fn take(&mut self, bytes: &[u8], events: &mut VecDeque<Event>) -> Result<usize> {
        let mut taken = 0;
        while taken < bytes.len() && !self.ended {
            let rest = &bytes[taken..];
            if !self.escape.is_empty() {
                self.unescape(rest[0])?;
                taken += 1;
                continue;
            }
            let run = rest.iter().position(|b| matches!(b, b'"' | b'\\')).unwrap_or(rest.len());
            self.carry.extend_from_slice(&rest[..run]);
            taken += run;
            match rest.get(run) {
                Some(b'"') => self.ended = true,
                Some(_) => self.escape.push(b'\\'),
                None => break,
            }
            taken += 1;
        }
        self.decode(events)?;
        Ok(taken)
    }

    fn unescape(&mut self, byte: u8) -> Result<()> {
        self.escape.push(byte);
        let complete = if self.escape[1] == b'u' { self.escape.len() == 6 } else { true };
        if complete {
            let quoted = [b"\"", self.escape.as_slice(), b"\""].concat();
            let text: String = serde_json::from_slice(&quoted).map_err(|_| not_base64())?;
            self.carry.extend_from_slice(text.as_bytes());
            self.escape.clear();
        }
        Ok(())
    }

    fn decode(&mut self, events: &mut VecDeque<Event>) -> Result<()> {
        let whole = self.carry.len() / 4 * 4;
        if whole > 0 {
            if self.padded {
                return Err(not_base64());
            }
            let bytes = STANDARD.decode(&self.carry[..whole]).map_err(|_| not_base64())?;
            self.padded = self.carry[whole - 1] == b'=';
            self.carry.drain(..whole);
            events.push_back(Event::Data(bytes.into()));
        }
        if self.ended && !self.carry.is_empty() {
            return Err(not_base64());
        }
        Ok(())
    }
}

fn not_base64() -> Error {
    Error::invalid("attachment-base64", "the tarball in the publish request is not valid base64")
}

/// A request body with the scanner over it.
struct Reader {
    body: ByteStream,
    piece: Bytes,
    scanner: Scanner,
    events: VecDeque<Event>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.piece.is_empty() {
                match self.body.try_next().await? {
                    Some(chunk) => self.piece = chunk,
                    None => return Ok(None),
                }
            }
            let now = self.piece.split_to(self.piece.len().min(PIECE));
            self.scanner.feed(&now, &mut self.events)?;
        }
    }
}

/// A publish request taken apart.
pub struct Parts {
    /// The JSON document with an empty string for the tarball's data.
    pub document: Vec<u8>,
    /// The tarball's attachment name and its digests, now behind the door.
    pub tarball: Option<(String, Digests)>,
}

/// Reads a publish request to its end; its tarball goes through the door as it comes.
///
/// # Errors
/// Those of [`Scanner`], of the body and of the door.
pub async fn read(body: ByteStream, door: &dyn Door) -> Result<Parts> {
    let (piece, scanner, events) = (Bytes::new(), Scanner::default(), VecDeque::new());
    let mut reader = Reader { body, piece, scanner, events };
    let mut tarball = None;
    while let Some(event) = reader.next().await? {
        if let Event::Begin(name) = event {
            let (back, returned) = oneshot::channel();
            let digests = door.put(tarball_stream(reader, back), TARBALL_LIMIT).await?;
            tarball = Some((name, digests));
            // The door has read to the end of the stream, which sent the reader back just before.
            reader = returned.await.map_err(|_| truncated())?;
        }
    }
    Ok(Parts { document: reader.scanner.finish()?, tarball })
}

/// The decoded tarball as a stream that gives the reader back when the tarball has ended.
fn tarball_stream(reader: Reader, back: oneshot::Sender<Reader>) -> ByteStream {
    futures::stream::try_unfold(Some((reader, back)), async |state| {
        let Some((mut reader, back)) = state else { return Ok(None) };
        match reader.next().await? {
            Some(Event::Data(bytes)) => Ok(Some((bytes, Some((reader, back))))),
            Some(Event::End) => {
                // Nobody waits when the request was given up meanwhile.
                let _ = back.send(reader);
                Ok(None)
            }
            Some(Event::Begin(_)) | None => Err(truncated()),
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds the text in these pieces; returns the name, the tarball and the rest.
    fn scan(pieces: &[&[u8]]) -> Result<(Option<String>, Vec<u8>, Vec<u8>)> {
        let (mut scanner, mut events) = (Scanner::default(), VecDeque::new());
        for piece in pieces {
            scanner.feed(piece, &mut events)?;
        }
        let (mut name, mut data) = (None, Vec::new());
        for event in events {
            match event {
                Event::Begin(file) => name = Some(file),
                Event::Data(bytes) => data.extend_from_slice(&bytes),
                Event::End => {}
            }
        }
        Ok((name, data, scanner.finish()?))
    }

    const TEXT: &str = r#"{"readme":"\"_attachments\":{\"a.tgz\":{\"data\":\"", "_attachments" : {"@s/a\u002d1.tgz":
        {"n":[{"data":"QUJD"}],"data" : "aGVs\/bG8\u002bdw\u003D" , "length":3}},
        "data":"QUJD","x":{"_attachments":{"a.tgz":{"data":"QUJD"}}}}"#;

    #[test]
    fn only_the_tarball_is_taken_out_and_escapes_are_read() {
        let (name, data, rest) = scan(&[TEXT.as_bytes()]).unwrap();
        assert_eq!(name.as_deref(), Some("@s/a-1.tgz"));
        assert_eq!(data, STANDARD.decode("aGVs/bG8+dw=").unwrap());
        let rest: serde_json::Value = serde_json::from_slice(&rest).unwrap();
        let mut whole: serde_json::Value = serde_json::from_str(TEXT).unwrap();
        whole["_attachments"]["@s/a-1.tgz"]["data"] = "".into();
        assert_eq!(rest, whole, "the rest is the document with an empty string for the tarball");
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same(mut cuts in prop::collection::vec(0..TEXT.len(), 0..20)) {
            cuts.extend([0, TEXT.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &TEXT.as_bytes()[w[0]..w[1]]).collect();
            prop_assert_eq!(scan(&pieces).unwrap(), scan(&[TEXT.as_bytes()]).unwrap());
        }

        #[test]
        fn any_bytes_come_back_however_they_are_cut(
            bytes in prop::collection::vec(any::<u8>(), 0..600), size in 1usize..80,
        ) {
            let data = STANDARD.encode(&bytes).replace('/', "\\/");
            let text = format!("{{\"_attachments\":{{\"a.tgz\":{{\"data\":\"{data}\"}}}}}}");
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            prop_assert_eq!(scan(&pieces).unwrap().1, bytes);
        }

        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = scan(&[&bytes]);
            let _ = scan(&[br#"{"_attachments":{"a.tgz":{"data":""#, &bytes]);
        }
    }

    #[test]
    fn every_single_cut_gives_the_same() {
        let whole = scan(&[TEXT.as_bytes()]).unwrap();
        for cut in 0..=TEXT.len() {
            let (left, right) = TEXT.as_bytes().split_at(cut);
            assert_eq!(scan(&[left, right]).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn base64_that_is_none_is_refused() {
        for data in ["A", "AAA", "AA=A", "AA==AAAA", "AAA*", "AA A", "AB==", "\\n", "A\\u00e9A", "\\q"] {
            let text = format!("{{\"_attachments\":{{\"a.tgz\":{{\"data\":\"{data}\"}}}}}}");
            for size in [1, 1000] {
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                assert_eq!(scan(&pieces).unwrap_err().code(), "attachment-base64", "{data}");
            }
        }
    }
}

//! DEFLATE encoders that repeat, bit for bit, what the packaging tools of the field wrote.
//!
//! A compressed stream does not say how it was made, but most packages are made by two encoders:
//! zlib as `zipfile` and old build tools call it, and the zlib of Node, which finds matches with
//! another hash. Both are here in Rust that cannot touch memory it does not own, and both are ours:
//! an update of a dependency must never change what a recipe from last year rebuilds. A change of
//! a single output bit needs a new [`Encoder`] with a new name.
//!
//! Never to be used to make archives: other encoders are faster.

mod huffman;
mod matcher;

use cofferdam_types::{Error, Result};

pub(crate) use matcher::Deflate as Running;

/// Where the bits of an encoder go. It may refuse, which ends the encoding.
pub(crate) trait Sink {
    /// Takes the next bytes of the stream.
    fn take(&mut self, bytes: &[u8]) -> Result<()>;
    /// Is charged for work that the encoder did; see [`crate::Limits::work`].
    fn work(&mut self, units: u64) -> Result<()>;
}

/// How matches are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    /// Three bytes, shifted and combined: zlib.
    Three,
    /// Four bytes, multiplied: the zlib of Chromium, hence Node.
    Four,
}

/// One encoder with its parameters. Its name in a recipe pins its output for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoder {
    hash: Hash,
    /// 1 to 9.
    level: u8,
    /// zlib's `memLevel`, 8 or 9: decides how many symbols a block has.
    memory: u8,
}

/// Bytes that an encoder holds while it runs, rounded up.
pub(crate) const ENCODER_MEMORY: u64 = 1 << 20;

impl Encoder {
    /// Every encoder worth trying, the most frequent first.
    pub(crate) fn candidates() -> impl Iterator<Item = Self> {
        let zlib = |level, memory| Self { hash: Hash::Three, level, memory };
        let node = |level, memory| Self { hash: Hash::Four, level, memory };
        let common = [zlib(6, 8), node(9, 8), zlib(9, 8), node(6, 8), zlib(9, 9), zlib(6, 9), node(9, 9)];
        let rest = [5, 7, 8, 4, 1, 3, 2].into_iter().map(move |level| zlib(level, 8));
        common.into_iter().chain(rest)
    }

    /// The name in a recipe, such as `zlib-6-8` or `node-9-8`.
    pub(crate) fn name(self) -> String {
        let family = match self.hash {
            Hash::Three => "zlib",
            Hash::Four => "node",
        };
        format!("{family}-{}-{}", self.level, self.memory)
    }

    /// The encoder of a name.
    ///
    /// # Errors
    /// `recipe-unknown-encoder` when this version has no such encoder.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let known = || {
            let mut parts = name.split('-');
            let hash = match parts.next()? {
                "zlib" => Hash::Three,
                "node" => Hash::Four,
                _ => return None,
            };
            let level = parts.next()?.parse().ok().filter(|level| (1..=9).contains(level))?;
            let memory = parts.next()?.parse().ok().filter(|memory| (8..=9).contains(memory))?;
            Some(Self { hash, level, memory })
        };
        // Comparing the name again refuses other spellings such as `zlib-06-8`.
        known().filter(|encoder| encoder.name() == name).ok_or_else(|| {
            Error::invalid(
                "recipe-unknown-encoder",
                "the recipe needs a DEFLATE encoder that is not known here",
            )
            .hint("import with the version of the site that made the transfer, or a newer one")
        })
    }

    /// Starts a raw DEFLATE stream.
    pub(crate) fn start<S: Sink>(self, sink: S) -> matcher::Deflate<S> {
        matcher::Deflate::new(self.hash, self.level, self.memory, sink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Collect(Vec<u8>, u64);

    impl Sink for &mut Collect {
        fn take(&mut self, bytes: &[u8]) -> Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn work(&mut self, units: u64) -> Result<()> {
            self.1 += units;
            Ok(())
        }
    }

    fn encode(encoder: Encoder, plain: &[u8], step: usize) -> Vec<u8> {
        let mut out = Collect::default();
        let mut deflate = encoder.start(&mut out);
        for chunk in plain.chunks(step) {
            deflate.write(chunk).unwrap();
        }
        deflate.finish().unwrap();
        out.0
    }

    fn words(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut text = Vec::new();
        while text.len() < len {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let word = state >> 22;
            text.extend_from_slice(format!("word{word} ").as_bytes());
            if state.is_multiple_of(97) {
                text.extend((0..40).map(|i| (state >> (i % 24)) as u8));
            }
        }
        text.truncate(len);
        text
    }

    #[test]
    fn every_encoder_writes_a_stream_that_inflates_to_its_input() {
        use std::io::Read as _;
        let noise: Vec<u8> = (0..70_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for plain in [Vec::new(), b"a".to_vec(), vec![0; 200_000], words(300_000), noise] {
            for encoder in Encoder::candidates() {
                let stream = encode(encoder, &plain, 90_000);
                assert_eq!(stream, encode(encoder, &plain, 777), "chunks do not matter: {}", encoder.name());
                let mut back = Vec::new();
                flate2::read::DeflateDecoder::new(&stream[..]).read_to_end(&mut back).unwrap();
                assert!(back == plain, "{} of {} bytes", encoder.name(), plain.len());
            }
        }
    }

    #[test]
    fn a_name_is_read_back_and_an_unknown_one_refused() {
        for encoder in Encoder::candidates() {
            assert_eq!(Encoder::named(&encoder.name()).unwrap(), encoder);
        }
        for name in ["", "zlib", "zlib-06-8", "zlib-6-8-1", "zlib-10-8", "zlib-6-7", "zopfli-6-8"] {
            assert_eq!(Encoder::named(name).unwrap_err().code(), "recipe-unknown-encoder", "{name}");
        }
    }
}

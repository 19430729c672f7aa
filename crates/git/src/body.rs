//! Request bodies: undo gzip, and bound what comes out.
//!
//! Git clients compress what they ask for (gitprotocol-http(5) allows any `Content-Encoding` the
//! server understands; git itself sends gzip above one kilobyte).

use std::io::Write as _;

use bytes::Bytes;
use cofferdam_types::{Error, ErrorKind, Result};
use flate2::write::GzDecoder;
use futures::{Stream, StreamExt as _};

use crate::ByteStream;

/// Compressed bytes that are expanded at a time: deflate makes at most 1,032 bytes of one, so that
/// a malicious body costs 4 MiB of memory.
const SLICE: usize = 4 << 10;

/// The plain body, an error above `max` bytes.
pub(crate) fn plain(body: ByteStream, gzip: bool, max: u64) -> ByteStream {
    if gzip { Box::pin(bounded(gunzip(body), max)) } else { Box::pin(bounded(body, max)) }
}

fn bounded(
    body: impl Stream<Item = Result<Bytes>> + Send,
    max: u64,
) -> impl Stream<Item = Result<Bytes>> + Send {
    let mut left = max;
    body.map(move |chunk| {
        let chunk = chunk?;
        left = left.checked_sub(chunk.len() as u64).ok_or_else(|| {
            Error::new(
                ErrorKind::TooLarge,
                "git-too-large",
                format!("more than the {max} bytes that are taken were sent"),
            )
        })?;
        Ok(chunk)
    })
}

struct Gunzip {
    body: ByteStream,
    decoder: Option<GzDecoder<Vec<u8>>>,
    /// What has come and is not expanded yet.
    waiting: Bytes,
}

fn gunzip(body: ByteStream) -> impl Stream<Item = Result<Bytes>> + Send {
    let state = Gunzip { body, decoder: Some(GzDecoder::new(Vec::new())), waiting: Bytes::new() };
    futures::stream::try_unfold(state, |mut state| async move {
        Ok(state.next().await?.map(|chunk| (chunk, state)))
    })
}

impl Gunzip {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(decoder) = self.decoder.as_mut() else { return Ok(None) };
            if self.waiting.is_empty() {
                match self.body.next().await {
                    Some(chunk) => self.waiting = chunk?,
                    None => {
                        let rest = self.decoder.take().map(GzDecoder::finish).transpose().map_err(broken)?;
                        return Ok(rest.filter(|rest| !rest.is_empty()).map(Bytes::from));
                    }
                }
            }
            let slice = self.waiting.split_to(self.waiting.len().min(SLICE));
            decoder.write_all(&slice).map_err(broken)?;
            if !decoder.get_ref().is_empty() {
                return Ok(Some(Bytes::from(std::mem::take(decoder.get_mut()))));
            }
        }
    }
}

fn broken(cause: std::io::Error) -> Error {
    Error::invalid("bad-gzip", "the request's gzip body is broken").with_source(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory")
    }

    async fn read(data: Vec<u8>, step: usize, gzip: bool, max: u64) -> Result<Vec<u8>> {
        let chunks: Vec<_> = data.chunks(step).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        let mut body = plain(Box::pin(futures::stream::iter(chunks)), gzip, max);
        let mut out = Vec::new();
        while let Some(chunk) = body.next().await {
            out.extend_from_slice(&chunk?);
        }
        Ok(out)
    }

    #[tokio::test]
    async fn a_compressed_body_is_the_same_in_any_pieces() {
        let data: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for step in [1, 7, 5000, usize::MAX >> 1] {
            let got = read(packed(&data), step, true, 1 << 20).await.expect("sound");
            assert!(got == data, "pieces of {step}");
        }
    }

    #[tokio::test]
    async fn a_bomb_a_stump_and_garbage_are_errors() {
        let zeros = packed(&vec![0; 50 << 20]);
        let error = read(zeros.clone(), 1 << 20, true, 1 << 20).await.expect_err("a bomb");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(read(zeros[..zeros.len() - 9].to_vec(), 512, true, 1 << 30).await.is_err(), "cut short");
        assert!(read(b"0000".to_vec(), 4, true, 1 << 20).await.is_err(), "not gzip");
        assert!(read(vec![1; 100], 10, false, 99).await.is_err(), "too long");
        assert_eq!(read(vec![1; 100], 10, false, 100).await.expect("just fits").len(), 100);
    }
}

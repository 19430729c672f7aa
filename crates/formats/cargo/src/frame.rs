//! The body of a publish: a length, JSON, a length, a crate; lengths are 32-bit little-endian
//! (The Cargo Book, "Registry Web API", Publish). Only the JSON is ever held in memory.

use bytes::{Buf as _, Bytes, BytesMut};
use cofferdam_format_kit::ByteStream;
use cofferdam_types::{Error, ErrorKind, Result};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::inspect::MAX_CRATE;

/// Bytes of the JSON at the most.
const MAX_JSON: usize = 1 << 20;

/// Splits a body into its JSON and a stream of exactly the crate's bytes. The stream fails when
/// the body ends early or does not end where it said.
///
/// # Errors
/// `Invalid` (`publish-frame`) for a truncated body, `TooLarge` past the bounds.
pub async fn split(body: ByteStream) -> Result<(Bytes, ByteStream)> {
    let mut reader = Reader { body, held: BytesMut::new() };
    let json_size = reader.length().await?;
    if json_size > MAX_JSON {
        return Err(too_large(format!("the crate's metadata is larger than {MAX_JSON} bytes")));
    }
    let json = reader.take(json_size).await?;
    let crate_size = reader.length().await? as u64;
    if crate_size > MAX_CRATE {
        return Err(too_large(format!("the crate has {crate_size} bytes; {MAX_CRATE} are allowed")));
    }
    let rest = futures::stream::try_unfold((reader, crate_size), |(mut reader, left)| async move {
        match reader.chunk().await? {
            None if left == 0 => Ok(None),
            None => Err(truncated()),
            Some(chunk) if chunk.len() as u64 > left => {
                Err(Error::invalid("publish-frame", "the upload goes on after the crate's end"))
            }
            Some(chunk) => {
                let left = left - chunk.len() as u64;
                Ok(Some((chunk, (reader, left))))
            }
        }
    });
    Ok((json, rest.boxed()))
}

struct Reader {
    body: ByteStream,
    held: BytesMut,
}

impl Reader {
    async fn length(&mut self) -> Result<usize> {
        let size = self.take(4).await?.get_u32_le();
        usize::try_from(size).map_err(|_| too_large("the upload is too large".into()))
    }

    async fn take(&mut self, size: usize) -> Result<Bytes> {
        while self.held.len() < size {
            let chunk = self.body.try_next().await?.ok_or_else(truncated)?;
            self.held.extend_from_slice(&chunk);
        }
        Ok(self.held.split_to(size).freeze())
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if self.held.is_empty() {
            return self.body.try_next().await;
        }
        Ok(Some(self.held.split().freeze()))
    }
}

fn truncated() -> Error {
    Error::invalid("publish-frame", "the upload ends before the crate does").hint("publish it again")
}

fn too_large(text: String) -> Error {
    Error::new(ErrorKind::TooLarge, "upload-too-large", text)
}

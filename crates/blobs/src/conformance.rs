//! What every place of storage must do. Each implementation's tests call [`check`].

use bytes::Bytes;
use cofferdam_types::{Error, ErrorKind, Sha256};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::{Blobs, ByteStream};

/// A body from chunks.
#[must_use]
pub fn body(chunks: &[&[u8]]) -> ByteStream {
    let chunks: Vec<_> = chunks.iter().map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    futures::stream::iter(chunks).boxed()
}

async fn read(blobs: &dyn Blobs, sha256: &Sha256, range: Option<std::ops::Range<u64>>) -> Vec<u8> {
    let stream = blobs.read(sha256, range).await.expect("the blob is there");
    stream.try_collect::<Vec<_>>().await.expect("the blob reads").concat()
}

/// Runs the whole contract on an empty store.
///
/// # Panics
/// When the store breaks a rule; the message names the rule.
pub async fn check(blobs: &dyn Blobs) {
    let digests = blobs.put(body(&[b"hello ", b"", b"world"]), 100).await.expect("a body is stored");
    assert_eq!(digests.sha256, Sha256::of(b"hello world"), "the name is the digest");
    assert_eq!((digests.size, digests.md5.as_str()), (11, "5eb63bbbe01eeed093cb22bb8f5acdc3"));
    let again = blobs.put(body(&[b"hello world"]), 100).await.expect("the same bytes again");
    assert_eq!(again, digests, "the same bytes have the same digests");
    assert_eq!(read(blobs, &digests.sha256, None).await, b"hello world");
    assert_eq!(read(blobs, &digests.sha256, Some(6..11)).await, b"world", "a range");
    assert_eq!(read(blobs, &digests.sha256, Some(6..99)).await, b"world", "a range past the end");
    assert!(blobs.verify(&digests.sha256).await.expect("it can be verified"));

    let empty = blobs.put(body(&[]), 0).await.expect("an empty body is a blob");
    assert_eq!(read(blobs, &empty.sha256, None).await, b"");

    let absent = Sha256::of(b"absent");
    assert_eq!(blobs.size(&absent).await.expect("asking works"), None);
    assert_eq!(blobs.read(&absent, None).await.err().map(|e| e.kind()), Some(ErrorKind::NotFound));
    assert_eq!(blobs.file(&absent).await.err().map(|e| e.kind()), Some(ErrorKind::NotFound));
    assert!(!blobs.delete(&absent).await.expect("removing nothing works"));

    let refused = blobs.put(body(&[b"12345", b"678"]), 7).await.expect_err("the limit holds");
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    assert_eq!(blobs.size(&Sha256::of(b"12345678")).await.expect("asking works"), None, "nothing is kept");
    let broken =
        futures::stream::iter([Ok(Bytes::from_static(b"half")), Err(Error::invalid("cut", "cut off"))]);
    let refused = blobs.put(broken.boxed(), 100).await.expect_err("a broken body is refused");
    assert_eq!(refused.code(), "cut", "the stream's own error is the answer");
    assert_eq!(blobs.size(&Sha256::of(b"half")).await.expect("asking works"), None, "nothing is kept");

    let mut all = vec![digests.sha256, empty.sha256];
    all.sort_unstable();
    assert_eq!(blobs.list(None, 10).await.expect("listing works"), all);
    assert_eq!(blobs.list(Some(all[0]), 10).await.expect("listing works"), all[1..]);
    assert!(blobs.delete(&empty.sha256).await.expect("removing works"));
    assert_eq!(blobs.size(&empty.sha256).await.expect("asking works"), None);

    let staged = blobs.stage(body(&[b"sta", b"ged"]), 100).await.expect("a body is staged");
    let name = staged.digests().sha256;
    assert_eq!(name, Sha256::of(b"staged"), "its name is the digest");
    assert_eq!(read(blobs, &name, None).await, b"staged", "it can be read before it is kept");
    assert_eq!(blobs.size(&name).await.expect("asking works"), Some(6));
    let twice = blobs.stage(body(&[b"staged"]), 100).await.expect("the same bytes are staged twice");
    drop(staged);
    assert_eq!(read(blobs, &name, None).await, b"staged", "the other one is still there");
    drop(twice);
    assert_eq!(blobs.size(&name).await.expect("asking works"), None, "what was not kept was never there");
    let mut many = Vec::new();
    for n in 0..20u8 {
        many.push(blobs.stage(body(&[&[n / 2]]), 1).await.expect("a body is staged"));
    }
    blobs.keep(many).await.expect("many are kept together, some of them twice");
    for n in 0..10u8 {
        assert_eq!(read(blobs, &Sha256::of(&[n]), None).await, [n], "kept");
    }
    assert_eq!(blobs.list(None, 100).await.expect("listing works").len(), 11, "each once");
    blobs.keep(Vec::new()).await.expect("nothing is kept");
}

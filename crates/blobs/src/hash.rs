//! Every digest that some ecosystem asks for, in one pass over the bytes.

use blake2::{Blake2b, digest::consts::U32};
use cofferdam_types::{Digests, Sha256};
use sha2::Digest as _;

/// Computes all of [`Digests`] over a stream.
#[derive(Default)]
pub struct MultiHasher {
    sha256: sha2::Sha256,
    sha512: sha2::Sha512,
    sha1: sha1::Sha1,
    md5: md5::Md5,
    blake2b: Blake2b<U32>,
    size: u64,
}

impl MultiHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sha512.update(bytes);
        self.sha1.update(bytes);
        self.md5.update(bytes);
        self.blake2b.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// How many bytes were taken.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digests of everything taken.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests {
            sha256: Sha256(self.sha256.finalize().into()),
            size: self.size,
            sha512: hex::encode(self.sha512.finalize()),
            sha1: hex::encode(self.sha1.finalize()),
            md5: hex::encode(self.md5.finalize()),
            blake2b_256: hex::encode(self.blake2b.finalize()),
        }
    }
}

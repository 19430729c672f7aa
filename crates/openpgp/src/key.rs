//! Keys of version 4 (RFC 9580, section 5.5.2): read, numbered. Must never hold a secret key.

use crate::{
    crypto::{Public, sha1},
    packet::Reader,
};

/// Bytes of a key at the most.
const MOST_KEY: usize = 4096;

/// The curves, by object identifier (section 9.2).
const ED25519: &[u8] = &[0x2B, 0x06, 0x01, 0x04, 0x01, 0xDA, 0x47, 0x0F, 0x01];
const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x22];

/// A key's fingerprint.
pub type Fingerprint = [u8; 20];

/// A key.
#[derive(Clone, Debug)]
pub struct Key {
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// What verifies.
    pub public: Public,
    /// Its number.
    pub fingerprint: Fingerprint,
    /// The packet's bytes.
    pub body: Vec<u8>,
}

impl Key {
    /// Reads the body of a key's packet; none when it is not of version 4 or not whole.
    pub fn read(body: &[u8]) -> Option<Self> {
        if body.len() > MOST_KEY {
            return None;
        }
        let mut input = Reader(body);
        if input.byte()? != 4 {
            return None;
        }
        let made = u64::from(input.u32()?);
        let public = match input.byte()? {
            1 | 3 => Public::Rsa(input.mpi()?.to_vec(), input.mpi()?.to_vec()),
            19 => ecdsa(&mut input)?,
            22 => eddsa(&mut input)?,
            27 => Public::Ed25519(input.take(32)?.try_into().ok()?),
            17 => Public::Other("DSA is not known here".into()),
            other => Public::Other(format!("its algorithm (number {other}) is not known here")),
        };
        Some(Self { made, public, fingerprint: sha1(&framed(body)), body: body.to_vec() })
    }

    /// The last eight bytes of the fingerprint.
    pub fn id(&self) -> [u8; 8] {
        self.fingerprint.last_chunk().copied().unwrap_or_default()
    }

    /// As it stands at the beginning of what is signed about it (section 5.2.4).
    pub fn framed(&self) -> Vec<u8> {
        framed(&self.body)
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x99];
    out.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn curve<'a>(input: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = input.byte()?;
    input.take(usize::from(length))
}

fn ecdsa(input: &mut Reader<'_>) -> Option<Public> {
    let curve = curve(input)?;
    let point = input.mpi()?.to_vec();
    Some(match curve {
        P256 => Public::P256(point),
        P384 => Public::P384(point),
        _ => Public::Other("its curve is not known here".into()),
    })
}

fn eddsa(input: &mut Reader<'_>) -> Option<Public> {
    let curve = curve(input)?;
    let point = input.mpi()?;
    if curve != ED25519 {
        return Some(Public::Other("its curve is not known here".into()));
    }
    // The native form of the point, marked by one byte (section 11.2.1).
    let point = point.strip_prefix(&[0x40])?;
    Some(Public::Ed25519(point.try_into().ok()?))
}

//! Signatures of version 4 (RFC 9580, section 5.2.3): read, and what they are made over.
//!
//! A signature that is weak, or that demands what is not known here, is read as such and never counts.

use crate::{
    crypto::{Hash, Numbers, Public, Seen, check},
    key::{Fingerprint, Key},
    packet::Reader,
};

/// Bytes of a signature at the most.
const MOST_BYTES: usize = 64 << 10;
/// Subpackets of a signature at the most.
const MOST_SUBPACKETS: usize = 256;
/// Subpackets that may be critical: those that are read here, and those that change nothing about who signed
/// (section 5.2.3.7): preferences, features, policy addresses, reasons, who is meant.
const KNOWN: &[u8] = &[2, 3, 4, 7, 9, 11, 12, 16, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 32, 33, 34, 35, 39];

/// Kinds of signatures (section 5.2.1).
pub mod kind {
    /// Over bytes.
    pub const BINARY: u8 = 0x00;
    /// Over a text, whose line ends do not matter.
    pub const TEXT: u8 = 0x01;
    /// Certifications of a user id, from the one that says nothing to the positive one.
    pub const CERTIFICATIONS: std::ops::RangeInclusive<u8> = 0x10..=0x13;
    /// A primary key's over its subkey.
    pub const SUBKEY: u8 = 0x18;
    /// A signing subkey's over its primary key.
    pub const BACK: u8 = 0x19;
    /// A primary key's over itself.
    pub const DIRECT: u8 = 0x1F;
    /// A primary key's revocation.
    pub const REVOKES_KEY: u8 = 0x20;
    /// A subkey's.
    pub const REVOKES_SUBKEY: u8 = 0x28;
}

/// What a signature says of itself, in the part that is signed too.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// When it was made, in seconds since 1970.
    pub made: Option<u64>,
    /// Seconds after which it expires.
    pub expires_after: Option<u64>,
    /// Seconds after which the key expires that it is about.
    pub key_expires_after: Option<u64>,
    /// What the key may be used for.
    pub key_flags: Option<u8>,
    /// Why a key is revoked.
    pub reason: Option<u8>,
}

/// A signature.
#[derive(Clone, Debug)]
pub struct Signature {
    /// What it is over.
    pub kind: u8,
    /// What it says of itself.
    pub said: Said,
    /// Who made it, by the fingerprint.
    pub issuer: Option<Fingerprint>,
    /// The same by the short number.
    pub issuer_id: Option<[u8; 8]>,
    /// What its numbers are compared with, or why it never counts.
    usable: Result<(Hash, Numbers), String>,
    /// A subkey's back-signature in it.
    pub embedded: Option<Box<Signature>>,
    /// The part of it that is signed.
    hashed: Vec<u8>,
    /// The packet's bytes.
    pub body: Vec<u8>,
}

impl Signature {
    /// Reads a signature's packet. One that is not of version 4 is read as one that never counts; none when it is not
    /// whole.
    pub fn read(body: &[u8]) -> Option<Self> {
        Self::read_at(body, true)
    }

    fn read_at(body: &[u8], may_embed: bool) -> Option<Self> {
        if body.len() > MOST_BYTES {
            return None;
        }
        let mut input = Reader(body);
        match input.byte()? {
            4 => {}
            2 | 3 => return Some(Self::of_version_3(body)),
            other => {
                let why = format!("signatures of version {other} are not known here");
                return Some(Self::useless(why, body));
            }
        }
        let kind = input.byte()?;
        let (algorithm, hash) = (input.byte()?, input.byte()?);
        let length = usize::from(input.u16()?);
        let subpackets = input.take(length)?;
        let hashed = body.get(..length.checked_add(6)?)?.to_vec();
        let length = usize::from(input.u16()?);
        let unhashed = input.take(length)?;
        // The first two bytes of the digest are a help for searching.
        input.u16()?;
        let mut read = Self { kind, hashed, ..Self::useless(String::new(), body) };
        let demands = read.subpackets(subpackets, true, may_embed)?;
        read.subpackets(unhashed, false, may_embed)?;
        let numbers = match algorithm {
            1 | 3 => Numbers::Rsa(input.mpi()?.to_vec()),
            19 | 22 => Numbers::Pair(input.mpi()?.to_vec(), input.mpi()?.to_vec()),
            27 => Numbers::Raw(input.take(64)?.to_vec()),
            _ => Numbers::Other,
        };
        read.usable = match (demands, read.said.made) {
            (Some(why), _) => Err(why),
            (None, None) => Err("it does not say when it was made".into()),
            (None, Some(_)) => Hash::of(hash).map(|hash| (hash, numbers)),
        };
        Some(read)
    }

    fn useless(why: String, body: &[u8]) -> Self {
        Self {
            kind: 0xFF,
            said: Said::default(),
            issuer: None,
            issuer_id: None,
            usable: Err(why),
            embedded: None,
            hashed: Vec::new(),
            body: body.to_vec(),
        }
    }

    /// Of version 3 only is read who it is by (section 5.2.2).
    fn of_version_3(body: &[u8]) -> Self {
        let issuer_id = body.get(7..15).and_then(|id| id.try_into().ok());
        let kind = body.get(2).copied().unwrap_or(0xFF);
        Self { issuer_id, kind, ..Self::useless("too weak: a signature of version 3".into(), body) }
    }

    /// Reads subpackets. What they demand that is not known here, if they do; none when they are not whole.
    fn subpackets(&mut self, bytes: &[u8], hashed: bool, may_embed: bool) -> Option<Option<String>> {
        let mut input = Reader(bytes);
        let mut demands = None;
        for _ in 0..MOST_SUBPACKETS {
            if input.0.is_empty() {
                return Some(demands);
            }
            let length = input.subpacket_length()?;
            let mut body = Reader(input.take(length)?);
            let first = body.byte()?;
            let (critical, number) = (first & 0x80 != 0, first & 0x7F);
            if critical && !KNOWN.contains(&number) && hashed {
                demands =
                    Some(format!("it holds a critical subpacket (number {number}) that is not known here"));
            }
            self.subpacket(number, body.0, hashed, may_embed)?;
        }
        None
    }

    fn subpacket(&mut self, number: u8, body: &[u8], hashed: bool, may_embed: bool) -> Option<()> {
        let seconds = || Reader(body).u32().map(u64::from);
        match number {
            2 if hashed => self.said.made = Some(seconds()?),
            3 if hashed => self.said.expires_after = seconds().filter(|s| *s != 0),
            9 if hashed => self.said.key_expires_after = seconds().filter(|s| *s != 0),
            27 if hashed => self.said.key_flags = Some(body.first().copied().unwrap_or(0)),
            29 if hashed => self.said.reason = body.first().copied(),
            // Who made it may stand in the part that is not signed: it only says which key is to be tried.
            16 if hashed || self.issuer_id.is_none() => self.issuer_id = Some(body.try_into().ok()?),
            33 if body.first() == Some(&4) && (hashed || self.issuer.is_none()) => {
                self.issuer = Some(body.get(1..)?.try_into().ok()?);
            }
            32 if may_embed => self.embedded = Self::read_at(body, false).map(Box::new),
            _ => {}
        }
        Some(())
    }

    /// Whether it says that a key made it.
    pub fn names(&self, key: &Key) -> bool {
        match (self.issuer, self.issuer_id) {
            (Some(fingerprint), _) => fingerprint == key.fingerprint,
            (None, Some(id)) => id == key.id(),
            (None, None) => false,
        }
    }

    /// Whose key is asked for, as people write it; none when it does not say.
    pub fn asks_for(&self) -> Option<String> {
        let fingerprint = self.issuer.map(hex::encode_upper);
        fingerprint.or_else(|| self.issuer_id.map(hex::encode_upper))
    }

    /// Why it never counts, if it does not.
    pub fn useless_because(&self) -> Option<&str> {
        self.usable.as_ref().err().map(String::as_str)
    }

    /// When it was made; 0 where it never counts.
    pub fn made(&self) -> u64 {
        self.said.made.unwrap_or(0)
    }

    /// Whether it had expired at a time.
    pub fn expired_at(&self, time: u64) -> bool {
        self.said.expires_after.is_some_and(|after| self.made().saturating_add(after) <= time)
    }

    /// Compares it with a key over what it is about, which stands before its own signed part.
    pub fn check(&self, key: &Public, about: &[&[u8]]) -> Seen {
        let (hash, numbers) = match &self.usable {
            Ok(usable) => usable,
            Err(why) => return Seen::Unknown(why.clone()),
        };
        let mut message = about.concat();
        message.extend_from_slice(&self.hashed);
        message.extend([4, 0xFF]);
        message.extend(u32::try_from(self.hashed.len()).unwrap_or(u32::MAX).to_be_bytes());
        check(key, *hash, &message, numbers)
    }
}

//! What travels back: receipts, repair requests and wants. Signed statements, small enough for people to read
//! before they let them out.
//!
//! A receipt also has a compact form of some ninety bytes, with the same authority, for a QR code or for words
//! over a telephone.

use cofferdam_trust::{
    Envelope, SigningKey, Statement, Subject, VerifyingKey, sign_statement, verify_statement,
};
use cofferdam_types::{
    Error, ErrorKind, Result, Sha256, SiteName, Timestamp,
    merkle::{Roller, leaf},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Predicate type of a receipt.
pub const RECEIPT: &str = "https://cofferdam.dev/receipt/v1";
/// Predicate type of a repair request.
pub const REPAIR_REQUEST: &str = "https://cofferdam.dev/repair-request/v1";
/// Predicate type of a list of wants.
pub const WANTS: &str = "https://cofferdam.dev/wants/v1";
const COMPACT: &[u8] = b"cofferdam receipt, compact form 1\n";
const COMPACT_BODY: usize = 23;
const SIGNATURE: usize = 64;

/// Which transfer is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct About {
    /// Its stream.
    pub stream: String,
    /// Its epoch.
    pub epoch: u32,
    /// Its position.
    pub seq: u64,
    /// Its identity.
    pub header_sha256: Sha256,
}

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All its blobs are at the site, durable; nothing is visible yet.
    Quarantined,
    /// It is visible.
    Published,
    /// People said no. The blobs may be gone.
    Rejected,
    /// Inspection refused it. The blobs may be gone.
    Refused,
    /// Some of it was changed or taken out at the door; the rest is at the site.
    Partial,
}

impl Outcome {
    /// The word in receipts and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::Published => "published",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Partial => "partial",
        }
    }

    /// The outcome that a word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORST_FIRST.into_iter().find(|outcome| outcome.as_str() == word)
    }

    /// Whether the receiver holds every blob of the transfer.
    #[must_use]
    pub const fn proves_holding(self) -> bool {
        matches!(self, Self::Quarantined | Self::Published)
    }

    /// What the receipts of several sites come to: each is no better than the one after it.
    const WORST_FIRST: [Self; 5] =
        [Self::Refused, Self::Rejected, Self::Partial, Self::Quarantined, Self::Published];

    /// The worst of two: what can be said of both.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        Self::WORST_FIRST.into_iter().find(|o| [self, other].contains(o)).unwrap_or(self)
    }
}

/// A receipt. How much it tells is the site's policy: see [`Receipt::at_level`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Receipt {
    /// The site that signs.
    pub site: SiteName,
    /// The transfer.
    pub transfer: About,
    /// What became of it.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// Level 1: how many blobs of this stream the site holds, and the Merkle root over their digests.
    pub inventory: Option<Inventory>,
    /// Level 1: files of the medium that could not be read.
    pub unreadable: Vec<String>,
    /// Level 2: items that were left out or refused, with the reason.
    pub refused: Vec<(String, String)>,
    /// Level 3: every blob of this stream that the site holds, ascending.
    pub held: Vec<Sha256>,
}

/// What a site holds of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// RFC 6962 Merkle root over the digests (32 bytes each), ascending.
    pub root: Sha256,
    /// How many.
    pub count: u64,
}

impl Inventory {
    /// Over digests in ascending order.
    #[must_use]
    pub fn of<'a>(held: impl IntoIterator<Item = &'a Sha256>) -> Self {
        let mut tree = Roller::default();
        held.into_iter().for_each(|digest| tree.push(leaf(&digest.0)));
        Self { root: tree.root(), count: tree.size() }
    }
}

/// Asks for the bytes that neither medium nor parity could give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepairRequest {
    /// The site that asks.
    pub site: SiteName,
    /// The transfer.
    pub transfer: About,
    /// When.
    pub at: Timestamp,
    /// Ranges of the data stream (manifest, then payload): offset and length, ascending.
    pub ranges: Vec<(u64, u64)>,
}

/// Asks for packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wants {
    /// The site that asks.
    pub site: SiteName,
    /// When.
    pub at: Timestamp,
    /// What is wanted.
    pub items: Vec<Want>,
}

/// One wanted thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Want {
    /// Package format.
    pub format: String,
    /// Package name, or the path that was asked for.
    pub package: String,
    /// Version, or what the ecosystem calls a range; empty for any.
    pub version: String,
    /// How often it was asked for.
    pub asked: u64,
    /// Why, in a person's words.
    pub note: String,
}

impl Receipt {
    /// The same receipt with no more than `level` (0 to 3) lets out.
    #[must_use]
    pub fn at_level(mut self, level: u8) -> Self {
        if level < 1 {
            (self.inventory, self.unreadable) = (None, Vec::new());
        }
        if level < 2 {
            self.refused = Vec::new();
        }
        if level < 3 {
            self.held = Vec::new();
        }
        self
    }

    /// Signs it.
    ///
    /// # Errors
    /// `Internal` only if the JSON writer fails.
    pub fn sign(&self, key: &SigningKey) -> Result<Envelope> {
        sign(RECEIPT, &self.transfer, self, key)
    }

    /// Reads a receipt that one of `keys` signed.
    ///
    /// # Errors
    /// `VerificationFailed`: no key of them signed it, or it is something else (`bad-statement`).
    pub fn read(envelope: &Envelope, keys: &[VerifyingKey]) -> Result<Self> {
        read(RECEIPT, envelope, keys, |receipt: &Self| Some(&receipt.transfer))
    }

    /// The compact form: what level 0 tells, signed by itself.
    #[must_use]
    pub fn compact(&self, key: &SigningKey) -> Vec<u8> {
        let mut body = vec![1, self.outcome as u8];
        body.extend_from_slice(&self.transfer.header_sha256.0[..16]);
        let minutes = u64::try_from(self.at.0).unwrap_or(0) / 60_000_000;
        body.extend_from_slice(&minutes.to_be_bytes()[3..]);
        let signature = key.sign(&[COMPACT, &body].concat());
        [body, signature].concat()
    }
}

/// What a compact receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compact {
    /// The first 16 bytes of the transfer's identity.
    pub header_prefix: [u8; 16],
    /// What became of it.
    pub outcome: Outcome,
    /// When, to the minute.
    pub at: Timestamp,
}

impl Compact {
    /// Reads the compact form of a receipt that one of `keys` signed.
    ///
    /// # Errors
    /// `VerificationFailed` (`bad-receipt`).
    pub fn read(bytes: &[u8], keys: &[VerifyingKey]) -> Result<Self> {
        let bad = |text: &str| Error::verification("bad-receipt", text);
        if bytes.len() != COMPACT_BODY + SIGNATURE {
            return Err(bad("this is not the compact form of a receipt"));
        }
        let (body, signature) = bytes.split_at(COMPACT_BODY);
        let message = [COMPACT, body].concat();
        if !keys.iter().any(|key| key.verifies(&message, signature)) {
            return Err(bad("no key that is trusted for the receiving site signed this receipt"));
        }
        let outcome = Outcome::WORST_FIRST.into_iter().find(|o| *o as u8 == body[1]).filter(|_| body[0] == 1);
        let mut header_prefix = [0; 16];
        header_prefix.copy_from_slice(&body[2..18]);
        let minutes = body[18..].iter().fold(0i64, |sum, byte| (sum << 8) | i64::from(*byte));
        Ok(Self {
            header_prefix,
            outcome: outcome.ok_or_else(|| bad("it says something that this program does not know"))?,
            at: Timestamp(minutes.saturating_mul(60_000_000)),
        })
    }
}

impl RepairRequest {
    /// Signs it.
    ///
    /// # Errors
    /// `Internal` only if the JSON writer fails.
    pub fn sign(&self, key: &SigningKey) -> Result<Envelope> {
        sign(REPAIR_REQUEST, &self.transfer, self, key)
    }

    /// Reads a request that one of `keys` signed.
    ///
    /// # Errors
    /// `VerificationFailed`: no key of them signed it, or it is something else (`bad-statement`).
    pub fn read(envelope: &Envelope, keys: &[VerifyingKey]) -> Result<Self> {
        read(REPAIR_REQUEST, envelope, keys, |request: &Self| Some(&request.transfer))
    }
}

impl Wants {
    /// Signs it.
    ///
    /// # Errors
    /// `Internal` only if the JSON writer fails.
    pub fn sign(&self, key: &SigningKey) -> Result<Envelope> {
        let text = serde_json::to_vec(&self.items).map_err(|e| Error::internal("writing wants", e))?;
        let subject = Subject::sha256("wants", Sha256::of(&text));
        let predicate = serde_json::to_value(self).map_err(|e| Error::internal("writing wants", e))?;
        sign_statement(&Statement::new(vec![subject], WANTS, predicate), &[key])
    }

    /// Reads wants that one of `keys` signed.
    ///
    /// # Errors
    /// `VerificationFailed`: no key of them signed it, or it is something else (`bad-statement`).
    pub fn read(envelope: &Envelope, keys: &[VerifyingKey]) -> Result<Self> {
        read(WANTS, envelope, keys, |_: &Self| None)
    }
}

fn sign<T: Serialize>(kind: &str, about: &About, what: &T, key: &SigningKey) -> Result<Envelope> {
    let name = format!("{}/{}/{}", about.stream, about.epoch, about.seq);
    let predicate = serde_json::to_value(what).map_err(|e| Error::internal("writing a statement", e))?;
    sign_statement(&Statement::new(vec![Subject::sha256(name, about.header_sha256)], kind, predicate), &[key])
}

fn read<T: DeserializeOwned>(
    kind: &str,
    envelope: &Envelope,
    keys: &[VerifyingKey],
    about: impl Fn(&T) -> Option<&About>,
) -> Result<T> {
    let bad = |text: &str| Error::new(ErrorKind::VerificationFailed, "bad-statement", text.to_owned());
    let verified = verify_statement(envelope, kind, keys, 1).map_err(|e| match e.kind() {
        // What came back was not typed by a person: malformed is as bad as not signed.
        ErrorKind::Invalid | ErrorKind::TooLarge => Error::verification(e.code(), e.message()),
        _ => e,
    })?;
    let subject = verified.statement.subject.first().and_then(Subject::sha256_digest);
    let value: T = serde_json::from_value(verified.statement.predicate)
        .map_err(|_| bad("the signed text is not what its type says"))?;
    if about(&value).is_some_and(|about| Some(about.header_sha256) != subject) {
        return Err(bad("the signed text is about another transfer than its subject"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        let header_sha256 = Sha256::of(b"header");
        Receipt {
            site: "inside".parse().unwrap(),
            transfer: About { stream: "outside+inside".into(), epoch: 1, seq: 3, header_sha256 },
            outcome: Outcome::Published,
            at: Timestamp::from_seconds(1_800_000_000),
            inventory: Some(Inventory::of(&[Sha256::of(b"a")])),
            unreadable: vec!["v000002.ctv".into()],
            refused: vec![("pkg:pypi/x@1".into(), "name".into())],
            held: vec![Sha256::of(b"a")],
        }
    }

    #[test]
    fn a_receipt_reads_back_and_tells_no_more_than_its_level() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let keys = [key.verifying_key()];
        for level in 0..4 {
            let said = receipt().at_level(level);
            assert_eq!(Receipt::read(&said.sign(&key).unwrap(), &keys).unwrap(), said);
            assert_eq!(said.held.is_empty(), level < 3);
            assert_eq!(said.inventory.is_none(), level < 1);
        }
        let other = SigningKey::from_seed(&[2; 32]).unwrap();
        assert!(Receipt::read(&receipt().sign(&other).unwrap(), &keys).is_err());
        assert!(RepairRequest::read(&receipt().sign(&key).unwrap(), &keys).is_err());
    }

    #[test]
    fn the_compact_form_is_short_and_no_byte_of_it_is_free() {
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let keys = [key.verifying_key()];
        let bytes = receipt().compact(&key);
        assert_eq!(bytes.len(), 87);
        let read = Compact::read(&bytes, &keys).unwrap();
        assert_eq!((read.outcome, read.at), (Outcome::Published, Timestamp::from_seconds(1_800_000_000)));
        assert_eq!(read.header_prefix, Sha256::of(b"header").0[..16]);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(Compact::read(&bad, &keys).unwrap_err().code(), "bad-receipt", "byte {at}");
        }
        let words = cofferdam_trust::words::encode(&bytes);
        assert_eq!(cofferdam_trust::words::decode(&words.join("\n")).unwrap(), bytes);
    }
}

//! Keyrings: primary keys with what they say of themselves, and of their subkeys (RFC 9580, section 10.1).
//!
//! A key's self-signatures are checked when a document's signature names the key, not before: a keyring is read with
//! bounds and costs nothing. Signatures by others are left out. Must never count a key that its primary key does not
//! vouch for.

use cofferdam_types::Result;

use crate::{
    MOST_KEYRING,
    armor::{self, is_armored},
    bad,
    crypto::Seen,
    key::Key,
    packet::{packets, tag, written},
    signature::{Signature, kind},
};

/// Certificates of a keyring at the most.
const MOST_CERTS: usize = 2048;
/// Self-signatures of one certificate at the most: each costs a comparison.
const MOST_SIGNATURES: usize = 128;
/// Bytes of a user id that are kept.
const MOST_NAME: usize = 2048;

/// What a self-signature is about, beside the primary key.
#[derive(Clone, Debug)]
enum About {
    Itself,
    /// The body of a user id.
    User(Vec<u8>),
    Subkey(Key),
    /// A picture, or a subkey that cannot be read: the signatures after it are about nothing.
    Nothing,
}

#[derive(Clone, Debug)]
struct Part {
    about: About,
    signatures: Vec<Signature>,
}

/// A primary key with its user ids and subkeys.
#[derive(Clone, Debug)]
pub struct Cert {
    primary: Key,
    parts: Vec<Part>,
    signatures: usize,
}

/// Certificates.
#[derive(Clone, Debug, Default)]
pub struct Keyring(pub Vec<Cert>);

impl Keyring {
    /// Reads a keyring, armored or not. What is no key of version 4 in it is left out, and so is one with more
    /// self-signatures than anybody needs.
    ///
    /// # Errors
    /// `Invalid` (`bad-openpgp`) when its packets cannot be read, or when it is too large.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MOST_KEYRING {
            return Err(bad(format!("a keyring of more than {MOST_KEYRING} bytes")));
        }
        if is_armored(bytes) {
            let text =
                std::str::from_utf8(bytes).map_err(|_| bad("a keyring that is neither packets nor text"))?;
            return Self::of_packets(&armor::blocks(text, armor::KEYS)?);
        }
        Self::of_packets(bytes)
    }

    fn of_packets(bytes: &[u8]) -> Result<Self> {
        let mut all: Vec<Cert> = Vec::new();
        // Whether what comes belongs to the last one.
        let mut open = false;
        for packet in packets(bytes)? {
            let last = if open { all.last_mut() } else { None };
            match (packet.tag, last) {
                (tag::SECRET_KEY | tag::SECRET_SUBKEY, _) => return Err(bad("a secret key in a keyring")),
                (tag::PUBLIC_KEY, _) => {
                    let key = Key::read(packet.body);
                    open = key.is_some();
                    all.extend(key.map(Cert::new));
                    if all.len() > MOST_CERTS {
                        return Err(bad(format!("more than {MOST_CERTS} keys in a keyring")));
                    }
                }
                (tag, Some(cert)) => cert.add(tag, packet.body),
                (_, None) => {}
            }
        }
        all.retain(|cert| cert.signatures <= MOST_SIGNATURES);
        Ok(Self(all))
    }

    /// The certificates and keys that a signature names.
    pub(crate) fn named<'a>(&'a self, signature: &'a Signature) -> impl Iterator<Item = (&'a Cert, &'a Key)> {
        let of = |cert: &'a Cert| cert.keys().map(move |key| (cert, key));
        self.0.iter().flat_map(of).filter(|(_, key)| signature.names(key))
    }
}

impl Cert {
    fn new(primary: Key) -> Self {
        let parts = vec![Part { about: About::Itself, signatures: Vec::new() }];
        Self { primary, parts, signatures: 0 }
    }

    fn add(&mut self, tag: u8, body: &[u8]) {
        let about = match tag {
            tag::SIGNATURE => return self.add_signature(body),
            tag::USER_ID => About::User(body.to_vec()),
            tag::USER_ATTRIBUTE => About::Nothing,
            tag::PUBLIC_SUBKEY => Key::read(body).map_or(About::Nothing, About::Subkey),
            // Trust packets and the like are a program's own notes.
            _ => return,
        };
        self.parts.push(Part { about, signatures: Vec::new() });
    }

    /// Keeps what the primary key says; what others certify is no matter of ours.
    fn add_signature(&mut self, body: &[u8]) {
        let Some(signature) = Signature::read(body).filter(|s| s.names(&self.primary)) else { return };
        self.signatures += 1;
        if let Some(part) = self.parts.last_mut().filter(|_| self.signatures <= MOST_SIGNATURES) {
            part.signatures.push(signature);
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        let subkeys = self.parts.iter().filter_map(|part| match &part.about {
            About::Subkey(key) => Some(key),
            _ => None,
        });
        std::iter::once(&self.primary).chain(subkeys)
    }

    /// The primary key's fingerprint in capital hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode_upper(self.primary.fingerprint)
    }

    /// The certificate as packets, with nothing in it but the keys, the names and the primary key's own signatures.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = written(tag::PUBLIC_KEY, &self.primary.body);
        for part in &self.parts {
            match &part.about {
                About::Itself => {}
                About::User(body) => out.extend(written(tag::USER_ID, body)),
                About::Subkey(key) => out.extend(written(tag::PUBLIC_SUBKEY, &key.body)),
                About::Nothing => continue,
            }
            for signature in &part.signatures {
                out.extend(written(tag::SIGNATURE, &signature.body));
            }
        }
        out
    }

    /// Whose it is: the user id that the primary key certified last; empty without one.
    #[must_use]
    pub fn name(&self) -> String {
        let named = self.parts.iter().filter_map(|part| match &part.about {
            About::User(body) => Some((self.newest(part)?.made(), body)),
            _ => None,
        });
        let newest = named.max_by_key(|(made, _)| *made).map(|(_, body)| body);
        let text = newest.map(|body| String::from_utf8_lossy(body.get(..MOST_NAME).unwrap_or(body)));
        let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        text.map(|text| text.chars().map(plain).take(200).collect()).unwrap_or_default()
    }

    /// Whether one of its keys could sign at a time: bound, allowed, neither expired nor revoked. Else why not.
    pub(crate) fn could_sign(&self, key: &Key, time: u64) -> std::result::Result<(), String> {
        self.primary_lives(time)?;
        if key.fingerprint == self.primary.fingerprint {
            let flags = self.newest_of_primary().and_then(|s| s.said.key_flags);
            return match flags {
                Some(flags) if flags & 2 == 0 => Err("it may not sign documents".into()),
                _ => Ok(()),
            };
        }
        self.subkey_signs(key, time)
    }

    /// A part's newest signature of the usual kind that holds.
    fn newest<'a>(&'a self, part: &'a Part) -> Option<&'a Signature> {
        let usual = |s: &&Signature| match &part.about {
            About::Itself => s.kind == kind::DIRECT,
            About::User(..) => kind::CERTIFICATIONS.contains(&s.kind),
            About::Subkey(_) => s.kind == kind::SUBKEY,
            About::Nothing => false,
        };
        part.signatures.iter().filter(usual).filter(|s| self.holds(s, &part.about)).max_by_key(|s| s.made())
    }

    /// The newest of what the primary key says of itself.
    fn newest_of_primary(&self) -> Option<&Signature> {
        let own = |part: &&Part| matches!(part.about, About::Itself | About::User(..));
        self.parts.iter().filter(own).filter_map(|part| self.newest(part)).max_by_key(|s| s.made())
    }

    fn holds(&self, signature: &Signature, about: &About) -> bool {
        self.seen(signature, about) == Seen::Holds
    }

    fn seen(&self, signature: &Signature, about: &About) -> Seen {
        let primary = self.primary.framed();
        let other = match about {
            About::Itself => Vec::new(),
            About::User(body) => {
                let mut framed = vec![0xB4];
                framed.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
                framed.extend_from_slice(body);
                framed
            }
            About::Subkey(key) => key.framed(),
            About::Nothing => return Seen::Wrong,
        };
        signature.check(&self.primary.public, &[&primary, &other])
    }

    fn primary_lives(&self, time: u64) -> std::result::Result<(), String> {
        for part in &self.parts {
            if matches!(part.about, About::Itself) {
                self.not_revoked(part, kind::REVOKES_KEY, time)?;
            }
        }
        let Some(says) = self.newest_of_primary() else {
            return Err("it has no self-signature that holds and is not too weak".into());
        };
        lives(&self.primary, says, time)
    }

    fn subkey_signs(&self, key: &Key, time: u64) -> std::result::Result<(), String> {
        let is = |part: &&Part| matches!(&part.about, About::Subkey(k) if k.fingerprint == key.fingerprint);
        // The same subkey may stand there twice; what is said of any of them is said of it.
        for part in self.parts.iter().filter(is) {
            self.not_revoked(part, kind::REVOKES_SUBKEY, time)?;
        }
        let newest =
            self.parts.iter().filter(is).filter_map(|part| self.newest(part)).max_by_key(|s| s.made());
        let Some(binding) = newest else { return Err("its primary key does not vouch for it".into()) };
        if binding.said.key_flags.is_some_and(|flags| flags & 2 == 0) {
            return Err("it may not sign documents".into());
        }
        let back = binding.embedded.as_ref().filter(|s| s.kind == kind::BACK);
        let about = [&self.primary.framed()[..], &key.framed()];
        if back.is_none_or(|back| back.check(&key.public, &about) != Seen::Holds) {
            return Err("it does not say itself that it belongs to its primary key".into());
        }
        lives(key, binding, time)
    }

    /// Refuses what was revoked. A revocation that says that the key was merely replaced or given up leaves what was
    /// signed before; any other reaches back. One that cannot be checked, such as a weak one, counts.
    fn not_revoked(&self, part: &Part, revokes: u8, time: u64) -> std::result::Result<(), String> {
        for signature in part.signatures.iter().filter(|s| s.kind == revokes) {
            let gently = matches!(signature.said.reason, Some(1 | 3));
            match self.seen(signature, &part.about) {
                Seen::Wrong => {}
                Seen::Holds if gently && time < signature.made() => {}
                Seen::Holds | Seen::Unknown(_) => return Err("it was revoked".into()),
            }
        }
        Ok(())
    }
}

/// Whether a key was made and not expired at a time, as its newest self-signature says.
fn lives(key: &Key, says: &Signature, time: u64) -> std::result::Result<(), String> {
    if time < key.made {
        return Err("it was made after the signature".into());
    }
    let ends = says.said.key_expires_after.map(|after| key.made.saturating_add(after));
    if ends.is_some_and(|ends| ends <= time) || says.expired_at(time) {
        return Err("it had expired when the signature was made".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, packet::Packet, verify_detached};

    const RING: &[u8] = include_bytes!("../tests/fixtures/ring.gpg");
    const MESSAGE: &[u8] = include_bytes!("../tests/fixtures/message.txt");
    const BY_SUBKEY: &[u8] = include_bytes!("../tests/fixtures/rsa.sig");

    /// The packets of the ring's first certificate: primary key, user id, its certification, subkey, its binding.
    fn first() -> Vec<Packet<'static>> {
        let all = packets(RING).unwrap();
        let next = all.iter().skip(1).position(|p| p.tag == tag::PUBLIC_KEY).unwrap() + 1;
        let first = all[..next].to_vec();
        assert_eq!(first.iter().map(|p| p.tag).collect::<Vec<_>>(), [6, 13, 2, 14, 2]);
        first
    }

    fn judged(packets: &[Packet<'_>]) -> Outcome {
        let bytes: Vec<u8> = packets.iter().flat_map(|p| written(p.tag, p.body)).collect();
        verify_detached(MESSAGE, BY_SUBKEY, &Keyring::read(&bytes).unwrap()).unwrap().remove(0)
    }

    fn why(outcome: Outcome) -> String {
        match outcome {
            Outcome::NotCounted { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_subkey_that_nobody_vouches_for_does_not_count() {
        let own = first();
        assert!(matches!(judged(&own), Outcome::Good(_)));
        assert!(why(judged(&own[..4])).contains("does not vouch"), "its binding is missing");
        // The same subkey behind another's primary key, with the binding that it has from its own.
        let all = packets(RING).unwrap();
        let at = all.iter().skip(1).position(|p| p.tag == tag::PUBLIC_KEY).unwrap() + 1;
        let grafted = [&all[at..at + 3], &own[3..]].concat();
        assert!(why(judged(&grafted)).contains("does not vouch"));
    }

    #[test]
    fn a_key_without_a_self_signature_does_not_count() {
        let own = first();
        let bare = [own[0], own[1], own[3], own[4]];
        assert!(why(judged(&bare)).contains("no self-signature"));
    }

    #[test]
    fn a_key_with_more_self_signatures_than_anybody_needs_is_left_out() {
        let own = first();
        let many = [&own[..2], &vec![own[2]; MOST_SIGNATURES], &own[3..4]].concat();
        assert!(matches!(judged(&many), Outcome::NotCounted { .. }), "so many are read");
        let more = [&own[..2], &vec![own[2]; MOST_SIGNATURES + 1], &own[3..]].concat();
        assert!(matches!(judged(&more), Outcome::NoKey { .. }));
    }

    #[test]
    fn a_signing_subkey_must_say_itself_whose_it_is() {
        let own = first();
        let binding = Signature::read(own[4].body).unwrap();
        let back = binding.embedded.as_ref().expect("GnuPG lets a signing subkey sign back").body.clone();
        // The back-signature stands in the part that is not signed, so that it can be taken out.
        let at = own[4].body.windows(back.len()).position(|w| w == back).unwrap();
        let mut without = own[4].body.to_vec();
        without[at + 4] ^= 1;
        let mut changed = own.clone();
        changed[4].body = &without;
        assert!(why(judged(&changed)).contains("does not say itself"));
    }
}

//! `Release` files and their signatures: which are here, who signed them, and which files they list.
//!
//! `InRelease` carries its signature, `Release` has it beside it, in `Release.gpg`. Only the list `SHA256:` is read.
//! This module must never say that a list is signed when only its form was read.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::{
    Door, DoorExt as _,
    joined::{Origin, PlacedKey, UpstreamKeys, Verdict, counting},
};
use cofferdam_openpgp::{Keyring, Outcome, Signer, verify_cleartext, verify_detached};
use cofferdam_types::{Result, Sha256};

use crate::joined::{Answer, shown, without_scheme};

/// Bytes of one `Release` at the most, those of all, and of a signature.
const LONGEST: u64 = 16 << 20;
const MOST_BYTES: u64 = 64 << 20;
const LONGEST_SIGNATURE: u64 = 256 << 10;
/// `Release` files that are read at the most.
const MOST: usize = 256;
/// Signatures beside one `Release` that are compared with it.
const MOST_SIGNATURES: usize = 8;

/// What is known of who signed a list.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Whether a known key signed.
    pub verdict: Verdict,
    /// The same in words, to go on a sentence.
    pub text: String,
    /// The key.
    pub key: Option<PlacedKey>,
}

impl Trust {
    /// What is not checked, and why.
    pub fn not(why: String) -> Self {
        Self { verdict: Verdict::Unchecked, text: why, key: None }
    }
}

/// A `Release`.
pub struct Release<'a> {
    /// Where it is kept.
    pub path: &'a str,
    /// The folder that its paths begin in: its address without the name.
    pub folder: String,
    /// Digest and size by path.
    pub listed: HashMap<String, (Sha256, u64)>,
    /// Who signed.
    pub trust: Trust,
}

/// A keyring of what counts for one address, and whose each key is.
struct Ring<'a> {
    keys: Keyring,
    whose: Vec<(String, &'a PlacedKey, Origin)>,
    address: &'a str,
}

impl<'a> Ring<'a> {
    fn of(all: &'a UpstreamKeys, address: &'a str) -> Self {
        let (mut keys, mut whose) = (Keyring::default(), Vec::new());
        for (key, origin) in counting(&all.archives, address) {
            // A key that cannot be read is none; the signature then says which one is missing.
            let Ok(bytes) = STANDARD.decode(&key.key) else { continue };
            let Ok(read) = Keyring::read(&bytes) else { continue };
            whose.extend(read.0.iter().map(|cert| (cert.fingerprint(), key, *origin)));
            keys.0.extend(read.0);
        }
        Self { keys, whose, address }
    }

    fn judge(&self, outcomes: &[Outcome]) -> Trust {
        let bad = outcomes.iter().find_map(|o| match o {
            Outcome::Bad { key } => Some(key),
            _ => None,
        });
        if let Some(key) = bad {
            let text = format!("the signature of {key} does not hold over it");
            return Trust { verdict: Verdict::Wrong, text, key: None };
        }
        let good = outcomes.iter().find_map(|o| match o {
            Outcome::Good(signer) => Some(self.signed(signer)),
            _ => None,
        });
        good.unwrap_or_else(|| Trust::not(self.why_not(outcomes)))
    }

    fn signed(&self, signer: &Signer) -> Trust {
        let whose = self.whose.iter().find(|(fingerprint, ..)| *fingerprint == signer.primary);
        let origin = match whose {
            Some((.., Origin::Site)) => "a key of this site",
            _ => "a key that the recording brought",
        };
        let mut text = format!("signed by {} ({}), {origin}", shown(&signer.name), signer.key);
        if signer.expires.is_some() {
            text.push_str(", in a signature that expires, which nobody compared with a clock");
        }
        let place = whose.map(|(_, key, _)| key.place.clone()).unwrap_or_default();
        let key = PlacedKey { place, key: STANDARD.encode(&signer.cert) };
        Trust { verdict: Verdict::Holds, text, key: Some(key) }
    }

    fn why_not(&self, outcomes: &[Outcome]) -> String {
        let host = shown(self.address.split('/').next().unwrap_or_default());
        let reasons = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::NoKey { asked: Some(key) } => Some(format!("no key {key} is known here for {host}")),
            Outcome::NoKey { asked: None } => Some("it does not say whose key signed".to_owned()),
            Outcome::NotCounted { why, asked } => Some(format!(
                "the signature of {} does not count: {why}",
                asked.as_deref().unwrap_or("nobody")
            )),
            Outcome::Good(_) | Outcome::Bad { .. } => None,
        });
        format!("signature not checked: {}", reasons.collect::<Vec<_>>().join("; "))
    }
}

/// Reads all `Release` files among these answers.
///
/// # Errors
/// Only faults of the door.
pub async fn all<'a>(
    answers: &[Answer<'a>],
    keys: &UpstreamKeys,
    door: &dyn Door,
) -> Result<Vec<Release<'a>>> {
    let (mut all, mut bytes) = (Vec::new(), 0);
    for answer in answers {
        let Some((folder, name)) = answer.url.rsplit_once('/') else { continue };
        if !["InRelease", "Release"].contains(&name) || answer.size > LONGEST {
            continue;
        }
        bytes += answer.size;
        if all.len() == MOST || bytes > MOST_BYTES {
            break;
        }
        let read = door.read(&answer.sha256, LONGEST).await?;
        let ring = Ring::of(keys, without_scheme(&answer.url));
        let (text, trust) = match name {
            "InRelease" => match message(&read, &ring) {
                Some(read) => read,
                None => continue,
            },
            _ => {
                let Ok(text) = String::from_utf8(read.to_vec()) else { continue };
                let trust = beside(answers, answer, text.as_bytes(), &ring, door).await?;
                (text, trust)
            }
        };
        let listed = listed(&text);
        if listed.is_empty() {
            continue;
        }
        all.push(Release { path: answer.path, folder: folder.to_owned(), listed, trust });
    }
    Ok(all)
}

/// An `InRelease`'s text; none when it is no signed message.
fn message(bytes: &[u8], ring: &Ring<'_>) -> Option<(String, Trust)> {
    match verify_cleartext(bytes, &ring.keys) {
        Ok((text, outcomes)) => Some((text, ring.judge(&outcomes))),
        // Some archives serve an unsigned list under this name.
        Err(error) if bytes.starts_with(b"-----BEGIN PGP") => {
            let trust = Trust::not(format!("signature not checked: {}", shown(error.message())));
            Some((String::from_utf8(bytes.to_vec()).ok()?, trust))
        }
        Err(_) => Some((String::from_utf8(bytes.to_vec()).ok()?, Trust::not("it is not signed".into()))),
    }
}

/// Judges a `Release` by the signatures that came beside it. Two files may be of different times: only where there is
/// one of each is a signature that does not hold a false one.
async fn beside(
    answers: &[Answer<'_>],
    release: &Answer<'_>,
    text: &[u8],
    ring: &Ring<'_>,
    door: &dyn Door,
) -> Result<Trust> {
    let named = |url: &str| answers.iter().filter(move |a| a.url == url).collect::<Vec<_>>();
    let url = format!("{}.gpg", release.url);
    let signatures = named(&url);
    let alone = signatures.len() == 1 && named(&release.url).len() == 1;
    let mut trust = Trust::not("no signature of it was recorded".into());
    for signature in signatures.iter().filter(|s| s.size <= LONGEST_SIGNATURE).take(MOST_SIGNATURES) {
        let bytes = door.read(&signature.sha256, LONGEST_SIGNATURE).await?;
        let found = match verify_detached(text, &bytes, &ring.keys) {
            Ok(outcomes) => ring.judge(&outcomes),
            Err(error) => Trust::not(format!("signature not checked: {}", shown(error.message()))),
        };
        match found.verdict {
            Verdict::Holds => return Ok(found),
            Verdict::Wrong if !alone => {
                trust = Trust::not("the signature that was recorded is that of another time".into());
            }
            Verdict::Wrong | Verdict::Unchecked => trust = found,
        }
    }
    Ok(trust)
}

/// The files of the list `SHA256:`: lines of digest, size and path, each behind a space.
fn listed(text: &str) -> HashMap<String, (Sha256, u64)> {
    let mut lines = text.lines().skip_while(|line| line.trim_end() != "SHA256:").skip(1);
    let mut all = HashMap::new();
    while let Some(line) = lines.next().filter(|line| line.starts_with([' ', '\t'])) {
        let mut words = line.split_whitespace();
        let (Some(digest), Some(size), Some(path)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if let (Ok(digest), Ok(size)) = (digest.parse(), size.parse()) {
            all.insert(path.to_owned(), (digest, size));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_strong_list_is_read() {
        let (one, two) = (Sha256::of(b"one"), Sha256::of(b"two"));
        let text = format!(
            "Suite: x\nMD5Sum:\n 00 1 a/Packages\nSHA256:\n {one} 3 a/Packages\n broken\n {two}  4\tb/Packages.xz\nSHA512:\n {one} 9 c\n"
        );
        let all = listed(&text);
        assert_eq!(all.len(), 2);
        assert_eq!((all["a/Packages"], all["b/Packages.xz"]), ((one, 3), (two, 4)));
        assert!(listed("MD5Sum:\n 00 1 a\n").is_empty());
    }
}

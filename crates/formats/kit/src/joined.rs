//! Proofs that join several recorded files: a module's archive and the checksum database's answer for it.
//!
//! A format looks at all files of one repository that came together, when a recording ends and again when a
//! transfer is received, and says of each what upstream's own proofs make of it. Nothing here is taken from a
//! claim: findings are made from bytes and keys. This module must never say that a key is to be trusted: it
//! says whose it is and who brought it.

use cofferdam_types::Sha256;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A file that came with others.
#[derive(Clone, Debug)]
pub struct Together {
    /// Its path below the repository.
    pub path: String,
    /// Its bytes.
    pub sha256: Sha256,
    /// Their number.
    pub size: u64,
    /// Its metadata.
    pub meta: Value,
}

/// What a proof says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// What the text says was checked, and holds.
    Holds,
    /// Something could not be checked; the text says what and why. It refuses nothing.
    Unchecked,
    /// It was checked and does not hold: the release is refused.
    Wrong,
}

/// One proof of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The file's path below the repository.
    pub path: String,
    /// The kind of proof, and the code of a failure.
    pub kind: String,
    /// What became of it.
    pub verdict: Verdict,
    /// The same for people: what was checked, and what was not.
    pub text: String,
}

/// What a file is, by a package URL: what the file, or an index that names it, says. A help for people, no proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The file's path below the repository.
    pub path: String,
    /// The package URL.
    pub purl: String,
}

/// Who says that a key is upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// This site's configuration.
    Site,
    /// The recording: what its machine's own clients are set up with.
    Recording,
}

/// A verifier key of signed notes, `<name>+<hash>+<key>` (C2SP `signed-note.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteKey {
    /// The key as text.
    pub key: String,
    /// Who brought it.
    pub origin: Origin,
}

/// A key that vouches for what comes from one place, and for nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlacedKey {
    /// A host with folders, without a scheme: `deb.example/debian`, `registry.example/team`. `*.example` is every host
    /// below that name, `*` or nothing is every place.
    pub place: String,
    /// The key, base64: an archive's as OpenPGP packets, an image's as `SubjectPublicKeyInfo`.
    pub key: String,
}

impl PlacedKey {
    /// Whether an address, without its scheme, lies in the key's place.
    #[must_use]
    pub fn covers(&self, address: &str) -> bool {
        let place = self.place.trim_end_matches('/');
        if matches!(place, "" | "*") {
            return true;
        }
        if let Some(domain) = place.strip_prefix("*.") {
            let host = address.split('/').next().unwrap_or_default();
            let above = host.strip_suffix(domain).and_then(|above| above.strip_suffix('.'));
            return above.is_some_and(|above| !above.is_empty());
        }
        address.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Keys with which upstream signs, as they travel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Keys {
    /// Of signed notes.
    pub notes: Vec<String>,
    /// Of package archives.
    pub archives: Vec<PlacedKey>,
    /// Of container images.
    pub images: Vec<PlacedKey>,
}

impl Keys {
    /// Adds others; each key stands there once, in order.
    pub fn add(&mut self, other: Self) {
        self.notes.extend(other.notes);
        self.archives.extend(other.archives);
        self.images.extend(other.images);
        self.notes.sort();
        self.notes.dedup();
        for all in [&mut self.archives, &mut self.images] {
            all.sort();
            all.dedup();
        }
    }
}

/// Keys with which upstream signs, and who brought them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamKeys {
    /// Of signed notes: checksum databases.
    pub notes: Vec<NoteKey>,
    /// Of package archives.
    pub archives: Vec<(PlacedKey, Origin)>,
    /// Of container images.
    pub images: Vec<(PlacedKey, Origin)>,
    /// Certificates of the authorities that this site believes, PEM, one after the other. They never come along.
    pub authorities: String,
}

/// Keys of one kind from one side at the most, the bytes of one, and those of all together.
const MOST_PLACED: usize = 256;
const LONGEST_KEY: usize = 128 << 10;
const MOST_BYTES: usize = 4 << 20;

impl UpstreamKeys {
    /// Keys from one side, within bounds: what is too much is left out.
    #[must_use]
    pub fn of(keys: &Keys, origin: Origin) -> Self {
        let placed = |keys: &[PlacedKey]| {
            let mut bytes = 0;
            let fits = |key: &&PlacedKey| key.key.len() <= LONGEST_KEY && key.place.len() <= 1024;
            let within = |key: &&PlacedKey| {
                bytes += key.key.len();
                bytes <= MOST_BYTES
            };
            let these = keys.iter().filter(fits).take(MOST_PLACED).take_while(within);
            these.map(|key| (key.clone(), origin)).collect()
        };
        let (archives, images) = (placed(&keys.archives), placed(&keys.images));
        Self { archives, images, ..Self::notes(&keys.notes, origin) }
    }

    /// Keys of signed notes from one side, the blank ones left out; 64 at the most.
    #[must_use]
    pub fn notes(keys: &[String], origin: Origin) -> Self {
        let keys = keys.iter().map(|key| key.trim()).filter(|key| !key.is_empty() && key.len() <= 1024);
        let notes = keys.take(64).map(|key| NoteKey { key: key.to_owned(), origin }).collect();
        Self { notes, ..Self::default() }
    }

    /// These and others; the own ones first.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.notes.extend(other.notes);
        self.archives.extend(other.archives);
        self.images.extend(other.images);
        self
    }
}

/// The keys that count for an address, without its scheme: where the site has some for it, no other does.
pub fn counting<'a>(
    keys: &'a [(PlacedKey, Origin)],
    address: &str,
) -> impl Iterator<Item = &'a (PlacedKey, Origin)> {
    let covering = move |address: &str| {
        let all: Vec<_> = keys.iter().filter(|(key, _)| key.covers(address)).collect();
        let own = all.iter().any(|(_, origin)| *origin == Origin::Site);
        all.into_iter().filter(move |(_, origin)| !own || *origin == Origin::Site)
    };
    covering(address)
}

/// What a format found out about files that came together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Joined {
    /// By file.
    pub findings: Vec<Finding>,
    /// What files are, where bytes say it.
    pub names: Vec<Named>,
    /// The keys that made a signature which holds: with them the other side checks again.
    pub keys: Keys,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(place: &str) -> PlacedKey {
        PlacedKey { place: place.into(), key: "AA==".into() }
    }

    #[test]
    fn a_key_vouches_for_its_own_place_only() {
        for (place, address, covers) in [
            ("deb.example/debian", "deb.example/debian/dists/x/InRelease", true),
            ("deb.example/debian/", "deb.example/debian", true),
            ("deb.example/debian", "deb.example/debian-security/dists/x", false),
            ("deb.example", "deb.example.evil/x", false),
            ("*.example", "a.b.example/x", true),
            ("*.example", "example/x", false),
            ("*.example", "evilexample/x", false),
            ("*", "any/x", true),
            ("", "any/x", true),
        ] {
            assert_eq!(placed(place).covers(address), covers, "{place} {address}");
        }
    }

    #[test]
    fn where_the_site_has_a_key_of_its_own_the_recording_s_does_not_count() {
        let keys = [(placed("deb.example"), Origin::Recording), (placed("deb.example/own"), Origin::Site)];
        let origins = |address| counting(&keys, address).map(|(_, origin)| *origin).collect::<Vec<_>>();
        assert_eq!(origins("deb.example/own/x"), [Origin::Site]);
        assert_eq!(origins("deb.example/other"), [Origin::Recording]);
        assert!(origins("rpm.example").is_empty());
    }

    #[test]
    fn more_keys_than_anybody_has_are_left_out() {
        let keys = Keys { archives: vec![placed("x"); 1000], ..Keys::default() };
        assert_eq!(UpstreamKeys::of(&keys, Origin::Recording).archives.len(), MOST_PLACED);
        let long = PlacedKey { place: String::new(), key: "A".repeat(LONGEST_KEY + 1) };
        let keys = Keys { images: vec![long], ..Keys::default() };
        assert!(UpstreamKeys::of(&keys, Origin::Recording).images.is_empty());
    }
}

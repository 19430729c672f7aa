//! The trust root: which keys, of which people, may act in which role, and how many are needed.
//!
//! Modelled on the root role of The Update Framework (specification 1.0.34): start with
//! [`Root::first`], follow changes with [`Root::rotate`] (section 5.3), and ask
//! [`Root::verify_roles`] whether enough of the right people signed something.
//! This module must never parse a payload before the signatures over it hold (or its fingerprint
//! does), never read the clock and never keep state: whoever calls keeps the root, and replaces it
//! only after all checks.

mod roles;
#[cfg(test)]
mod tests;
mod update;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use cofferdam_types::{Error, Result, Sha256, Timestamp};
use serde::{Deserialize, Serialize};

pub use roles::{RoleSignature, VerifiedRoles};

use crate::{Envelope, KeyId, SigningKey, VerifyingKey, dsse};

/// The media type of a root in an envelope.
pub const ROOT_PAYLOAD_TYPE: &str = "application/vnd.cofferdam.root+json";
/// A root may be at most this long, in bytes of its JSON.
pub const MAX_ROOT_BYTES: usize = 64 << 10;
/// A root may name at most this many keys.
pub const MAX_KEYS: usize = 64;
/// A role may need at most this many signatures: a rotation by twice as many fits an envelope.
pub const MAX_THRESHOLD: usize = 8;
const MAX_PERSON_CHARS: usize = 200;

/// What keys are trusted for.
///
/// A root may name holders for every role, and today only some are asked for: [`Role::is_consulted`]. A name in one of
/// the others protects nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Changes this root.
    Root,
    /// Says what was collected.
    Collector,
    /// Releases a transfer for its journey.
    Releaser,
    /// Signs receipts on the receiving side. Not asked for yet: a receipt is checked against the site's own keys.
    Receiver,
    /// Approves what a transfer brought. Not asked for yet: people approve with their accounts at the site.
    Approver,
    /// Signs at a station between the two sides. Not asked for yet: a station's report is not read by a site.
    Guard,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Root, Self::Collector, Self::Releaser, Self::Receiver, Self::Approver, Self::Guard];

    /// Every one of these must have signed the header of a transfer.
    pub const HEADER: [Self; 2] = [Self::Collector, Self::Releaser];

    /// Whether anything is decided by who holds it: a change of the root, or whether a header is believed.
    #[must_use]
    pub fn is_consulted(self) -> bool {
        self == Self::Root || Self::HEADER.contains(&self)
    }

    /// Its name in JSON and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Collector => "collector",
            Self::Releaser => "releaser",
            Self::Receiver => "receiver",
            Self::Approver => "approver",
            Self::Guard => "guard",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            Error::invalid("bad-role", format!("`{shown}` is not a role of the trust root"))
                .hint("the roles are root, collector, releaser, receiver, approver and guard")
        })
    }
}

/// A key and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootKey {
    /// The key.
    pub key: VerifyingKey,
    /// The person who alone holds it. The same text is the same person.
    pub person: String,
}

/// Who may act in a role, and how many of them it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleKeys {
    /// The keys that count.
    pub keys: BTreeSet<KeyId>,
    /// How many distinct ones must sign; distinct people, if the root says so.
    pub threshold: usize,
}

/// A version of the trust root. It has one JSON text: no spaces, fields in this order, keys sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Root {
    /// 1 or more; each rotation adds exactly 1.
    pub version: u64,
    /// When it was made.
    pub issued: Timestamp,
    /// From when on it is too old to be believed without asking.
    pub expires: Timestamp,
    /// Must the signers of everything be different people, across all roles that sign it?
    pub distinct_persons: bool,
    /// Every key that a role names.
    pub keys: BTreeMap<KeyId, RootKey>,
    /// The roles; one that is not there has nobody. `root` is always there.
    pub roles: BTreeMap<Role, RoleKeys>,
}

impl Root {
    /// Is this a root that can be used at all?
    ///
    /// # Errors
    /// `Invalid` (`bad-root`) with the first thing that is wrong.
    pub fn check(&self) -> Result<()> {
        if self.version == 0 {
            return Err(bad_root("its version is 0; the first is 1"));
        }
        if self.expires <= self.issued {
            return Err(bad_root("it expires before it is issued"));
        }
        if self.keys.len() > MAX_KEYS {
            return Err(bad_root(&format!("it names {} keys; at most {MAX_KEYS} may be", self.keys.len())));
        }
        self.check_people()?;
        if !self.roles.contains_key(&Role::Root) {
            return Err(bad_root("it has no role `root`, so nobody could ever change it"));
        }
        self.roles.iter().try_for_each(|(role, members)| self.check_role(*role, members))
    }

    fn check_people(&self) -> Result<()> {
        let mut spellings: BTreeMap<String, &str> = BTreeMap::new();
        for (id, RootKey { key, person }) in &self.keys {
            if key.id() != *id {
                return Err(bad_root(&format!("under the name {id} stands another key")));
            }
            let fits = (1..=MAX_PERSON_CHARS).contains(&person.chars().count());
            if !fits || person.trim() != person || person.chars().any(char::is_control) {
                return Err(bad_root(&format!(
                    "the person of key {id} is empty, too long or not plain text"
                )));
            }
            // Two spellings of one name would make two people of one.
            let plain: String = person.to_lowercase().split_whitespace().collect();
            let first = *spellings.entry(plain).or_insert(person);
            if first != person {
                return Err(bad_root(&format!("`{first}` and `{person}` are two spellings of one person")));
            }
        }
        Ok(())
    }

    fn check_role(&self, role: Role, members: &RoleKeys) -> Result<()> {
        let RoleKeys { keys, threshold } = members;
        let mut people = BTreeSet::new();
        for id in keys {
            let known = self.keys.get(id);
            let known =
                known.ok_or_else(|| bad_root(&format!("the role {role} names the unknown key {id}")))?;
            people.insert(&known.person);
        }
        let (count, what) =
            if self.distinct_persons { (people.len(), "people") } else { (keys.len(), "keys") };
        if *threshold == 0 || *threshold > count {
            let text = format!("the role {role} needs {threshold} signatures and has {count} {what}");
            return Err(bad_root(&text));
        }
        if *threshold > MAX_THRESHOLD {
            return Err(bad_root(&format!("the role {role} needs more than {MAX_THRESHOLD} signatures")));
        }
        Ok(())
    }

    /// The roles that it names holders for and that nothing asks for yet. Whoever makes it has to be told: they may
    /// rely on what is not checked.
    pub fn unconsulted(&self) -> impl Iterator<Item = Role> {
        self.roles.keys().copied().filter(|role| !role.is_consulted())
    }

    /// Is it too old to be believed at `now`? The caller decides what follows; without this question a
    /// sender who holds newer roots back (a freeze) goes unnoticed.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }

    /// The one JSON text that is signed.
    ///
    /// # Errors
    /// `Internal` only if the JSON writer fails.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::internal("writing a trust root", e))
    }

    /// What two people compare aloud: SHA-256 over [`Root::to_json`], whoever signed it.
    ///
    /// # Errors
    /// As [`Root::to_json`].
    pub fn fingerprint(&self) -> Result<Sha256> {
        Ok(Sha256::of(&self.to_json()?))
    }

    /// Checks the root and signs it. Further people sign the envelope with
    /// [`Envelope::add_signature`], each on a machine of their own.
    ///
    /// # Errors
    /// As [`Root::check`].
    pub fn sign(&self, keys: &[&SigningKey]) -> Result<Envelope> {
        self.check()?;
        Ok(dsse::sign(ROOT_PAYLOAD_TYPE, &self.to_json()?, keys))
    }

    /// Reads the root of an envelope without believing it: to show it to a person who is asked to sign
    /// it or to compare its fingerprint. Nothing may be decided by what this gives.
    ///
    /// # Errors
    /// `Invalid` (`bad-envelope`, `bad-root`).
    pub fn read_unverified(envelope: &Envelope) -> Result<Self> {
        Self::parse(&update::payload_of(envelope)?)
    }

    /// Reads the one JSON text of a root and checks it.
    fn parse(json: &[u8]) -> Result<Self> {
        if json.len() > MAX_ROOT_BYTES {
            return Err(bad_root(&format!("it is longer than {MAX_ROOT_BYTES} bytes")));
        }
        let root: Self = serde_json::from_slice(json).map_err(|e| bad_root(&e.to_string()))?;
        // Repeated fields, spaces, other spellings of a time: anything but the one text.
        if root.to_json()? != json {
            return Err(bad_root("it is not in its one JSON text"));
        }
        root.check()?;
        Ok(root)
    }
}

fn bad_root(why: &str) -> Error {
    Error::invalid("bad-root", format!("this is not a usable trust root: {why}"))
}

//! Did enough of the right people sign?
//!
//! A payload must never leave here before every role that was asked for has its signatures.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_types::{Error, Result, Sha256};

use super::{Role, Root};
use crate::{Envelope, KeyId, VerifiedPayload, dsse};

/// A signature and what it counts for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleSignature {
    /// The role.
    pub role: Role,
    /// The key.
    pub key: KeyId,
    /// Whose key it is.
    pub person: String,
}

/// A payload for which every role that was asked for has enough signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRoles {
    /// The payload; its `signers` are all keys of the root that signed, whatever their roles.
    pub payload: VerifiedPayload,
    /// What made the roles complete, sorted. When the root demands distinct people, each person stands
    /// here once; otherwise one key can stand here for several roles.
    pub signed: Vec<RoleSignature>,
}

/// The signatures of an envelope, checked against the keys of one root.
pub(super) struct Signed {
    payload: Vec<u8>,
    held: BTreeSet<KeyId>,
    unknown: usize,
}

impl Root {
    /// Checks that every one of `roles` has its threshold of signatures on `envelope`: by distinct keys
    /// and, when [`Root::distinct_persons`] is set, by distinct people across all of `roles` together.
    ///
    /// A root that has expired still verifies: ask [`Root::expired`].
    ///
    /// # Errors
    /// `VerificationFailed`: `wrong-payload-type`; `no-such-role` (the root has nobody for it, or no role
    /// was asked for); `signature-invalid` (by a key of the root, whatever its role);
    /// `duplicate-signature` (one key twice); `too-few-signatures`; `unknown-signer` (too few, and others
    /// are by keys that the root does not name); `same-person-twice` (enough keys, too few people).
    /// `Invalid` (`bad-envelope`, `bad-root`) and `TooLarge` as [`crate::verify`].
    pub fn verify_roles(
        &self,
        envelope: &Envelope,
        payload_type: &str,
        roles: &[Role],
    ) -> Result<VerifiedRoles> {
        let signed = self.signatures(envelope, payload_type)?;
        let by_role = self.count(&signed, roles)?;
        let payload_type = envelope.payload_type.clone();
        let signers = signed.held.into_iter().collect();
        Ok(VerifiedRoles {
            payload: VerifiedPayload { payload_type, payload: signed.payload, signers },
            signed: by_role,
        })
    }

    /// Checks every signature by a key of this root. The payload is decoded and not yet believed.
    pub(super) fn signatures(&self, envelope: &Envelope, payload_type: &str) -> Result<Signed> {
        // Roots have public fields: one that nobody checked could demand no signature at all.
        self.check()?;
        if envelope.payload_type != payload_type {
            let text = format!("the envelope does not hold what is expected here: {payload_type}");
            return Err(Error::verification("wrong-payload-type", text));
        }
        let payload = dsse::decode_payload(envelope)?;
        let message = dsse::pae(payload_type, &payload);
        let (mut held, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        for signature in &envelope.signatures {
            let id = signature.keyid.parse::<Sha256>().ok().map(KeyId);
            let Some((id, known)) = id.and_then(|id| Some((id, self.keys.get(&id)?))) else {
                unknown.insert(signature.keyid.as_str());
                continue;
            };
            let bytes = dsse::decode(&signature.sig, "signature")?;
            if !known.key.verifies(&message, &bytes) {
                let text = format!("the signature by {id} ({}) does not hold", known.person);
                return Err(Error::verification("signature-invalid", text)
                    .hint("somebody changed the file or the signature: get it again from its signers"));
            }
            if !held.insert(id) {
                let text = format!("{id} ({}) stands among the signatures more than once", known.person);
                return Err(Error::verification("duplicate-signature", text)
                    .hint("nobody who signs honestly does it twice: get the file again from its signers"));
            }
        }
        Ok(Signed { payload, held, unknown: unknown.len() })
    }

    /// Are the signatures enough for all of `roles`? Gives what counts for what.
    fn count(&self, signed: &Signed, roles: &[Role]) -> Result<Vec<RoleSignature>> {
        if roles.is_empty() {
            return Err(Error::verification(
                "no-such-role",
                "no role is demanded, so nothing would be proved",
            ));
        }
        let mut by_role = Vec::new();
        for role in roles.iter().copied().collect::<BTreeSet<_>>() {
            let members = self.roles.get(&role).ok_or_else(|| {
                let text =
                    format!("version {} of the trust root has nobody in the role {role}", self.version);
                Error::verification("no-such-role", text).hint("rotate to a root that names somebody")
            })?;
            let keys: Vec<KeyId> = members.keys.intersection(&signed.held).copied().collect();
            if keys.len() < members.threshold {
                return Err(self.too_few(role, keys.len(), members.threshold, signed.unknown));
            }
            by_role.push((role, members.threshold, keys));
        }
        let one = |role, key| {
            let person = self.keys.get(&key).map(|known| known.person.clone()).unwrap_or_default();
            RoleSignature { role, key, person }
        };
        let mut all: Vec<_> =
            by_role.iter().flat_map(|(role, _, keys)| keys.iter().map(|key| one(*role, *key))).collect();
        if self.distinct_persons {
            let slots: Vec<Role> = by_role
                .iter()
                .flat_map(|(role, threshold, _)| std::iter::repeat_n(*role, *threshold))
                .collect();
            all = assign(&slots, &all).ok_or_else(|| {
                let people: BTreeSet<&str> = all.iter().map(|signature| signature.person.as_str()).collect();
                let people: Vec<&str> = people.into_iter().collect();
                let text = format!(
                    "{} different people must sign here, each in one role; {} did not suffice",
                    slots.len(),
                    people.join(", ")
                );
                Error::verification("same-person-twice", text)
                    .hint("another person with a key in one of the roles has to sign as well")
            })?;
        }
        all.sort();
        Ok(all)
    }

    fn too_few(&self, role: Role, count: usize, threshold: usize, unknown: usize) -> Error {
        let version = self.version;
        let text = format!(
            "{count} of the {threshold} signatures are there that version {version} of the trust root demands for \
             the role {role}"
        );
        if unknown > 0 {
            let text = format!("{text}; {unknown} more are by keys that it does not name");
            return Error::verification("unknown-signer", text)
                .hint("if these keys are new, the newer root has to be installed first");
        }
        Error::verification("too-few-signatures", text)
            .hint("ask whoever has not signed yet; if somebody did, the signature was removed on the way")
    }
}

impl Signed {
    /// The payload once `root` has its own threshold on it. That others signed as well is no clue here:
    /// at a change of hands, each root sees signers that only the other one knows.
    pub(super) fn by_root_role(mut self, root: &Root) -> Result<Vec<u8>> {
        self.unknown = 0;
        root.count(&self, &[Role::Root])?;
        Ok(self.payload)
    }
}

/// Gives every slot a person of its own (a maximum matching by augmenting paths); `None` when there are
/// not enough people. Someone may have signed with several keys and hold several roles, so the first fit
/// would refuse what is right.
fn assign(slots: &[Role], signatures: &[RoleSignature]) -> Option<Vec<RoleSignature>> {
    fn place<'a>(
        slot: usize,
        slots: &[Role],
        signatures: &'a [RoleSignature],
        tried: &mut BTreeSet<&'a str>,
        taken: &mut BTreeMap<&'a str, (usize, &'a RoleSignature)>,
    ) -> bool {
        let role = slots.get(slot);
        for signature in signatures.iter().filter(|signature| role == Some(&signature.role)) {
            let person = signature.person.as_str();
            if !tried.insert(person) {
                continue;
            }
            let holder = taken.get(person).map(|(holder, _)| *holder);
            if holder.is_none_or(|holder| place(holder, slots, signatures, tried, taken)) {
                taken.insert(person, (slot, signature));
                return true;
            }
        }
        false
    }
    let mut taken = BTreeMap::new();
    let all = (0..slots.len()).all(|slot| place(slot, slots, signatures, &mut BTreeSet::new(), &mut taken));
    all.then(|| taken.into_values().map(|(_, signature)| signature.clone()).collect())
}

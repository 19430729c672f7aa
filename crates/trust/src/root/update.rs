//! The first root and every next one (TUF 1.0.34, section 5.3).
//!
//! A root must never replace another unless both say so. Expiry is no refusal here: TUF lets an
//! expired root hand over to its successor (5.3.6), and only the last one is asked (5.3.10).

use cofferdam_types::{Error, Result, Sha256};

use super::{MAX_ROOT_BYTES, ROOT_PAYLOAD_TYPE, Root};
use crate::{Envelope, dsse};

/// The payload of an envelope that says it holds a root: decoded, not believed.
pub(super) fn payload_of(envelope: &Envelope) -> Result<Vec<u8>> {
    if envelope.payload_type != ROOT_PAYLOAD_TYPE {
        return Err(Error::verification("wrong-payload-type", "the envelope does not hold a trust root"));
    }
    // Base64 has four characters for three bytes.
    if envelope.payload.len() > MAX_ROOT_BYTES.div_ceil(3) * 4 {
        return Err(super::bad_root(&format!("it is longer than {MAX_ROOT_BYTES} bytes")));
    }
    dsse::decode_payload(envelope)
}

impl Root {
    /// Believes a first root because a person compared its fingerprint ([`Root::fingerprint`]) with
    /// somebody they trust; it must be signed by its own threshold too. Any version can be the first.
    ///
    /// # Errors
    /// `VerificationFailed`: `root-fingerprint` when it is another root, and as [`Root::verify_roles`];
    /// `Invalid` (`bad-root`, `bad-envelope`).
    pub fn first(envelope: &Envelope, fingerprint: Sha256) -> Result<Self> {
        let payload = payload_of(envelope)?;
        let found = Sha256::of(&payload);
        if found != fingerprint {
            let text = format!("this trust root has the fingerprint {found}, not {fingerprint}");
            return Err(Error::verification("root-fingerprint", text)
                .hint("read the fingerprint aloud with the person who made the root; install no other"));
        }
        Self::self_signed(envelope)
    }

    /// A root that its own threshold signed, and that nobody compared with anything: whoever made up the
    /// keys made up the root. Only for a file that a person named and answers for; where a fingerprint is
    /// known, [`Root::first`] asks for it.
    ///
    /// # Errors
    /// `VerificationFailed` as [`Root::verify_roles`]; `Invalid` (`bad-root`, `bad-envelope`).
    pub fn self_signed(envelope: &Envelope) -> Result<Self> {
        let root = Self::read_unverified(envelope)?;
        root.signatures(envelope, ROOT_PAYLOAD_TYPE)?.by_root_role(&root)?;
        Ok(root)
    }

    /// Follows one step of the chain of roots: `next` must be signed by the threshold of `current`
    /// (5.3.4), be exactly one version newer (5.3.5) and be signed by its own threshold. The caller
    /// stores what this gives in one transaction with whatever else changes, or keeps `current`.
    ///
    /// # Errors
    /// `VerificationFailed`: as [`Root::verify_roles`] for either root (never `unknown-signer`); `root-rollback` (an older
    /// version), `root-skipped` (versions between are missing), `root-equivocation` (the same version
    /// says something else: a majority of root keys was misused). `Conflict` (`root-unchanged`) for the
    /// current root itself. `Invalid` (`bad-root`, `bad-envelope`).
    pub fn rotate(current: &Self, next: &Envelope) -> Result<Self> {
        payload_of(next)?; // Its type and length, before anything is computed over it.
        let payload = current.signatures(next, ROOT_PAYLOAD_TYPE)?.by_root_role(current)?;
        let root = Self::parse(&payload)?;
        check_version(current, &root)?;
        root.signatures(next, ROOT_PAYLOAD_TYPE)?.by_root_role(&root)?;
        Ok(root)
    }
}

fn check_version(current: &Root, next: &Root) -> Result<()> {
    let (have, got) = (current.version, next.version);
    if got < have {
        let text = format!("this is version {got} of the trust root; version {have} is installed");
        return Err(Error::verification("root-rollback", text).hint("a trust root never goes back"));
    }
    if got == have && current == next {
        let text = format!("version {have} of the trust root is installed already");
        return Err(Error::conflict("root-unchanged", text));
    }
    if got == have {
        let text = format!("two different trust roots both call themselves version {have}");
        return Err(Error::verification("root-equivocation", text).hint(
            "holders of root keys signed two different roots: stop, ask each of them, and start again from a \
             fingerprint read aloud",
        ));
    }
    if Some(got) != have.checked_add(1) {
        let text = format!(
            "this is version {got} of the trust root; version {have} is installed, next must come {}",
            have + 1
        );
        return Err(Error::verification("root-skipped", text)
            .hint("install the versions between in their order; the sender has them"));
    }
    Ok(())
}

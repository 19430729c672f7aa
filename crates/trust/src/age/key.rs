//! X25519 keys of age: the secret one that opens, the public one that is sealed to.
//!
//! The secret must never appear in `Debug`, in an error or in a log.

use std::{fmt, path::Path, str::FromStr, sync::Arc};

use aws_lc_rs::{
    agreement::{PrivateKey, UnparsedPublicKey, X25519, agree},
    encoding::{AsBigEndian as _, Curve25519SeedBin},
};
use cofferdam_types::{Error, Result, Secret};

use super::{Entropy, SystemEntropy, bech32};
use crate::{
    keyfile,
    text::{shown, text_in_json},
};

const SECRET_PREFIX: &str = "age-secret-key-";
const PUBLIC_PREFIX: &str = "age";
const BAD_SECRET: &str = "bad-sealing-key";

/// Whom a file is sealed to: the public half of a [`SealingKey`].
///
/// Its text is `age1` and 58 characters of Bech32, as `age -r` takes it; JSON holds the same text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recipient([u8; 32]);

impl Recipient {
    /// Takes the 32 bytes of RFC 7748 section 5. A point of small order is refused when it is used.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(PUBLIC_PREFIX, &self.0))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        let bytes = bech32::decode(PUBLIC_PREFIX, text).filter(|_| lower);
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| {
            Error::invalid("bad-recipient", format!("`{}` is not a recipient of sealed files", shown(text)))
                .hint("a recipient is `age1` and 58 lower-case letters and digits, copied without a change")
        })
    }
}

text_in_json!(Recipient);

/// The secret that opens what was sealed to its [`Recipient`]. `Debug` shows stars and the public half.
#[derive(Clone)]
pub struct SealingKey {
    private: Arc<PrivateKey>,
    recipient: Recipient,
}

impl SealingKey {
    /// Makes a new key from the operating system's randomness.
    ///
    /// # Errors
    /// [`cofferdam_types::ErrorKind::Internal`] when there is no randomness.
    pub fn generate() -> Result<Self> {
        let mut secret = [0; 32];
        SystemEntropy.fill(&mut secret)?;
        Self::from_secret(&secret)
    }

    /// The key whose X25519 scalar (RFC 7748 section 5) is `secret`.
    ///
    /// # Errors
    /// [`cofferdam_types::ErrorKind::Internal`] when the cryptographic library refuses it.
    pub fn from_secret(secret: &[u8; 32]) -> Result<Self> {
        let private = PrivateKey::from_private_key(&X25519, secret)
            .map_err(|e| Error::internal("making a sealing key from its secret", e))?;
        let public = private
            .compute_public_key()
            .map_err(|e| Error::internal("computing the public half of a sealing key", e))?;
        let bytes =
            public.as_ref().try_into().map_err(|e| Error::internal("a public half of 32 bytes", e))?;
        Ok(Self { private: Arc::new(private), recipient: Recipient(bytes) })
    }

    /// Reads `AGE-SECRET-KEY-1...`.
    ///
    /// # Errors
    /// `Invalid` (`bad-sealing-key`) when it is anything else; the text is not repeated in the error.
    pub fn from_secret_text(text: &str) -> Result<Self> {
        let upper = !text.bytes().any(|b| b.is_ascii_lowercase());
        let bytes = bech32::decode(SECRET_PREFIX, text).filter(|_| upper);
        let secret: [u8; 32] = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
            Error::invalid(BAD_SECRET, "this is not a sealing key: a line `AGE-SECRET-KEY-1...` is expected")
        })?;
        Self::from_secret(&secret)
    }

    /// The key as `AGE-SECRET-KEY-1...`, which `age -i` reads.
    ///
    /// # Errors
    /// `Internal` when the cryptographic library does not give the secret out.
    pub fn to_secret_text(&self) -> Result<Secret<String>> {
        let raw: Curve25519SeedBin<'static> =
            self.private.as_be_bytes().map_err(|e| Error::internal("encoding a sealing key", e))?;
        Ok(Secret::new(bech32::encode(SECRET_PREFIX, raw.as_ref()).to_ascii_uppercase()))
    }

    /// The public half.
    #[must_use]
    pub const fn recipient(&self) -> Recipient {
        self.recipient
    }

    /// Writes the key as a new file of mode 0600, durable before this returns; `age -i` reads it.
    ///
    /// # Errors
    /// `Conflict` (`key-exists`) when the file is already there: it is left as it is.
    pub fn write_new(&self, path: &Path) -> Result<()> {
        let text = format!("# public key: {}\n{}\n", self.recipient, self.to_secret_text()?.expose());
        keyfile::write_private(path, &text)
    }

    /// Reads a key that [`SealingKey::write_new`] or `age-keygen -o` wrote.
    ///
    /// # Errors
    /// `NotFound` when there is no file, `Invalid` (`bad-sealing-key`, `key-file-mode`) when it does
    /// not hold exactly one X25519 key or others may read it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = keyfile::read_private(path, BAD_SECRET)?;
        let mut keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let wrong = |why: &str| {
            Error::invalid(BAD_SECRET, format!("{} is not a sealing key file: {why}", path.display())).hint(
                "it holds one line `AGE-SECRET-KEY-1...`, as `age-keygen` writes it, without a passphrase",
            )
        };
        match (keys.next(), keys.next()) {
            (Some(key), None) => {
                Self::from_secret_text(key).map_err(|_| wrong("its line is not an X25519 key"))
            }
            (Some(_), Some(_)) => Err(wrong("it holds more than one line")),
            (None, _) => Err(wrong("it holds no key")),
        }
    }

    /// Runs X25519 with a public half; `None` for a point of small order (the shared secret is zero).
    pub(super) fn agree<T>(
        &self,
        with: &Recipient,
        then: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Option<Result<T>> {
        let peer = UnparsedPublicKey::new(&X25519, with.as_bytes());
        let zero = |secret: &[u8]| secret.iter().all(|b| *b == 0);
        let done =
            agree(&self.private, peer, (), |secret| if zero(secret) { Err(()) } else { Ok(then(secret)) });
        done.ok()
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey(*** of {})", self.recipient)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt as _,
    };

    use super::*;

    #[test]
    fn the_key_pair_of_the_specification_belongs_together() {
        let text = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
        let key = SealingKey::from_secret_text(text).unwrap();
        assert_eq!(key.to_secret_text().unwrap().expose(), text);
        let public = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
        assert_eq!(key.recipient().to_string(), public);
        assert_eq!(serde_json::to_string(&key.recipient()).unwrap(), format!("\"{public}\""));
        assert_eq!(serde_json::from_str::<Recipient>(&format!("\"{public}\"")).unwrap(), key.recipient());
        let shown = format!("{key:?} {:?}", key.to_secret_text().unwrap());
        assert!(shown.contains("***") && !shown.contains("SECRET"), "{shown}");
    }

    #[test]
    fn loose_forms_are_refused_and_a_secret_is_never_repeated() {
        let key = SealingKey::from_secret(&[9; 32]).unwrap();
        let (public, secret) = (key.recipient().to_string(), key.to_secret_text().unwrap());
        for wrong in ["", "age1", &public.to_uppercase(), &public[..61], secret.expose()] {
            let error = wrong.parse::<Recipient>().unwrap_err();
            assert_eq!(error.code(), "bad-recipient", "{wrong}");
            assert!(!error.message().contains("SECRET"), "{error}");
        }
        for wrong in ["", &secret.expose().to_lowercase(), &secret.expose()[1..], &public] {
            let error = SealingKey::from_secret_text(wrong).unwrap_err();
            assert_eq!(error.code(), "bad-sealing-key");
            assert!(wrong.is_empty() || !error.message().contains(wrong));
        }
    }

    #[test]
    fn a_key_file_is_private_and_holds_one_key() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("seal.key");
        assert_eq!(SealingKey::read(&path).unwrap_err().code(), "not-found");
        let key = SealingKey::generate().unwrap();
        key.write_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SealingKey::read(&path).unwrap().recipient(), key.recipient());
        assert_eq!(key.write_new(&path).unwrap_err().code(), "key-exists");

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(SealingKey::read(&path).unwrap_err().code(), "key-file-mode");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let line = key.to_secret_text().unwrap().expose().clone();
        for wrong in [String::new(), "# only\n".into(), format!("{line}\n{line}\n"), "AGE-PLUGIN-X-1Q".into()]
        {
            fs::write(&path, wrong).unwrap();
            assert_eq!(SealingKey::read(&path).unwrap_err().code(), "bad-sealing-key");
        }
    }
}

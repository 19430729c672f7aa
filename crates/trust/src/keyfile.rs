//! Private keys on disk, mode 0600; signing keys as PKCS#8 in PEM.
//!
//! An existing key file must never be overwritten, and half of one must never appear.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_types::{Error, Result};

use crate::SigningKey;

/// A key file may be at most this long (bytes); a real one has 119.
const MAX_KEY_FILE_BYTES: u64 = 4096;
const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
const BAD_KEY: &str = "bad-private-key";

impl SigningKey {
    /// Writes the key as a new file of mode 0600, durable before this returns.
    ///
    /// # Errors
    /// `Conflict` (`key-exists`) when the file is already there: it is left as it is.
    pub fn write_new(&self, path: &Path) -> Result<()> {
        write_private(path, &format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(self.to_pkcs8_der()?)))
    }

    /// Reads a key that [`SigningKey::write_new`] or `openssl genpkey -algorithm ed25519` wrote.
    ///
    /// # Errors
    /// `NotFound` when there is no file, `Invalid` (`bad-private-key`, `key-file-mode`) when it is no
    /// key or others may read it.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |why: &str| wrong(path, BAD_KEY, why);
        let text = read_private(path, BAD_KEY)?;
        let body = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let body: String = body.ok_or_else(|| wrong("it is not PEM"))?.split_ascii_whitespace().collect();
        Self::from_pkcs8_der(&STANDARD.decode(body).map_err(|_| wrong("its base64 is damaged"))?)
    }
}

/// Writes a secret text as a new file of mode 0600, durable before this returns.
///
/// # Errors
/// `Conflict` (`key-exists`) when the file is already there: it is left as it is.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let at = |what: &str| format!("{what} the key file {}", path.display());
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draw = [0; 8];
    aws_lc_rs::rand::fill(&mut draw).map_err(|e| Error::internal("drawing randomness for a name", e))?;
    let temporary = dir.join(format!(".key-{}.new", hex::encode(draw)));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A hard link, unlike a rename, fails when the name is taken: no race, no overwriting.
        fs::hard_link(&temporary, path)
    })();
    let _ = fs::remove_file(&temporary);
    match written {
        Ok(()) => File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(at("syncing"), e)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::conflict("key-exists", format!("there is already a key at {}", path.display()))
                .hint("a key is never overwritten; choose another name or move the old key away"))
        }
        Err(e) => Err(Error::io(at("writing"), e)),
    }
}

/// Reads a secret text that nobody else may read; `code` is that of a file which is no key.
///
/// # Errors
/// `NotFound` when there is no file, `Invalid` (`key-file-mode`, or `code` when it is too long or no text).
pub(crate) fn read_private(path: &Path, code: &'static str) -> Result<String> {
    let read = || -> std::io::Result<(u32, String)> {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut text = String::new();
        file.take(MAX_KEY_FILE_BYTES + 1).read_to_string(&mut text)?;
        Ok((mode, text))
    };
    let (mode, text) = read().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::not_found(format!("there is no key file {}", path.display())),
        std::io::ErrorKind::InvalidData => wrong(path, code, "it is not text"),
        _ => Error::io(format!("reading the key file {}", path.display()), e),
    })?;
    if mode & 0o077 != 0 {
        let text = format!("others may read the key file {}", path.display());
        return Err(Error::invalid("key-file-mode", text).hint("run `chmod 600` on it"));
    }
    if text.len() as u64 > MAX_KEY_FILE_BYTES {
        return Err(wrong(path, code, "it is longer than 4096 bytes"));
    }
    Ok(text)
}

fn wrong(path: &Path, code: &'static str, why: &str) -> Error {
    Error::invalid(code, format!("{} is not a private key file: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("site.key");
        let key = SigningKey::generate().unwrap();
        key.write_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SigningKey::read(&path).unwrap().id(), key.id());

        let second = SigningKey::generate().unwrap();
        assert_eq!(second.write_new(&path).unwrap_err().code(), "key-exists");
        assert_eq!(SigningKey::read(&path).unwrap().id(), key.id());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_damaged_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("site.key");
        assert!(SigningKey::read(&path).is_err());
        SigningKey::generate().unwrap().write_new(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(SigningKey::read(&path).unwrap_err().code(), "key-file-mode");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hello").unwrap();
        assert_eq!(SigningKey::read(&path).unwrap_err().code(), "bad-private-key");
        fs::write(&path, vec![b'a'; 5000]).unwrap();
        assert_eq!(SigningKey::read(&path).unwrap_err().code(), "bad-private-key");
    }
}

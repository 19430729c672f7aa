//! Bearer tokens: random, and kept by whoever checks them as a hash only.
//!
//! A token has 192 bits of randomness, so a plain SHA-256 hides it well enough; a slow password hash
//! would only slow every request down. This module must never keep or print a token.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cofferdam_types::{Error, Result, Secret, Sha256};

/// What the tokens of people and jobs begin with, so that secret scanners find one that leaked.
pub const PREFIX: &str = "cfd_";
/// What a runner's token begins with: stock runners take it for one made by the server (their
/// `register` command tells the two kinds of tokens apart by it).
pub const RUNNER_PREFIX: &str = "glrt-";

/// Makes a token: the prefix and 24 random bytes in URL-safe base64.
///
/// # Errors
/// `Internal` when the system's random generator fails.
pub fn generate(prefix: &str) -> Result<Secret<String>> {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|e| Error::internal("the random generator", e))?;
    Ok(Secret::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// The form in which a token is kept: SHA-256 in hexadecimal digits.
#[must_use]
pub fn hash(token: &str) -> String {
    Sha256::of(token.as_bytes()).to_hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_are_alike_and_none_can_be_printed() {
        let (a, b) = (generate(PREFIX).unwrap(), generate(PREFIX).unwrap());
        assert_ne!(a.expose(), b.expose());
        assert!(a.expose().starts_with("cfd_") && a.expose().len() == 36);
        assert_eq!(format!("{a:?}"), "***");
        assert_eq!(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}

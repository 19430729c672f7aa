//! Digests in one spelling, `algorithm:hex`. What cannot be one is left out, never repaired.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Base64 with or without its padding: lock files have both.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `sha256:…` from an algorithm's name and hex digits.
pub(crate) fn of_hex(algorithm: &str, hex: &str) -> Option<String> {
    let algorithm = algorithm.trim().to_ascii_lowercase().replace('-', "");
    let length = match algorithm.as_str() {
        "md5" => 32,
        "sha1" => 40,
        "sha224" => 56,
        "sha256" => 64,
        "sha384" => 96,
        "sha512" | "blake2b" => 128,
        _ => return None,
    };
    let hex = hex.trim();
    (hex.len() == length && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| format!("{algorithm}:{}", hex.to_ascii_lowercase()))
}

/// From `algorithm:hex`.
pub(crate) fn of_pair(text: &str) -> Option<String> {
    let (algorithm, hex) = text.split_once(':')?;
    of_hex(algorithm, hex)
}

/// From an integrity string (W3C Subresource Integrity): `sha512-base64?options` with spaces between.
pub(crate) fn of_integrity(text: &str) -> Vec<String> {
    let one = |part: &str| {
        let (algorithm, value) = part.split_once('-')?;
        let value = value.split('?').next()?;
        of_hex(algorithm, &base64_to_hex(value)?)
    };
    text.split_ascii_whitespace().take(16).filter_map(one).collect()
}

/// Hex of base64.
pub(crate) fn base64_to_hex(text: &str) -> Option<String> {
    if text.len() > 256 {
        return None;
    }
    LENIENT.decode(text).ok().map(hex::encode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_length_of_a_digest_is_one() {
        assert_eq!(
            of_pair(&format!("SHA256:{}", "AB".repeat(32))),
            Some(format!("sha256:{}", "ab".repeat(32)))
        );
        assert_eq!(of_pair("sha256:abcd"), None);
        assert_eq!(of_pair(&format!("rot13:{}", "ab".repeat(32))), None);
        let text = "sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA= sha512-zzz";
        assert_eq!(of_integrity(text), [format!("sha1:{}", "00".repeat(20))]);
    }
}

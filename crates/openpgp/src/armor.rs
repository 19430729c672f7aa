//! ASCII armor (RFC 9580, section 6): base64 between two lines. The checksum is skipped, as the RFC allows: what is inside
//! is signed. Must never take text outside of its lines for part of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_types::Result;

use crate::bad;

/// What may stand in the first line.
pub const SIGNATURE: &str = "SIGNATURE";
/// The same of keyrings.
pub const KEYS: &str = "PUBLIC KEY BLOCK";

/// Blocks of one file at the most.
const MOST_BLOCKS: usize = 512;

/// Whether bytes are armored: every binary packet begins with its first bit set (section 4.2).
pub fn is_armored(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0x80 == 0)
}

/// The bytes of all blocks of one label, one after the other. Text around blocks is skipped, as people write there what
/// a key is.
///
/// # Errors
/// `Invalid` when there is no such block, or one that is not whole.
pub fn blocks(text: &str, label: &str) -> Result<Vec<u8>> {
    let begin = format!("-----BEGIN PGP {label}-----");
    let mut out = Vec::new();
    let mut found = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_end() != begin {
            continue;
        }
        found += 1;
        if found > MOST_BLOCKS {
            return Err(bad(format!("more than {MOST_BLOCKS} armored blocks")));
        }
        out.extend(one(&mut lines, label)?);
    }
    if found == 0 {
        return Err(bad(format!("no line `{begin}`")));
    }
    Ok(out)
}

/// The bytes of a block whose first line was read.
///
/// # Errors
/// `Invalid` when it is not whole.
pub fn one<'a>(lines: &mut impl Iterator<Item = &'a str>, label: &str) -> Result<Vec<u8>> {
    let end = format!("-----END PGP {label}-----");
    let (mut body, mut headers) = (String::new(), true);
    for line in lines {
        let line = line.trim();
        if line == end {
            return STANDARD.decode(body).map_err(|_| bad("its armor is not base64"));
        }
        if headers {
            if line.is_empty() {
                headers = false;
                continue;
            }
            if line.contains(": ") || line.ends_with(':') {
                continue;
            }
            // Some write no empty line where there are no headers.
            headers = false;
        }
        // The checksum begins with a sign that no line of base64 begins with.
        if !line.starts_with('=') {
            body.push_str(line);
        }
    }
    Err(bad(format!("no line `{end}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_with_and_without_headers_and_checksum() {
        for text in [
            "-----BEGIN PGP SIGNATURE-----\nVersion: x\nComment:\n\naGVs\nbG8=\n=abcd\n-----END PGP SIGNATURE-----\n",
            "what it is\r\n-----BEGIN PGP SIGNATURE-----\r\n\r\naGVsbG8=\r\n-----END PGP SIGNATURE-----",
            "-----BEGIN PGP SIGNATURE-----\naGVsbG8=\n-----END PGP SIGNATURE-----\nmore",
        ] {
            assert_eq!(blocks(text, SIGNATURE).unwrap(), b"hello", "{text}");
            assert!(blocks(text, KEYS).is_err());
        }
        let twice = "-----BEGIN PGP SIGNATURE-----\n\naGVs\n-----END PGP SIGNATURE-----\n".repeat(2);
        assert_eq!(blocks(&twice, SIGNATURE).unwrap(), b"helhel");
    }

    #[test]
    fn a_block_without_its_end_or_with_other_signs_is_refused() {
        for text in [
            "",
            "aGVs",
            "-----BEGIN PGP SIGNATURE-----\n\naGVs\n",
            "-----BEGIN PGP SIGNATURE-----\n\n!!\n-----END PGP SIGNATURE-----",
        ] {
            assert_eq!(blocks(text, SIGNATURE).unwrap_err().code(), "bad-openpgp", "{text}");
        }
    }
}

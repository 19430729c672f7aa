//! Digests that came with the bytes, in the headers that clients and servers use.
//!
//! `Content-Digest` and `Repr-Digest` (RFC 9530), `Digest` (RFC 3230), `X-Checksum-<algorithm>`
//! and plain `Content-MD5` (RFC 1864). A header that we cannot read is refused, not skipped:
//! whoever sent it counts on the check.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_types::{Digests, Error, Result};
use http::HeaderMap;

/// Checks every declared digest against the bytes that were stored.
///
/// # Errors
/// `VerificationFailed` (`digest-mismatch`) when one differs, `Invalid` (`digest-header`) when one
/// cannot be read.
pub fn check(headers: &HeaderMap, digests: &Digests) -> Result<()> {
    for (algorithm, hex) in [
        ("sha256", digests.sha256.to_hex()),
        ("sha512", digests.sha512.clone()),
        ("sha1", digests.sha1.clone()),
        ("md5", digests.md5.clone()),
    ] {
        let name = format!("x-checksum-{algorithm}");
        for value in headers.get_all(&name) {
            let declared = text(value, &name)?.trim().to_ascii_lowercase();
            compare(&name, &declared, &hex)?;
        }
    }
    for name in ["content-digest", "repr-digest", "digest"] {
        for value in headers.get_all(name) {
            for member in text(value, name)?.split(',') {
                check_member(name, member.trim(), digests)?;
            }
        }
    }
    for value in headers.get_all("content-md5") {
        compare("content-md5", &decode("content-md5", text(value, "content-md5")?)?, &digests.md5)?;
    }
    Ok(())
}

/// One `algorithm=value` of a digest header. Algorithms that we do not compute are let pass, as
/// both standards ask, for senders may name several.
fn check_member(header: &str, member: &str, digests: &Digests) -> Result<()> {
    let (algorithm, value) = member.split_once('=').ok_or_else(|| unreadable(header))?;
    let ours = match algorithm.to_ascii_lowercase().as_str() {
        "sha-256" => digests.sha256.to_hex(),
        "sha-512" => digests.sha512.clone(),
        "sha" => digests.sha1.clone(),
        "md5" => digests.md5.clone(),
        _ => return Ok(()),
    };
    compare(header, &decode(header, value.trim_matches(':'))?, &ours)
}

fn text<'a>(value: &'a http::HeaderValue, header: &str) -> Result<&'a str> {
    value.to_str().map_err(|_| unreadable(header))
}

fn decode(header: &str, base64: &str) -> Result<String> {
    let bytes = STANDARD.decode(base64.trim()).map_err(|_| unreadable(header))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn compare(header: &str, declared: &str, ours: &str) -> Result<()> {
    if declared == ours {
        return Ok(());
    }
    let text = format!("the bytes that arrived have the digest {ours}, not the one that `{header}` declares");
    Err(Error::verification("digest-mismatch", text).hint("send the file again; nothing of it was kept"))
}

fn unreadable(header: &str) -> Error {
    Error::invalid("digest-header", format!("the header `{header}` cannot be read as a digest"))
}

//! The smallest PKCS#12 file that Java takes for a trust store: certificates in the clear, without a
//! password and without an integrity code (RFC 7292, section 4; both are optional there).
//!
//! A certificate is public, and the file lies in a sandbox that its maker controls: there is nothing to
//! encrypt. So this needs no cryptography, only lengths. Java takes an entry for trusted by an attribute of
//! its own, `trustedKeyUsage`. Must never be given a key.

/// `1.2.840.113549.1.7.1`, data.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// `1.2.840.113549.1.12.10.1.3`, a bag with a certificate.
const CERT_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
/// `1.2.840.113549.1.9.22.1`, an X.509 certificate.
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
/// `1.2.840.113549.1.9.20`, the name under which it is listed.
const FRIENDLY_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x14];
/// `2.16.840.1.113894.746875.1.1`, Java's mark of a trusted certificate.
const TRUSTED_KEY_USAGE: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 0x01, 0x01];
/// `2.5.29.37.0`, for any purpose.
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, explicit.
const ZERO: u8 = 0xa0;

/// A trust store with one certificate (DER), listed under a name.
pub fn trust_store(certificate: &[u8], name: &str) -> Vec<u8> {
    let utf16: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let attributes = [
        attribute(FRIENDLY_NAME, &tlv(BMP_STRING, &[&utf16])),
        attribute(TRUSTED_KEY_USAGE, &tlv(OID, &[ANY_USAGE])),
    ];
    let certificate = tlv(ZERO, &[&tlv(OCTETS, &[certificate])]);
    let bag = tlv(SEQUENCE, &[&tlv(OID, &[X509]), &certificate]);
    let [friendly, trusted] = &attributes;
    let safe_bag =
        tlv(SEQUENCE, &[&tlv(OID, &[CERT_BAG]), &tlv(ZERO, &[&bag]), &tlv(SET, &[friendly, trusted])]);
    let contents = content(&tlv(SEQUENCE, &[&safe_bag]));
    let authenticated = content(&tlv(SEQUENCE, &[&contents]));
    tlv(SEQUENCE, &[&tlv(INTEGER, &[&[3]]), &authenticated])
}

/// `ContentInfo` of type data.
fn content(bytes: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[&tlv(OID, &[DATA]), &tlv(ZERO, &[&tlv(OCTETS, &[bytes])])])
}

fn attribute(oid: &[u8], value: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[&tlv(OID, &[oid]), &tlv(SET, &[value])])
}

/// Tag, length and value (X.690, section 8.1); definite lengths only.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = vec![tag];
    let bytes = length.to_be_bytes();
    let significant: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
    match (u8::try_from(length), u8::try_from(significant.len())) {
        (Ok(short), _) if short < 0x80 => out.push(short),
        (_, Ok(many)) => {
            out.push(0x80 | many);
            out.extend(significant);
        }
        // Eight bytes hold every length there is.
        _ => {}
    }
    parts.iter().for_each(|p| out.extend_from_slice(p));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_the_shortest_form() {
        let head = |n: usize| tlv(OCTETS, &[&vec![0; n]])[..4.min(n + 2)].to_vec();
        assert_eq!(head(2), [4, 2, 0, 0]);
        assert_eq!(head(127), [4, 127, 0, 0]);
        assert_eq!(head(128), [4, 0x81, 128, 0]);
        assert_eq!(head(300), [4, 0x82, 1, 44]);
    }
}

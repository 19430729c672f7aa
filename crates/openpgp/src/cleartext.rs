//! Cleartext signed messages (RFC 9580, section 7): `InRelease`.
//!
//! What is returned is what is signed, and nothing else of the file: a file with a line before or after is refused, so
//! that no reader takes for signed what is not.

use cofferdam_types::Result;

use crate::{armor, bad};

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// A text and its signatures' packets.
#[derive(Debug)]
pub struct Signed {
    /// The text, line ends as `\n`, none at its end; without white space at the ends of lines.
    pub text: String,
    /// The signatures.
    pub signatures: Vec<u8>,
}

/// Takes a message apart.
///
/// # Errors
/// `Invalid` (`bad-openpgp`) when it is none, or when something stands around it.
pub fn read(text: &str) -> Result<Signed> {
    let mut lines = text.lines();
    if lines.next().map(ended) != Some(BEGIN) {
        return Err(bad("it does not begin as a signed message"));
    }
    loop {
        match lines.next().map(ended) {
            Some("") => break,
            Some(line) if line.starts_with("Hash: ") => {}
            _ => return Err(bad("a header of the signed message is not known here")),
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut first = true;
    loop {
        let Some(line) = lines.next() else { return Err(bad("the signed message has no signature")) };
        if ended(line) == SIGNATURE {
            break;
        }
        // A line that begins with a dash is escaped, and no other has to be.
        let line = match line.strip_prefix("- ") {
            Some(rest) => rest,
            None if line.starts_with('-') => return Err(bad("a line of the signed message is not escaped")),
            None => line,
        };
        if !first {
            out.push('\n');
        }
        first = false;
        out.push_str(ended(line));
    }
    let signatures = armor::one(&mut lines, armor::SIGNATURE)?;
    if lines.any(|line| !line.trim().is_empty()) {
        return Err(bad("something stands behind the signed message"));
    }
    Ok(Signed { text: out, signatures })
}

/// A line without the white space at its end, which is not signed (section 7.2).
fn ended(line: &str) -> &str {
    line.trim_end_matches([' ', '\t', '\r'])
}

/// A text with the line ends that are signed.
pub fn canonical(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "-----BEGIN PGP SIGNATURE-----\n\naGk=\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn dashes_white_space_and_line_ends_are_read_as_they_were_signed() {
        let message = format!("{BEGIN}\nHash: SHA512\n\none  \t\n- -----dash\n- - twice\n\nlast \n{TAIL}");
        let signed = read(&message).unwrap();
        assert_eq!(
            (signed.text.as_str(), signed.signatures.as_slice()),
            ("one\n-----dash\n- twice\n\nlast", &b"hi"[..])
        );
        assert_eq!(read(&message.replace('\n', "\r\n")).unwrap().text, signed.text);
        assert_eq!(canonical("a\n\nb"), b"a\r\n\r\nb");
        assert_eq!(read(&format!("{BEGIN}\n\n{TAIL}")).unwrap().text, "");
    }

    #[test]
    fn what_stands_around_a_message_or_is_not_escaped_refuses_it() {
        let sound = format!("{BEGIN}\nHash: SHA256\n\ntext\n{TAIL}");
        assert!(read(&sound).is_ok());
        for wrong in [
            format!("Suite: evil\n{sound}"),
            format!("{sound}Suite: evil\n"),
            sound.replace("Hash: SHA256", "Suite: evil"),
            sound.replace("text", "-text"),
            sound.replace("text", BEGIN),
            sound.replace(TAIL, ""),
            sound.replace("-----END PGP SIGNATURE-----\n", ""),
        ] {
            assert_eq!(read(&wrong).unwrap_err().code(), "bad-openpgp", "{wrong}");
        }
    }
}

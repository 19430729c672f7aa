//! Why a transfer is refused: a stable code, the file, where it can be found the place, and advice.

use std::fmt;

use cofferdam_types::{Error, ErrorKind, printable};

/// A refused transfer. `Display` is one sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Stable, kebab-case; listed in the specification.
    pub code: &'static str,
    /// File inside the transfer, when one is to blame. Control characters are escaped.
    pub file: Option<String>,
    /// Byte offset in that file where the damage starts, when known.
    pub offset: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub hint: String,
    pub(crate) kind: ErrorKind,
}

impl Refusal {
    pub(crate) fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        let hint = match kind {
            ErrorKind::MissingVolume => {
                "insert the medium that holds it, copy it again, or write a repair request"
            }
            _ => "do not use this copy; copy the folder again, and ask the sending site if it stays refused",
        };
        let message = printable(message.into());
        Self { code, file: None, offset: None, message, hint: hint.to_owned(), kind }
    }

    /// Something in the transfer that a writer of transfers never makes: refused like a bad signature.
    pub(crate) fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::VerificationFailed, code, message)
    }

    pub(crate) fn failed(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::VerificationFailed, code, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        let hint = "the limits stand in docs/spec/transfer-v1.md; split the transfer";
        Self::new(ErrorKind::VerificationFailed, "too-large", message).hint(hint)
    }

    pub(crate) fn io(file: &str, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Unavailable, "unreadable", format!("the medium cannot be read: {error}"))
            .at(file)
    }

    pub(crate) fn at(mut self, file: &str) -> Self {
        self.file = Some(file.escape_debug().take(200).collect());
        self
    }

    pub(crate) fn offset(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(crate) fn hint(mut self, hint: &str) -> Self {
        hint.clone_into(&mut self.hint);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.offset) {
            (Some(file), Some(offset)) => write!(f, "{file} at byte {offset}: {}", self.message),
            (Some(file), None) => write!(f, "{file}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind, refusal.code, refusal.to_string()).hint(refusal.hint)
    }
}

/// An error of the trust crate about something in a transfer keeps its code and sentence. What is malformed
/// or too long there was not typed by a person: it did not pass the check.
pub fn from_error(error: &Error, file: &str) -> Refusal {
    let kind = match error.kind() {
        ErrorKind::Invalid | ErrorKind::TooLarge | ErrorKind::Conflict => ErrorKind::VerificationFailed,
        kind => kind,
    };
    let refusal = Refusal::new(kind, error.code(), error.message()).at(file);
    match error.advice() {
        Some(advice) => refusal.hint(advice),
        None => refusal,
    }
}

//! One error for everything that crosses a crate border.
//!
//! Three audiences read it. The *caller* gets `code`, `message` and `hint`: what, where, why, and
//! what to do next. The *operator* gets `source`, in the log only. The *program* gets `kind`,
//! which the HTTP edge maps to a status and the command line to an exit code, each in one place.
//! There is deliberately no way to print the source by accident: [`std::fmt::Display`] shows the
//! public half only.

use std::fmt;

/// What sort of failure this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request or file is wrong; the same input will always fail.
    Invalid,
    /// Nobody, or nobody known, is asking.
    Unauthenticated,
    /// The person is known and may not do this.
    Forbidden,
    /// There is no such thing, or the caller may not know that there is.
    NotFound,
    /// It contradicts what is already there.
    Conflict,
    /// A bound was passed.
    TooLarge,
    /// A signature, digest or proof does not hold.
    VerificationFailed,
    /// A rule of the site refuses it.
    PolicyRefused,
    /// Somebody has to approve first.
    AwaitingApproval,
    /// Part of a transfer is not there.
    MissingVolume,
    /// The data needed to decide is too old.
    Stale,
    /// The disk or the quota is full.
    NoSpace,
    /// Try again later: a lease is held, an upstream is away, a limit is reached.
    Unavailable,
    /// A fault of ours.
    Internal,
}

impl ErrorKind {
    /// The exit code of every program of the house. The numbers are an interface: scripts rely on them.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Invalid => 2,
            Self::VerificationFailed => 3,
            Self::PolicyRefused | Self::Forbidden => 4,
            Self::AwaitingApproval => 5,
            Self::MissingVolume => 6,
            Self::Stale => 7,
            Self::NoSpace => 8,
            Self::Unauthenticated
            | Self::NotFound
            | Self::Conflict
            | Self::TooLarge
            | Self::Unavailable
            | Self::Internal => 1,
        }
    }
}

/// A text that a terminal may be shown: every control character but the newline becomes U+FFFD.
///
/// Errors repeat pieces of what was refused, and that may come from a medium nobody has verified: an escape
/// sequence in it must never move a cursor, clear a screen or paint over what stands there.
#[must_use]
pub fn printable(text: String) -> String {
    let forbidden = |c: char| c.is_control() && c != '\n';
    if text.contains(forbidden) { text.replace(forbidden, "\u{fffd}") } else { text }
}

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A failure with a public half and an internal half. See the module's first lines.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    hint: Option<String>,
    source: Option<Source>,
}

/// The result of anything that can fail across a crate border.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure with a stable machine-readable `code` (`kebab-case`) and a public sentence. Control
    /// characters of the sentence are replaced, see [`printable`].
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        let message = printable(message.into());
        Self(Box::new(Inner { kind, code, message, hint: None, source: None }))
    }

    /// Wrong input.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, message)
    }

    /// No such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, "not-found", message)
    }

    /// It contradicts what is there.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, message)
    }

    /// A known person may not do this.
    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, code, message)
    }

    /// A digest, signature or proof does not hold.
    pub fn verification(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::VerificationFailed, code, message)
    }

    /// A fault of ours: `context` goes to the log, the caller only learns that it happened.
    pub fn internal(context: impl Into<String>, source: impl Into<Source>) -> Self {
        let context: String = context.into();
        let source: Source = source.into();
        Self::new(ErrorKind::Internal, "internal", "the site failed to do this; its log says why")
            .with_source(Context { context, source })
    }

    /// A failed operation on a file. `ENOSPC` and `EDQUOT` become [`ErrorKind::NoSpace`].
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        if matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            return Self::new(
                ErrorKind::NoSpace,
                "no-space",
                format!("no space left while {}", context.into()),
            )
            .hint("free space in the site's state folder, then try again; nothing half-written was kept")
            .with_source(source);
        }
        Self::internal(context, source)
    }

    /// What to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(printable(hint.into()));
        self
    }

    /// The inner cause, for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The sort of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The public sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The public advice, if there is one.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The internal half as one line for the log: causes joined by `: `.
    #[must_use]
    pub fn internal_chain(&self) -> String {
        let mut out = self.0.message.clone();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            out.push_str(": ");
            out.push_str(&cause.to_string());
            next = cause.source();
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}: {}", self.0.kind, self.0.code, self.internal_chain())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

/// A sentence of ours in front of somebody else's error.
struct Context {
    context: String,
    source: Source,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Context {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_half_never_shows_the_cause() {
        let error = Error::internal("reading row 7", std::io::Error::other("secret path"));
        assert!(!error.to_string().contains("secret"));
        assert!(error.internal_chain().contains("reading row 7: secret path"));
    }

    #[test]
    fn what_came_from_a_strange_medium_cannot_steer_a_terminal() {
        let hostile = "unknown field `\u{1b}[2J\u{9b}1A\r\u{7}\tSOUND`\nnext line";
        let error = Error::invalid("bad", hostile).hint("do \u{1b}[31mthis");
        let expected = "unknown field `\u{fffd}[2J\u{fffd}1A\u{fffd}\u{fffd}\u{fffd}SOUND`\nnext line";
        assert_eq!((error.message(), error.to_string().as_str()), (expected, expected));
        assert_eq!(error.advice(), Some("do \u{fffd}[31mthis"));
    }

    #[test]
    fn exit_codes_are_an_interface() {
        let code = |kind: ErrorKind| kind.exit_code();
        assert_eq!([code(ErrorKind::Invalid), code(ErrorKind::VerificationFailed)], [2, 3]);
        assert_eq!([code(ErrorKind::PolicyRefused), code(ErrorKind::Forbidden)], [4, 4]);
        assert_eq!([code(ErrorKind::AwaitingApproval), code(ErrorKind::MissingVolume)], [5, 6]);
        assert_eq!([code(ErrorKind::Stale), code(ErrorKind::NoSpace)], [7, 8]);
        assert_eq!([code(ErrorKind::Internal), code(ErrorKind::Unavailable)], [1, 1]);
    }

    #[test]
    fn a_full_disk_is_not_an_internal_error() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = Error::io("storing a blob", full);
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.advice().is_some());
    }
}

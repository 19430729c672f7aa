//! What was asked, for people: a line each. Must never hold a credential.

/// One request, or one connection that never became one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The method; empty when it did not come to a request.
    pub method: String,
    /// The address without credentials, or host and port when it did not come to a request.
    pub url: String,
    /// The status that the client was given.
    pub status: Option<u16>,
    /// Bytes of the body that it was given.
    pub bytes: u64,
    /// The digest of the kept body, as `sha256:…`.
    pub digest: Option<String>,
    /// Why it was refused, or broken off before its end; none when it was answered from what is kept.
    pub refused: Option<String>,
    /// Who asked, as [`crate::Destination::asked_by`] says.
    pub by: Option<String>,
}

/// Told of every request at its end.
pub trait Report: Send + Sync {
    /// Something was asked.
    fn request(&self, asked: Asked);
}

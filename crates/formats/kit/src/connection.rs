//! What the connection said on which an answer came: evidence for people, and nothing that is decided by.
//!
//! It is the word of the site that recorded it. Must never hold anything of the request.

use std::net::SocketAddr;

use cofferdam_types::{Sha256, Timestamp};
use serde::{Deserialize, Serialize};

/// Certificates of a chain at the most; a server sends two or three.
const MAX_CHAIN: usize = 16;

/// Bytes of a name in a certificate at the most that are kept.
pub const MAX_NAME: usize = 512;

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The other end; none where a proxy was in between, whose address says nothing of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// None over a plain line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// What TLS proved when the answer came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The protocol's version, such as `1.3`; empty when it is not known.
    pub version: String,
    /// SHA-256 of each certificate that the server sent, its own first.
    pub chain: Vec<Sha256>,
    /// Whose certificate it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

impl Connection {
    /// Whether this could have been recorded: for what a transfer claims.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let name = |text: &str| text.len() <= MAX_NAME && !text.chars().any(char::is_control);
        self.tls.as_ref().is_none_or(|tls| {
            matches!(tls.version.as_str(), "" | "1.2" | "1.3")
                && (1..=MAX_CHAIN).contains(&tls.chain.len())
                && name(&tls.subject)
                && name(&tls.issuer)
        })
    }
}

//! What a sandbox dials, answered by the site: TLS ended with an authority of one recording's own.
//!
//! A sandbox hands each outgoing connection to [`Gateway::serve`], with the name that was looked up. The
//! gateway ends TLS with a certificate of its [`Authority`], reads HTTP/1.1, and forwards every request to
//! the site's repository of recorded addresses, under one token. The site records or replays; what was
//! asked is told to a [`Report`].
//!
//! | module | what |
//! |---|---|
//! | `authority` | the certificate authority of one recording, and its leaves |
//! | `trust` | how clients are told to believe it: variables, a bundle, a Java trust store |
//! | `connection` | one connection: TLS or not, HTTP or not, its requests in turn |
//! | `request` | which requests are forwarded, and as what |
//! | `question` | the one body that goes on: what git asks to fetch |
//! | `forward` | the way to the site and back |
//! | `report` | what was asked, for people |
//!
//! It must never dial anything but the site, never write the authority's key anywhere, and never know the
//! sandbox.

mod authority;
mod connection;
mod forward;
mod pkcs12;
mod question;
mod report;
mod request;
mod trust;

pub use authority::Authority;
pub use connection::{Destination, Gateway};
pub use report::{Asked, Report};
pub use trust::{apt_settings, client_trust, java_trust};

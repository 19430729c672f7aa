//! What TLS said on the way: the chain that a server sent, and whose its certificate is.
//!
//! The chain is seen where it is verified, and looked up by its first certificate when the answer is there; so a
//! connection that is used again, or resumed, has it too. Must never decide whether a certificate is good: that
//! is the platform's verifier alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cofferdam_format_kit::{Connection, MAX_NAME, Tls};
use cofferdam_types::{Sha256, Timestamp, printable};
use reqwest::{
    Response,
    tls::{TlsInfo, Version},
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

/// Chains remembered before they are forgotten together.
const REMEMBERED: usize = 1024;

/// Certificates of a chain that are noted.
const LONGEST: usize = 16;

/// The chains that were verified, by the SHA-256 of their first certificate.
#[derive(Debug, Default)]
pub struct Seen(Mutex<HashMap<Sha256, Vec<Sha256>>>);

impl Seen {
    fn note(&self, own: &[u8], others: &[CertificateDer<'_>]) {
        let own = Sha256::of(own);
        let others = others.iter().take(LONGEST - 1).map(|c| Sha256::of(c));
        let chain = std::iter::once(own).chain(others).collect();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        seen.insert(own, chain);
    }

    fn chain(&self, own: Sha256) -> Vec<Sha256> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&own).cloned().unwrap_or_else(|| vec![own])
    }
}

/// What is told of the connections of one client.
#[derive(Clone)]
pub struct Evidence {
    seen: Arc<Seen>,
    /// Whether a proxy may be in between: the other end of a connection is no server then.
    proxied: bool,
}

impl Evidence {
    pub fn new(proxied: bool) -> Self {
        Self { seen: Arc::default(), proxied }
    }

    /// A verifier that asks `inner`, and lets the chains that it finds good be known here.
    pub fn watching(&self, inner: Arc<dyn ServerCertVerifier>) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Watching { inner, seen: Arc::clone(&self.seen) })
    }

    /// What the connection of an answer said.
    pub fn of(&self, answer: &Response) -> Connection {
        let tls = answer.extensions().get::<TlsInfo>().and_then(|info| self.tls(info));
        Connection { peer: answer.remote_addr().filter(|_| !self.proxied), tls }
    }

    fn tls(&self, info: &TlsInfo) -> Option<Tls> {
        let der = info.peer_certificate()?;
        let version = match info.version() {
            Some(version) if version == Version::TLS_1_3 => "1.3",
            Some(version) if version == Version::TLS_1_2 => "1.2",
            _ => "",
        };
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Tls {
            version: version.to_owned(),
            chain: self.seen.chain(Sha256::of(der)),
            subject: written(certificate.subject()),
            issuer: written(certificate.issuer()),
            not_after: Timestamp::from_seconds(certificate.validity().not_after.timestamp()),
        })
    }
}

/// A name of a certificate as a line of text.
fn written(name: &X509Name<'_>) -> String {
    let line = printable(name.to_string()).replace('\n', " ");
    let mut end = line.len().min(MAX_NAME);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default().to_owned()
}

#[derive(Debug)]
struct Watching {
    inner: Arc<dyn ServerCertVerifier>,
    seen: Arc<Seen>,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let good =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        self.seen.note(end_entity, intermediates);
        Ok(good)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    /// Finds no certificate good.
    #[derive(Debug)]
    struct Never;

    impl ServerCertVerifier for Never {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Err(CertificateError::UnknownIssuer.into())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Err(CertificateError::BadSignature.into())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Err(CertificateError::BadSignature.into())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            Vec::new()
        }
    }

    #[test]
    fn who_watches_decides_nothing_and_notes_no_chain_that_was_refused() {
        let evidence = Evidence::new(false);
        let certificate = CertificateDer::from(vec![1, 2, 3]);
        let name = ServerName::try_from("files.example").unwrap();
        let watching = evidence.watching(Arc::new(Never));
        let now = UnixTime::since_unix_epoch(std::time::Duration::ZERO);
        assert!(watching.verify_server_cert(&certificate, &[], &name, &[], now).is_err());
        assert!(evidence.seen.0.lock().unwrap().is_empty());
        evidence.seen.note(&[1], &[CertificateDer::from(vec![2])]);
        assert_eq!(evidence.seen.chain(Sha256::of(&[1])), [Sha256::of(&[1]), Sha256::of(&[2])]);
        for n in 0..REMEMBERED + 5 {
            evidence.seen.note(&n.to_le_bytes(), &[]);
        }
        assert!(evidence.seen.0.lock().unwrap().len() <= REMEMBERED);
    }
}

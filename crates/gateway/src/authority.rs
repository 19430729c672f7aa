//! The certificate authority of one recording: made fresh, valid for days, its key in this process only.
//!
//! All leaves share one key, so that a new name costs one signature. Certificates are made to please strict
//! clients: key identifiers, key usages, a serial number per run and name, names and addresses as alternative names.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cofferdam_types::{Error, Result, Sha256, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Certificates are valid from so long before their making: clocks differ.
const BEFORE: Duration = Duration::from_secs(24 * 3600);

/// And until so long after it. No build takes longer.
const AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// Names whose certificates are remembered; more are made again.
const REMEMBERED: usize = 1024;

/// Bytes of a host's name at the most (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

/// A certificate authority in memory. It has no `Debug`, no `Serialize`, and no way to its key.
pub struct Authority {
    pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    leaf_key: KeyPair,
    now: Timestamp,
    leaves: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl Authority {
    /// Makes one, valid from a day before `now` to a week after.
    ///
    /// # Errors
    /// `Internal` when this machine gives no randomness.
    pub fn generate(now: Timestamp) -> Result<Self> {
        let failed = |e| Error::internal("making a certificate authority", e);
        let mut params = params(now);
        params.distinguished_name = name("Cofferdam recorder");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(failed)?;
        let leaf_key = KeyPair::generate().map_err(failed)?;
        // Two recordings on one machine have two authorities: clients must not mix them up by number.
        params.serial_number = Some(serial(key.public_key_raw()));
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            leaf_key,
            now,
            leaves: Mutex::default(),
        })
    }

    /// The authority's certificate as PEM; the key is no part of it.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The authority's certificate as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.certificate
    }

    /// TLS for a server of this name: a host's name or an address. HTTP/1.1 only.
    ///
    /// # Errors
    /// `Invalid` (`host-name`) for a name that no certificate can hold.
    pub fn server_config(&self, name: &str) -> Result<Arc<ServerConfig>> {
        let name = name.trim_end_matches('.').trim_matches(['[', ']']).to_ascii_lowercase();
        if let Some(config) = self.lock().get(&name) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.leaf(&name)?);
        let mut leaves = self.lock();
        if leaves.len() >= REMEMBERED {
            leaves.clear();
        }
        leaves.insert(name, Arc::clone(&config));
        Ok(config)
    }

    fn leaf(&self, host: &str) -> Result<ServerConfig> {
        let failed = |e| Error::internal("making a certificate", e);
        let mut params = params(self.now);
        params.subject_alt_names = vec![alternative_name(host)?];
        // A common name has 64 characters at the most (RFC 5280, appendix A); only the alternative name counts.
        params.distinguished_name = self::name(host.get(..64).unwrap_or(host));
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Clients that remember by issuer and number refuse one number for two keys: another run has others.
        params.serial_number = Some(self.leaf_serial(host));
        let leaf = params.signed_by(&self.leaf_key, &self.issuer).map_err(failed)?;
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let tls = |e: rustls::Error| Error::internal("setting up TLS for a sandbox", e);
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(tls)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn leaf_serial(&self, host: &str) -> SerialNumber {
        serial(&[self.leaf_key.public_key_raw(), host.as_bytes()].concat())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<ServerConfig>>> {
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn params(now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = epoch + Duration::from_secs(u64::try_from(now.seconds()).unwrap_or_default());
    params.not_before = now - BEFORE;
    params.not_after = now + AFTER;
    params
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// A positive number of sixteen bytes.
fn serial(of: &[u8]) -> SerialNumber {
    let digest = Sha256::of(of).to_hex();
    let mut bytes: Vec<u8> = digest
        .as_bytes()
        .chunks(2)
        .take(16)
        .filter_map(|p| u8::from_str_radix(str::from_utf8(p).ok()?, 16).ok())
        .collect();
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    SerialNumber::from(bytes)
}

fn alternative_name(host: &str) -> Result<SanType> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let wrong = || {
        Error::invalid("host-name", "a client asked for TLS with a name that is no host's")
            .hint("use plain host names, or addresses")
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if host.is_empty() || host.len() > MAX_NAME || !host.bytes().all(plain) {
        return Err(wrong());
    }
    Ok(SanType::DnsName(host.try_into().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_certificate_and_nonsense_has_none() {
        let authority = Authority::generate(Timestamp::from_seconds(1_800_000_000)).unwrap();
        let one = authority.server_config("files.example").unwrap();
        assert!(Arc::ptr_eq(&one, &authority.server_config("FILES.example.").unwrap()));
        assert!(
            authority.server_config("192.0.2.7").is_ok() && authority.server_config("[2001:db8::1]").is_ok()
        );
        for wrong in ["", "a b", "a/b", "*.example", &"a".repeat(254)] {
            assert_eq!(authority.server_config(wrong).unwrap_err().code(), "host-name", "{wrong}");
        }
        assert!(
            authority.pem().starts_with("-----BEGIN CERTIFICATE-----")
                && !authority.pem().contains("PRIVATE")
        );
    }

    #[test]
    fn two_authorities_have_nothing_in_common_and_many_names_are_bounded() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let (one, two) = (Authority::generate(now).unwrap(), Authority::generate(now).unwrap());
        assert_ne!(one.pem(), two.pem());
        let number = |of: &Authority, host| of.leaf_serial(host).to_bytes();
        assert_ne!(number(&one, "h.example"), number(&two, "h.example"), "two runs have two numbers");
        assert_ne!(number(&one, "h.example"), number(&one, "g.example"));
        assert_eq!(number(&one, "h.example"), number(&one, "h.example"));
        for n in 0..REMEMBERED + 10 {
            one.server_config(&format!("h{n}.example")).unwrap();
        }
        assert!(one.lock().len() <= REMEMBERED);
    }
}

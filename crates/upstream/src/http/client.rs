//! The HTTP library, set up for one registry or for every address: trust, proxy, time-outs.
//!
//! Trust is the system's (which honours `SSL_CERT_FILE` and `SSL_CERT_DIR`) plus, for a
//! registry, the bundle that the person's client was told of. It must never switch certificate checks off.

use std::{fs, io::Read as _, path::Path, sync::Arc};

use cofferdam_types::{Error, Result};
use reqwest::{Certificate, Client, ClientBuilder, Proxy, dns::Resolve, redirect::Policy};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use rustls_platform_verifier::Verifier;

use super::{Options, evidence::Evidence};
use crate::Found;

/// Largest CA bundle read, in bytes. The usual system bundle is about 0.2 MiB.
const LARGEST_BUNDLE: u64 = 8 << 20;

/// What every client has in common; `decode` says whether bodies may travel compressed.
fn common(options: &Options, decode: bool) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("cofferdam/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        // Retries are ours, so that there is one count and one clock for them.
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        .gzip(decode)
}

/// A client for addresses of any host, whose names `resolver` looks up, and what is told of its connections.
pub fn build_open(options: &Options, resolver: impl Resolve + 'static) -> Result<(Client, Evidence)> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        Error::invalid("upstream-tls", "no connection to the outside can be set up")
            .hint("check the CA certificates of this machine (SSL_CERT_FILE, SSL_CERT_DIR)")
            .with_source(source)
    };
    let evidence = Evidence::new(options.proxy_from_env && names_proxy());
    let tls = watched_tls(&evidence).map_err(|e| failed(e.into()))?;
    let builder = common(options, false).dns_resolver(resolver).tls_backend_preconfigured(tls).tls_info(true);
    let builder = if options.proxy_from_env { builder } else { builder.no_proxy() };
    let client = builder.build().map_err(|e| failed(e.into()))?;
    Ok((client, evidence))
}

/// TLS as the library sets it up itself, with the platform's verifier, whose chains are noted.
fn watched_tls(evidence: &Evidence) -> std::result::Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Verifier::new(Arc::clone(&provider))?);
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    // "Dangerous" is a verifier of one's own; this one decides nothing itself.
    let config = config.dangerous().with_custom_certificate_verifier(evidence.watching(verifier));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Whether the environment names a proxy for anything.
fn names_proxy() -> bool {
    let named = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].into_iter().any(|n| named(n) || named(&n.to_lowercase()))
}

/// A client for `found`; `decode` says whether bodies may travel compressed.
pub fn build(found: &Found, options: &Options, decode: bool) -> Result<Client> {
    let mut builder = common(options, decode);
    if let Some(path) = &found.ca_bundle {
        builder = builder.tls_certs_merge(certificates(path)?);
    }
    builder = match &found.proxy {
        Some(proxy) => builder.proxy(Proxy::all(proxy.expose()).map_err(|error| {
            Error::invalid("upstream-proxy", format!("the proxy that {} names is no address", found.source))
                .hint("write it as http://host:port")
                .with_source(error.without_url())
        })?),
        None if options.proxy_from_env => builder,
        None => builder.no_proxy(),
    };
    builder.build().map_err(|e| {
        Error::invalid("upstream-tls", format!("no connection to {} can be set up", found.root))
            .hint("check the CA certificates of this machine (SSL_CERT_FILE, SSL_CERT_DIR) and the client's bundle")
            .with_source(e)
    })
}

/// The certificates of a PEM bundle.
fn certificates(path: &Path) -> Result<Vec<Certificate>> {
    let bad = |why: String| {
        Error::invalid("upstream-ca-bundle", format!("the CA bundle {} {why}", path.display()))
            .hint("point the client's setting (cert, cafile, cainfo) at a PEM file")
    };
    let mut pem = Vec::new();
    let file = fs::File::open(path).map_err(|e| bad(format!("cannot be read: {e}")))?;
    file.take(LARGEST_BUNDLE + 1).read_to_end(&mut pem).map_err(|e| bad(format!("cannot be read: {e}")))?;
    if pem.len() as u64 > LARGEST_BUNDLE {
        return Err(bad(format!("is larger than {LARGEST_BUNDLE} bytes")));
    }
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| bad(format!("is not PEM: {e}")))?;
    if certificates.is_empty() {
        return Err(bad("holds no certificate".to_owned()));
    }
    Ok(certificates)
}

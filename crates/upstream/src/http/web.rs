//! Arbitrary addresses over HTTP, for what a build fetches beside its package clients.
//!
//! Redirects are answers here: the client follows them itself, through the recorder again. Proxy and roots
//! are the person's own (`HTTPS_PROXY` and its kin, `SSL_CERT_FILE`). It must never add a credential of a person's
//! (container registries get the anonymous token that they ask for: see `tokens`), send one that stands in
//! an address before the host, or reach this machine itself unless that is allowed.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use cofferdam_format_kit::{Fetched, Question, Upstream};
use cofferdam_types::{Clock, Error, Result};
use http::{HeaderMap, HeaderValue, header};
use url::Url;

use super::{
    Options, client, evidence::Evidence, hosts, local, partial::Partials, resume, shown, tokens::Tokens,
};
use crate::Retries;

/// Every address that http and https lead to.
pub struct WebUpstream {
    client: reqwest::Client,
    evidence: Evidence,
    hosts: hosts::Hosts,
    retries: Retries,
    local: bool,
    partials: Option<Partials>,
    tokens: Arc<Tokens>,
}

impl WebUpstream {
    /// Prepares to fetch; nothing is sent yet. `local` allows addresses of this machine and its link.
    ///
    /// # Errors
    /// `Invalid` when this machine's roots or the proxy of the environment cannot be used.
    pub fn new(options: &Options, local: bool) -> Result<Self> {
        let (client, evidence) = client::build_open(options, local::Resolver { local })?;
        Ok(Self {
            client,
            evidence,
            hosts: hosts::Hosts::new(options.per_host),
            retries: options.retries,
            local,
            partials: None,
            tokens: Arc::default(),
        })
    }

    /// Keeps what has arrived of large files in `folder`, so that a download goes on after a restart. The
    /// folder is this upstream's alone; `clock` says what in it is too old.
    #[must_use]
    pub fn keeping(self, folder: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { partials: Some(Partials::new(folder, clock)), ..self }
    }

    /// Keeps at most so many bytes there: what is oldest goes first, and what is in use stays.
    #[must_use]
    pub fn at_most(self, bytes: u64) -> Self {
        Self { partials: self.partials.map(|partials| partials.at_most(bytes)), ..self }
    }

    fn check(&self, text: &str) -> Result<Url> {
        let wrong = |why: &str| {
            Error::invalid("upstream-address", format!("this address cannot be fetched: {why}"))
                .hint("name an http or https address with its host")
        };
        let mut url = Url::parse(text).map_err(|e| wrong(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("it is neither http nor https"));
        }
        let _ = (url.set_username(""), url.set_password(None));
        url.set_fragment(None);
        if !self.local && local::names_local(&url) {
            let text =
                format!("{} is this machine itself, which no build reaches through the site", shown(&url));
            return Err(Error::forbidden("upstream-local", text)
                .hint("serve it under a name of the network, or set web.local_addresses on this site"));
        }
        Ok(url)
    }
}

impl WebUpstream {
    async fn download(&self, url: &str, headers: &HeaderMap, question: Option<Question>) -> Result<Fetched> {
        let url = self.check(url)?;
        let permit = self.hosts.enter(&url).await?;
        let mut headers = headers.clone();
        headers.entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        let (client, evidence, retries) = (self.client.clone(), self.evidence.clone(), self.retries);
        let tokens = (Arc::clone(&self.tokens), self.local);
        let download =
            resume::Download { client, evidence, url, headers, question, retries, tokens, _permit: permit };
        download.run(self.partials.as_ref()).await
    }
}

#[async_trait]
impl Upstream for WebUpstream {
    /// Empty: no address is relative to it.
    fn root(&self) -> &str {
        ""
    }

    async fn get(&self, url: &str, accept: Option<&str>) -> Result<Fetched> {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            let value = HeaderValue::from_str(accept).map_err(|e| Error::internal("an Accept header", e))?;
            headers.insert(header::ACCEPT, value);
        }
        self.fetch(url, &headers).await
    }

    async fn fetch(&self, url: &str, headers: &HeaderMap) -> Result<Fetched> {
        self.download(url, headers, None).await
    }

    async fn ask(&self, url: &str, headers: &HeaderMap, question: &Question) -> Result<Fetched> {
        self.download(url, headers, Some(question.clone())).await
    }
}

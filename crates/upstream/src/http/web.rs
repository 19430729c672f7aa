//! Arbitrary addresses over HTTP, for what a build fetches beside its package clients.
//!
//! Redirects are answers here: the client follows them itself, through the recorder again. Proxy and roots
//! are the person's own (`HTTPS_PROXY` and its kin, `SSL_CERT_FILE`). It must never add a credential, send
//! one that stands in an address before the host, or reach this machine itself unless that is allowed.

use async_trait::async_trait;
use cofferdam_format_kit::{Fetched, Upstream};
use cofferdam_types::{Error, Result};
use http::{HeaderMap, HeaderValue, header};
use url::Url;

use super::{Options, client, hosts, is_transient, local, no_answer, resume, retry_after, shown};
use crate::{Retries, retry::Attempt};

/// Every address that http and https lead to.
pub struct WebUpstream {
    client: reqwest::Client,
    hosts: hosts::Hosts,
    retries: Retries,
    local: bool,
}

impl WebUpstream {
    /// Prepares to fetch; nothing is sent yet. `local` allows addresses of this machine and its link.
    ///
    /// # Errors
    /// `Invalid` when this machine's roots or the proxy of the environment cannot be used.
    pub fn new(options: &Options, local: bool) -> Result<Self> {
        Ok(Self {
            client: client::build_open(options, local::Resolver { local })?,
            hosts: hosts::Hosts::new(options.per_host),
            retries: options.retries,
            local,
        })
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

    async fn attempt(&self, url: &Url, headers: &HeaderMap) -> Attempt<Result<reqwest::Response>> {
        match self.client.get(url.clone()).headers(headers.clone()).send().await {
            Ok(answer) if is_transient(answer.status()) => {
                let after = retry_after(answer.headers());
                Attempt::Again { last: Ok(answer), after }
            }
            Ok(answer) => Attempt::Done(Ok(answer)),
            Err(error) => {
                let error = error.without_url();
                tracing::debug!(url = shown(url), error = %error, "an address did not answer");
                Attempt::Again { last: Err(no_answer(url, error)), after: None }
            }
        }
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
        let url = self.check(url)?;
        let permit = self.hosts.enter(&url).await?;
        let mut headers = headers.clone();
        headers.entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        let answer = self.retries.run(|| self.attempt(&url, &headers)).await?;
        let (status, there, at) = (answer.status(), answer.headers().clone(), url.to_string());
        let client = self.client.clone();
        let download = resume::Download { client, url, headers, retries: self.retries, _permit: permit };
        Ok(Fetched { status, headers: there, url: at, body: resume::stream(download, answer) })
    }
}

//! The command line's client of a site's management API.

use std::net::SocketAddr;

use cofferdam_format_kit::ClientSetup;
use cofferdam_types::{
    Error, ErrorKind, Result, Secret,
    address::{ASKED_BY_HEADER, DIGEST_HEADER},
};
use serde_json::{Value, json};

use crate::site::formats;

/// A site, and who is asking.
#[derive(Clone)]
pub struct Client {
    /// Its address, without a slash at the end.
    pub url: String,
    token: Option<Secret<String>>,
    http: reqwest::Client,
}

impl Client {
    /// A client of the site that the command line or the environment names.
    ///
    /// # Errors
    /// `Invalid` when no site is named.
    pub fn new(url: Option<&str>, token: Option<&str>) -> Result<Self> {
        let url = url.ok_or_else(|| {
            Error::invalid("no-site", "no site is named")
                .hint("use --site URL, or set COFFERDAM_URL and COFFERDAM_TOKEN")
        })?;
        let http = reqwest::Client::builder()
            .no_proxy()
            // A recorded redirect leads outside, and only the site goes there.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| Error::internal("making an HTTP client", e))?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            token: token.map(|t| Secret::new(t.to_owned())),
            http,
        })
    }

    /// `GET`.
    ///
    /// # Errors
    /// What the site answered, or `Unavailable`.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    /// `POST` with JSON.
    ///
    /// # Errors
    /// What the site answered, or `Unavailable`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request =
            self.http.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        self.send(request.body(body.to_string())).await
    }

    /// `GET` of a text.
    ///
    /// # Errors
    /// What the site answered, or `Unavailable`.
    pub async fn text(&self, path: &str) -> Result<String> {
        let response = self.answer(self.http.get(format!("{}{path}", self.url))).await?;
        response.text().await.map_err(|e| self.away(e))
    }

    /// The same site in the name of another token.
    #[must_use]
    pub fn named(&self, token: &Secret<String>) -> Self {
        Self { token: Some(token.clone()), ..self.clone() }
    }

    /// `GET` of a document that may be served in several types.
    ///
    /// # Errors
    /// What the site answered, or `Unavailable`.
    pub async fn document(&self, path: &str, accept: Option<&str>) -> Result<Vec<u8>> {
        let mut request = self.http.get(format!("{}{path}", self.url));
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        Ok(self.answer(request).await?.bytes().await.map_err(|e| self.away(e))?.to_vec())
    }

    /// `GET` of a body to be read by [`Client::chunk`].
    ///
    /// # Errors
    /// What the site answered, or `Unavailable`.
    pub async fn stream(&self, path: &str) -> Result<reqwest::Response> {
        self.answer(self.http.get(format!("{}{path}", self.url))).await
    }

    /// `GET` of a recorded address, whatever its status: the answer that the site keeps.
    ///
    /// # Errors
    /// What the site says where it has no answer to keep, or `Unavailable`.
    pub async fn recorded(
        &self,
        path: &str,
        accept: Option<&str>,
        asked_by: Option<&str>,
    ) -> Result<reqwest::Response> {
        let mut request = self.http.get(format!("{}{path}", self.url));
        for (name, value) in [("accept", accept), (ASKED_BY_HEADER, asked_by)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let response = request.send().await.map_err(|e| self.away(e))?;
        if response.headers().contains_key(DIGEST_HEADER) {
            return Ok(response);
        }
        let status = response.status().as_u16();
        // What is wrong with an address is said in plain text.
        let words = response.text().await.map_err(|e| self.away(e))?;
        let value = serde_json::from_str(&words)
            .unwrap_or_else(|_| json!({ "title": words.lines().next().unwrap_or_default() }));
        Err(refused(status, &value))
    }

    /// The next bytes of a body; none at its end.
    ///
    /// # Errors
    /// `Unavailable` when it breaks off.
    pub async fn chunk(&self, body: &mut reqwest::Response) -> Result<Option<bytes::Bytes>> {
        body.chunk().await.map_err(|e| self.away(e))
    }

    /// Reads a stream of events to its end.
    ///
    /// # Errors
    /// What the site answered, or `Unavailable`.
    pub async fn follow(&self, path: &str) -> Result<()> {
        let mut response = self.answer(self.http.get(format!("{}{path}", self.url))).await?;
        while response.chunk().await.map_err(|e| self.away(e))?.is_some() {}
        Ok(())
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let bytes = self.answer(request).await?.bytes().await.map_err(|e| self.away(e))?;
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({})))
    }

    /// A good answer, or the site's refusal as an error.
    async fn answer(&self, mut request: reqwest::RequestBuilder) -> Result<reqwest::Response> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let response = request.send().await.map_err(|e| self.away(e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.map_err(|e| self.away(e))?;
        Err(refused(status.as_u16(), &serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({}))))
    }

    fn away(&self, error: reqwest::Error) -> Error {
        Error::new(ErrorKind::Unavailable, "site-away", format!("the site {} does not answer", self.url))
            .hint("is it running? `cofferdam serve`")
            .with_source(error)
    }

    /// The token, to hand it on.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(|t| t.expose().as_str())
    }

    /// The site's socket address, for a sandbox's door.
    ///
    /// # Errors
    /// `Invalid` when the address has no host that can be found.
    pub fn address(&self) -> Result<SocketAddr> {
        use std::net::ToSocketAddrs as _;
        let wrong = || Error::invalid("site-address", format!("`{}` is not a usable site address", self.url));
        let url = url::Url::parse(&self.url).map_err(|_| wrong())?;
        let (host, port) =
            (url.host_str().ok_or_else(wrong)?, url.port_or_known_default().ok_or_else(wrong)?);
        (host, port).to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or_else(wrong)
    }

    /// How every package client is set up for this site, with `token` for its requests. Inside a
    /// sandbox the site is on the loopback address.
    ///
    /// # Errors
    /// What the site answered.
    pub async fn setups(&self, token: Option<&str>, url: &str) -> Result<Vec<Setup>> {
        let all = self.get("/api/v1/repositories").await?;
        let empty = Vec::new();
        let rows = all["repositories"].as_array().unwrap_or(&empty);
        let mut out = Vec::new();
        for format in formats() {
            let of = |kind: &str| {
                let is = |r: &&Value| r["format"] == format.name() && r["kind"] == kind;
                rows.iter().find(is).and_then(|r| r["name"].as_str())
            };
            let Some(name) = of("group").or_else(|| of("mirror")).or_else(|| of("hosted")) else { continue };
            out.push(Setup {
                format: format.name().to_owned(),
                repository: name.to_owned(),
                read: setup(format.as_ref(), url, name, token),
                publish: of("hosted").map(|hosted| {
                    // As for reading: cargo reads the hosted repository's index too, and has no place for a token then.
                    let place = match token {
                        Some(token) if format.name() == "cargo" => format!("{url}/t/{token}/r/{hosted}"),
                        _ => format!("{url}/r/{hosted}"),
                    };
                    (hosted.to_owned(), format.publish_setup(&place, token))
                }),
            });
        }
        Ok(out)
    }
}

/// How the clients of one format are set up.
pub struct Setup {
    /// The format.
    pub format: String,
    /// The repository that they read: the group, where there is one.
    pub repository: String,
    /// How they read it.
    pub read: ClientSetup,
    /// The hosted repository, and how they publish there.
    pub publish: Option<(String, ClientSetup)>,
}

/// The set-up of one client. Cargo has no place for a token when it only reads, so it is in the path.
pub fn setup(
    format: &dyn cofferdam_format_kit::Format,
    url: &str,
    repository: &str,
    token: Option<&str>,
) -> ClientSetup {
    match token {
        Some(token) if format.name() == "cargo" => {
            format.client_setup(&format!("{url}/t/{token}/r/{repository}"), None)
        }
        _ => format.client_setup(&format!("{url}/r/{repository}"), token),
    }
}

/// A problem document as our own error, with the same code.
fn refused(status: u16, value: &Value) -> Error {
    let kind = match status {
        400 => ErrorKind::Invalid,
        401 => ErrorKind::Unauthenticated,
        403 if value["code"] == "forbidden" => ErrorKind::Forbidden,
        403 => ErrorKind::PolicyRefused,
        404 => ErrorKind::NotFound,
        409 if value["code"] == "awaiting-approval" => ErrorKind::AwaitingApproval,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::TooLarge,
        422 if matches!(
            value["code"].as_str(),
            Some("base-missing" | "missing-file" | "missing-volume" | "unrepairable")
        ) =>
        {
            ErrorKind::MissingVolume
        }
        422 => ErrorKind::VerificationFailed,
        507 => ErrorKind::NoSpace,
        _ => ErrorKind::Unavailable,
    };
    let message =
        value["title"].as_str().map_or_else(|| format!("the site answered {status}"), str::to_owned);
    // Codes are constants in the program that made them; here they are a client's knowledge.
    let code: &'static str = value["code"].as_str().map_or("site-refused", |c| c.to_owned().leak());
    let error = Error::new(kind, code, message);
    match value["hint"].as_str() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

//! The way to the site and back: one pool of connections, the token, and the site's own words where it
//! has no kept answer. Must never show the token.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use cofferdam_types::{
    Error, Result, Secret,
    address::{ASKED_BY_HEADER, DIGEST_HEADER},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    question,
    report::Asked,
    request::{Refusal, Target, forwarded, withhold},
};

/// Bytes of the site's explanation that are read.
const MAX_WORDS: usize = 64 << 10;

/// What a client is given.
pub type Outgoing = UnsyncBoxBody<Bytes, hyper::Error>;

/// The site's repository of recorded addresses.
pub struct Site {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    authorization: Secret<HeaderValue>,
}

impl Site {
    pub fn new(site: SocketAddr, repository_path: &str, token: &Secret<String>) -> Result<Self> {
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| {
                Error::invalid("gateway-token", "the recording's token holds characters that no header can")
            })?;
        authorization.set_sensitive(true);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let base = format!("http://{site}/{}/", repository_path.trim_matches('/'));
        Ok(Self { client, base, authorization: Secret::new(authorization) })
    }

    /// Forwards a request, with its question where it has one; `asked` is told when its answer has gone out.
    pub async fn ask(
        &self,
        method: Method,
        target: Target,
        question: Option<Bytes>,
        headers: &HeaderMap,
        asked: Pending,
    ) -> Response<Outgoing> {
        let Ok(uri) = format!("{}{}", self.base, target.below).parse::<Uri>() else {
            let why = format!("{} is no address that can be asked for", target.shown);
            return refused(Refusal { status: StatusCode::BAD_REQUEST, why }, asked);
        };
        let asks = question.is_some();
        let mut request = Request::new(Full::new(question.unwrap_or_default()));
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        *request.headers_mut() = forwarded(headers);
        if asks {
            let kind = HeaderValue::from_static(question::MEDIA_TYPE);
            request.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        request.headers_mut().insert(header::AUTHORIZATION, self.authorization.expose().clone());
        if let Some(by) = asked.so_far.by.as_deref().and_then(|by| HeaderValue::from_str(by).ok()) {
            request.headers_mut().insert(ASKED_BY_HEADER, by);
        }
        match self.client.request(request).await {
            Ok(answer) if answer.headers().contains_key(DIGEST_HEADER) => kept(answer, asked),
            Ok(answer) => in_words(answer, asked).await,
            Err(error) => {
                tracing::warn!(%error, "the site did not answer its own gateway");
                let why = format!("the site did not answer for {}", target.shown);
                refused(Refusal { status: StatusCode::BAD_GATEWAY, why }, asked)
            }
        }
    }
}

/// A kept answer, streamed as it is.
fn kept(answer: Response<Incoming>, mut asked: Pending) -> Response<Outgoing> {
    let (mut parts, body) = answer.into_parts();
    asked.so_far.status = Some(parts.status.as_u16());
    asked.so_far.digest = parts.headers.get(DIGEST_HEADER).and_then(|v| v.to_str().ok()).map(str::to_owned);
    withhold(&mut parts.headers);
    parts.extensions.clear();
    parts.version = http::Version::HTTP_11;
    let body = Counted { body, asked, ended: false };
    Response::from_parts(parts, body.boxed_unsync())
}

/// The site has no kept answer and says why: that is no answer of the server that was asked.
async fn in_words(answer: Response<Incoming>, asked: Pending) -> Response<Outgoing> {
    // A missing page or a login at the site must not be taken for one of the server's.
    let status = match answer.status() {
        StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
        status if status.is_success() || status.is_redirection() => StatusCode::BAD_GATEWAY,
        status => status,
    };
    let words = Limited::new(answer.into_body(), MAX_WORDS).collect().await;
    let words = words.map(|w| String::from_utf8_lossy(&w.to_bytes()).trim().to_owned()).unwrap_or_default();
    let why =
        if words.is_empty() { format!("the site has no answer for {}", asked.so_far.url) } else { words };
    refused(Refusal { status, why }, asked)
}

/// Says no in plain text, and tells it.
pub fn refused(refusal: Refusal, mut pending: Pending) -> Response<Outgoing> {
    let Refusal { status, why } = refusal;
    let words = why.strip_prefix("cofferdam: ").unwrap_or(&why).to_owned();
    let text = format!("cofferdam: {words}\n");
    let asked = &mut pending.so_far;
    (asked.status, asked.bytes, asked.refused) = (Some(status.as_u16()), text.len() as u64, Some(words));
    pending.tell();
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// A request until it is told, once: at the end of its answer, or as broken off when it is given up before.
pub struct Pending {
    so_far: Asked,
    done: Option<UnboundedSender<Asked>>,
}

impl Pending {
    pub fn new(so_far: Asked, done: UnboundedSender<Asked>) -> Self {
        Self { so_far, done: Some(done) }
    }

    fn tell(&mut self) {
        if let Some(done) = self.done.take() {
            // The receiver ends with the connection, and then nobody waits for it.
            let _ = done.send(std::mem::take(&mut self.so_far));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.so_far.refused.is_none() {
            self.so_far.refused = Some(format!("broken off after {} bytes of the answer", self.so_far.bytes));
        }
        self.tell();
    }
}

/// A body that counts itself and tells at its end.
struct Counted {
    body: Incoming,
    asked: Pending,
    ended: bool,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                self.asked.so_far.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Poll::Ready(None) => self.ended = true,
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.ended || self.body.is_end_stream() {
            self.asked.tell();
        }
    }
}

//! One connection from a sandbox: TLS or not, HTTP or not, its requests in turn.
//!
//! What is spoken is seen from the first byte, not from the port. A client that does not accept the
//! certificate, and what is no HTTP at all, is closed and told. Must never wait for a client without a
//! bound before it has said anything.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use cofferdam_types::{Result, Secret};
use http::{Method, Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_rustls::LazyConfigAcceptor;

use crate::{
    authority::Authority,
    forward::{Outgoing, Pending, Site, refused},
    question,
    report::{Asked, Report},
    request::{Peer, printable, target},
};

/// The first byte of a TLS connection: a handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// A client that says nothing for so long waits for the other side to begin, which HTTP never does.
const FIRST_WORD: Duration = Duration::from_secs(20);

/// Why a handshake fails when it is the client that ends it.
const PINNED: &str = "the client does not accept the recorder's certificate (certificate pinning, or a trust store of its own)";

/// What a connection without a request most likely was.
const SILENT: &str = "the client asked for nothing after the TLS handshake (it may pin the server's key)";

/// What a client dialled.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The name that was looked up for it; none when it dialled an address.
    pub name: Option<String>,
    /// The address and port.
    pub address: SocketAddr,
    /// Whether TLS is expected there. What is spoken is seen from the first byte all the same.
    pub tls: bool,
    /// Who dials, such as `curl` or `node for esbuild@0.21.5`; the site is told with each request.
    pub asked_by: Option<String>,
}

/// Answers connections of one recording, replay or job. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Parts>);

struct Parts {
    authority: Authority,
    site: Site,
}

impl Gateway {
    /// A gateway to the repository at `repository_path` (such as `/r/web/`) of the site at `site`.
    ///
    /// # Errors
    /// `Invalid` for a token that no header can hold.
    pub fn new(
        authority: Authority,
        site: SocketAddr,
        repository_path: &str,
        token: Secret<String>,
    ) -> Result<Self> {
        let site = Site::new(site, repository_path, &token)?;
        Ok(Self(Arc::new(Parts { authority, site })))
    }

    /// The authority, for telling clients to believe it.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.0.authority
    }

    /// Serves one connection to its end and tells `report` of each request.
    ///
    /// # Errors
    /// Only faults of ours; whatever the client does is told instead.
    pub async fn serve(&self, stream: TcpStream, to: Destination, report: &dyn Report) -> Result<()> {
        // Small answers must not wait for one another; without it everything works, only slower.
        let _ = stream.set_nodelay(true);
        let mut first = [0];
        match tokio::time::timeout(FIRST_WORD, stream.peek(&mut first)).await {
            Ok(Ok(1)) if first == [HANDSHAKE] => self.over_tls(stream, &to, report).await,
            Ok(Ok(1)) => self.over_http(stream, peer(&to, None, false), report).await,
            Ok(_) => Ok(()),
            Err(_) => {
                tell(report, &to, "the client waits for the other side to begin: that is no HTTP");
                Ok(())
            }
        }
    }

    async fn over_tls(&self, stream: TcpStream, to: &Destination, report: &dyn Report) -> Result<()> {
        let start = match LazyConfigAcceptor::new(Acceptor::default(), stream).await {
            Ok(start) => start,
            Err(error) => {
                tell(report, to, &format!("no TLS that can be read: {error}"));
                return Ok(());
            }
        };
        let peer = peer(to, start.client_hello().server_name(), true);
        let config = match self.0.authority.server_config(&peer.host) {
            Ok(config) => config,
            Err(error) => {
                tell(report, to, error.message());
                return Ok(());
            }
        };
        let (place, by) = (peer.origin(), peer.by.clone());
        match start.into_stream(config).await {
            Ok(stream) => self.over_http(stream, peer, report).await,
            Err(error) => {
                report.request(Asked { url: place, refused: Some(failure(&error)), by, ..Asked::default() });
                Ok(())
            }
        }
    }

    async fn over_http<IO>(&self, stream: IO, peer: Peer, report: &dyn Report) -> Result<()>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let (done, told) = unbounded_channel();
        let mut teller = Teller { report, told, requests: 0 };
        let (place, tls, by) = (peer.origin(), peer.tls, peer.by.clone());
        let ended = {
            let service = service_fn(|request| self.answer(&peer, request, done.clone()));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            loop {
                tokio::select! {
                    ended = &mut connection => break ended,
                    Some(asked) = teller.told.recv() => teller.tell(asked),
                }
            }
        };
        teller.rest();
        let why = match ended {
            Err(error) if error.is_parse() => format!("no HTTP/1.1: {error}"),
            _ if tls && teller.requests == 0 => SILENT.to_owned(),
            Err(error) => {
                tracing::debug!(%error, place, "a connection of a sandbox broke off");
                return Ok(());
            }
            Ok(()) => return Ok(()),
        };
        report.request(Asked { url: place, refused: Some(why), by, ..Asked::default() });
        Ok(())
    }

    /// What is asked is noted before anything is waited for: a client that is gone already is told of too.
    fn answer(
        &self,
        peer: &Peer,
        request: Request<Incoming>,
        done: UnboundedSender<Asked>,
    ) -> impl Future<Output = std::result::Result<Response<Outgoing>, Infallible>> {
        let (parts, body) = request.into_parts();
        let method = parts.method.to_string();
        let target = target(peer, &parts);
        let url = match &target {
            Ok(target) => target.shown.clone(),
            Err(_) => {
                let path = parts.uri.path_and_query().map_or("", |p| p.as_str());
                cofferdam_types::address::address_without_secrets(&format!("{}{path}", peer.origin()))
            }
        };
        let asked = Pending::new(Asked { method, url, by: peer.by.clone(), ..Asked::default() }, done);
        async move {
            let question = async |target| match parts.method {
                Method::POST => Ok((target, Some(question::read(&parts.headers, body).await?))),
                _ => Ok((target, None)),
            };
            let whole = match target {
                Ok(target) => question(target).await,
                Err(refusal) => Err(refusal),
            };
            Ok(match whole {
                Ok((target, question)) => {
                    self.0.site.ask(parts.method.clone(), target, question, &parts.headers, asked).await
                }
                Err(refusal) => refused(refusal, asked),
            })
        }
    }
}

/// Tells of the requests of a connection; when it is given up, also of those that were under way.
struct Teller<'a> {
    report: &'a dyn Report,
    told: UnboundedReceiver<Asked>,
    requests: usize,
}

impl Teller<'_> {
    fn tell(&mut self, asked: Asked) {
        self.requests += 1;
        self.report.request(asked);
    }

    fn rest(&mut self) {
        while let Ok(asked) = self.told.try_recv() {
            self.tell(asked);
        }
    }
}

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        self.rest();
    }
}

/// To whom a client speaks: by the name in its TLS greeting, else the name that it looked up, else the
/// address.
fn peer(to: &Destination, greeted: Option<&str>, tls: bool) -> Peer {
    let host = greeted.or(to.name.as_deref()).map_or_else(|| to.address.ip().to_string(), str::to_owned);
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    Peer { tls, host, port: to.address.port(), by: by(to) }
}

/// Who dials.
fn by(to: &Destination) -> Option<String> {
    to.asked_by.as_deref().map(printable).filter(|by| !by.is_empty())
}

/// A connection that never became a request.
fn tell(report: &dyn Report, to: &Destination, why: &str) {
    let host = to.name.clone().unwrap_or_else(|| to.address.ip().to_string());
    let url = format!("tcp://{host}:{}", to.address.port());
    report.request(Asked { url, refused: Some(why.to_owned()), by: by(to), ..Asked::default() });
}

/// What a failed handshake means. A client that does not believe us says so by an alert, or hangs up.
fn failure(error: &std::io::Error) -> String {
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(alert)) => format!("{PINNED}; its alert: {alert:?}"),
        Some(other) => format!("the TLS handshake failed: {other}"),
        None => format!("{PINNED}; it hung up without an alert"),
    }
}

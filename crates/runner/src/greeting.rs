//! A door that tells the site in whose name a sandbox reads packages.
//!
//! A client that sends no token would else be served and noted under no name. Must never be used over a connection
//! that leads elsewhere than to the site: the greeting holds the run's token.

use std::time::Duration;

use cofferdam_sandbox::{Greeting, SiteDoor, Target};
use cofferdam_types::address::DOOR_GREETING;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long a site may take to answer a greeting.
const HEARD: Duration = Duration::from_secs(2);

/// What a person is told when [`greeting`] gives back the plain door; what follows from it depends on the run.
pub const NOT_HEARD: &str = "warning: what stands at the site's address does not know a sandbox's greeting (a proxy before the \
                             site?): what clients ask without a token is served and not recorded";

/// The same door, greeting the site in the name of a token. Where something stands before the site that does not pass the
/// greeting on, and for a door to something else than a TCP address, the door as it is and `false`.
pub async fn greeting(door: SiteDoor, token: &str) -> (SiteDoor, bool) {
    let Target::Tcp(site) = door.to else { return (door, false) };
    let greeting = format!("{DOOR_GREETING}{token}\n");
    let heard = tokio::time::timeout(HEARD, is_heard(site, &greeting)).await;
    if matches!(heard, Ok(Ok(true))) {
        return (SiteDoor { to: Target::Greeted(site, Greeting(greeting)), ..door }, true);
    }
    (door, false)
}

/// Whether the site answers after a greeting.
async fn is_heard(site: std::net::SocketAddr, greeting: &str) -> std::io::Result<bool> {
    const GOOD: &[u8] = b"HTTP/1.1 200";
    let mut stream = tokio::net::TcpStream::connect(site).await?;
    let question = format!("{greeting}GET /healthz HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = [0; GOOD.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer == GOOD)
}

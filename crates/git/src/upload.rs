//! Clone and fetch, and the advertisement that opens every conversation
//! (gitprotocol-http(5), gitprotocol-v2(5)).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cofferdam_types::{ProjectId, Result};
use futures::StreamExt as _;

use crate::{
    ByteStream, Service, body,
    process::{converse, speaking},
    server::Server,
};

/// Bytes of wants and haves in one request: 4 MiB is 80,000 commits, more than git ever offers.
const MAX_REQUEST: u64 = 16 << 20;
/// How long one fetch may last.
const LIMIT: Duration = Duration::from_secs(3600);

/// The header's value if it looks as git writes it: `key[=value]` joined by `:`.
pub(crate) fn protocol(header: Option<&str>) -> Option<&str> {
    let usual = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'=' | b':' | b'.' | b'-' | b'_');
    header.filter(|text| text.len() <= 200 && text.bytes().all(usual))
}

fn is_v2(protocol: Option<&str>) -> bool {
    protocol.is_some_and(|text| text.split(':').any(|part| part == "version=2"))
}

impl Server {
    pub(crate) async fn advertise(
        &self,
        project: ProjectId,
        service: Service,
        header: Option<&str>,
    ) -> Result<ByteStream> {
        let protocol = protocol(header);
        let folder = self.existing(project)?;
        let mut command = self.command();
        let verb = service.as_str().trim_start_matches("git-");
        command.args([verb, "--stateless-rpc", "--advertise-refs"]).arg(folder);
        if let Some(protocol) = protocol {
            command.env("GIT_PROTOCOL", protocol);
        }
        let talk = converse(command, None, LIMIT, Arc::default())?;
        let refs = speaking(talk, "advertising refs").await?;
        // Version 2 opens with its own banner; git's own server leaves the service line out there,
        // and receive-pack speaks no version 2.
        if service == Service::UploadPack && is_v2(protocol) {
            return Ok(refs);
        }
        let line = format!("# service={}\n", service.as_str());
        let banner = Bytes::from(format!("{:04x}{line}0000", line.len() + 4));
        Ok(Box::pin(futures::stream::once(std::future::ready(Ok(banner))).chain(refs)))
    }

    pub(crate) async fn fetch(
        &self,
        project: ProjectId,
        header: Option<&str>,
        gzip: bool,
        body: ByteStream,
    ) -> Result<ByteStream> {
        let folder = self.existing(project)?;
        let mut command = self.command();
        command.args(["upload-pack", "--strict", "--stateless-rpc"]).arg(folder);
        if let Some(protocol) = protocol(header) {
            command.env("GIT_PROTOCOL", protocol);
        }
        let body = body::plain(body, gzip, MAX_REQUEST);
        let talk = converse(command, Some(body), LIMIT, Arc::default())?;
        speaking(talk, "serving a fetch").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_usual_header_reaches_git() {
        assert_eq!(protocol(Some("version=2")), Some("version=2"));
        assert_eq!(protocol(Some("version=2; rm")), None);
        assert!(is_v2(Some("foo:version=2")));
        assert!(!is_v2(Some("version=1")));
    }
}

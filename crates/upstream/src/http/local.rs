//! Addresses of this machine and its link, which a recorded build must not reach through the site.
//!
//! The site dials with its own rights: its loopback interface has its database, its link has the cloud's
//! metadata. Addresses are checked as they are written, names where they are looked up, so that no name leads
//! there either. Only [`super::WebUpstream`] asks: a registry that a person configured may well stand on this
//! machine. Must never let a name through because one of its addresses is open: the others are taken out.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Looks names up as the system does, and hides addresses that lead to this machine unless `local`.
#[derive(Clone, Copy, Debug)]
pub struct Resolver {
    /// Whether addresses of this machine are allowed.
    pub local: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let local = self.local;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            // A proxy on this machine is the person's own choice; as a target the name is refused before.
            let all = local || name.as_str().eq_ignore_ascii_case("localhost");
            let open: Vec<SocketAddr> = found.filter(|a| all || !is_local(a.ip())).collect();
            if open.is_empty() {
                return Err(format!("{} has no address outside this machine", name.as_str()).into());
            }
            Ok(Box::new(open.into_iter()) as Addrs)
        })
    }
}

/// Whether an address, as it is written, names this machine or its link.
pub fn names_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(ip)) => is_local(ip.into()),
        Some(Host::Ipv6(ip)) => is_local(ip.into()),
        None => true,
    }
}

fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
        }
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_in_every_spelling() {
        let local = |text: &str| names_local(&Url::parse(text).unwrap());
        for text in [
            "http://localhost/",
            "http://LOCALHOST.:1/",
            "http://a.localhost/",
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0.0.0.0/",
            "http://169.254.169.254/latest",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[fe80::1]/",
        ] {
            assert!(local(text), "{text}");
        }
        for text in
            ["http://files.example/", "http://10.0.0.1/", "http://192.0.2.7/", "http://[2001:db8::1]/"]
        {
            assert!(!local(text), "{text}");
        }
    }
}

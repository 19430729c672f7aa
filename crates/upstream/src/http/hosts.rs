//! How many requests are open to one host at a time. Who waits longest is next.
//!
//! It must never grow with the number of hosts that upstream's links name: idle ones are forgotten.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cofferdam_types::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

/// Hosts remembered before the idle ones are dropped.
const REMEMBERED: usize = 64;

/// The right to have one request open; given back when dropped.
pub type Permit = OwnedSemaphorePermit;

/// One semaphore per host and port.
pub struct Hosts {
    each: usize,
    known: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Hosts {
    /// At most `each` (at least one) requests per host.
    pub fn new(each: usize) -> Self {
        Self { each: each.max(1), known: Mutex::new(HashMap::new()) }
    }

    /// Waits for a turn at the address's host.
    ///
    /// # Errors
    /// Only a fault of ours: the semaphores are never closed.
    pub async fn enter(&self, url: &Url) -> Result<Permit> {
        let turn = self.host(url);
        turn.acquire_owned().await.map_err(|e| Error::internal("waiting for a turn at a host", e))
    }

    fn host(&self, url: &Url) -> Arc<Semaphore> {
        let key = format!(
            "{}:{}",
            url.host_str().unwrap_or_default(),
            url.port_or_known_default().unwrap_or_default()
        );
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED && !known.contains_key(&key) {
            known.retain(|_, host| Arc::strong_count(host) > 1);
        }
        known.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.each))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_go_to_those_who_wait_in_their_order() {
        use futures::FutureExt as _;
        let hosts = Hosts::new(1);
        let url = Url::parse("http://busy.upstream.example/").unwrap();
        let held = hosts.enter(&url).await.unwrap();
        let (mut first, mut second) = (hosts.enter(&url).boxed(), hosts.enter(&url).boxed());
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        drop(held);
        assert!((&mut second).now_or_never().is_none(), "the second does not push in");
        drop((&mut first).now_or_never().expect("the first has its turn").unwrap());
        assert!((&mut second).now_or_never().is_some());
    }

    #[tokio::test]
    async fn hosts_that_are_idle_are_forgotten_but_busy_ones_keep_their_count() {
        let hosts = Hosts::new(1);
        let busy = Url::parse("http://busy.upstream.example/").unwrap();
        let permit = hosts.enter(&busy).await.unwrap();
        for n in 0..500 {
            let url = Url::parse(&format!("http://h{n}.upstream.example/")).unwrap();
            drop(hosts.enter(&url).await.unwrap());
        }
        assert!(hosts.known.lock().unwrap().len() <= REMEMBERED);
        assert_eq!(hosts.host(&busy).available_permits(), 0, "the busy host is still counted");
        drop(permit);
        assert_eq!(hosts.host(&busy).available_permits(), 1);
    }
}

//! Documents of a registry, remembered for the moment in which they are needed twice.
//!
//! A client asks for a package's index and then for a file that it names; the site needs the same index again to know what
//! the file must be. Must never answer a question for what is newest ([`Upstream::get`]) from memory, nor hold much of it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cofferdam_format_kit::{Fetched, Question, Upstream};
use cofferdam_types::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, StatusCode};

/// How long a document counts as recent.
const LIFE: Duration = Duration::from_secs(30);
/// Bytes of documents that are remembered, and of one.
const MOST: u64 = 32 << 20;
const LARGEST: usize = 8 << 20;

/// An upstream that remembers what documents it gave a moment ago, for [`Upstream::recent`].
pub struct Recent<U> {
    inner: U,
    kept: moka::future::Cache<String, Kept>,
}

/// A good answer, whole.
#[derive(Clone)]
struct Kept {
    headers: HeaderMap,
    url: String,
    body: Bytes,
}

impl<U: Upstream> Recent<U> {
    /// Around an upstream that is one registry.
    pub fn new(inner: U) -> Self {
        let kept = moka::future::Cache::builder()
            .max_capacity(MOST)
            .weigher(|key: &String, kept: &Kept| {
                u32::try_from(key.len() + kept.body.len()).unwrap_or(u32::MAX)
            })
            .time_to_live(LIFE)
            .build();
        Self { inner, kept }
    }

    /// Asks upstream, and remembers a good answer that is not too large.
    async fn fresh(&self, url: &str, accept: &str) -> Result<Fetched> {
        let key = format!("{accept}\n{url}");
        let mut fetched = self.inner.get(url, Some(accept)).await?;
        if fetched.status != StatusCode::OK {
            self.kept.invalidate(&key).await;
            return Ok(fetched);
        }
        let mut start = BytesMut::new();
        while let Some(chunk) = fetched.body.try_next().await? {
            start.extend_from_slice(&chunk);
            if start.len() > LARGEST {
                self.kept.invalidate(&key).await;
                let start = start.freeze();
                fetched.body = futures::stream::once(async move { Ok(start) }).chain(fetched.body).boxed();
                return Ok(fetched);
            }
        }
        let kept = Kept { headers: fetched.headers, url: fetched.url, body: start.freeze() };
        self.kept.insert(key, kept.clone()).await;
        Ok(kept.fetched())
    }
}

impl Kept {
    fn fetched(self) -> Fetched {
        let Self { headers, url, body } = self;
        let body = futures::stream::once(async move { Ok(body) }).boxed();
        Fetched { status: StatusCode::OK, headers, url, body, connection: None }
    }
}

#[async_trait]
impl<U: Upstream> Upstream for Recent<U> {
    fn root(&self) -> &str {
        self.inner.root()
    }

    async fn get(&self, url: &str, accept: Option<&str>) -> Result<Fetched> {
        match accept {
            Some(accept) => self.fresh(url, accept).await,
            None => self.inner.get(url, None).await,
        }
    }

    async fn recent(&self, url: &str, accept: &str) -> Result<Fetched> {
        match self.kept.get(&format!("{accept}\n{url}")).await {
            Some(kept) => Ok(kept.fetched()),
            None => self.fresh(url, accept).await,
        }
    }

    async fn fetch(&self, url: &str, headers: &HeaderMap) -> Result<Fetched> {
        self.inner.fetch(url, headers).await
    }

    async fn ask(&self, url: &str, headers: &HeaderMap, question: &Question) -> Result<Fetched> {
        self.inner.ask(url, headers, question).await
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_format_kit::conformance::MemoryUpstream;

    use super::*;

    const ACCEPT: &str = "application/json";

    async fn text(fetched: Result<Fetched>) -> Bytes {
        fetched.unwrap().bytes(64 << 20).await.unwrap()
    }

    #[tokio::test]
    async fn an_index_is_asked_for_once_for_itself_and_a_file_of_it() {
        let upstream = Recent::new(MemoryUpstream::new("https://r.example/").with("x/", ACCEPT, "index"));
        assert_eq!(text(upstream.get("x/", Some(ACCEPT)).await).await, "index");
        assert_eq!(text(upstream.recent("x/", ACCEPT).await).await, "index");
        assert_eq!(upstream.inner.asked().len(), 1);
        assert_eq!(text(upstream.get("x/", Some(ACCEPT)).await).await, "index");
        assert_eq!(upstream.inner.asked().len(), 2, "who asks for the newest is given the newest");
        text(upstream.recent("x/", "text/html").await).await;
        assert_eq!(upstream.inner.asked().len(), 3, "another form is another document");
    }

    #[tokio::test]
    async fn what_is_not_there_or_too_large_is_passed_on_and_not_remembered() {
        let large = "x".repeat(LARGEST + 1);
        let upstream = MemoryUpstream::new("https://r.example/").with("large/", ACCEPT, large.clone());
        let upstream = Recent::new(upstream);
        for _ in 0..2 {
            assert_eq!(text(upstream.recent("large/", ACCEPT).await).await.len(), large.len());
            assert_eq!(upstream.recent("none/", ACCEPT).await.unwrap().status, StatusCode::NOT_FOUND);
        }
        assert_eq!(upstream.inner.asked().len(), 4);
    }
}

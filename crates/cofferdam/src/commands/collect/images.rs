//! Container images: the pull side of the OCI distribution specification, asked for through the site.
//!
//! What clients ask first is asked, too (`/v2/` and where it sends them), so that their pulls are answered from what is
//! kept. Signatures and attestations of cosign and of the referrers API come along; that there are none is no failure.
//! Must never believe a registry: digests are checked, and lists, sizes and depth have bounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use cofferdam_types::{Error, ErrorKind, ImageReference, Result, Sha256};
use futures::{StreamExt as _, stream};
use url::Url;

use super::{
    fetch::{Fetch, follow},
    manifests::{ACCEPT, MAX_MANIFEST, Manifest, Named, chosen},
    resolve::web_path,
};
use crate::{client::Client, commands::progress::Bar};

/// Images looked at at once.
const AT_ONCE: usize = 4;
/// Manifests of one image at the most, with its signatures.
const MOST_MANIFESTS: usize = 500;
/// An index may name indexes, so deep.
const DEEPEST: usize = 3;
/// Bytes of what is fetched for a signature or an attestation at the most.
const LARGEST_PROOF: u64 = 64 << 20;
/// Where people name registries that speak plain HTTP (containers-registries.conf).
const SETTINGS: &str = "containers/registries.conf";

/// Images that are wanted: the words for people, and platforms; without, it is all of them.
pub type Wanted = BTreeMap<ImageReference, (String, Option<BTreeSet<String>>)>;

/// What is to be fetched of all images, and what cannot be.
pub async fn plan(client: &Client, web: &str, wanted: Wanted) -> (BTreeSet<Fetch>, Vec<(String, String)>) {
    let (bar, total, insecure) = (Bar::new(), wanted.len() as u64, insecure_registries());
    let (insecure, mut done) = (&insecure, 0);
    let mut all = stream::iter(wanted)
        .map(|(image, (what, platforms))| async move {
            let platforms: Vec<String> = platforms.into_iter().flatten().collect();
            let mut pull = Pull::new(client, web, image, insecure);
            let outcome = pull.whole(&platforms).await;
            (what, outcome.map(|()| pull.fetches))
        })
        .buffer_unordered(AT_ONCE);
    let (mut fetches, mut left) = (BTreeSet::new(), Vec::new());
    while let Some((what, outcome)) = all.next().await {
        done += 1;
        bar.stand("asking about images (items)", done, total, 0);
        match outcome {
            Ok(these) => fetches.extend(these),
            Err(error) => left.push((what, error.message().to_owned())),
        }
    }
    bar.end();
    (fetches, left)
}

/// One image while it is looked at.
struct Pull<'a> {
    client: &'a Client,
    web: &'a str,
    image: ImageReference,
    scheme: &'static str,
    by: String,
    seen: BTreeSet<Sha256>,
    fetches: BTreeSet<Fetch>,
}

impl<'a> Pull<'a> {
    fn new(client: &'a Client, web: &'a str, image: ImageReference, insecure: &BTreeSet<String>) -> Self {
        let plain = insecure.contains(&image.host) || insecure.contains(&image.repository());
        let (scheme, by) = (if plain { "http" } else { "https" }, image.to_string());
        Self { client, web, image, scheme, by, seen: BTreeSet::new(), fetches: BTreeSet::new() }
    }

    async fn whole(&mut self, platforms: &[String]) -> Result<()> {
        self.greet().await?;
        let wanted = self.image.wanted();
        let root = self.manifest(&wanted, self.image.digest).await?;
        let (digest, manifest) = root.ok_or_else(|| {
            Error::not_found(format!("the registry {} has no image {}", self.image.host, self.by))
        })?;
        if self.image.digest.is_none() {
            // Clients ask for the digest of what a tag names, and some for that first.
            self.manifest(&format!("sha256:{digest}"), Some(digest)).await?;
        }
        let mut subjects = vec![digest];
        self.walk(manifest, platforms, &mut subjects).await?;
        for subject in subjects {
            self.proofs(subject).await?;
        }
        Ok(())
    }

    /// Follows a manifest down to its layers.
    async fn walk(&mut self, root: Manifest, platforms: &[String], subjects: &mut Vec<Sha256>) -> Result<()> {
        let mut open = vec![(root, 0)];
        while let Some((manifest, depth)) = open.pop() {
            let entries = match manifest {
                Manifest::Image(parts) => {
                    self.parts(&parts);
                    continue;
                }
                Manifest::Index(entries) => entries,
            };
            if depth == DEEPEST {
                return Err(Error::invalid("bad-manifest", "its indexes name indexes without end"));
            }
            let these = chosen(&entries, platforms);
            if these.is_empty() && depth == 0 {
                let there: BTreeSet<&str> = entries.iter().filter_map(|e| e.platform.as_deref()).collect();
                let there = there.into_iter().collect::<Vec<_>>().join(", ");
                let text = format!("it is not made for {}: there is {there}", platforms.join(", "));
                return Err(Error::not_found(text));
            }
            for Named { digest, .. } in these {
                if self.seen.contains(&digest) {
                    continue;
                }
                let found = self.manifest(&format!("sha256:{digest}"), Some(digest)).await?;
                let (_, found) = found
                    .ok_or_else(|| Error::not_found(format!("its manifest sha256:{digest} is not there")))?;
                subjects.push(digest);
                open.push((found, depth + 1));
            }
        }
        Ok(())
    }

    fn parts(&mut self, parts: &[Named]) {
        for Named { digest, size } in parts {
            if let Some(path) = self.path(&format!("blobs/sha256:{digest}")) {
                let what = format!("oci {}: sha256:{digest}", self.by);
                let (expect, size, asked_by) = (Some(*digest), Some(*size), Some(self.by.clone()));
                self.fetches.insert(Fetch { what, path, expect, size, asked_by });
            }
        }
    }

    fn path(&self, below: &str) -> Option<String> {
        let (scheme, host, name) = (self.scheme, self.image.api_host(), &self.image.name);
        web_path(self.web, &format!("{scheme}://{host}/v2/{name}/{below}"))
    }

    /// What clients ask before anything else: whether there is a registry, and where it gives tokens.
    async fn greet(&mut self) -> Result<()> {
        let root = format!("{}://{}/v2/", self.scheme, self.image.api_host());
        let Some(path) = web_path(self.web, &root) else { return Ok(()) };
        let answer = self.client.recorded(&path, None, Some(&self.by)).await?;
        let said = answer.headers().get("www-authenticate").and_then(|v| v.to_str().ok());
        let scope = format!("repository:{}:pull", self.image.name);
        if let Some(path) = said.and_then(|said| realm(said, &scope)).and_then(|at| web_path(self.web, &at)) {
            // A client that is given no token goes without, and so do we.
            let _ = self.client.recorded(&path, None, Some(&self.by)).await;
        }
        Ok(())
    }

    /// A manifest with its digest; none where there is none.
    async fn manifest(
        &mut self,
        reference: &str,
        expect: Option<Sha256>,
    ) -> Result<Option<(Sha256, Manifest)>> {
        let Some(path) = self.path(&format!("manifests/{reference}")) else { return Ok(None) };
        let Some(bytes) = self.document(&path).await? else { return Ok(None) };
        let digest = Sha256::of(&bytes);
        if expect.is_some_and(|expected| expected != digest) {
            let text = format!("the registry gives other bytes for {reference}: sha256:{digest}");
            return Err(Error::verification("other-bytes", text));
        }
        self.seen.insert(digest);
        if self.seen.len() > MOST_MANIFESTS {
            let text = format!("it has more than {MOST_MANIFESTS} manifests");
            return Err(Error::invalid("bad-manifest", text));
        }
        Ok(Some((digest, Manifest::parse(&bytes)?)))
    }

    /// A document's bytes; none where there is none.
    async fn document(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let (_, mut answer) = follow(self.client, path, Some(ACCEPT), Some(&self.by)).await?;
        let status = answer.status().as_u16();
        if !answer.status().is_success() {
            return match status {
                401 | 403 => Err(Error::forbidden(
                    "upstream-status",
                    format!("the registry gives it to nobody without a name ({status})"),
                )),
                400..500 => Ok(None),
                _ => Err(Error::new(
                    ErrorKind::Unavailable,
                    "upstream-status",
                    format!("the registry answers {status}"),
                )),
            };
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.client.chunk(&mut answer).await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_MANIFEST {
                let text = format!("its manifest has more than {MAX_MANIFEST} bytes");
                return Err(Error::invalid("bad-manifest", text));
            }
        }
        Ok(Some(bytes))
    }

    /// Signatures and attestations of a manifest, where they are: cosign's tags, the referrers API and its tag.
    async fn proofs(&mut self, subject: Sha256) -> Result<()> {
        let mut found = Vec::new();
        for end in ["", ".sig", ".att"] {
            // Whatever is wrong with one is no matter of the image.
            if let Ok(Some((_, manifest))) = self.manifest(&format!("sha256-{subject}{end}"), None).await {
                found.push(manifest);
            }
        }
        if let Some(path) = self.path(&format!("referrers/sha256:{subject}"))
            && let Ok(Some(bytes)) = self.document(&path).await
        {
            found.extend(Manifest::parse(&bytes));
        }
        let mut further = Vec::new();
        for manifest in found {
            match manifest {
                Manifest::Image(parts) => further.push(parts),
                Manifest::Index(entries) => {
                    for Named { digest, .. } in chosen(&entries, &[]) {
                        if self.seen.contains(&digest) {
                            continue;
                        }
                        let reference = format!("sha256:{digest}");
                        if let Ok(Some((_, Manifest::Image(parts)))) =
                            self.manifest(&reference, Some(digest)).await
                        {
                            further.push(parts);
                        }
                    }
                }
            }
        }
        for parts in further {
            if parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.size)) <= LARGEST_PROOF {
                self.parts(&parts);
            }
        }
        Ok(())
    }
}

/// The address where clients ask for a token for one scope, written as they write it.
fn realm(said: &str, scope: &str) -> Option<String> {
    let of = |name: &str| {
        let (_, after) = said.split_once(&format!("{name}=\""))?;
        Some(after.split_once('"')?.0)
    };
    let mut realm = Url::parse(of("realm")?).ok()?;
    realm.query_pairs_mut().append_pair("scope", scope);
    if let Some(service) = of("service") {
        realm.query_pairs_mut().append_pair("service", service);
    }
    Some(realm.to_string())
}

/// Registries, or places in them, that this person's settings say to reach without TLS.
fn insecure_registries() -> BTreeSet<String> {
    let own = std::env::var_os("CONTAINERS_REGISTRIES_CONF").map(PathBuf::from);
    let own = own.or_else(|| Some(std::env::home_dir()?.join(".config").join(SETTINGS)));
    let texts = own.into_iter().chain([PathBuf::from("/etc").join(SETTINGS)]).map(std::fs::read_to_string);
    texts.flatten().flat_map(|text| insecure_in(&text)).collect()
}

fn insecure_in(text: &str) -> Vec<String> {
    let Ok(settings) = text.parse::<toml::Table>() else { return Vec::new() };
    let all = settings.get("registry").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let plain = all.iter().filter(|r| r.get("insecure").and_then(toml::Value::as_bool) == Some(true));
    plain.filter_map(|r| Some(r.get("location").or_else(|| r.get("prefix"))?.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_as_clients_ask() {
        let said =
            "Bearer realm=\"https://auth.example/token\",service=\"r.example\",scope=\"repository:x:pull\"";
        assert_eq!(
            realm(said, "repository:a/b:pull").as_deref(),
            Some("https://auth.example/token?scope=repository%3Aa%2Fb%3Apull&service=r.example")
        );
        assert_eq!(realm("Basic realm=\"x\"", "s"), None);
    }

    #[test]
    fn registries_without_tls_are_those_of_the_persons_settings() {
        let text = "unqualified-search-registries = [\"a.example\"]\n[[registry]]\nlocation = \"r.example:5000\"\n\
                    insecure = true\n[[registry]]\nprefix = \"b.example\"\n";
        assert_eq!(insecure_in(text), ["r.example:5000"]);
        assert!(insecure_in("not = [toml").is_empty());
    }
}

//! Manifests and indexes of container images (OCI image specification, docker's schema 2): what they name, and
//! which of it a platform needs.
//!
//! Pure: nothing is fetched here. What a registry says is hostile until its digests are checked, so every list has a
//! bound.

use cofferdam_types::{Error, Result, Sha256, platform};
use serde::Deserialize;

/// Bytes of a manifest at the most (distribution specification: registries take 4 MiB).
pub const MAX_MANIFEST: usize = 4 << 20;

/// Entries of one manifest or index at the most.
const MAX_ENTRIES: usize = 1000;

/// The media types that are asked for, best first. Broad, because whoever asks for less is answered alike.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.v1+prettyjws, \
    application/vnd.docker.distribution.manifest.v1+json, application/vnd.oci.artifact.manifest.v1+json, */*";

/// Something that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its digest.
    pub digest: Sha256,
    /// Its bytes.
    pub size: u64,
}

/// What a manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// Config and layers.
    Image(Vec<Named>),
    /// Other manifests.
    Index(Vec<Entry>),
}

/// A manifest that an index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The manifest.
    pub named: Named,
    /// Where it runs; none where it does not say.
    pub platform: Option<String>,
    /// The manifest that it is about, for attestations beside an image.
    pub about: Option<Sha256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    /// Layers of Windows that stand elsewhere, by agreement.
    #[serde(default)]
    urls: Vec<String>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl Manifest {
    /// Reads one.
    ///
    /// # Errors
    /// `Invalid` (`bad-manifest`) for what is none, is of another form, or names too much.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let bad = |why: String| Error::invalid("bad-manifest", format!("the registry's manifest {why}"));
        let document: Document = serde_json::from_slice(bytes).map_err(|e| bad(format!("is none: {e}")))?;
        if document.schema_version != 2 {
            return Err(bad(format!("has schema {}, which clients gave up", document.schema_version)));
        }
        let many = |list: &Vec<Descriptor>| list.len() > MAX_ENTRIES;
        if document.manifests.iter().chain(&document.layers).any(many) {
            return Err(bad(format!("names more than {MAX_ENTRIES} things")));
        }
        let named = |d: &Descriptor| -> Result<Named> {
            let digest = d.digest.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
            let digest =
                digest.ok_or_else(|| bad("names something by another digest than SHA-256".into()))?;
            Ok(Named { digest, size: d.size })
        };
        if let Some(list) = document.manifests {
            let entry =
                |d: Descriptor| Ok(Entry { named: named(&d)?, platform: d.runs_on(), about: d.about() });
            return Ok(Self::Index(list.into_iter().map(entry).collect::<Result<_>>()?));
        }
        let here = document.layers.unwrap_or_default().into_iter().filter(|d| d.urls.is_empty());
        let config = document.config.ok_or_else(|| bad("has neither manifests nor a config".into()))?;
        let all = std::iter::once(config).chain(here);
        Ok(Self::Image(all.map(|d| named(&d)).collect::<Result<_>>()?))
    }
}

impl Descriptor {
    fn runs_on(&self) -> Option<String> {
        let Platform { os, architecture, variant } = self.platform.as_ref()?;
        if os == "unknown" || (os.is_empty() && architecture.is_empty()) {
            return None;
        }
        let processor = if architecture == "arm" { format!("arm{variant}") } else { architecture.clone() };
        Some(platform::platform(os, &processor))
    }

    fn about(&self) -> Option<Sha256> {
        self.annotations.get("vnd.docker.reference.digest")?.strip_prefix("sha256:")?.parse().ok()
    }
}

/// The entries of an index that run on one of the platforms, with what is about them and what does not say. None
/// asked for is all.
pub fn chosen(entries: &[Entry], platforms: &[String]) -> Vec<Named> {
    let runs = |entry: &Entry| {
        let fits = |p: &String| platforms.iter().any(|asked| platform::serves(p, &of_images(asked)));
        entry.about.is_none() && (platforms.is_empty() || entry.platform.as_ref().is_none_or(fits))
    };
    let chosen: Vec<&Entry> = entries.iter().filter(|e| runs(e)).collect();
    let about = |entry: &&Entry| entry.about.is_some_and(|it| chosen.iter().any(|c| c.named.digest == it));
    let more = entries.iter().filter(about);
    chosen.iter().copied().chain(more).map(|entry| entry.named.clone()).collect()
}

/// The platform of the images that a machine runs: containers are Linux's, whatever its C library, also on a Mac.
fn of_images(asked: &str) -> String {
    match asked.rsplit_once('-') {
        Some(("linux-musl" | "macos", processor)) => format!("linux-{processor}"),
        _ => asked.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(of: &str) -> String {
        format!("sha256:{}", Sha256::of(of.as_bytes()))
    }

    fn index(list: serde_json::Value) -> Vec<Entry> {
        let text = json!({ "schemaVersion": 2, "manifests": list }).to_string();
        let Manifest::Index(entries) = Manifest::parse(text.as_bytes()).unwrap() else { panic!("an index") };
        entries
    }

    #[test]
    fn a_platform_gets_its_manifest_and_what_is_about_it() {
        let entry = |name: &str, os: &str, architecture: &str, variant: &str| {
            json!({ "digest": digest(name), "size": 1,
                    "platform": { "os": os, "architecture": architecture, "variant": variant } })
        };
        let mut attestation = entry("proof", "unknown", "unknown", "");
        attestation["annotations"] = json!({ "vnd.docker.reference.digest": digest("arm64") });
        let all = index(json!([
            entry("amd64", "linux", "amd64", ""),
            entry("arm64", "linux", "arm64", "v8"),
            entry("armv7", "linux", "arm", "v7"),
            attestation
        ]));
        let of = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|p| (*p).to_owned()).collect();
            chosen(&all, &asked).into_iter().map(|n| n.digest).collect::<Vec<_>>()
        };
        let sum = |name: &str| Sha256::of(name.as_bytes());
        assert_eq!(of(&["linux-x86_64"]), [sum("amd64")]);
        assert_eq!(of(&["macos-aarch64"]), [sum("arm64"), sum("proof")]);
        assert_eq!(of(&["linux-armv7"]), [sum("armv7")]);
        assert_eq!(of(&[]).len(), 4);
        assert!(of(&["linux-s390x"]).is_empty());
    }

    #[test]
    fn what_is_no_manifest_or_too_much_is_refused() {
        let many: Vec<_> =
            (0..=MAX_ENTRIES).map(|n| json!({ "digest": digest(&n.to_string()), "size": 1 })).collect();
        for (bad, why) in [
            (json!({ "schemaVersion": 1, "fsLayers": [] }), "schema 1"),
            (json!({ "schemaVersion": 2 }), "neither"),
            (json!({ "schemaVersion": 2, "manifests": many }), "more than"),
            (json!({ "schemaVersion": 2, "config": { "digest": "sha512:1", "size": 1 } }), "another digest"),
            (json!([]), "is none"),
        ] {
            let error = Manifest::parse(bad.to_string().as_bytes()).unwrap_err();
            assert!(error.message().contains(why), "{error}");
        }
        let layer = |urls: &[&str]| json!({ "digest": digest("layer"), "size": 3, "urls": urls });
        let image = json!({ "schemaVersion": 2, "config": { "digest": digest("config"), "size": 2 },
            "layers": [layer(&[]), layer(&["https://elsewhere.example/x"])] });
        let Manifest::Image(parts) = Manifest::parse(image.to_string().as_bytes()).unwrap() else { panic!() };
        assert_eq!(
            parts.iter().map(|p| p.size).collect::<Vec<_>>(),
            [2, 3],
            "the registry has no foreign layers"
        );
    }
}

//! Documents that name the addresses of packages: Composer's repositories, Terraform's registries and mirrors; and
//! images, whose manifests are named by their own digest.
//!
//! Must never name an address that the document does not spell out.

use cofferdam_types::Sha256;
use serde_json::Value;
use url::Url;

use super::Package;

/// Packages that one document names, at the most.
const MOST: usize = 50_000;

/// A package that a document says to be at an address.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The address, without its query.
    pub url: String,
    /// The digest of the bytes there, where the document says one.
    pub sha256: Option<Sha256>,
    /// What is there.
    pub package: Package,
}

/// Whether an answer may be a document that is read here.
pub fn may_be_one(url: &str, media_type: &str) -> bool {
    url.ends_with(".json")
        || url.contains("/download/")
        || url.contains("/manifests/")
        || media_type.contains("json")
}

/// A text of an object.
pub fn text_of<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// What a document names.
pub fn entries(url: &str, bytes: &[u8]) -> Vec<Entry> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Vec::new();
    }
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Vec::new() };
    let mut all = composer(url, &value);
    all.extend(provider(url, &value));
    all.extend(mirror(url, &value));
    all.truncate(MOST);
    all
}

/// The address that a document at another names.
fn at(base: &str, target: &str) -> Option<String> {
    let mut url = Url::parse(base).ok()?.join(target).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    Some(url.into())
}

/// `packages` by name, each with its versions: a map, or a list whose entries leave out what stays as it was.
fn composer(base: &str, value: &Value) -> Vec<Entry> {
    let packages = value.get("packages").and_then(Value::as_object).into_iter().flatten();
    let versions = packages.flat_map(|(name, versions)| {
        let list = versions.as_array().into_iter().flatten();
        let map = versions.as_object().into_iter().flat_map(|map| map.values());
        list.chain(map).map(move |version| (name, version))
    });
    let entry = |(name, version): (&String, &Value)| {
        let url = at(base, text_of(version.get("dist")?, "url")?)?;
        let package = Package::new("composer", name.to_lowercase(), text_of(version, "version")?)?;
        Some(Entry { url, sha256: None, package })
    };
    versions.filter_map(entry).take(MOST).collect()
}

/// `…/<namespace>/<type>/<version>/download/<os>/<arch>` (Terraform, "Provider Registry Protocol").
fn provider(base: &str, value: &Value) -> Option<Entry> {
    let (place, _) = base.split_once("/download/")?;
    let mut parts = place.rsplit('/');
    let (version, kind, namespace) = (parts.next()?, parts.next()?, parts.next()?);
    let sha256 = text_of(value, "shasum")?.parse().ok()?;
    text_of(value, "filename").filter(|name| name.starts_with("terraform-provider-"))?;
    let package = Package::new("terraform", format!("{namespace}/{kind}"), version)?;
    Some(Entry { url: at(base, text_of(value, "download_url")?)?, sha256: Some(sha256), package })
}

/// `…/<host>/<namespace>/<type>/<version>.json` (Terraform, "Provider Network Mirror Protocol").
fn mirror(base: &str, value: &Value) -> Vec<Entry> {
    let entry = |archive: &Value| {
        let mut parts = base.strip_suffix(".json")?.rsplit('/');
        let (version, kind, namespace) = (parts.next()?, parts.next()?, parts.next()?);
        let url = at(base, text_of(archive, "url")?)?;
        let file = url.rsplit('/').next()?;
        file.starts_with(&format!("terraform-provider-{kind}_{version}_")).then_some(())?;
        let package = Package::new("terraform", format!("{namespace}/{kind}"), version)?;
        Some(Entry { url, sha256: None, package })
    };
    let archives = value.get("archives").and_then(Value::as_object).into_iter().flat_map(|all| all.values());
    archives.filter_map(entry).collect()
}

/// A manifest of a registry: the image is what its digest says.
pub fn image(url: &str, media_type: &str, sha256: &Sha256) -> Option<Package> {
    let (place, _) = url.split_once("/v2/")?.1.split_once("/manifests/")?;
    let known = media_type.starts_with("application/vnd.oci.image.")
        || media_type.starts_with("application/vnd.docker.distribution.");
    known.then(|| Package::new("oci", place.rsplit('/').next()?, format!("sha256:{sha256}")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(url: &str, text: &str) -> Vec<(String, String)> {
        entries(url, text.as_bytes()).into_iter().map(|e| (e.url, e.package.purl())).collect()
    }

    fn pair(url: &str, purl: &str) -> (String, String) {
        (url.to_owned(), purl.to_owned())
    }

    #[test]
    fn a_composer_repository_names_its_archives() {
        let expected = [pair("https://php.example/d/1.zip", "pkg:composer/harbour/quay@1.0")];
        let listed = r#"{"packages":{"Harbour/Quay":[{"version":"1.0","dist":{"url":"https://php.example/d/1.zip?t=1"}},{"version":"0.9"}]}}"#;
        assert_eq!(told("https://php.example/p2/harbour/quay.json", listed), expected);
        let mapped = r#"{"packages":{"harbour/quay":{"1.0":{"version":"1.0","dist":{"url":"d/1.zip"}}}}}"#;
        assert_eq!(told("https://php.example/packages.json", mapped), expected);
        assert!(told("https://php.example/packages.json", r#"{"packages":[]}"#).is_empty());
    }

    #[test]
    fn a_registry_of_terraform_and_a_mirror_name_their_archives() {
        let sum = "0".repeat(64);
        let text = format!(
            r#"{{"filename":"terraform-provider-quay_1.0.0_linux_amd64.zip","shasum":"{sum}","download_url":"/f/p.zip"}}"#
        );
        let found = entries("https://tf.example/v1/harbour/quay/1.0.0/download/linux/amd64", text.as_bytes());
        assert_eq!(found[0].sha256, sum.parse().ok());
        assert_eq!(found[0].url, "https://tf.example/f/p.zip");
        assert_eq!(found[0].package.purl(), "pkg:terraform/harbour/quay@1.0.0");
        let mirror =
            r#"{"archives":{"linux_amd64":{"url":"terraform-provider-quay_1.0.0_linux_amd64.zip"}}}"#;
        let base = "https://m.example/registry.example/harbour/quay";
        let file = format!("{base}/terraform-provider-quay_1.0.0_linux_amd64.zip");
        assert_eq!(
            told(&format!("{base}/1.0.0.json"), mirror),
            [pair(&file, "pkg:terraform/harbour/quay@1.0.0")]
        );
        assert!(told(&format!("{base}/1.0.1.json"), mirror).is_empty(), "it says another version");
    }

    #[test]
    fn a_manifest_is_an_image_and_its_digest_the_version() {
        let sha256 = Sha256::of(b"x");
        let image = image(
            "https://reg.example/v2/a/boat/manifests/2",
            "application/vnd.oci.image.index.v1+json",
            &sha256,
        );
        assert_eq!(image.unwrap().purl(), format!("pkg:oci/boat@sha256:{sha256}"));
        assert!(
            super::image(
                "https://reg.example/v2/a/boat/blobs/2",
                "application/vnd.oci.image.index.v1+json",
                &sha256
            )
            .is_none()
        );
    }
}

//! cosign's signatures of container images (sigstore/cosign, `specs/SIGNATURE_SPEC.md`), made with a key.
//!
//! A signature of the manifest `sha256:<hex>` lies in the same repository as the manifest `sha256-<hex>.sig`. Each of its
//! layers is what was signed (a "simple signing" document, which names the manifest's digest), the signature itself is an
//! annotation of the layer. Files are found by digest, so it does not matter which server gave them.
//!
//! | checked | told otherwise |
//! |---|---|
//! | a key for this place made the signature over the layer's bytes | which place has no key, or that none of its keys made it |
//! | `critical.image.docker-manifest-digest` is the image's | wrong: the signature is of another image |
//! | `critical.identity.docker-reference` is the image's own place | told, since mirrors have other names than what was signed |
//!
//! Not looked at: certificates of keyless signing and the log's entries, attestations (`.att`), referrers. A signature that
//! no known key made may be somebody's whose key is not known: it is not checked, and not wrong. This module must never
//! call an image signed of which only a digest was compared.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::{
    Door, DoorExt as _,
    joined::{Finding, Joined, Origin, PlacedKey, UpstreamKeys, Verdict, counting},
    proofs,
};
use cofferdam_types::{Result, Sha256};
use serde::Deserialize;

use super::{Answer, shown, without_scheme};

/// The kind of proof, and the code of a failure.
const KIND: &str = "image-signature";
/// Bytes of a signature's manifest and of what was signed, at the most.
const LONGEST: u64 = 1 << 20;
/// Signatures' manifests that are read at the most, layers of one, and keys that one is compared with.
const MOST_MANIFESTS: usize = 4096;
const MOST_LAYERS: usize = 64;
const MOST_KEYS: usize = 64;
/// The layer's annotations.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";

/// A signature's manifest.
#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    digest: String,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

/// What was signed.
#[derive(Deserialize)]
struct Signed {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference", default)]
    reference: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// A finding before it is put to the image's answers: the best of an image is told.
type Said = (Verdict, String, Option<PlacedKey>);

/// What signatures among these answers say of the images among these.
///
/// # Errors
/// Only faults of the door.
pub async fn join(answers: &[Answer<'_>], keys: &UpstreamKeys, door: &dyn Door) -> Result<Joined> {
    let by_digest: HashMap<Sha256, &Answer<'_>> = answers.iter().map(|a| (a.sha256, a)).collect();
    // By repository and image.
    let mut said: BTreeMap<(&str, Sha256), Said> = BTreeMap::new();
    let signatures = answers.iter().filter_map(|a| Some((signature_of(&a.url)?, a)));
    for ((repository, image), answer) in signatures.take(MOST_MANIFESTS) {
        if answer.size > LONGEST || !by_digest.contains_key(&image) {
            continue;
        }
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&door.read(&answer.sha256, LONGEST).await?)
        else {
            continue;
        };
        let ring = Ring::of(keys, repository);
        for layer in manifest.layers.iter().take(MOST_LAYERS) {
            let Some(found) = ring.judge(layer, image, &by_digest, door).await? else { continue };
            let place = said.entry((repository, image)).or_insert_with(|| found.clone());
            if rank(found.0) < rank(place.0) {
                *place = found;
            }
        }
    }
    let mut joined = Joined::default();
    for answer in answers {
        let Some(repository) = manifest_of(&answer.url) else { continue };
        let Some((verdict, text, key)) = said.get(&(repository, answer.sha256)) else { continue };
        let (verdict, text) = (*verdict, format!("cosign: {text}"));
        joined.findings.push(Finding { path: answer.path.to_owned(), kind: KIND.into(), verdict, text });
        joined.keys.images.extend(key.clone());
    }
    joined.keys.images.sort();
    joined.keys.images.dedup();
    Ok(joined)
}

/// One signature that holds is enough; one of another image is worse than one that nobody knows.
fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Holds => 0,
        Verdict::Wrong => 1,
        Verdict::Unchecked => 2,
    }
}

/// The repository and reference of a manifest's address: `<host>/<name>`, with `/v2/` taken out on the way.
fn parts(url: &str) -> Option<(&str, &str)> {
    let (repository, reference) = without_scheme(url).split_once("/manifests/")?;
    let (host, name) = repository.split_once("/v2/")?;
    (!host.contains('/') && !name.is_empty() && !reference.contains('/')).then_some((repository, reference))
}

fn manifest_of(url: &str) -> Option<&str> {
    parts(url).map(|(repository, _)| repository)
}

/// The repository and the image that a signature's address is about.
fn signature_of(url: &str) -> Option<(&str, Sha256)> {
    let (repository, reference) = parts(url)?;
    let digest = reference.strip_prefix("sha256-")?.strip_suffix(".sig")?;
    Some((repository, digest.parse().ok()?))
}

/// The keys for one repository.
struct Ring<'a> {
    /// `<host>/<name>`, as places are written.
    address: String,
    keys: Vec<(&'a PlacedKey, Origin, Vec<u8>)>,
}

impl<'a> Ring<'a> {
    /// Of several places the narrowest counts, as in containers-policy.json(5).
    fn of(all: &'a UpstreamKeys, repository: &str) -> Self {
        let address = repository.replacen("/v2/", "/", 1);
        let covering: Vec<_> = counting(&all.images, &address).collect();
        let narrowest = covering.iter().map(|(key, _)| key.place.len()).max().unwrap_or(0);
        let narrow = covering.iter().filter(|(key, _)| key.place.len() == narrowest).take(MOST_KEYS);
        let read = narrow.filter_map(|(key, origin)| Some((key, *origin, STANDARD.decode(&key.key).ok()?)));
        let keys = read.collect();
        Self { address, keys }
    }

    /// What one layer says of an image; nothing when it is no signature.
    async fn judge(
        &self,
        layer: &Layer,
        image: Sha256,
        by_digest: &HashMap<Sha256, &Answer<'_>>,
        door: &dyn Door,
    ) -> Result<Option<Said>> {
        let not = |why: String| Ok(Some((Verdict::Unchecked, format!("signature not checked: {why}"), None)));
        let Some(signature) = layer.annotations.get(SIGNATURE) else { return Ok(None) };
        let place = shown(&self.address);
        let keyless = layer.annotations.contains_key(CERTIFICATE);
        if self.keys.is_empty() {
            return not(match keyless {
                true => "it was made without a key of its own (keyless), and whose certificate it has is not looked at".into(),
                false => format!("no key is known here for {place}"),
            });
        }
        let payload = layer.digest.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
        let payload = payload.and_then(|digest: Sha256| by_digest.get(&digest)).filter(|a| a.size <= LONGEST);
        let Some(payload) = payload else { return not("what was signed was not recorded".into()) };
        let payload = door.read(&payload.sha256, LONGEST).await?;
        let Ok(signature) = STANDARD.decode(signature.trim()) else {
            return not("its annotation is not base64".into());
        };
        let made = |(_, _, key): &&(&PlacedKey, Origin, Vec<u8>)| {
            proofs::signature(key, &payload, &signature) == proofs::Signature::Holds
        };
        let Some((key, origin, _)) = self.keys.iter().find(made) else {
            let keyless =
                if keyless { ", it has a certificate instead (keyless), which is not looked at" } else { "" };
            return not(format!(
                "none of the {} keys that are known here for {place} made it{keyless}",
                self.keys.len()
            ));
        };
        Ok(Some(self.signed(&payload, image, key, *origin)))
    }

    /// A signature that a key made: of which image?
    fn signed(&self, payload: &[u8], image: Sha256, key: &PlacedKey, origin: Origin) -> Said {
        let whose = match origin {
            Origin::Site => "a key of this site",
            Origin::Recording => "a key that the recording brought",
        };
        let number = STANDARD.decode(&key.key).map(|key| Sha256::of(&key).to_hex()).unwrap_or_default();
        let number = number.get(..16).unwrap_or_default();
        let Ok(Signed { critical }) = serde_json::from_slice::<Signed>(payload) else {
            let text = format!(
                "signature not checked: {whose} ({number}) signed what is no simple signing document"
            );
            return (Verdict::Unchecked, text, None);
        };
        if critical.image.digest != format!("sha256:{image}") {
            let text = format!(
                "{whose} ({number}) signed {}, and the signature was put to this image",
                shown(&critical.image.digest)
            );
            return (Verdict::Wrong, text, None);
        }
        let named = match critical.identity.reference.as_str() {
            reference if reference == self.address => "under this name".to_owned(),
            "" => "under no name".to_owned(),
            other => format!("under the name {}, which is not this one", shown(other)),
        };
        (Verdict::Holds, format!("this digest is signed by {whose} ({number}) {named}"), Some(key.clone()))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer as _,
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use cofferdam_format_kit::joined::Keys;
    use serde_json::{Value, json};

    use super::*;
    use crate::joined::shelf::Shelf;

    const IMAGE: &[u8] = b"{\"an\":\"image\"}";
    const AT: &str = "https://registry.example/v2/team/boat";

    struct Key(EcdsaKeyPair);

    impl Key {
        fn new() -> Self {
            Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
        }

        fn known(&self, place: &str, origin: Origin) -> UpstreamKeys {
            let key = STANDARD.encode(self.0.public_key().as_der().unwrap().as_ref());
            let images = vec![PlacedKey { place: place.into(), key }];
            UpstreamKeys::of(&Keys { images, ..Keys::default() }, origin)
        }

        fn sign(&self, payload: &[u8]) -> String {
            STANDARD.encode(self.0.sign(&SystemRandom::new(), payload).unwrap())
        }
    }

    fn image() -> String {
        format!("{AT}/manifests/1.0")
    }

    fn payload(reference: &str, digest: &str) -> Vec<u8> {
        let said = json!({ "critical": {
            "identity": { "docker-reference": reference }, "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature" }, "optional": null });
        said.to_string().into_bytes()
    }

    fn own() -> Vec<u8> {
        payload("registry.example/team/boat", &format!("sha256:{}", Sha256::of(IMAGE)))
    }

    /// An image with one signature: what was signed, and its annotations.
    fn signed(payload: &[u8], annotations: &Value) -> Shelf {
        let mut shelf = Shelf::default();
        shelf.add(&image(), IMAGE);
        let digest = Sha256::of(payload);
        let layer = json!({ "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "size": payload.len(), "digest": format!("sha256:{digest}"), "annotations": annotations });
        let manifest = json!({ "schemaVersion": 2, "layers": [layer] }).to_string();
        shelf.add(&format!("{AT}/manifests/sha256-{}.sig", Sha256::of(IMAGE)), manifest.as_bytes());
        shelf.add("https://storage.example/7f3a", payload);
        shelf
    }

    #[tokio::test]
    async fn an_image_is_what_a_known_key_signed() {
        let key = Key::new();
        let shelf = signed(&own(), &json!({ SIGNATURE: key.sign(&own()) }));
        let keys = key.known("registry.example", Origin::Recording);
        let joined = shelf.join(&keys).await;
        assert_eq!(joined.findings.len(), 1, "{joined:#?}");
        let (verdict, text) = shelf.said(&image(), &keys).await.unwrap();
        assert_eq!(verdict, Verdict::Holds, "{text}");
        assert!(
            text.contains("a key that the recording brought") && text.ends_with("under this name"),
            "{text}"
        );
        let again = UpstreamKeys::of(&joined.keys, Origin::Recording);
        assert_eq!(shelf.join(&again).await, joined, "with the key that came of it");
        let copied = payload("registry.example/other/boat", &format!("sha256:{}", Sha256::of(IMAGE)));
        let shelf = signed(&copied, &json!({ SIGNATURE: key.sign(&copied) }));
        let (verdict, text) = shelf.said(&image(), &key.known("*", Origin::Site)).await.unwrap();
        assert!(verdict == Verdict::Holds && text.contains("which is not this one"), "{text}");
    }

    #[tokio::test]
    async fn what_cannot_be_checked_says_why() {
        let (key, other) = (Key::new(), Key::new());
        let shelf = signed(&own(), &json!({ SIGNATURE: key.sign(&own()) }));
        let keyless = signed(&own(), &json!({ SIGNATURE: key.sign(&own()), CERTIFICATE: "pem" }));
        let mut lost = signed(&own(), &json!({ SIGNATURE: key.sign(&own()) }));
        lost.remove("https://storage.example/7f3a");
        let narrower =
            other.known("registry.example/team", Origin::Recording).and(key.known("*", Origin::Recording));
        for (shelf, keys, words) in [
            (&shelf, UpstreamKeys::default(), "no key is known here for registry.example/team/boat"),
            (&shelf, key.known("registry.example/other", Origin::Site), "no key is known here"),
            (&shelf, other.known("*", Origin::Site), "none of the 1 keys"),
            (&shelf, narrower, "none of the 1 keys"),
            (&keyless, UpstreamKeys::default(), "keyless"),
            (&keyless, other.known("*", Origin::Site), "keyless"),
            (&lost, key.known("*", Origin::Site), "was not recorded"),
        ] {
            let (verdict, text) = shelf.said(&image(), &keys).await.unwrap();
            assert!(verdict == Verdict::Unchecked && text.contains(words), "{text}");
            assert!(shelf.join(&keys).await.keys.images.is_empty());
        }
        let mut unsigned = Shelf::default();
        unsigned.add(&image(), IMAGE);
        assert_eq!(unsigned.said(&image(), &key.known("*", Origin::Site)).await, None);
        let nothing = signed(&own(), &json!({}));
        assert_eq!(nothing.said(&image(), &key.known("*", Origin::Site)).await, None);
    }

    #[tokio::test]
    async fn a_signature_of_another_image_is_wrong_here() {
        let key = Key::new();
        let other = payload("registry.example/team/boat", &format!("sha256:{}", Sha256::of(b"other")));
        let shelf = signed(&other, &json!({ SIGNATURE: key.sign(&other) }));
        let (verdict, text) = shelf.said(&image(), &key.known("*", Origin::Site)).await.unwrap();
        assert!(verdict == Verdict::Wrong && text.contains("was put to this image"), "{text}");
        assert_eq!(shelf.said(&image(), &UpstreamKeys::default()).await.unwrap().0, Verdict::Unchecked);
        let odd = b"not what is signed";
        let shelf = signed(odd, &json!({ SIGNATURE: key.sign(odd) }));
        assert_eq!(shelf.said(&image(), &key.known("*", Origin::Site)).await.unwrap().0, Verdict::Unchecked);
    }
}

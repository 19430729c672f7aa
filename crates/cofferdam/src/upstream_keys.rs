//! Keys with which upstream signs: those that this machine's own clients believe, offered to a recording, and those that
//! a site's configuration names.
//!
//! | client | where its keys stand |
//! |---|---|
//! | Go | `GOSUMDB`, and Go itself: see [`Own::note_keys`] |
//! | apt | `Signed-By` of its sources, each for its own address; `trusted.gpg` and `trusted.gpg.d`, for every address |
//! | podman, skopeo | `sigstoreSigned` in `policy.json`, each for its scope |
//!
//! Nothing is run, and what cannot be read is left out: an offer is no duty. Must never offer a secret key.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::joined::{Keys, PlacedKey};
use cofferdam_openpgp::Keyring;
use cofferdam_types::{Error, Result};
use serde_json::{Value, json};

use crate::personal::Own;

/// Bytes of a keyring or of settings at the most, and files of one folder.
const MAX_BYTES: u64 = 8 << 20;
const MOST_FILES: usize = 256;

/// The place that is every place.
const ANYWHERE: &str = "*";

/// How a recording ended, as a site is told, with the keys that this machine's clients believe.
pub fn offered_with(mut ended: Value) -> Value {
    let Keys { notes, archives, images } = offered();
    ended["note_keys"] = json!(notes);
    ended["archive_keys"] = json!(archives);
    ended["image_keys"] = json!(images);
    ended
}

/// What this machine's clients believe, for who runs this program.
fn offered() -> Keys {
    let mut keys = Keys { notes: Own::find().note_keys(), ..Keys::default() };
    let settings = std::env::var_os("APT_CONFIG").and_then(|path| small(Path::new(&path)));
    let apt = Apt::of(settings.as_deref().and_then(|s| std::str::from_utf8(s).ok()).unwrap_or_default());
    keys.add(Keys { archives: apt.keys(), ..Keys::default() });
    let own = std::env::home_dir().map(|home| home.join(".config/containers/policy.json"));
    let policy = own.filter(|path| path.is_file()).unwrap_or_else(|| "/etc/containers/policy.json".into());
    let policy = small(&policy).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    keys.add(Keys { images: of_policy(&policy), ..Keys::default() });
    keys
}

/// The keys of package archives that a configuration names, by place.
///
/// # Errors
/// `Invalid` (`config`) when a file cannot be read, or holds no key.
pub fn archive_keys(files: &BTreeMap<String, PathBuf>) -> Result<Vec<PlacedKey>> {
    let read = |bytes: &[u8]| Keyring::read(bytes).map(|ring| packets(&ring));
    configured(files, "proofs.archive_keys", "an OpenPGP keyring, as apt has them", &read)
}

/// The keys of container images that a configuration names, by place.
///
/// # Errors
/// As [`archive_keys`].
pub fn image_keys(files: &BTreeMap<String, PathBuf>) -> Result<Vec<PlacedKey>> {
    let read = |bytes: &[u8]| Ok(pem(&String::from_utf8_lossy(bytes)));
    configured(files, "proofs.image_keys", "PEM with `PUBLIC KEY`, as `cosign.pub` is", &read)
}

fn configured(
    files: &BTreeMap<String, PathBuf>,
    name: &str,
    what: &str,
    read: &dyn Fn(&[u8]) -> Result<Vec<String>>,
) -> Result<Vec<PlacedKey>> {
    let mut all = Vec::new();
    for (place, path) in files {
        let wrong = |why: &str| {
            let text = format!("{name} of `{place}`: {} {why}", path.display());
            Error::invalid("config", text).hint(format!("name a file that is {what}"))
        };
        let bytes = std::fs::read(path).map_err(|e| wrong("cannot be read").with_source(e))?;
        let keys = read(&bytes).map_err(|e| wrong("is no keyring").with_source(e))?;
        if keys.is_empty() {
            return Err(wrong("holds no key"));
        }
        all.extend(keys.into_iter().map(|key| PlacedKey { place: place.clone(), key }));
    }
    Ok(all)
}

/// Each certificate of a keyring, with nothing in it that is not needed.
fn packets(ring: &Keyring) -> Vec<String> {
    ring.0.iter().map(|cert| STANDARD.encode(cert.to_bytes())).collect()
}

/// The public keys of a PEM file, as base64 of what is inside.
fn pem(text: &str) -> Vec<String> {
    let inside = text.split("-----BEGIN PUBLIC KEY-----").skip(1);
    let whole = inside.filter_map(|rest| rest.split_once("-----END PUBLIC KEY-----"));
    let keys = whole.map(|(body, _)| body.split_whitespace().collect::<String>());
    keys.filter(|key| STANDARD.decode(key).is_ok_and(|der| !der.is_empty())).collect()
}

fn small(path: &Path) -> Option<Vec<u8>> {
    let fits = std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= MAX_BYTES);
    fits.then(|| std::fs::read(path).ok()).flatten()
}

/// The files of a folder with one of these endings, in order.
fn below(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().and_then(|e| e.to_str()).is_some_and(|e| endings.contains(&e)))
        .collect();
    files.sort();
    files.truncate(MOST_FILES);
    files
}

/// Where apt's settings stand.
struct Apt {
    list: PathBuf,
    parts: PathBuf,
    trusted: PathBuf,
    trusted_parts: PathBuf,
}

impl Apt {
    /// The usual places, but for those that a settings file names (apt.conf(5), `APT_CONFIG`).
    fn of(settings: &str) -> Self {
        let place = |name: &str, usual: &str| {
            let mut named = settings.lines().filter_map(|line| {
                let (key, value) = line.trim().split_once([' ', '\t'])?;
                let value = value.trim().trim_end_matches(';').trim().strip_prefix('"')?.strip_suffix('"')?;
                (key.eq_ignore_ascii_case(&format!("Dir::Etc::{name}")) && value.starts_with('/'))
                    .then_some(value)
            });
            PathBuf::from(named.next_back().unwrap_or(usual))
        };
        Self {
            list: place("sourcelist", "/etc/apt/sources.list"),
            parts: place("sourceparts", "/etc/apt/sources.list.d"),
            trusted: place("trusted", "/etc/apt/trusted.gpg"),
            trusted_parts: place("trustedparts", "/etc/apt/trusted.gpg.d"),
        }
    }

    fn keys(&self) -> Vec<PlacedKey> {
        let mut all = Vec::new();
        let mut add = |place: &str, keyring: &[u8]| {
            let ring = Keyring::read(keyring).unwrap_or_default();
            all.extend(packets(&ring).into_iter().map(|key| PlacedKey { place: place.to_owned(), key }));
        };
        let mut files = below(&self.parts, &["list", "sources"]);
        files.push(self.list.clone());
        for path in files {
            let Some(text) = small(&path).and_then(|bytes| String::from_utf8(bytes).ok()) else { continue };
            let stanzas = path.extension().is_some_and(|e| e == "sources");
            for Source { places, signed_by } in if stanzas { of_stanzas(&text) } else { of_lines(&text) } {
                let keyring = match signed_by {
                    SignedBy::Here(key) => Some(key.into_bytes()),
                    SignedBy::File(path) => small(&path),
                };
                for place in &places {
                    add(place, keyring.as_deref().unwrap_or_default());
                }
            }
        }
        for path in [vec![self.trusted.clone()], below(&self.trusted_parts, &["gpg", "asc"])].concat() {
            add(ANYWHERE, &small(&path).unwrap_or_default());
        }
        all
    }
}

/// Addresses, and the keys that sign there.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    places: Vec<String>,
    signed_by: SignedBy,
}

#[derive(Debug, PartialEq, Eq)]
enum SignedBy {
    File(PathBuf),
    /// The key itself, armored.
    Here(String),
}

/// The place of a source's address: without its scheme and user.
fn place(uri: &str) -> Option<String> {
    let url = url::Url::parse(uri).ok().filter(|url| ["http", "https"].contains(&url.scheme()))?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}{port}{}", url.host_str()?, url.path().trim_end_matches('/')))
}

/// One line a source: `deb [signed-by=/a.gpg,/b.gpg arch=…] URI suite …` (sources.list(5)).
fn of_lines(text: &str) -> Vec<Source> {
    let mut all = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| line.starts_with("deb")) {
        let Some((options, rest)) = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')) else {
            continue;
        };
        let Some(place) = rest.split_whitespace().next().and_then(place) else { continue };
        let values = options.split_whitespace().filter_map(|option| option.split_once('='));
        let signed = values.filter(|(name, _)| name.eq_ignore_ascii_case("signed-by"));
        for file in signed.flat_map(|(_, files)| files.split(',')).filter(|file| file.starts_with('/')) {
            all.push(Source { places: vec![place.clone()], signed_by: SignedBy::File(file.into()) });
        }
    }
    all
}

/// Stanzas (sources.list(5), "deb822-style"): `Signed-By` names files, or is the key itself.
fn of_stanzas(text: &str) -> Vec<Source> {
    let mut all = Vec::new();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for stanza in lines.split(|line| line.trim().is_empty()) {
        let field = |wanted: &str| {
            let mut lines = stanza.iter().skip_while(|line| {
                !line.split_once(':').is_some_and(|(name, _)| name.trim_end().eq_ignore_ascii_case(wanted))
            });
            let (_, first) = lines.next()?.split_once(':')?;
            let more = lines.take_while(|line| line.starts_with([' ', '\t']));
            // An empty line stands there as a dot.
            let more = more.map(|line| line.trim()).map(|line| if line == "." { "" } else { line });
            Some(std::iter::once(first.trim()).chain(more).collect::<Vec<_>>().join("\n"))
        };
        let off = field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
        let (Some(uris), Some(signed)) = (field("URIs"), field("Signed-By")) else { continue };
        let places: Vec<String> = uris.split_whitespace().filter_map(place).collect();
        if off || places.is_empty() {
            continue;
        }
        if signed.contains("-----BEGIN PGP") {
            all.push(Source { places, signed_by: SignedBy::Here(signed.trim_start().to_owned()) });
            continue;
        }
        for file in signed.split([',', ' ', '\n']).map(str::trim).filter(|file| file.starts_with('/')) {
            all.push(Source { places: places.clone(), signed_by: SignedBy::File(file.into()) });
        }
    }
    all
}

/// The keys of `sigstoreSigned` (containers-policy.json(5)). A scope of one tag or digest is left out.
fn of_policy(policy: &Value) -> Vec<PlacedKey> {
    let scopes = policy["transports"]["docker"].as_object().into_iter().flatten();
    let scopes = scopes.map(|(scope, demands)| (scope.as_str(), demands));
    let mut all = Vec::new();
    for (scope, demands) in scopes.chain([(ANYWHERE, &policy["default"])]) {
        let (_, last) = scope.rsplit_once('/').unwrap_or(("", ""));
        if last.contains([':', '@']) {
            continue;
        }
        let place = if scope.is_empty() { ANYWHERE } else { scope };
        let signed =
            demands.as_array().into_iter().flatten().filter(|demand| demand["type"] == "sigstoreSigned");
        let keys = signed.flat_map(demanded).flat_map(|text| pem(&text));
        all.extend(keys.map(|key| PlacedKey { place: place.to_owned(), key }));
    }
    all
}

/// The texts with the keys of one demand: files, and what stands there itself.
fn demanded(demand: &Value) -> Vec<String> {
    let texts = |one: &str, several: &str| -> Vec<String> {
        let list = demand[several].as_array().into_iter().flatten();
        list.chain([&demand[one]]).filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let files = texts("keyPath", "keyPaths").into_iter().filter_map(|path| small(Path::new(&path)));
    let data = texts("keyData", "keyDatas").into_iter().filter_map(|text| STANDARD.decode(text).ok());
    files.chain(data).filter_map(|bytes| String::from_utf8(bytes).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ARCHIVE: &[u8] = include_bytes!("../../formats/web/tests/fixtures/debian/archive.gpg");
    const STRANGER: &[u8] = include_bytes!("../../formats/web/tests/fixtures/debian/stranger.gpg");
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\nAAEC\nAwQF\n-----END PUBLIC KEY-----\n";

    #[test]
    fn sources_of_both_forms_say_who_signs_where() {
        let lines = "# deb [signed-by=/no.gpg] http://no.example x\n\
                     deb [arch=amd64 signed-by=/a.gpg,/b.gpg] https://me:pw@deb.example:8080/debian/ stable main\n\
                     deb http://plain.example/ stable main\ndeb [trusted=yes] http://t.example ./\n";
        let by = |place: &str, file: &str| Source {
            places: vec![place.into()],
            signed_by: SignedBy::File(file.into()),
        };
        assert_eq!(
            of_lines(lines),
            [by("deb.example:8080/debian", "/a.gpg"), by("deb.example:8080/debian", "/b.gpg")]
        );
        let stanzas = "# a comment\nTypes: deb\nURIs: http://deb.example/debian\n https://two.example/\nSuites: stable\n\
                       Signed-By: /a.gpg\n\nTypes: deb\nEnabled: no\nURIs: http://off.example\nSigned-By: /a.gpg\n\n\
                       URIs: http://here.example\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n aGVsbG8=\n \
                       -----END PGP PUBLIC KEY BLOCK-----\n\nURIs: http://unsigned.example\n";
        let all = of_stanzas(stanzas);
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all[0].places, ["deb.example/debian", "two.example"]);
        let SignedBy::Here(key) = &all[1].signed_by else { panic!("{all:?}") };
        assert!(key.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\naGVs"), "{key}");
    }

    #[test]
    fn apt_s_keys_are_offered_each_for_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(at("trusted.d")).unwrap();
        fs::write(at("own.gpg"), ARCHIVE).unwrap();
        fs::write(at("trusted.d/stranger.gpg"), STRANGER).unwrap();
        fs::write(at("trusted.d/broken.gpg"), b"KBXf").unwrap();
        fs::write(
            at("sources.list"),
            format!("deb [signed-by={}] http://deb.example/x stable main\n", at("own.gpg")),
        )
        .unwrap();
        let settings = format!(
            "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"/none\";\nDir::Etc::trusted \"/none\";\n\
             Dir::Etc::TrustedParts \"{}\";\n",
            at("sources.list"),
            at("trusted.d")
        );
        let keys = Apt::of(&settings).keys();
        assert_eq!(keys.iter().map(|key| key.place.as_str()).collect::<Vec<_>>(), ["deb.example/x", "*"]);
        let read = Keyring::read(&STANDARD.decode(&keys[0].key).unwrap()).unwrap();
        assert_eq!(read.0[0].name(), "Harbour archive <archive@harbour.example>");
        assert_eq!(Apt::of("").list, Path::new("/etc/apt/sources.list"));
    }

    #[test]
    fn a_policy_s_keys_are_offered_each_for_its_scope() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cosign.pub");
        fs::write(&file, PEM).unwrap();
        let policy = json!({
            "default": [{ "type": "sigstoreSigned", "keyData": STANDARD.encode(PEM) }],
            "transports": { "docker": {
                "registry.example:5000/team": [{ "type": "sigstoreSigned", "keyPath": file }],
                "registry.example/team/boat:1": [{ "type": "sigstoreSigned", "keyPath": file }],
                "other.example": [{ "type": "signedBy", "keyPath": file }, { "type": "reject" }],
                "keyless.example": [{ "type": "sigstoreSigned", "fulcio": {} }],
            } },
        });
        let keys = of_policy(&policy);
        let placed = |place: &str| PlacedKey { place: place.into(), key: "AAECAwQF".into() };
        assert_eq!(keys, [placed("registry.example:5000/team"), placed("*")]);
        assert!(of_policy(&Value::Null).is_empty());
    }

    #[test]
    fn a_configured_file_that_is_no_key_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        for (text, words) in [(None, "cannot be read"), (Some("x"), "no key")] {
            if let Some(text) = text {
                fs::write(&file, text).unwrap();
            }
            let files = BTreeMap::from([("deb.example".to_owned(), file.clone())]);
            let error = image_keys(&files).unwrap_err();
            assert!(error.message().contains("`deb.example`") && error.message().contains(words), "{error}");
            assert!(archive_keys(&files).is_err());
        }
        fs::write(&file, ARCHIVE).unwrap();
        let files = BTreeMap::from([("deb.example".to_owned(), file)]);
        assert_eq!(archive_keys(&files).unwrap().len(), 1);
    }
}

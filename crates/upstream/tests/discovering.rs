//! What is found in the homes of different people. Clients that would answer for this machine are
//! replaced by small scripts on a private PATH; where the real client is asked, its home is private.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use cofferdam_types::{ErrorKind, Secret};
use cofferdam_upstream::{Discovery, Override, discover};
use tempfile::TempDir;

/// A person with a home, a PATH and variables of their own.
struct Person {
    folder: TempDir,
    vars: BTreeMap<String, String>,
}

impl Person {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home", "bin"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let bin = folder.path().join("bin").display().to_string();
        Self { vars: BTreeMap::from([("PATH".to_owned(), bin)]), folder }
    }

    /// One with the real clients.
    fn with_real_clients() -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        Self::new().var("PATH", &path)
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.home().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A client on the PATH that prints `answer`.
    fn client(self, name: &str, answer: &str) -> Self {
        let path = self.folder.path().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\nprintf '%s\\n' '{answer}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn discover(&self) -> Discovery {
        self.discover_with(&[])
    }

    fn discover_with(&self, overrides: &[Override]) -> Discovery {
        discover(&|name| self.vars.get(name).cloned(), &self.home(), Path::new("/"), overrides)
    }

    /// Root, source and credentials of one format.
    fn found(&self, format: &str) -> (String, String, Option<String>) {
        let all = self.discover();
        let found = all.of(format).unwrap_or_else(|| panic!("{format}: {:?}", all.errors));
        let secret = found.credentials.as_ref().map(|s| s.expose().clone());
        (found.root.to_string(), found.source.clone(), secret)
    }
}

/// Whether a real client is here; says so when it is not.
fn have(client: &str, test: &str) -> bool {
    let here = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(client).is_file()));
    if !here {
        println!("skipped: {test}: {client} is not installed");
    }
    here
}

fn is(found: (String, String, Option<String>), root: &str, source: &str, secret: Option<&str>) {
    assert_eq!(found, (root.to_owned(), source.to_owned(), secret.map(str::to_owned)));
}

const PIP: &str = r#"{"default": "https://default.upstream.example/simple", "config": {}}"#;

#[test]
fn a_person_who_set_nothing_uses_what_pip_itself_would() {
    let person = Person::new().client("python3", PIP);
    is(person.found("pypi"), "https://default.upstream.example/simple/", "pip's own default", None);
}

#[test]
fn pips_stronger_section_wins_and_its_password_becomes_a_credential() {
    let person = Person::new().client(
        "python3",
        r#"{"default": "https://d.upstream.example/", "config": {
            "global.index-url": "https://weak.upstream.example/simple",
            "install.index-url": "https://u:p@strong.upstream.example/simple",
            "global.cert": "/ca.pem", "global.extra-index-url": "https://u:hunter2@x.upstream.example/"}}"#
            .replace('\n', " ")
            .as_str(),
    );
    is(person.found("pypi"), "https://strong.upstream.example/simple/", "pip config", Some("Basic dTpw"));
    let all = person.discover();
    assert_eq!(all.of("pypi").unwrap().ca_bundle, Some(PathBuf::from("/ca.pem")));
    assert!(all.warnings.iter().any(|w| w.contains("extra-index-url") && !w.contains("hunter2")));
}

#[test]
fn without_pip_the_variable_is_enough_and_without_both_the_person_is_told_what_to_install() {
    let person = Person::new().var("PIP_INDEX_URL", "https://env.upstream.example/simple");
    is(person.found("pypi"), "https://env.upstream.example/simple/", "PIP_INDEX_URL", None);

    let all = Person::new().discover();
    let (_, error) = all.errors.iter().find(|(format, _)| *format == "pypi").unwrap();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "pip-missing"));
    assert!(error.message().contains("not on the PATH") && error.advice().unwrap().contains("install"));
}

#[test]
fn a_python_without_pip_is_not_taken_at_its_word() {
    let all = Person::new().client("python3", "Traceback").discover();
    assert!(all.errors.iter().any(|(format, error)| *format == "pypi" && error.code() == "pip-missing"));
}

#[test]
fn the_persons_netrc_has_the_password_for_pips_index() {
    let netrc = "machine other.upstream.example login x password y\n\
                 machine default.upstream.example login u password p\ndefault login a password b\n";
    let person = Person::new().client("python3", PIP).file(".netrc", netrc);
    is(
        person.found("pypi"),
        "https://default.upstream.example/simple/",
        "pip's own default",
        Some("Basic dTpw"),
    );
}

#[test]
fn the_real_pip_reads_the_persons_own_configuration() {
    if !have("python3", "the_real_pip_reads_the_persons_own_configuration") {
        return;
    }
    let person = Person::with_real_clients()
        .file(".config/pip/pip.conf", "[global]\nindex-url = https://mine.upstream.example/simple\n");
    let all = person.discover();
    match all.of("pypi") {
        Some(found) => assert_eq!(found.root.as_str(), "https://mine.upstream.example/simple/"),
        None => println!("skipped: the real pip: {:?}", all.errors),
    }
}

#[test]
fn the_real_npm_reads_the_persons_own_configuration_and_the_token_comes_along() {
    if !have("npm", "the_real_npm_reads_the_persons_own_configuration_and_the_token_comes_along") {
        return;
    }
    let rc = "registry=https://mine.upstream.example/npm\n//mine.upstream.example/npm/:_authToken=${NPM_SECRET}\n\
              @corp:registry=https://corp.upstream.example/\n";
    let person = Person::with_real_clients().file(".npmrc", rc).var("NPM_SECRET", "hunter2");
    is(person.found("npm"), "https://mine.upstream.example/npm/", "~/.npmrc", Some("Bearer hunter2"));
    assert!(person.discover().warnings.iter().any(|warning| warning.contains("@corp:registry")));
}

#[test]
fn npms_token_for_another_host_stays_where_it_is() {
    let rc =
        "//other.upstream.example/:_authToken=hunter2\n//npm.upstream.example/private/:_authToken=hunter2\n";
    let person =
        Person::new().client("npm", "registry=https://npm.upstream.example/\ncafile=null").file(".npmrc", rc);
    is(person.found("npm"), "https://npm.upstream.example/", "npm's own default", None);
}

#[test]
fn npms_user_and_password_cover_the_paths_below_theirs() {
    let rc = "//npm.upstream.example:8443/:username=u\n//npm.upstream.example:8443/:_password=cA==\n";
    let person =
        Person::new().client("npm", "registry=https://npm.upstream.example:8443/a/b/").file(".npmrc", rc);
    is(
        person.found("npm"),
        "https://npm.upstream.example:8443/a/b/",
        "npm's own default",
        Some("Basic dTpw"),
    );
}

#[test]
fn cargo_without_configuration_uses_the_default_of_the_crate_that_keeps_it() {
    let (root, source, secret) = Person::new().found("cargo");
    assert!(root.starts_with("https://") && root.ends_with('/'), "{root}");
    assert!(source.contains("default") && secret.is_none());
}

#[test]
fn cargos_source_replacement_is_followed_to_its_end_with_its_token() {
    let person = Person::new()
        .file(
            ".cargo/config.toml",
            "[source.crates-io]\nreplace-with = 'first'\n[source.first]\nreplace-with = 'my-mirror'\n\
             [source.my-mirror]\nregistry = 'sparse+https://mirror.upstream.example/index'\n\
             [registries.my-mirror]\nindex = 'sparse+https://mirror.upstream.example/index'\n",
        )
        .file(".cargo/credentials.toml", "[registries.my-mirror]\ntoken = 'from-file'\n");
    let source = "Cargo's config.toml (source replacement)";
    is(person.found("cargo"), "https://mirror.upstream.example/index/", source, Some("from-file"));
    let person = person.var("CARGO_REGISTRIES_MY_MIRROR_TOKEN", "from-env");
    is(person.found("cargo"), "https://mirror.upstream.example/index/", source, Some("from-env"));
}

#[test]
fn cargos_replacement_may_name_a_registry_by_its_variable() {
    let person = Person::new()
        .file("elsewhere/config.toml", "[source.crates-io]\nreplace-with = 'corp'\n")
        .var("CARGO_REGISTRIES_CORP_INDEX", "sparse+https://corp.upstream.example/");
    let home = person.home().join("elsewhere").display().to_string();
    let person = person.var("CARGO_HOME", &home);
    is(
        person.found("cargo"),
        "https://corp.upstream.example/",
        "Cargo's config.toml (source replacement)",
        None,
    );
}

#[test]
fn cargo_sources_that_cannot_be_recorded_are_refused_with_advice() {
    for (config, why) in [
        (
            "[source.crates-io]\nreplace-with = 'v'\n[source.v]\ndirectory = 'vendor'\n",
            "names no registry index",
        ),
        (
            "[source.crates-io]\nreplace-with = 'g'\n[source.g]\nregistry = 'https://g.upstream.example/i'\n",
            "sparse",
        ),
        ("[source.crates-io]\nreplace-with = 'a'\n[source.a]\nreplace-with = 'crates-io'\n", "circle"),
        ("[source.crates-io\ntoken = 'hunter2'\n", "not TOML"),
    ] {
        let all = Person::new().file(".cargo/config.toml", config).discover();
        let (_, error) = all.errors.iter().find(|(format, _)| *format == "cargo").expect(why);
        assert!(error.message().contains(why), "{error}");
        assert!(error.advice().is_some() && !error.internal_chain().contains("hunter2"));
    }
}

#[test]
fn what_the_operator_set_wins_and_no_client_is_asked() {
    let set = Override {
        format: "npm".to_owned(),
        root: "https://site.upstream.example/npm".to_owned(),
        credentials: Some(Secret::new("Bearer t".to_owned())),
        ca_bundle: None,
    };
    let all = Person::new().discover_with(&[set]);
    let found = all.of("npm").unwrap();
    assert_eq!(
        (found.root.as_str(), &*found.source),
        ("https://site.upstream.example/npm/", "cofferdam.toml")
    );
    assert!(all.errors.iter().all(|(format, _)| *format != "npm"));
    assert!(!format!("{all:?}").contains("Bearer t"), "a secret is never printed");
}

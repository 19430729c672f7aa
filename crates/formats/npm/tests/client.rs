//! The stock npm, unmodified, against a hosted repository and a recording mirror.

#[path = "support/server.rs"]
mod server;
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::Ordering,
};

use cofferdam_format_kit::{Format as _, RepositoryKind, conformance::MemoryUpstream};
use cofferdam_format_npm::Npm;
use cofferdam_types::Timestamp;
use serde_json::{Value, json};
use support::{sri, tarball};

/// A person with npm and an empty home.
struct Person {
    home: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Person {
    fn new(base: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let setup = Npm.client_setup(base, Some("a-token"));
        for (path, text) in &setup.files {
            fs::write(home.path().join(path), text).unwrap();
        }
        Self { home, env: setup.env }
    }

    fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.home.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        for (path, text) in files {
            fs::write(folder.join(path), text).unwrap();
        }
        folder
    }

    /// Runs npm to its end, away from the runtime that answers it.
    async fn npm(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new("npm");
        command.args(arguments).current_dir(folder).env_clear().envs(self.env.iter().cloned());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home.path());
        command.env("npm_config_fetch_retries", "0");
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn ok(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.npm(folder, arguments).await;
        let (out, err) = texts(&output);
        assert!(output.status.success(), "npm {arguments:?} failed:\n{out}\n{err}");
        out
    }

    async fn fails(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.npm(folder, arguments).await;
        let (out, err) = texts(&output);
        assert!(!output.status.success(), "npm {arguments:?} should have failed:\n{out}\n{err}");
        out + &err
    }
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into())
}

fn no_npm() -> bool {
    let missing = Command::new("npm").arg("--version").output().is_err();
    if missing {
        println!("skipped: npm: there is no npm on this machine");
    }
    missing
}

fn manifest(version: &str) -> String {
    json!({ "name": "@acme/tool", "version": version, "description": "a tool", "main": "index.js" })
        .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_publishes_installs_tags_deprecates_and_unpublishes() {
    if no_npm() {
        return;
    }
    let (base, _site) = server::start(RepositoryKind::Hosted, None).await;
    let author = Person::new(&base);
    let source =
        author.folder("tool", &[("package.json", &manifest("1.0.0")), ("index.js", "module.exports=41\n")]);
    author.ok(&source, &["publish"]).await;
    fs::write(source.join("package.json"), manifest("1.1.0-rc.1")).unwrap();
    author.ok(&source, &["publish", "--tag", "next"]).await;
    let again = author.fails(&source, &["publish", "--tag", "next"]).await;
    assert!(again.contains("previously published versions"), "{again}");

    let user = Person::new(&base);
    let app = user.folder("app", &[("package.json", r#"{"name":"app","version":"1.0.0","private":true}"#)]);
    user.ok(&app, &["install", "@acme/tool", "next@npm:@acme/tool@next"]).await;
    let lock = fs::read_to_string(app.join("package-lock.json")).unwrap();
    assert!(lock.contains(&format!("{base}/@acme/tool/-/tool-1.0.0.tgz")), "{lock}");
    assert_eq!(
        fs::read_to_string(app.join("node_modules/@acme/tool/index.js")).unwrap(),
        "module.exports=41\n"
    );
    let installed = fs::read_to_string(app.join("node_modules/next/package.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&installed).unwrap()["version"], "1.1.0-rc.1");
    user.ok(&app, &["ci"]).await;
    assert!(user.ok(&app, &["search", "tool", "--parseable"]).await.contains("@acme/tool"));
    let audit = user.fails(&app, &["audit"]).await;
    assert!(!audit.contains("found 0 vulnerabilities"), "{audit}");

    author.ok(&source, &["dist-tag", "add", "@acme/tool@1.1.0-rc.1", "beta"]).await;
    let tags = author.ok(&source, &["dist-tag", "ls", "@acme/tool"]).await;
    assert!(tags.contains("beta: 1.1.0-rc.1") && tags.contains("latest: 1.0.0"), "{tags}");
    author.ok(&source, &["dist-tag", "rm", "@acme/tool", "beta"]).await;
    author.ok(&source, &["deprecate", "@acme/tool@1.0.0", "use the next one"]).await;
    let notice = user.ok(&app, &["view", "@acme/tool@1.0.0", "deprecated"]).await;
    assert!(notice.contains("use the next one"), "{notice}");
    author.ok(&source, &["unpublish", "@acme/tool@1.1.0-rc.1", "--force"]).await;
    let versions = user.ok(&app, &["view", "@acme/tool", "versions", "--json"]).await;
    assert!(versions.contains("1.0.0") && !versions.contains("rc.1"), "{versions}");
    author.ok(&source, &["unpublish", "@acme/tool", "--force"]).await;
    assert!(user.fails(&app, &["view", "@acme/tool"]).await.contains("E404"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn npm_installs_through_a_recording_mirror_and_then_from_what_it_recorded() {
    if no_npm() {
        return;
    }
    let bytes = tarball("left", "1.2.0");
    let file = "http://upstream.example/left/-/left-1.2.0.tgz";
    let packument = json!({
        "name": "left",
        "dist-tags": { "latest": "1.2.0", "cjs": "1.2.0" },
        "versions": { "1.2.0": {
            "name": "left", "version": "1.2.0", "dist": { "tarball": file, "integrity": sri(&bytes) },
        } },
        "time": { "1.2.0": "2026-01-02T03:04:05.000Z" },
    });
    let upstream = MemoryUpstream::new("http://upstream.example/")
        .with("left", "application/json", packument.to_string())
        .with(file, "application/octet-stream", bytes);
    let (base, site) = server::start(RepositoryKind::Mirror, Some(upstream)).await;
    let person = Person::new(&base);
    let app = person.folder("app", &[("package.json", r#"{"name":"app","dependencies":{"left":"cjs"}}"#)]);
    person.ok(&app, &["install"]).await;

    let recorded = support::get(&site.repository, "/left", "*/*").await;
    let published = Timestamp::parse("2026-01-02T03:04:05Z").unwrap().to_string();
    assert_eq!(recorded["time"]["1.2.0"], published);
    assert_eq!(recorded["dist-tags"], json!({ "latest": "1.2.0", "cjs": "1.2.0" }));

    // The way to upstream is cut; a new person has nothing in the cache.
    site.connected.store(false, Ordering::SeqCst);
    let lock = fs::read_to_string(app.join("package-lock.json")).unwrap();
    let stranger = Person::new(&base);
    let package = fs::read_to_string(app.join("package.json")).unwrap();
    let fresh = stranger.folder("fresh", &[("package.json", &package)]);
    stranger.ok(&fresh, &["install"]).await;
    let again = fs::read_to_string(fresh.join("package-lock.json")).unwrap();
    assert_eq!(again.replace("fresh", "app"), lock, "the same lock file comes out on both sides");

    // A lock file from another place: npm puts our address before upstream's path.
    let foreign = lock.replace(&base, "http://upstream.example");
    let (home, arguments) = (Person::new(&base), ["ci", "--replace-registry-host=always"]);
    let ci = home.folder("ci", &[("package.json", &package), ("package-lock.json", &foreign)]);
    home.ok(&ci, &arguments).await;
    assert!(ci.join("node_modules/left/index.js").exists());
}

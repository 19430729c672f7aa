//! The stock cargo against a repository in memory, over a loopback port of its own.
//!
//! Nothing here reaches another host: the configuration of [`Format::client_setup`] replaces the
//! default registry, and the environment holds no proxy.

use std::{
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
};

use cofferdam_format_cargo::Cargo;
use cofferdam_format_kit::{Format, RepositoryKind, conformance::MemoryRepository};
use cofferdam_types::Error;
use http::{Method, StatusCode};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
};

/// Answers one request of one connection, as the edge would.
async fn answer(stream: TcpStream, repository: Arc<MemoryRepository>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let Some((method, target)) = head.first().and_then(|line| line.split_once(' ')) else { return Ok(()) };
    let target = target.split(' ').next().unwrap_or_default();
    let header = |name: &str| {
        let mut pairs = head[1..].iter().filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let (status, bytes) = if method == "GET" {
        let (status, _, bytes) = repository.get(&Cargo, target, "*/*").await;
        (status, bytes)
    } else {
        assert_eq!(header("authorization"), Some("a-token"), "cargo sends the token bare");
        let size = header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        if header("expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut body = vec![0; size];
        stream.read_exact(&mut body).await?;
        change(&repository, method.parse().expect("a method"), target, body).await
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

async fn change(
    repository: &MemoryRepository,
    method: Method,
    target: &str,
    body: Vec<u8>,
) -> (StatusCode, bytes::Bytes) {
    let answer = match repository.publish(&Cargo, method, target, &[], body).await {
        Ok(answer) => answer,
        Err(error) => Cargo.error(&error),
    };
    let cofferdam_format_kit::Body::Bytes(bytes) = answer.body else { panic!("changes answer with JSON") };
    (answer.status, bytes)
}

/// A registry on a port of its own, and a person with a home of their own.
struct World {
    home: TempDir,
    url: String,
}

impl World {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let repository = Arc::new(MemoryRepository::new("crates", RepositoryKind::Hosted, &url));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, repository.clone()));
            }
        });
        let world = Self { home: tempfile::tempdir().expect("a home"), url };
        world.set_up(world.home.path());
        world
    }

    fn set_up(&self, home: &Path) {
        for (path, text) in Cargo.client_setup(&self.url, None).files {
            write(&home.join(path), &text);
        }
    }

    /// Runs cargo in a folder below the home, in an environment that holds nothing else.
    async fn cargo(&self, home: &Path, folder: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("cargo");
        command.args(arguments).current_dir(self.home.path().join(folder)).env_clear();
        command.env("HOME", home).env("CARGO_HOME", home.join(".cargo"));
        for name in ["PATH", "RUSTUP_TOOLCHAIN"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        // The real home: there rustup finds the compiler that belongs to this cargo.
        let rustup = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
        let rustup = rustup.or_else(|| std::env::home_dir().map(|real| real.join(".rustup")));
        command.envs(rustup.map(|rustup| ("RUSTUP_HOME", rustup)));
        command.envs(Cargo.client_setup(&self.url, Some("a-token")).env);
        command.output().await.expect("cargo runs")
    }

    async fn run(&self, folder: &str, arguments: &[&str]) -> String {
        let output = self.cargo(self.home.path(), folder, arguments).await;
        let text = shown(&output);
        assert!(output.status.success(), "cargo {arguments:?} failed:\n{text}");
        text
    }

    async fn publish(&self, folder: &str) -> String {
        let arguments = ["publish", "--no-verify", "--allow-dirty", "--registry", "cofferdam"];
        self.run(folder, &arguments).await
    }

    fn project(&self, name: &str, version: &str, more: &str) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n\
             description = \"About {name}\"\nlicense = \"MIT\"\n{more}\n[workspace]\n"
        );
        write(&self.home.path().join(name).join("Cargo.toml"), &manifest);
        write(&self.home.path().join(name).join("src/lib.rs"), "");
    }

    fn lock(&self, folder: &str) -> String {
        std::fs::read_to_string(self.home.path().join(folder).join("Cargo.lock")).expect("a lock file")
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
    std::fs::write(path, text).expect("the file is written");
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn cargo_is_missing() -> bool {
    let works = Command::new("cargo").arg("--version").output().await;
    let missing = !works.is_ok_and(|output| output.status.success());
    if missing {
        println!("skipped: cargo: there is no working cargo on the PATH");
    }
    missing
}

#[tokio::test(flavor = "multi_thread")]
async fn crates_are_published_found_and_built_upon() -> Result<(), Error> {
    if cargo_is_missing().await {
        return Ok(());
    }
    let world = World::new().await;
    world.project("base_lib", "0.1.0", "");
    world.publish("base_lib").await;
    let middle = "[features]\nextra = [\"dep:alias\"]\n[dependencies]\n\
        alias = { package = \"base_lib\", version = \"0.1\", registry = \"cofferdam\", optional = true }\n";
    world.project("middle-lib", "0.2.0", middle);
    world.publish("middle-lib").await;

    let found = world.run("", &["search", "lib", "--registry", "cofferdam"]).await;
    assert!(found.contains("base_lib = \"0.1.0\"") && found.contains("# About middle-lib"), "{found}");

    let consumer = "[dependencies]\nmiddle-lib = { version = \"0.2\", features = [\"extra\"] }\n";
    world.project("consumer", "0.0.0", consumer);
    world.run("consumer", &["fetch"]).await;
    let lock = world.lock("consumer");
    assert!(lock.contains("name = \"base_lib\"\nversion = \"0.1.0\""), "{lock}");
    assert!(!lock.contains(&world.url), "the lock file names the default registry, not ours:\n{lock}");
    let metadata = world.run("consumer", &["metadata", "--format-version=1", "--offline", "--locked"]).await;
    assert!(metadata.contains("\"rename\":\"alias\""), "{metadata}");
    world.run("consumer", &["check", "--offline", "--locked"]).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yanked_release_is_chosen_by_nobody_but_kept_for_lock_files() {
    if cargo_is_missing().await {
        return;
    }
    let world = World::new().await;
    for version in ["0.1.0", "0.1.1"] {
        world.project("base_lib", version, "");
        world.publish("base_lib").await;
    }
    world.project("consumer", "0.0.0", "[dependencies]\nbase_lib = \"0.1\"\n");
    world.run("consumer", &["generate-lockfile"]).await;
    assert!(world.lock("consumer").contains("version = \"0.1.1\""));
    let yank = ["yank", "base_lib", "--version", "0.1.1", "--registry", "cofferdam"];
    world.run("", &yank).await;

    // Another person with an empty cache: the lock file still works.
    let other = tempfile::tempdir().expect("another home");
    world.set_up(other.path());
    let fetched = world.cargo(other.path(), "consumer", &["fetch", "--locked"]).await;
    assert!(fetched.status.success(), "{}", shown(&fetched));
    std::fs::remove_file(world.home.path().join("consumer/Cargo.lock")).expect("the lock file goes");
    world.run("consumer", &["generate-lockfile"]).await;
    assert!(world.lock("consumer").contains("version = \"0.1.0\""));

    world.run("", &[&yank[..], &["--undo"]].concat()).await;
    world.run("consumer", &["update"]).await;
    assert!(world.lock("consumer").contains("version = \"0.1.1\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_why_they_were_refused() {
    if cargo_is_missing().await {
        return;
    }
    let world = World::new().await;
    world.project("base_lib", "0.1.0", "");
    world.publish("base_lib").await;
    world.project("base-lib", "0.1.0", "");
    let arguments = ["publish", "--no-verify", "--allow-dirty", "--registry", "cofferdam"];
    let refused = world.cargo(world.home.path(), "base-lib", &arguments).await;
    let text = shown(&refused);
    assert!(!refused.status.success() && text.contains("too much like `base_lib`"), "{text}");
    let owners = ["owner", "--list", "base_lib", "--registry", "cofferdam"];
    let refused = world.cargo(world.home.path(), "", &owners).await;
    assert!(shown(&refused).contains("no owners of their own"), "{}", shown(&refused));

    world.project("consumer", "0.0.0", "[dependencies]\nnot_here = \"1\"\n");
    let refused = world.cargo(world.home.path(), "consumer", &["fetch"]).await;
    let text = shown(&refused);
    assert!(text.contains("no matching package named `not_here` found"), "{text}");
}

/// Why a recording begins with `cargo fetch`: resolving a lock file asks the index for the crates
/// of every platform, while building downloads those of this platform only. A mirror that holds
/// only what a build downloaded cannot repeat that build.
#[tokio::test(flavor = "multi_thread")]
async fn only_fetch_brings_the_crates_of_every_platform_that_a_lock_file_names() {
    if cargo_is_missing().await {
        return;
    }
    let full = World::new().await;
    full.project("far_away", "0.1.0", "");
    full.publish("far_away").await;
    let consumer = "[target.'cfg(target_os = \"none\")'.dependencies]\nfar_away = \"0.1\"\n";
    full.project("consumer", "0.0.0", consumer);
    let cache = full.home.path().join(".cargo/registry/cache");
    let downloaded = || {
        let folders = std::fs::read_dir(&cache).into_iter().flatten().flatten();
        folders.filter(|folder| folder.path().join("far_away-0.1.0.crate").exists()).count()
    };
    full.run("consumer", &["check"]).await;
    assert_eq!(downloaded(), 0, "a build leaves the crates of other platforms alone");

    let empty = World::new().await;
    empty.project("consumer", "0.0.0", consumer);
    write(&empty.home.path().join("consumer/Cargo.lock"), &full.lock("consumer"));
    let refused = empty.cargo(empty.home.path(), "consumer", &["check", "--locked"]).await;
    assert!(shown(&refused).contains("no matching package named `far_away`"), "{}", shown(&refused));

    full.run("consumer", &["fetch", "--locked"]).await;
    assert_eq!(downloaded(), 1);
}

//! The project that crosses: `berth` with its real dependencies, or, with `--sample`, a small one
//! whose packages this program makes itself and serves from a third site that plays the internet.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_access::Role as PersonRole;
use cofferdam_types::{Error, ErrorKind, Result, Sha256};
use serde_json::json;

use super::sites::{Plan, RunningSite};
use crate::config::Role;

/// A file of a project that is part of this program.
type Embedded = (&'static str, &'static [u8], bool);

macro_rules! berth {
    ($($path:literal $(* $executable:literal)?),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../../../../examples/berth/", $path)), false $(|| $executable)?)),*]
    };
}

/// `examples/berth`, so that `try` works wherever the program is.
const BERTH: &[Embedded] = berth![
    ".gitignore",
    ".gitlab-ci.yml",
    "README.md",
    "app.py",
    "build.sh" * true,
    "logbook/logbook.py",
    "logbook/pyproject.toml",
    "requirements.txt",
    "templates/index.html",
    "tests/__init__.py",
    "tests/test_app.py",
    "tide/Cargo.lock",
    "tide/Cargo.toml",
    "tide/src/main.rs",
    "web/build.mjs",
    "web/package-lock.json",
    "web/package.json",
    "web/pages/rules.md",
    "web/pages/tides.md",
];
const BERTH_UPGRADE: &[Embedded] =
    &[("requirements.txt", include_bytes!("../../../../../examples/berth/upgrade/requirements.txt"), false)];

/// A part of a project: what it is called, and the programs that it needs.
const PARTS: &[(&str, &[&str], &str)] = &[
    ("python", &["python3", "pip"], "install python3 and python3-pip"),
    ("web", &["node", "npm"], "install nodejs and npm"),
    ("rust", &["cargo", "cc"], "install Rust and a C compiler"),
];

/// The project that crosses.
pub struct Project {
    /// What it is called.
    pub name: &'static str,
    /// Its folder.
    pub folder: PathBuf,
    /// The parts whose clients this machine has.
    pub parts: Vec<String>,
    /// Those that it has not, and how to get them.
    pub left_out: Vec<String>,
    /// The command that builds it.
    pub command: Vec<String>,
    upgrade: Vec<(String, Vec<u8>)>,
}

impl Project {
    /// Writes the project's files below `root`.
    ///
    /// # Errors
    /// `Unavailable` when this machine has no client for any part, or no git.
    pub fn choose(root: &Path, sample: bool) -> Result<Self> {
        let has = |program: &&&str| {
            Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success())
        };
        let missing = |why: String| Error::new(ErrorKind::Unavailable, "client-missing", why);
        if !has(&&"git") || !has(&&"bash") {
            return Err(missing("git and bash are needed".into())
                .hint("install git and bash with the machine's package manager"));
        }
        let (mut parts, mut left_out) = (Vec::new(), Vec::new());
        for (part, programs, remedy) in PARTS {
            match programs.iter().find(|p| !has(p)) {
                None => parts.push((*part).to_owned()),
                Some(absent) => left_out.push(format!("{part}: {absent} was not found; {remedy}")),
            }
        }
        if parts.is_empty() {
            return Err(
                missing("none of pip, npm and cargo is on this machine".into()).hint(left_out.join("; "))
            );
        }
        let folder = root.join("project");
        let (name, mut files, upgrade) = if sample { made() } else { embedded() };
        if !left_out.is_empty() {
            let gone: Vec<&str> =
                PARTS.iter().map(|p| p.0).filter(|p| !parts.iter().any(|q| q == p)).collect();
            for (path, bytes, _) in &mut files {
                if path == ".gitlab-ci.yml" {
                    *bytes = without_jobs(&String::from_utf8_lossy(bytes), &gone).into_bytes();
                }
            }
        }
        write(&folder, &files)?;
        let command = std::iter::once("./build.sh".to_owned()).chain(parts.iter().cloned()).collect();
        Ok(Self { name, folder, parts, left_out, command, upgrade })
    }

    /// The project with one dependency changed, in another folder.
    ///
    /// # Errors
    /// `NoSpace` and the like.
    pub fn upgraded(&self, root: &Path) -> Result<PathBuf> {
        let folder = root.join("project-upgraded");
        copy_folder(&self.folder, &folder)?;
        let files: Vec<_> =
            self.upgrade.iter().map(|(path, bytes)| (path.clone(), bytes.clone(), false)).collect();
        write(&folder, &files)?;
        Ok(folder)
    }

    /// A git work tree of the project with one commit.
    ///
    /// # Errors
    /// What git said.
    pub fn commit_into(&self, work: &Path) -> Result<()> {
        copy_folder(&self.folder, work)?;
        git(work, &["init", "--quiet", "--initial-branch=main"])?;
        git(work, &["add", "--all"])?;
        git(work, &["commit", "--quiet", "--message", "The project as it is outside"]).map(drop)
    }
}

/// Runs git in a folder, with a name of ours and nothing of this account's configuration.
///
/// # Errors
/// What git said.
pub fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let done = Command::new("git")
        .args(["-c", "user.name=Dana", "-c", "user.email=dana@harbour.example", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .map_err(|e| Error::io("starting git", e))?;
    if done.status.success() {
        return Ok(
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
        );
    }
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(Error::verification("git", format!("git {} failed: {text}", arguments.first().unwrap_or(&""))))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let failed = |e| Error::io("copying the project", e);
    for entry in walkdir::WalkDir::new(from).into_iter().filter_map(std::result::Result::ok) {
        let Ok(relative) = entry.path().strip_prefix(from) else { continue };
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(to.join(relative)).map_err(failed)?;
        } else {
            std::fs::copy(entry.path(), to.join(relative)).map_err(failed)?;
        }
    }
    Ok(())
}

fn write(folder: &Path, files: &[(String, Vec<u8>, bool)]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |e| Error::io("writing the project", e);
    for (path, bytes, executable) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
        std::fs::write(&path, bytes).map_err(failed)?;
        if *executable {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).map_err(failed)?;
        }
    }
    Ok(())
}

type Files = Vec<(String, Vec<u8>, bool)>;

fn embedded() -> (&'static str, Files, Vec<(String, Vec<u8>)>) {
    let files = BERTH.iter().map(|(path, bytes, x)| ((*path).to_owned(), bytes.to_vec(), *x)).collect();
    let upgrade = BERTH_UPGRADE.iter().map(|(path, bytes, _)| ((*path).to_owned(), bytes.to_vec())).collect();
    ("berth", files, upgrade)
}

/// A pipeline file without the jobs of parts that this machine has no client for. The test job needs
/// every part.
fn without_jobs(text: &str, gone: &[&str]) -> String {
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|_| !line.starts_with([' ', '#'])) {
            skipping = gone.contains(&name) || name == "test";
        }
        if skipping {
            continue;
        }
        match line.trim_start().strip_prefix("needs: [").and_then(|rest| rest.strip_suffix(']')) {
            Some(list) => {
                let kept: Vec<&str> =
                    list.split(", ").filter(|n| !gone.contains(n) && *n != "test").collect();
                out.push_str(&format!("  needs: [{}]\n", kept.join(", ")));
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// Lines of the outside site's configuration that make the third site its upstream.
pub fn configuration(upstream: &str) -> String {
    format!(
        "\n[upstream.pypi]\nurl = \"{upstream}/r/pypi/simple/\"\n[upstream.npm]\nurl = \"{upstream}/r/npm/\"\n\
         [upstream.cargo]\nurl = \"sparse+{upstream}/r/cargo/\"\n"
    )
}

/// Starts the third site and publishes the made packages with their ecosystems' own protocols.
///
/// # Errors
/// What the site refused.
pub async fn upstream(folder: &Path) -> Result<RunningSite> {
    let people: &[(&str, &[PersonRole])] = &[("dana", &[PersonRole::Developer])];
    let plan = Plan { name: "upstream", role: Role::Connected, people, more: "" };
    let site = RunningSite::start(folder, plan).await?;
    let token = site.token("dana")?;
    let http =
        reqwest::Client::builder().no_proxy().build().map_err(|e| Error::internal("an HTTP client", e))?;
    for (name, version, requires) in [
        ("skiff-hull", "1.0.0", None),
        ("skiff-hull", "1.0.1", None),
        ("skiff-sail", "1.0.0", Some("skiff-hull")),
    ] {
        let (kind, body) = upload(name, version, requires)?;
        let request =
            http.post(format!("{}/r/pypi-local/", site.url)).header("content-type", kind).body(body);
        accepted(name, request.bearer_auth(token)).await?;
    }
    for (name, needs) in [("skiff-rope", None), ("skiff-mast", Some("skiff-rope"))] {
        let request =
            http.put(format!("{}/r/npm-local/{name}", site.url)).header("content-type", "application/json");
        accepted(name, request.body(npm_publish(name, needs)?).bearer_auth(token)).await?;
    }
    for (name, needs) in [("skiff-rivet", None), ("skiff-keel", Some("skiff-rivet"))] {
        let request = http.put(format!("{}/r/cargo-local/api/v1/crates/new", site.url));
        accepted(name, request.body(cargo_publish(name, needs)?).header("authorization", token)).await?;
    }
    Ok(site)
}

async fn accepted(name: &str, request: reqwest::RequestBuilder) -> Result<()> {
    let answer = request.send().await.map_err(|e| Error::internal("publishing a made package", e))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text = answer.text().await.unwrap_or_default();
    Err(Error::verification("sample", format!("the made package {name} was refused with {status}: {text}")))
}

fn zip_error(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("making a package", error)
}

fn wheel(name: &str, version: &str, requires: Option<&str>) -> Result<Vec<u8>> {
    let module = name.replace('-', "_");
    let info = format!("{module}-{version}.dist-info");
    let needs = requires.map(|r| format!("Requires-Dist: {r}\n")).unwrap_or_default();
    let code = match requires {
        Some(other) => {
            format!("from {} import name as below\nname = '{name} on ' + below\n", other.replace('-', "_"))
        }
        None => format!("name = '{name} {version}'\n"),
    };
    let files = [
        (format!("{module}.py"), code),
        (
            format!("{info}/METADATA"),
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"),
        ),
        (
            format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: cofferdam\nRoot-Is-Purelib: true\nTag: py3-none-any\n".into(),
        ),
    ];
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let mut record = String::new();
    for (path, text) in &files {
        zip.start_file(path.as_str(), options).map_err(zip_error)?;
        zip.write_all(text.as_bytes()).map_err(zip_error)?;
        record.push_str(&format!("{path},,\n"));
    }
    zip.start_file(format!("{info}/RECORD"), options).map_err(zip_error)?;
    zip.write_all(format!("{record}{info}/RECORD,,\n").as_bytes()).map_err(zip_error)?;
    Ok(zip.finish().map_err(zip_error)?.into_inner())
}

/// The form that twine sends.
fn upload(name: &str, version: &str, requires: Option<&str>) -> Result<(String, Vec<u8>)> {
    const BOUNDARY: &str = "cofferdam-sample-boundary";
    let wheel = wheel(name, version, requires)?;
    let digest = Sha256::of(&wheel).to_hex();
    let mut body = Vec::new();
    for (field, value) in [
        (":action", "file_upload"),
        ("protocol_version", "1"),
        ("metadata_version", "2.1"),
        ("filetype", "bdist_wheel"),
        ("pyversion", "py3"),
        ("name", name),
        ("version", version),
        ("sha256_digest", &digest),
    ] {
        let part =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let file = format!("{}-{version}-py3-none-any.whl", name.replace('-', "_"));
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{file}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&wheel);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    Ok((format!("multipart/form-data; boundary={BOUNDARY}"), body))
}

fn tar_gz(files: &[(String, String)]) -> Result<Vec<u8>> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut tar = tar::Builder::new(encoder);
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, text.as_bytes()).map_err(zip_error)?;
    }
    tar.into_inner().and_then(flate2::write::GzEncoder::finish).map_err(zip_error)
}

fn npm_publish(name: &str, needs: Option<&str>) -> Result<String> {
    let dependencies = needs.map(|n| json!({ n: "^1.0.0" })).unwrap_or_else(|| json!({}));
    let manifest = json!({ "name": name, "version": "1.0.0", "main": "index.js", "license": "Apache-2.0", "dependencies": dependencies });
    let code = match needs {
        Some(other) => format!("module.exports = '{name} on ' + require('{other}')\n"),
        None => format!("module.exports = '{name}'\n"),
    };
    let tarball =
        tar_gz(&[("package/package.json".into(), manifest.to_string()), ("package/index.js".into(), code)])?;
    let file = format!("{name}-1.0.0.tgz");
    let attachment = json!({
        "content_type": "application/octet-stream", "data": STANDARD.encode(&tarball), "length": tarball.len(),
    });
    let body = json!({
        "_id": name, "name": name, "dist-tags": { "latest": "1.0.0" }, "versions": { "1.0.0": manifest },
        "_attachments": { file: attachment },
    });
    Ok(body.to_string())
}

fn cargo_publish(name: &str, needs: Option<&str>) -> Result<Vec<u8>> {
    let dependency = needs.map(|n| format!("\n[dependencies]\n{n} = \"1.0\"\n")).unwrap_or_default();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\nlicense = \"Apache-2.0\"\ndescription = \"a sample\"\n{dependency}"
    );
    let code = match needs {
        Some(other) => format!(
            "pub fn name() -> String {{ format!(\"{name} on {{}}\", {}::name()) }}\n",
            other.replace('-', "_")
        ),
        None => format!("pub fn name() -> String {{ \"{name}\".to_owned() }}\n"),
    };
    let top = format!("{name}-1.0.0");
    let archive = tar_gz(&[(format!("{top}/Cargo.toml"), manifest), (format!("{top}/src/lib.rs"), code)])?;
    let deps: Vec<_> = needs
        .iter()
        .map(|n| {
            json!({
                "name": n, "version_req": "^1.0", "features": [], "optional": false, "default_features": true,
                "target": null, "kind": "normal", "registry": null, "explicit_name_in_toml": null,
            })
        })
        .collect();
    let facts = json!({
        "name": name, "vers": "1.0.0", "deps": deps, "features": {}, "authors": [], "description": "a sample",
        "license": "Apache-2.0", "keywords": [], "categories": [], "badges": {}, "links": null,
    });
    let facts = facts.to_string();
    let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    Ok([&length(facts.len()), facts.as_bytes(), &length(archive.len()), &archive].concat())
}

/// The made project: three parts, each with one dependency that has a dependency.
fn made() -> (&'static str, Files, Vec<(String, Vec<u8>)>) {
    const BUILD: &str = "#!/usr/bin/env bash
# Builds the sample: build.sh [python] [web] [rust]. Packages come from wherever the clients are set up.
set -euo pipefail
cd \"$(dirname \"$0\")\"
out=${SKIFF_OUT:-out}
mkdir -p \"$out\"
out=$(cd \"$out\" && pwd)
python() { rm -rf \"$out/site\"; pip install --quiet --no-compile --target \"$out/site\" -r requirements.txt; PYTHONPATH=\"$out/site\" python3 -c 'import skiff_sail; print(skiff_sail.name)'; }
web() { (cd web && npm install --no-audit --no-fund --loglevel=error && node -e \"console.log(require('skiff-mast'))\" | tee \"$out/web.txt\"); }
rust() { (cd rust && cargo build --quiet --target-dir \"$out/target\" && mkdir -p \"$out/bin\" && cp \"$out/target/debug/skiff\" \"$out/bin/\" && \"$out/bin/skiff\"); }
[ $# -gt 0 ] || set -- python web rust
for part in \"$@\"; do \"$part\"; done
";
    const CI: &str = "stages: [build, package]

python:
  stage: build
  script:
    - ./build.sh python
  artifacts:
    paths: [out/site/]

web:
  stage: build
  script:
    - ./build.sh web
  artifacts:
    paths: [out/web.txt]

rust:
  stage: build
  script:
    - ./build.sh rust
  artifacts:
    paths: [out/bin/]

package:
  stage: package
  needs: [python, web, rust]
  script:
    - tar -czf skiff.tar.gz out
  artifacts:
    name: skiff
    paths: [skiff.tar.gz]
";
    let manifest = "[package]\nname = \"skiff\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nskiff-keel = \"1.0\"\n\n[workspace]\n";
    let package = json!({ "name": "skiff", "version": "0.1.0", "private": true, "dependencies": { "skiff-mast": "^1.0.0" } });
    let text = |path: &str, text: String, executable: bool| (path.to_owned(), text.into_bytes(), executable);
    let mut files = vec![
        text("build.sh", BUILD.into(), true),
        text(".gitlab-ci.yml", CI.into(), false),
        text(".gitignore", "out/\nnode_modules/\n".into(), false),
        text("web/package.json", package.to_string(), false),
        text("rust/Cargo.toml", manifest.into(), false),
        text("rust/src/main.rs", "fn main() {\n    println!(\"{}\", skiff_keel::name());\n}\n".into(), false),
    ];
    let pins = |hull: &str| format!("skiff-hull=={hull}\nskiff-sail==1.0.0\n").into_bytes();
    files.push(("requirements.txt".into(), pins("1.0.0"), false));
    ("skiff", files, vec![("requirements.txt".into(), pins("1.0.1"))])
}

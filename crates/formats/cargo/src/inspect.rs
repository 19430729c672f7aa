//! Looking inside a `.crate` file: a gzip-compressed tar archive whose members all lie below
//! `<name>-<version>/`, one of them `Cargo.toml`.
//!
//! Nothing is unpacked to disk, and nothing that a file says about itself is believed without the
//! name and version under which it came.

use std::{collections::BTreeSet, fs::File};

use cofferdam_format_kit::{Door, DoorExt as _, archive};
use cofferdam_types::{Error, Result, Sha256};
use serde_json::{Map, Value};
use toml::Table;

use crate::coords;

/// Bytes of a `.crate` file at the most. The public registry allows 10 MiB unless asked.
pub const MAX_CRATE: u64 = 512 << 20;

/// The build script that cargo runs where the manifest names none.
const BUILD_SCRIPT: &str = "build.rs";

/// How a crate that runs inside the compiler is called among what it runs.
pub const PROC_MACRO: &str = "procedural macro";

/// Cargo itself stops unpacking at 512 MiB or twenty times the archive's size.
const BOUNDS: archive::Bounds = archive::Bounds { entries: 100_000, expanded: 2 << 30, member: 4 << 20 };

/// What a crate's own manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// `package.name`.
    pub name: String,
    /// `package.version`.
    pub version: String,
    /// `package.links`.
    pub links: Option<String>,
    /// Keys of the packages that it depends on, development dependencies left out.
    pub dependencies: BTreeSet<String>,
    /// Addresses of the registries that its dependencies name (`registry-index`).
    pub registries: BTreeSet<String>,
    /// What is worth showing to people: description, licence and the like.
    pub about: Value,
}

/// Looks into a stored crate that claims to be `name` `version`.
///
/// # Errors
/// `Invalid` when it is no such archive, `VerificationFailed` (`crate-mismatch`) when its manifest
/// names another crate or version.
pub async fn stored(door: &dyn Door, sha256: &Sha256, name: &str, version: &str) -> Result<Manifest> {
    let (name, version) = (name.to_owned(), version.to_owned());
    door.inspect(sha256, move |file| look(file, &name, &version)).await
}

/// The blocking half of [`stored`].
fn look(file: File, name: &str, version: &str) -> Result<Manifest> {
    let root = format!("{name}-{version}/");
    let wanted = format!("{root}Cargo.toml");
    let usual_build = format!("{root}{BUILD_SCRIPT}");
    let (mut stray, mut found, mut twice, mut has_build) = (None, None, false, false);
    let is_manifest = |member: &str| {
        if !member.starts_with(&root) && stray.is_none() {
            stray = Some(member.to_owned());
        }
        has_build |= member == usual_build;
        member == wanted
    };
    archive::scan_tar_gz(file, BOUNDS, false, is_manifest, |_, bytes| {
        twice = found.replace(bytes).is_some();
        Ok(())
    })?;
    if let Some(stray) = stray {
        let text = format!("the crate holds `{stray}`, which does not lie below `{root}`");
        return Err(Error::invalid("crate-layout", text).hint("make the file with `cargo package`"));
    }
    if twice {
        return Err(Error::invalid("crate-layout", format!("the crate holds `{wanted}` twice")));
    }
    let bytes = found.ok_or_else(|| {
        Error::invalid("crate-layout", format!("the crate holds no `{wanted}`"))
            .hint("make the file with `cargo package`")
    })?;
    let manifest = parse(&bytes, has_build)?;
    if manifest.name != name || manifest.version != version {
        let text = format!(
            "the file says that it is {} {}, but it came as {name} {version}",
            manifest.name, manifest.version
        );
        return Err(Error::verification("crate-mismatch", text));
    }
    Ok(manifest)
}

/// Reads a `Cargo.toml` as packaged; `has_build` says whether the usual build script lies beside it.
fn parse(bytes: &[u8], has_build: bool) -> Result<Manifest> {
    let broken = |why: String| Error::invalid("crate-manifest", format!("its Cargo.toml {why}"));
    let text = std::str::from_utf8(bytes).map_err(|_| broken("is not UTF-8".into()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let table: Table =
        text.parse().map_err(|error: toml::de::Error| broken(format!("is not TOML: {}", error.message())))?;
    // `[project]` was the table's first name; crates of 2014 and 2015 have it.
    let package = table.get("package").or_else(|| table.get("project")).and_then(toml::Value::as_table);
    let package = package.ok_or_else(|| broken("has no [package]".into()))?;
    let text_of = |field: &str| package.get(field).and_then(toml::Value::as_str).map(str::to_owned);
    Ok(Manifest {
        name: text_of("name").ok_or_else(|| broken("has no name".into()))?,
        version: text_of("version").ok_or_else(|| broken("has no version".into()))?,
        links: text_of("links"),
        dependencies: dependencies(&table)?,
        registries: registries(&table),
        about: about(package, &runs(&table, package, has_build)),
    })
}

/// The tables called `names` of a manifest and of its `[target.*]` sections.
fn lists<'a>(table: &'a Table, names: &'a [&str]) -> impl Iterator<Item = &'a Table> {
    let targets = table.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(|t| t.values()).filter_map(toml::Value::as_table);
    let sections = std::iter::once(table).chain(targets);
    sections.flat_map(|section| names.iter().filter_map(|name| section.get(*name)?.as_table()))
}

/// Packages of `[dependencies]` and `[build-dependencies]`, also below `[target.*]`. Renamed ones
/// count by their real name. Development dependencies stay out: cargo drops those without a
/// version when it publishes, so the two lists may honestly differ.
fn dependencies(table: &Table) -> Result<BTreeSet<String>> {
    let lists = lists(table, &["dependencies", "build-dependencies", "build_dependencies"]);
    let names = lists.flatten().map(|(alias, value)| {
        let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(alias);
        coords::key(package)
    });
    names.collect()
}

fn registries(table: &Table) -> BTreeSet<String> {
    let lists = lists(table, &["dependencies", "build-dependencies", "dev-dependencies"]);
    let named = lists.flatten().filter_map(|(_, value)| value.get("registry-index")?.as_str());
    named.map(str::to_owned).collect()
}

/// What of the crate the compiler runs while it builds: build scripts, named or found by cargo itself, and
/// procedural macros (The Cargo Book, "The Manifest Format", `build`; "Cargo Targets", `proc-macro`).
fn runs(table: &Table, package: &Table, has_build: bool) -> Vec<String> {
    let usual = |there: bool| there.then(|| BUILD_SCRIPT.to_owned()).into_iter().collect();
    let mut out: Vec<String> = match package.get("build") {
        None => usual(has_build),
        Some(toml::Value::Boolean(there)) => usual(*there),
        Some(toml::Value::Array(many)) => many.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        Some(one) => one.as_str().map(str::to_owned).into_iter().collect(),
    };
    let lib = table.get("lib").and_then(toml::Value::as_table);
    let says = |name: &str| lib.and_then(|l| l.get(name)).and_then(toml::Value::as_bool) == Some(true);
    let kinds = ["crate-type", "crate_type"].into_iter().filter_map(|n| lib?.get(n)?.as_array());
    let kind = kinds.flatten().any(|kind| kind.as_str() == Some("proc-macro"));
    if says("proc-macro") || says("proc_macro") || kind {
        out.push(PROC_MACRO.to_owned());
    }
    out
}

fn about(package: &Table, runs: &[String]) -> Value {
    let mut out = Map::new();
    if !runs.is_empty() {
        out.insert("runs".into(), runs.into());
    }
    for field in
        ["description", "license", "homepage", "repository", "documentation", "rust-version", "build"]
    {
        if let Some(text) = package.get(field).and_then(toml::Value::as_str) {
            out.insert(field.into(), text.into());
        }
    }
    for field in ["keywords", "categories", "authors"] {
        if let Some(list) = package.get(field).and_then(toml::Value::as_array) {
            out.insert(field.into(), list.iter().filter_map(toml::Value::as_str).collect());
        }
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_found_wherever_a_manifest_may_have_them() {
        let manifest = parse(
            br#"
            [package]
            name = "x"
            version = "1.0.0"
            description = "d"
            [dependencies]
            Plain_One = "1"
            alias = { version = "1", package = "real" }
            [dev-dependencies]
            not-this = "1"
            [build-dependencies.built]
            version = "1"
            [target.'cfg(unix)'.dependencies]
            unixy = "1"
            "#,
            false,
        )
        .unwrap();
        let names: Vec<&str> = manifest.dependencies.iter().map(String::as_str).collect();
        assert_eq!(names, ["built", "plain-one", "real", "unixy"]);
        assert_eq!(manifest.about["description"], "d");
    }

    #[test]
    fn what_the_compiler_runs_is_found_whether_or_not_the_manifest_names_it() {
        let runs = |rest: &str, has_build: bool| {
            let text = format!("[package]\nname = \"x\"\nversion = \"1.0.0\"\n{rest}");
            parse(text.as_bytes(), has_build).unwrap().about["runs"].clone()
        };
        assert_eq!(runs("", false), Value::Null);
        assert_eq!(runs("", true), serde_json::json!(["build.rs"]));
        assert_eq!(runs("build = false", true), Value::Null);
        assert_eq!(runs("build = \"b/c.rs\"", true), serde_json::json!(["b/c.rs"]));
        assert_eq!(runs("build = [\"a.rs\", \"b.rs\"]", false), serde_json::json!(["a.rs", "b.rs"]));
        assert_eq!(runs("[lib]\nproc-macro = true", true), serde_json::json!(["build.rs", PROC_MACRO]));
        assert_eq!(runs("[lib]\ncrate-type = [\"proc-macro\"]", false), serde_json::json!([PROC_MACRO]));
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_the_reason() {
        for (text, why) in [
            ("a = ", "TOML"),
            ("a = 1", "[package]"),
            ("[package]\nversion='1.0.0'", "name"),
            ("\u{1}", "TOML"),
        ] {
            let error = parse(text.as_bytes(), false).unwrap_err();
            assert!(error.message().contains(why), "{text}: {error}");
        }
    }
}

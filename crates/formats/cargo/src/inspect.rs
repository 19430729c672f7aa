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
    let (mut stray, mut found, mut twice) = (None, None, false);
    let is_manifest = |member: &str| {
        if !member.starts_with(&root) && stray.is_none() {
            stray = Some(member.to_owned());
        }
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
    let manifest = parse(&bytes)?;
    if manifest.name != name || manifest.version != version {
        let text = format!(
            "the file says that it is {} {}, but it came as {name} {version}",
            manifest.name, manifest.version
        );
        return Err(Error::verification("crate-mismatch", text));
    }
    Ok(manifest)
}

/// Reads a `Cargo.toml` as packaged.
fn parse(bytes: &[u8]) -> Result<Manifest> {
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
        about: about(package),
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

fn about(package: &Table) -> Value {
    let mut out = Map::new();
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
        )
        .unwrap();
        let names: Vec<&str> = manifest.dependencies.iter().map(String::as_str).collect();
        assert_eq!(names, ["built", "plain-one", "real", "unixy"]);
        assert_eq!(manifest.about["description"], "d");
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_the_reason() {
        for (text, why) in [
            ("a = ", "TOML"),
            ("a = 1", "[package]"),
            ("[package]\nversion='1.0.0'", "name"),
            ("\u{1}", "TOML"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.message().contains(why), "{text}: {error}");
        }
    }
}

//! Cargo's registry: source replacement in the person's `config.toml`, else the default that the
//! `crates-index` crate keeps. Cargo itself has no command on the stable channel that prints either.

use std::path::PathBuf;

use cofferdam_types::{Error, Result, Secret};
use toml::{Table, Value};

use super::{Found, Person, address, ask};

/// Replacements followed before it must be a circle.
const LONGEST_CHAIN: usize = 16;

/// The sparse index that Cargo would use in place of its default registry.
pub fn find(person: &Person<'_>, _warnings: &mut Vec<String>) -> Result<Found> {
    let home = person.path(&["CARGO_HOME"]).unwrap_or_else(|| person.home.join(".cargo"));
    let config = table(&home, &["config", "config.toml"])?;
    let secrets = table(&home, &["credentials", "credentials.toml"])?;
    let chosen = source(person, &config)?;
    let (text, from) = match &chosen {
        Some(chosen) => (chosen.index.as_str(), "Cargo's config.toml (source replacement)"),
        None => (crates_index::sparse::URL, "Cargo's own default (from the crates-index crate)"),
    };
    if chosen.is_some() && !text.starts_with("sparse+") {
        return Err(Error::invalid("cargo-source", "Cargo's crates-io source is replaced by one that is no sparse index")
            .hint("Cofferdam reads sparse indexes: use registry = \"sparse+https://...\" or set the upstream in cofferdam.toml"));
    }
    let (root, inline) = address::parse(text, from)?;
    let token =
        chosen.and_then(|chosen| chosen.registry).and_then(|name| token(person, &secrets, &config, &name));
    let http = |key: &str| config.get("http")?.get(key)?.as_str().map(str::to_owned);
    Ok(Found {
        format: "cargo",
        root,
        source: from.to_owned(),
        credentials: token.or(inline),
        // A relative path in a config file of the home counts from the home's parent.
        ca_bundle: person.path(&["CARGO_HTTP_CAINFO"]).or_else(|| {
            http("cainfo").map(|path| home.parent().map_or(PathBuf::from(&path), |p| p.join(&path)))
        }),
        proxy: person.var("CARGO_HTTP_PROXY").or_else(|| http("proxy")).map(Secret::new),
    })
}

struct Chosen {
    index: String,
    /// The name under `[registries]`, by which tokens are kept.
    registry: Option<String>,
}

/// Follows `replace-with` from `crates-io` (Cargo reference, "Source Replacement").
fn source(person: &Person<'_>, config: &Table) -> Result<Option<Chosen>> {
    let sources = config.get("source").and_then(Value::as_table);
    let entry = |name: &str| sources?.get(name)?.as_table();
    let mut name = "crates-io".to_owned();
    let mut index = entry(&name).and_then(|t| t.get("registry")).and_then(Value::as_str).map(str::to_owned);
    for _ in 0..LONGEST_CHAIN {
        let here = entry(&name);
        if let Some(next) = here.and_then(|t| t.get("replace-with")).and_then(Value::as_str) {
            next.clone_into(&mut name);
            index = entry(&name).and_then(|t| t.get("registry")).and_then(Value::as_str).map(str::to_owned);
            continue;
        }
        let registry = registry_index(person, config, &name);
        let Some(index) = index.or_else(|| registry.clone()) else {
            if name == "crates-io" {
                return Ok(None);
            }
            return Err(Error::invalid(
                "cargo-source",
                format!("Cargo's crates-io source is replaced by {name:?}, which names no registry index"),
            )
            .hint("vendored, local and git sources cannot be recorded: set the upstream in cofferdam.toml"));
        };
        let registry = registry_named(person, config, &name, &index);
        return Ok(Some(Chosen { index, registry }));
    }
    Err(Error::invalid("cargo-source", "Cargo's source replacement goes in a circle")
        .hint("look at replace-with in Cargo's config.toml"))
}

/// The index of `[registries.NAME]`, or of its variable.
fn registry_index(person: &Person<'_>, config: &Table, name: &str) -> Option<String> {
    let set = person.var(&format!("CARGO_REGISTRIES_{}_INDEX", shouted(name)));
    set.or_else(|| Some(config.get("registries")?.get(name)?.get("index")?.as_str()?.to_owned()))
}

/// The registry whose token belongs to an index: the one of the same name, else one with that index.
fn registry_named(person: &Person<'_>, config: &Table, name: &str, index: &str) -> Option<String> {
    if registry_index(person, config, name).as_deref() == Some(index) {
        return Some(name.to_owned());
    }
    let registries = config.get("registries")?.as_table()?;
    let same = |entry: &Value| entry.get("index").and_then(Value::as_str) == Some(index);
    registries.iter().find(|(_, entry)| same(entry)).map(|(name, _)| name.clone())
}

/// A registry's token: sent as it is, without a scheme (Cargo reference, "Registry Web API").
fn token(person: &Person<'_>, secrets: &Table, config: &Table, name: &str) -> Option<Secret<String>> {
    let kept = |t: &Table| Some(t.get("registries")?.get(name)?.get("token")?.as_str()?.to_owned());
    person
        .var(&format!("CARGO_REGISTRIES_{}_TOKEN", shouted(name)))
        .or_else(|| kept(secrets))
        .or_else(|| kept(config))
        .map(Secret::new)
}

/// A registry's name as it stands in a variable.
fn shouted(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// The first of some files that is there; Cargo prefers the one without an ending.
fn table(home: &std::path::Path, names: &[&str]) -> Result<Table> {
    for name in names {
        let path = home.join(name);
        let bad = |why: String| {
            Error::invalid("cargo-config", format!("{} {why}", path.display()))
                .hint("correct the file, or name the upstream in cofferdam.toml")
        };
        // The parser's message quotes the line, which may hold a token: only its place is told.
        match ask::small_text(&path).map_err(|e| bad(format!("cannot be read: {e}")))? {
            Some(text) => {
                return text.parse().map_err(|e: toml::de::Error| {
                    bad(match e.span() {
                        Some(span) => format!("is not TOML at byte {}", span.start),
                        None => "is not TOML".to_owned(),
                    })
                });
            }
            None => continue,
        }
    }
    Ok(Table::new())
}

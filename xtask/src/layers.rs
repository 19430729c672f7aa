//! Which crate may know which, and the table of crates in ARCHITECTURE.md.
//!
//! A layer may know the layers below it; every exception is written here with its reason.

use serde::Deserialize;

use crate::{Outcome, capture, cargo};

/// A layer, from the bottom up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Words and rules: no input or output.
    Pure,
    /// One thing each, without knowing what the product is.
    Mechanism,
    /// What the product does.
    UseCase,
    /// Where the world comes in.
    Edge,
}

impl Layer {
    fn name(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Mechanism => "mechanism",
            Self::UseCase => "use case",
            Self::Edge => "edge",
        }
    }
}

/// The layer of a crate by its short name (`store`, `format-npm`); none for a name without a layer.
#[must_use]
pub fn layer(name: &str) -> Option<Layer> {
    match name {
        "types" | "versions" | "pipeline" | "lockfiles" | "openpgp" | "runner-api" | "policy" => {
            Some(Layer::Pure)
        }
        "blobs" | "store" | "trust" | "audit" | "delta" | "parity" | "transfer" | "git" | "scan"
        | "sandbox" | "station" | "upstream" | "gateway" => Some(Layer::Mechanism),
        name if name.starts_with("format-") => Some(Layer::Mechanism),
        "registry" | "crossing" | "forge" | "delivery" | "access" | "report" => Some(Layer::UseCase),
        "http" | "web" | "runner" | "verify" | "cofferdam" => Some(Layer::Edge),
        _ => None,
    }
}

/// Whether a crate may know another (short names, both with a layer).
#[must_use]
pub fn may_know(from: &str, to: &str) -> bool {
    let (Some(own), Some(other)) = (layer(from), layer(to)) else { return false };
    // Whether a site dials out is decided where it is put together.
    if to == "upstream" {
        return own == Layer::Edge;
    }
    if own != other {
        return own > other;
    }
    match (own, from, to) {
        (Layer::Edge, ..) | (Layer::Pure, _, "types") => true,
        (Layer::Mechanism, "audit", "store" | "trust") => true,
        (Layer::Mechanism, "transfer", "trust" | "delta" | "parity") => true,
        (Layer::Mechanism, "station", "transfer" | "trust") => true,
        (Layer::Mechanism, "upstream", "format-kit") => true,
        (Layer::Mechanism, from, "format-kit") => from.starts_with("format-"),
        // Signed notes have one home, and checksum databases sign with them.
        (Layer::Mechanism, "format-web", "trust") => true,
        // Every use case commits through the registry's one gate.
        (Layer::UseCase, from, "registry") => from != "registry",
        // The two-person rule has one home, and a crossing asks for it.
        (Layer::UseCase, "crossing", "access") => true,
        _ => false,
    }
}

/// A crate of the workspace as `cargo metadata` tells it.
#[derive(Debug, Deserialize)]
pub struct Package {
    name: String,
    description: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or none for an ordinary one.
    kind: Option<String>,
}

fn short(name: &str) -> &str {
    name.strip_prefix("cofferdam-").unwrap_or(name)
}

impl Package {
    fn knows(&self) -> Vec<&str> {
        let ours = |d: &&Dependency| d.name.starts_with("cofferdam") && d.kind.as_deref() != Some("dev");
        let mut names: Vec<&str> = self.dependencies.iter().filter(ours).map(|d| short(&d.name)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn is_free(&self) -> bool {
        matches!(short(&self.name), "testkit" | "xtask")
    }
}

/// Every crate of the workspace, without asking a network.
///
/// # Errors
/// When cargo fails or its answer cannot be read.
pub fn packages() -> Outcome<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let text = capture(cargo().args(["metadata", "--offline", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata =
        serde_json::from_str(&text).map_err(|e| format!("cannot read cargo's metadata: {e}"))?;
    Ok(metadata.packages)
}

/// Every dependency that goes against the layers.
#[must_use]
pub fn check(packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages.iter().filter(|p| !p.is_free()) {
        let from = short(&package.name);
        if layer(from).is_none() {
            wrong.push(format!("layers: `{from}` has no layer; give it one in xtask/src/layers.rs"));
            continue;
        }
        for to in package.knows().into_iter().filter(|to| !may_know(from, to)) {
            wrong.push(format!("layers: `{from}` must not know `{to}`"));
        }
    }
    wrong
}

/// The table of crates as Markdown, lowest layer first.
#[must_use]
pub fn table(packages: &[Package]) -> String {
    let mut rows: Vec<_> =
        packages.iter().map(|p| (layer(short(&p.name)).filter(|_| !p.is_free()), p)).collect();
    rows.sort_by_key(|(layer, p)| (layer.is_none(), *layer, short(&p.name)));
    let mut text = String::from("| crate | layer | what it is | knows |\n|---|---|---|---|\n");
    for (layer, package) in rows {
        text += &format!(
            "| `{}` | {} | {} | {} |\n",
            short(&package.name),
            layer.map_or("free", Layer::name),
            package.description.as_deref().unwrap_or(""),
            package.knows().join(", ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knowledge_points_down_except_where_it_is_written() {
        for (from, to) in [
            ("store", "types"),
            ("crossing", "registry"),
            ("crossing", "access"),
            ("transfer", "parity"),
            ("http", "web"),
        ] {
            assert!(may_know(from, to), "{from} {to}");
        }
        for (from, to) in [
            ("types", "store"),
            ("forge", "crossing"),
            ("registry", "access"),
            ("store", "audit"),
            ("registry", "upstream"),
        ] {
            assert!(!may_know(from, to), "{from} {to}");
        }
    }

    #[test]
    fn a_wrong_dependency_is_named_but_one_for_tests_is_not() {
        let json = r#"[{"name":"cofferdam-types","description":null,"dependencies":[
            {"name":"cofferdam-store","kind":null},{"name":"cofferdam-http","kind":"dev"}]}]"#;
        let packages: Vec<Package> = serde_json::from_str(json).unwrap();
        assert_eq!(check(&packages), ["layers: `types` must not know `store`"]);
        assert!(table(&packages).contains("| `types` | pure |  | store |"));
    }
}

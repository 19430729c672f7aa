//! An upstream that a test makes: a site with small packages of the formats that a site speaks.

use serde_json::{Value, json};

use super::{
    Pair, Site,
    packages::{
        crate_dependency, crate_description, crate_file, crate_upload, npm_document, npm_package,
        publish_crate, publish_npm, upload_distribution, wheel,
    },
};

/// An upstream with two packages of each format: `ferry`, which needs `oars`.
pub fn upstream() -> Site {
    let site = Site::isolated("upstream");
    let token = site.person("dev", "developer");
    let mut answers = Vec::new();
    for (file, bytes) in [wheel("oars", "1.0", &[]), wheel("ferry", "2.1", &["oars>=1"])] {
        answers.push(upload_distribution(&site, &token, "pypi-local", (&file, &bytes), &[]));
    }
    for (name, needs) in [("oars", json!({})), ("ferry", json!({ "oars": "^1.0.0" }))] {
        answers.push(publish(&site, &token, name, &needs, &npm_package(name, "1.0.0", &needs)));
    }
    for (name, deps, more) in [
        ("oars", json!([]), ""),
        ("ferry", json!([crate_dependency("oars", "^1")]), "[dependencies]\noars = \"1\"\n"),
    ] {
        let body = crate_upload(&crate_description(name, "1.0.0", &deps), &crate_file(name, "1.0.0", more));
        answers.push(publish_crate(&site, &token, "cargo-local", &body));
    }
    for answer in answers {
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    }
    site
}

fn publish(site: &Site, token: &str, name: &str, needs: &Value, tarball: &[u8]) -> super::http::Answer {
    publish_npm(site, token, "npm-local", name, &npm_document(name, "1.0.0", needs, tarball))
}

/// Two sites whose outside one asks this upstream.
pub fn pair_with(upstream: &Site) -> Pair {
    Pair::new(&configuration(&upstream.url))
}

/// The configuration of a site that asks this one for packages, and no client where to ask.
pub fn configuration(url: &str) -> String {
    format!(
        "[upstream.pypi]\nurl = \"{url}/r/pypi/simple/\"\n[upstream.npm]\nurl = \"{url}/r/npm/\"\n\
         [upstream.cargo]\nurl = \"sparse+{url}/r/cargo/\"\n"
    )
}

//! pip's index, asked from pip: its configuration code knows all its files and their order, and its
//! own model knows the default.

use std::{collections::BTreeMap, path::PathBuf};

use cofferdam_types::{Error, ErrorKind, Result, Secret};
use serde::Deserialize;

use super::{
    Found, Person, address,
    ask::{self, Silence},
};

/// Run by the person's Python. `Configuration` has been in this place since pip 10, `PyPI` since pip 9;
/// newer pips may nest the values by file, so both shapes are flattened.
const ASK: &str = r#"
import json
from pip._internal.configuration import Configuration
from pip._internal.models.index import PyPI
c = Configuration(isolated=False)
c.load()
flat = {}
for key, value in c.items():
    flat.update(value if isinstance(value, dict) else {key: value})
print(json.dumps({"default": PyPI.simple_url, "config": {k: str(v) for k, v in flat.items()}}))
"#;

/// The sections that count for a download, the strongest first (pip's user guide, "Config Precedence").
const SECTIONS: [&str; 4] = [":env:", "install", "download", "global"];

#[derive(Deserialize)]
struct Answer {
    default: String,
    config: BTreeMap<String, String>,
}

impl Answer {
    fn get(&self, option: &str) -> Option<&str> {
        SECTIONS
            .iter()
            .find_map(|section| self.config.get(&format!("{section}.{option}")))
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }
}

/// The index that `pip install` would use.
pub fn find(person: &Person<'_>, warnings: &mut Vec<String>) -> Result<Found> {
    let answer = match ask_pip(person) {
        Ok(answer) => Some(answer),
        // Without pip there may still be a plain statement of what is meant.
        Err(_) if person.var("PIP_INDEX_URL").is_some() => None,
        Err(why) => return Err(no_pip(&why)),
    };
    let option = |name: &str, variable: &str| {
        answer.as_ref().and_then(|a| a.get(name)).map(str::to_owned).or_else(|| person.var(variable))
    };
    if let Some(extra) = option("extra-index-url", "PIP_EXTRA_INDEX_URL") {
        let count = extra.split_whitespace().count();
        warnings.push(format!(
            "pip is told of {count} extra index(es) (extra-index-url); Cofferdam fetches from the main index only, \
             because a name that two indexes have could come from either"
        ));
    }
    let configured = option("index-url", "PIP_INDEX_URL");
    let (text, source) = match (person.var("PIP_INDEX_URL"), configured, answer.as_ref()) {
        (Some(text), _, _) => (text, "PIP_INDEX_URL"),
        (None, Some(text), _) => (text, "pip config"),
        (None, None, Some(answer)) => (answer.default.clone(), "pip's own default"),
        (None, None, None) => return Err(no_pip(&Silence::Missing)),
    };
    let (root, inline) = address::parse(&text, source)?;
    let credentials = inline.or_else(|| address::netrc(person.home, root.host_str()?));
    Ok(Found {
        format: "pypi",
        root,
        source: source.to_owned(),
        credentials,
        ca_bundle: option("cert", "PIP_CERT")
            .map(PathBuf::from)
            .or_else(|| person.path(&["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])),
        proxy: option("proxy", "PIP_PROXY").map(Secret::new),
    })
}

/// Asks the first Python that has pip.
fn ask_pip(person: &Person<'_>) -> Result<Answer, Silence> {
    let mut why = Silence::Missing;
    for python in ["python3", "python"] {
        match ask::client(person, python, &["-c", ASK]) {
            // pip may warn on the same output; its answer is the last line.
            Ok(text) => match text.lines().last().map(serde_json::from_str) {
                Some(Ok(answer)) => return Ok(answer),
                _ => why = Silence::Failed,
            },
            Err(silence) => why = silence,
        }
    }
    Err(why)
}

fn no_pip(why: &Silence) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "pip-missing",
        format!("pip does not say which index it uses: python3 was asked and {why}"),
    )
    .hint("install Python with pip (Debian: apt install python3-pip), set PIP_INDEX_URL, or name the upstream in cofferdam.toml")
}

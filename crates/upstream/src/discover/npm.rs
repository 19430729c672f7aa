//! npm's registry, asked from npm, and the person's token for it from their `.npmrc` (npm does not
//! print tokens).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_types::{Error, ErrorKind, Result, Secret};
use url::Url;

use super::{
    Found, Person, address,
    ask::{self, Silence},
};

/// The settings asked for; with more than one key npm answers in `key=value` lines.
const KEYS: [&str; 5] = ["registry", "cafile", "userconfig", "https-proxy", "globalconfig"];

/// The registry that `npm install` would use outside any project.
pub fn find(person: &Person<'_>, warnings: &mut Vec<String>) -> Result<Found> {
    let mut args = vec!["config", "get"];
    args.extend(KEYS);
    let set_by_env = person.var("NPM_CONFIG_REGISTRY").or_else(|| person.var("npm_config_registry"));
    let settings = match ask::client(person, "npm", &args) {
        Ok(text) => lines(&text),
        Err(why) => match &set_by_env {
            Some(registry) => BTreeMap::from([("registry".to_owned(), registry.clone())]),
            None => return Err(no_npm(&why)),
        },
    };
    let get =
        |key: &str| settings.get(key).filter(|v| !matches!(v.as_str(), "" | "null" | "undefined")).cloned();
    let user_file = get("userconfig").map_or_else(|| person.home.join(".npmrc"), PathBuf::from);
    let user = rc(person, &user_file)?;
    let global = match get("globalconfig") {
        Some(path) => rc(person, Path::new(&path))?,
        None => BTreeMap::new(),
    };
    let text = get("registry").ok_or_else(|| no_npm(&Silence::Failed))?;
    let source = if set_by_env.is_some() {
        "NPM_CONFIG_REGISTRY"
    } else if user.contains_key("registry") {
        "~/.npmrc"
    } else if global.contains_key("registry") {
        "npm's global npmrc"
    } else {
        "npm's own default"
    };
    if let Some(scope) =
        user.keys().chain(global.keys()).find(|k| k.starts_with('@') && k.ends_with(":registry"))
    {
        warnings.push(format!(
            "npm has a registry of its own for a scope ({scope}); Cofferdam fetches every scope from the main registry"
        ));
    }
    let (root, inline) = address::parse(&text, source)?;
    Ok(Found {
        format: "npm",
        credentials: inline.or_else(|| token(&user, &root)).or_else(|| token(&global, &root)),
        root,
        source: source.to_owned(),
        ca_bundle: get("cafile").map(PathBuf::from).or_else(|| person.path(&["NODE_EXTRA_CA_CERTS"])),
        proxy: get("https-proxy").map(Secret::new),
    })
}

/// `key=value` lines; later ones win.
fn lines(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with([';', '#']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
        .collect()
}

/// An npmrc file with its `${VARIABLE}`s filled in. A variable that is not set stays as it is, as
/// npm does it.
fn rc(person: &Person<'_>, path: &Path) -> Result<BTreeMap<String, String>> {
    let text = ask::small_text(path).map_err(|e| {
        Error::invalid("npmrc", format!("{} cannot be read: {e}", path.display()))
            .hint("check its permissions")
    })?;
    let filled = |value: String| fill(&value, person);
    Ok(lines(&text.unwrap_or_default()).into_iter().map(|(k, v)| (filled(k), filled(v))).collect())
}

fn fill(text: &str, person: &Person<'_>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, tail)) = after.split_once('}') else { break };
        out.push_str(before);
        let (name, optional) = name.strip_suffix('?').map_or((name, false), |n| (n, true));
        match person.var(name) {
            Some(value) => out.push_str(&value),
            None if optional => {}
            None => out.push_str(&format!("${{{name}}}")),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// The credentials for a registry: keys are `//host/path/:_authToken`, and a shorter path covers the
/// longer ones below it (npm-registry-fetch, "auth options").
fn token(rc: &BTreeMap<String, String>, root: &Url) -> Option<Secret<String>> {
    let host = root.port().map_or_else(
        || root.host_str().unwrap_or_default().to_owned(),
        |port| format!("{}:{port}", root.host_str().unwrap_or_default()),
    );
    let mut path = root.path().trim_end_matches('/').to_owned();
    loop {
        for slash in ["/", ""] {
            let prefix = format!("//{host}{path}{slash}");
            if let Some(secret) = credentials(rc, &prefix) {
                return Some(secret);
            }
        }
        let cut = path.rfind('/')?;
        path.truncate(cut);
    }
}

fn credentials(rc: &BTreeMap<String, String>, prefix: &str) -> Option<Secret<String>> {
    let get = |key: &str| rc.get(&format!("{prefix}:{key}")).filter(|v| !v.is_empty());
    if let Some(token) = get("_authToken") {
        return Some(Secret::new(format!("Bearer {token}")));
    }
    if let Some(pair) = get("_auth") {
        return Some(Secret::new(format!("Basic {pair}")));
    }
    let password = STANDARD.decode(get("_password")?).ok()?;
    Some(address::basic(get("username")?, &String::from_utf8(password).ok()?))
}

fn no_npm(why: &Silence) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "npm-missing",
        format!("npm does not say which registry it uses: npm was asked and {why}"),
    )
    .hint("install Node.js with npm (Debian: apt install npm), set NPM_CONFIG_REGISTRY, or name the upstream in cofferdam.toml")
}

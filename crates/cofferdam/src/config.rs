//! `cofferdam.toml`: read strictly, with overrides from the environment.
//!
//! Unknown keys are errors. Every value can be overridden by `COFFERDAM_<SECTION>_<KEY>`;
//! `cofferdam config show` says where each one comes from.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use cofferdam_types::{Error, Result, SiteName};
use serde::{Deserialize, Serialize};

/// A site's configuration.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The site's name, as transfers carry it.
    pub name: SiteName,
    /// What the site may do.
    pub role: Role,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The address as clients see it; documents hold it.
    pub public_url: String,
    /// The database.
    #[serde(default)]
    pub database: Database,
    /// Who may do what without a login.
    #[serde(default)]
    pub access: AccessConfig,
    /// The built-in runner.
    #[serde(default)]
    pub runner: RunnerConfig,
    /// What receipts may tell.
    #[serde(default)]
    pub receipts: ReceiptsConfig,
    /// What builds fetch beside their package clients.
    #[serde(default)]
    pub web: WebConfig,
    /// Keys with which upstream signs what it says of its own files.
    #[serde(default)]
    pub proofs: ProofsConfig,
    /// Upstreams by format, instead of those of the person's own client configuration.
    #[serde(default)]
    pub upstream: BTreeMap<String, UpstreamConfig>,
}

/// What a site may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It may reach the internet: it records and packs.
    Connected,
    /// It never dials out: it receives, approves and serves.
    Isolated,
}

/// The database.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// A PostgreSQL address; empty is SQLite in the state folder.
    #[serde(default)]
    pub url: String,
}

/// Who may do what without a login.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    /// Whether packages may be read without a login.
    pub anonymous_read: bool,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { anonymous_read: true }
    }
}

/// The built-in runner.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunnerConfig {
    /// Whether the site runs jobs itself.
    pub enabled: bool,
    /// Jobs at once.
    pub concurrency: usize,
}

impl Default for RunnerConfig {
    fn default() -> Self {
        Self { enabled: true, concurrency: 2 }
    }
}

/// What receipts may tell the other side.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReceiptsConfig {
    /// 0: what became of the transfer. 1: and how many blobs are held, and files that could not be read.
    /// 2: and what was refused, with the reason. 3: and every digest that is held.
    pub level: u8,
}

impl Default for ReceiptsConfig {
    fn default() -> Self {
        Self { level: 1 }
    }
}

/// Keys with which upstream signs what it says of its own files.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProofsConfig {
    /// Verifier keys of Go's checksum databases, `<name>+<hash>+<key>` as `GOSUMDB` has them. For a database that is
    /// named here, no key counts that a recording brings.
    pub note_keys: Vec<String>,
    /// A PEM file with the certificates of the authorities that may certify who attests; empty for none.
    pub authorities: std::path::PathBuf,
    /// OpenPGP keyrings by place, `deb.example/debian` or `*`: who may sign package archives there. For a place that is
    /// named here, no key counts that a recording brings.
    pub archive_keys: BTreeMap<String, std::path::PathBuf>,
    /// PEM files with public keys by place, `registry.example/team` or `*`: who may sign container images there.
    pub image_keys: BTreeMap<String, std::path::PathBuf>,
}

/// What builds fetch beside their package clients.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebConfig {
    /// Whether a recorded build may reach this machine's own addresses through the site.
    pub local_addresses: bool,
    /// Requests that are open to one host at a time; more wait in their order. 0 counts as 1.
    pub connections_per_host: usize,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self { local_addresses: false, connections_per_host: 6 }
    }
}

/// An upstream given by hand.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Its root.
    pub url: String,
}

/// Values that the environment may override: variable and dotted key.
pub const OVERRIDES: &[(&str, &str)] = &[
    ("COFFERDAM_NAME", "name"),
    ("COFFERDAM_ROLE", "role"),
    ("COFFERDAM_LISTEN", "listen"),
    ("COFFERDAM_PUBLIC_URL", "public_url"),
    ("COFFERDAM_DATABASE_URL", "database.url"),
    ("COFFERDAM_ACCESS_ANONYMOUS_READ", "access.anonymous_read"),
    ("COFFERDAM_RUNNER_ENABLED", "runner.enabled"),
    ("COFFERDAM_RUNNER_CONCURRENCY", "runner.concurrency"),
    ("COFFERDAM_RECEIPTS_LEVEL", "receipts.level"),
    ("COFFERDAM_PROOFS_AUTHORITIES", "proofs.authorities"),
    ("COFFERDAM_WEB_LOCAL_ADDRESSES", "web.local_addresses"),
    ("COFFERDAM_WEB_CONNECTIONS_PER_HOST", "web.connections_per_host"),
];

impl Config {
    /// Reads a file and the environment.
    ///
    /// # Errors
    /// `Invalid` naming the file, the place and what is expected.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::invalid("config-missing", format!("{} cannot be read", path.display()))
                .hint("create a site first: `cofferdam init`, or name its folder with --home")
                .with_source(e)
        })?;
        Self::parse(&text, &path.display().to_string(), &|name| std::env::var(name).ok())
    }

    /// Reads a text and an environment.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, place: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let wrong = |e: toml::de::Error| Error::invalid("config", format!("{place} is wrong: {e}"));
        let mut table: toml::Table = toml::from_str(text).map_err(wrong)?;
        for (variable, key) in OVERRIDES {
            if let Some(value) = env(variable) {
                set(&mut table, key, &value);
            }
        }
        let config: Self = table.try_into().map_err(wrong)?;
        if config.public_url.ends_with('/') || !config.public_url.starts_with("http") {
            return Err(Error::invalid(
                "config",
                format!(
                    "{place} is wrong: public_url is an http or https address without a slash at its end"
                ),
            ));
        }
        Ok(config)
    }
}

fn set(table: &mut toml::Table, key: &str, text: &str) {
    let value = match text {
        "true" => toml::Value::Boolean(true),
        "false" => toml::Value::Boolean(false),
        _ => text.parse().map_or_else(|_| toml::Value::String(text.to_owned()), toml::Value::Integer),
    };
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((section, name)) => {
            let section = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(section) = section {
                section.insert(name.to_owned(), value);
            }
        }
    }
}

/// The commented file that `init` writes.
#[must_use]
pub fn template(name: &SiteName, role: Role, listen: SocketAddr) -> String {
    let role_word = if role == Role::Connected { "connected" } else { "isolated" };
    format!(
        "# A Cofferdam site. Unknown keys are errors; every value can be overridden by an\n\
         # environment variable (COFFERDAM_LISTEN, COFFERDAM_DATABASE_URL, ...): `cofferdam config show`.\n\
         \n\
         # The site's name, as transfers carry it. Do not change it once a transfer was written.\n\
         name = \"{name}\"\n\
         # connected: records and packs. isolated: receives, and never dials out.\n\
         role = \"{role_word}\"\n\
         listen = \"{listen}\"\n\
         # The address as clients see it. Put TLS in front of it for other machines.\n\
         public_url = \"http://{listen}\"\n\
         \n\
         # How much a receipt tells the other side: 0 what became of a transfer, 1 and how many blobs are\n\
         # held, 2 and what was refused and why, 3 and every digest that is held.\n\
         receipts = {{ level = 1 }}\n\
         \n\
         [database]\n\
         # Empty: SQLite in this folder. Else a PostgreSQL address.\n\
         url = \"\"\n\
         \n\
         [access]\n\
         # Packages may be read without a login; everything else needs one.\n\
         anonymous_read = true\n\
         \n\
         [runner]\n\
         # The site runs pipeline jobs itself, in sandboxes.\n\
         enabled = true\n\
         concurrency = 2\n\
         \n\
         # Keys of Go's checksum databases, as GOSUMDB has them. Without one, that of the recording counts.\n\
         # [proofs]\n\
         # note_keys = [\"sums.example+HASH+KEY\"]\n\
         # Who signs package archives, and container images, and where: a place and a file with keys.\n\
         # archive_keys = {{ \"deb.example/debian\" = \"/usr/share/keyrings/example.gpg\" }}\n\
         # image_keys = {{ \"registry.example/team\" = \"/etc/keys/cosign.pub\" }}\n\
         \n\
         # Upstreams are taken from this machine's own pip, npm and cargo configuration. To use others:\n\
         # [upstream.pypi]\n\
         # url = \"https://mirror.example/simple/\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template_text() -> String {
        template(&"inside".parse().unwrap(), Role::Isolated, "127.0.0.1:8470".parse().unwrap())
    }

    #[test]
    fn what_init_writes_is_what_serve_reads() {
        let config = Config::parse(&template_text(), "cofferdam.toml", &|_| None).unwrap();
        assert_eq!((config.name.as_str(), config.role), ("inside", Role::Isolated));
        assert!(config.access.anonymous_read && config.runner.enabled);
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_told_with_their_place() {
        let wrong = template_text() + "\n[runner2]\nx = 1\n";
        let error = Config::parse(&wrong, "cofferdam.toml", &|_| None).unwrap_err();
        assert!(error.message().contains("runner2"), "{error}");
        let error = Config::parse("name = 1", "cofferdam.toml", &|_| None).unwrap_err();
        assert!(error.message().contains("cofferdam.toml"), "{error}");
    }

    #[test]
    fn a_section_may_be_partial() {
        let text = template_text().replace("concurrency = 2\n", "");
        assert_eq!(Config::parse(&text, "x", &|_| None).unwrap().runner.concurrency, 2);
    }

    #[test]
    fn the_environment_wins() {
        let env = |name: &str| match name {
            "COFFERDAM_LISTEN" => Some("127.0.0.1:9".to_owned()),
            "COFFERDAM_RUNNER_CONCURRENCY" => Some("7".to_owned()),
            "COFFERDAM_ACCESS_ANONYMOUS_READ" => Some("false".to_owned()),
            _ => None,
        };
        let config = Config::parse(&template_text(), "x", &env).unwrap();
        assert_eq!((config.listen.port(), config.runner.concurrency), (9, 7));
        assert!(!config.access.anonymous_read);
    }
}

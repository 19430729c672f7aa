//! The site's package registries, set up in every job without a change in the project.

use std::collections::BTreeMap;

use cofferdam_registry::Registry;
use cofferdam_types::{Error, Result};

/// The variable that carries files for the job's home: a JSON list of `[path, text]`. Our runner
/// writes them before the script; a stock runner passes it over.
pub const HOME_FILES: &str = "COFFERDAM_HOME_FILES";

/// Package-manager configuration of one job.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// Environment variables; they hold the job's token.
    pub env: Vec<(String, String)>,
    /// The value of [`HOME_FILES`]; empty when there are no files.
    pub home_files: String,
}

/// Makes the configuration for `(format, repository)` pairs, with the job's token in it.
pub(crate) fn setup(registry: &Registry, repositories: &[(String, String)], token: &str) -> Result<Setup> {
    let mut env = BTreeMap::new();
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for (format, repository) in repositories {
        let format = registry.format(format)?;
        let site = registry.public_url();
        // cargo sends its token for private indexes only when the index asks for it; the path always works.
        let in_path = format.name() == "cargo";
        let (url, token) = if in_path {
            (format!("{site}/t/{token}/r/{repository}"), None)
        } else {
            (format!("{site}/r/{repository}"), Some(token))
        };
        let client = format.client_setup(&url, token);
        env.extend(client.env);
        for (path, text) in client.files {
            // Two clients may share a file, such as `.netrc`.
            files.entry(path).or_default().push_str(&text);
        }
    }
    let list: Vec<_> = files.into_iter().collect();
    let home_files = if list.is_empty() { String::new() } else { json(&list)? };
    Ok(Setup { env: env.into_iter().collect(), home_files })
}

fn json(list: &[(String, String)]) -> Result<String> {
    serde_json::to_string(list).map_err(|e| Error::internal("files for a job's home", e))
}

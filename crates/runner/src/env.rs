//! A job's variables as the environment of its processes. Nothing of the runner's own environment may ever be
//! among them.
//!
//! The rules are GitLab Runner's: order counts, the last of one name wins, `$NAME` and `${NAME}` in a
//! value that is not raw is replaced once, unknown names by nothing, `$$` by `$`; the value of a file
//! variable goes into a file and the variable holds the file's path.

use std::collections::BTreeMap;
use std::ffi::OsString;

use cofferdam_types::{Error, ErrorKind, Result};

use crate::protocol::{Job, Variable};

/// Carries files for the job's home instead of a value; never shown to the job.
pub const HOME_FILES: &str = "COFFERDAM_HOME_FILES";
/// Where all projects are, inside.
pub const BUILDS: &str = "/builds";
/// The job's home, inside.
pub const HOME: &str = "/build/home";
/// More bytes of variables than this cannot be handed to a process by the kernel.
const MAX_BYTES: usize = 1 << 20;

/// The environment, and what comes with it.
#[derive(Debug)]
pub struct Environment {
    values: BTreeMap<String, String>,
    /// File variables: name and text.
    pub files: Vec<(String, String)>,
    /// Values that the log must not show.
    pub masked: Vec<String>,
    /// The job's files for its home, as JSON, if there are any.
    pub home_files: Option<String>,
    /// The project folder, inside.
    pub project_dir: String,
}

impl Environment {
    /// Works out the environment of `job`. `host` is what the machine's tools need, e.g. `PATH`; the
    /// job's variables win over it.
    ///
    /// # Errors
    /// `Invalid` for a variable that cannot be one, `TooLarge` for more than 1 MiB.
    pub fn new(job: &Job, host: &[(String, String)]) -> Result<Self> {
        let project_dir = format!("{BUILDS}/{}", project_path(job));
        let mut all: BTreeMap<&str, (&str, Option<&Variable>)> = BTreeMap::from([
            ("PATH", ("/usr/local/bin:/usr/bin:/bin", None)),
            ("USER", ("build", None)),
            ("LOGNAME", ("build", None)),
            ("SHELL", ("/bin/sh", None)),
            ("LANG", ("C.UTF-8", None)),
        ]);
        all.extend(host.iter().map(|(name, value)| (name.as_str(), (value.as_str(), None))));
        // A home of the host does not exist inside.
        all.insert("HOME", (HOME, None));
        for variable in &job.variables {
            check(variable)?;
            all.insert(&variable.key, (&variable.value, Some(variable)));
        }
        let home_files =
            all.remove(HOME_FILES).map(|(value, _)| value.to_owned()).filter(|value| !value.is_empty());
        all.insert("CI_BUILDS_DIR", (BUILDS, None));
        all.insert("CI_PROJECT_DIR", (&project_dir, None));
        let mut values = BTreeMap::new();
        let mut files = Vec::new();
        for (name, (value, variable)) in &all {
            let raw = variable.is_none_or(|variable| variable.raw);
            let value = if raw { (*value).to_owned() } else { expand(value, &all) };
            if variable.is_some_and(|variable| variable.file) {
                values.insert((*name).to_owned(), format!("{project_dir}.tmp/{name}"));
                files.push(((*name).to_owned(), value));
            } else {
                values.insert((*name).to_owned(), value);
            }
        }
        let size: usize = values.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        if size > MAX_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "job-variables",
                format!("the job's variables have {size} bytes, more than {MAX_BYTES}"),
            )
            .hint("make the large ones file variables"));
        }
        Ok(Self { masked: masked(job, &files, &values), values, files, home_files, project_dir })
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// For a process, with `extra` last.
    pub fn for_process(&self, extra: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        let mut values = self.values.clone();
        values.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        values.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

fn check(variable: &Variable) -> Result<()> {
    let name = &variable.key;
    let good = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.is_empty()
        && name.len() <= 255
        && !variable.value.contains('\0');
    if good {
        return Ok(());
    }
    Err(Error::invalid("job-variables", format!("the job's variable {name:.80?} cannot be a variable"))
        .hint("names have letters, digits and _, values have no NUL byte"))
}

/// The values to hide: as given and as expanded, and the job's token, which is everywhere.
fn masked(job: &Job, files: &[(String, String)], values: &BTreeMap<String, String>) -> Vec<String> {
    let mut all = vec![job.token.clone()];
    for variable in job.variables.iter().filter(|variable| variable.masked) {
        all.push(variable.value.clone());
        if variable.file {
            all.extend(files.iter().filter(|(name, _)| *name == variable.key).map(|(_, text)| text.clone()));
        } else {
            all.extend(values.get(&variable.key).cloned());
        }
    }
    let ends: Vec<String> = all.iter().map(|value| value.trim_end_matches('\n').to_owned()).collect();
    all.extend(ends);
    all.retain(|value| !value.is_empty());
    all
}

/// The project's path below the builds folder, made of harmless components.
fn project_path(job: &Job) -> String {
    let variable = job.variables.iter().rev().find(|variable| variable.key == "CI_PROJECT_PATH");
    let wanted = match variable {
        Some(variable) => &variable.value,
        None if job.job_info.project_full_path.is_empty() => &job.job_info.project_name,
        None => &job.job_info.project_full_path,
    };
    let harmless = |part: &str| -> String {
        part.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
    };
    let parts: Vec<String> =
        wanted.split('/').map(harmless).filter(|part| !matches!(part.as_str(), "" | "." | "..")).collect();
    match parts.join("/") {
        path if path.is_empty() || path.len() > 255 => "project".to_owned(),
        path => path,
    }
}

fn expand(value: &str, all: &BTreeMap<&str, (&str, Option<&Variable>)>) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let braces = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, after) = match braces {
            Some((name, after)) => (name, after),
            None => rest
                .split_at(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())),
        };
        if name.is_empty() {
            out.push('$');
        } else {
            out.push_str(all.get(name).map_or("", |(value, _)| value));
            rest = after;
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment(variables: serde_json::Value) -> Environment {
        let job = json!({ "id": 1, "token": "job-token", "variables": variables,
            "job_info": { "project_full_path": "group/../tools;x" } });
        let host = [("HOME".to_owned(), "/root".to_owned()), ("TOOLS".to_owned(), "/tools".to_owned())];
        Environment::new(&serde_json::from_value(job).unwrap(), &host).unwrap()
    }

    #[test]
    fn the_last_of_one_name_wins_and_values_refer_to_each_other() {
        let env = environment(json!([
            { "key": "A", "value": "old" },
            { "key": "B", "value": "$A-${A}-$$A-$NONE-$CI_PROJECT_DIR" },
            { "key": "RAW", "value": "$A", "raw": true },
            { "key": "A", "value": "new" },
        ]));
        assert_eq!(env.get("B"), Some("new-new-$A--/builds/group/tools_x"));
        assert_eq!(env.get("RAW"), Some("$A"));
        assert_eq!((env.get("HOME"), env.get("TOOLS")), (Some(HOME), Some("/tools")));
    }

    #[test]
    fn the_fixed_folders_cannot_be_moved() {
        let env = environment(json!([{ "key": "CI_PROJECT_DIR", "value": "/etc" }]));
        assert_eq!(env.get("CI_PROJECT_DIR"), Some("/builds/group/tools_x"));
    }

    #[test]
    fn a_file_variable_holds_a_path_and_its_text_is_masked() {
        let env = environment(json!([
            { "key": "KEY", "value": "line\n", "file": true, "masked": true },
            { "key": HOME_FILES, "value": "[]" },
        ]));
        assert_eq!(env.get("KEY"), Some("/builds/group/tools_x.tmp/KEY"));
        assert_eq!(env.files, [("KEY".to_owned(), "line\n".to_owned())]);
        assert!(env.masked.iter().any(|value| value == "line"));
        assert!(env.masked.iter().any(|value| value == "job-token"));
        assert_eq!(env.get(HOME_FILES), None);
    }
}

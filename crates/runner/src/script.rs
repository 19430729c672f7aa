//! Shell text: the script of a step and the script that gets the sources.
//!
//! Everything that comes from outside is checked or quoted; a value must never become syntax.

use cofferdam_types::{Error, Result, Secret};

use crate::protocol::GitInfo;

const GREEN: &str = "\u{1b}[32;1m";
const PLAIN: &str = "\u{1b}[0;m";

/// Git's settings while the sources are fetched: one pack instead of a file for each object, nothing
/// tidied or made durable in a folder that goes away with the job.
const FETCHING: [(&str, &str); 5] = [
    ("init.defaultBranch", "main"),
    ("fetch.unpackLimit", "1"),
    ("core.fsync", "none"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
];
/// Where git looks for settings in its environment.
const SETTINGS: [(&str, &str); FETCHING.len() + 1] = [
    ("GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"),
    ("GIT_CONFIG_KEY_1", "GIT_CONFIG_VALUE_1"),
    ("GIT_CONFIG_KEY_2", "GIT_CONFIG_VALUE_2"),
    ("GIT_CONFIG_KEY_3", "GIT_CONFIG_VALUE_3"),
    ("GIT_CONFIG_KEY_4", "GIT_CONFIG_VALUE_4"),
    ("GIT_CONFIG_KEY_5", "GIT_CONFIG_VALUE_5"),
];

/// The script of a step: every command is shown, then run, all in one shell.
pub fn step(commands: &[String], project_dir: &str) -> String {
    let mut text = format!("cd {}\n", quote(project_dir));
    for command in commands {
        text.push_str(&format!("echo {}\n", quote(&shown(command))));
        text.push_str(command);
        text.push('\n');
    }
    text
}

/// How a command is shown in the log.
fn shown(command: &str) -> String {
    match command.trim().split_once('\n') {
        None => format!("{GREEN}$ {}{PLAIN}", command.trim()),
        Some((first, _)) => format!("{GREEN}$ {first} # collapsed multi-line command{PLAIN}"),
    }
}

/// The command line that runs the script at `path`, inside: bash where there is one, else sh. One pipe
/// for both streams keeps their lines in order.
pub fn command(path: &str) -> [String; 3] {
    let path = quote(path);
    let text = format!(
        "exec 2>&1; if command -v bash >/dev/null; then exec bash -e -o pipefail {path}; else exec sh -e {path}; fi"
    );
    ["/bin/sh".to_owned(), "-c".to_owned(), text]
}

/// How to get the sources: the script, and the environment that it needs on top.
pub struct Sources {
    /// For one shell.
    pub script: String,
    /// Holds the token: for this script only.
    pub env: Vec<(&'static str, Secret<String>)>,
}

/// The script that fetches and checks out `git` into `project_dir`. The token reaches git through its
/// environment, so that it is in no argument, no file and no remote's URL.
///
/// # Errors
/// `Invalid` for names that git would take for something else.
pub fn sources(git: &GitInfo, project_dir: &str) -> Result<Sources> {
    let (plain, full) = urls(&git.repo_url)?;
    let format = match git.repo_object_format.as_str() {
        "" | "sha1" => "sha1",
        "sha256" => "sha256",
        other => return Err(wrong("object format", other)),
    };
    if !matches!(git.sha.len(), 40 | 64) || !git.sha.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong("commit", &git.sha));
    }
    let mut refspecs = String::new();
    for spec in &git.refspecs {
        let name = spec.strip_prefix('+').unwrap_or(spec);
        if !name.starts_with("refs/") || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(wrong("refspec", spec));
        }
        refspecs.push(' ');
        refspecs.push_str(&quote(spec));
    }
    let depth = if git.depth > 0 { format!(" --depth {}", git.depth) } else { String::new() };
    let (dir, sha) = (quote(project_dir), &git.sha);
    let remote = quote(&format!(
        "[remote \"origin\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
        config_value(&plain)
    ));
    let reference =
        quote(&format!("Checking out {:.8} as detached HEAD (ref is {})...", git.sha, git.ref_name));
    // The folder is new: there is nothing to clean, and no program is started for what a line in a
    // file does.
    let script = format!(
        "git init -q --template= --object-format={format} {dir}\ncd {dir}\n\
         printf %s {remote} >>.git/config\n\
         git fetch origin --no-recurse-submodules{refspecs}{depth} --prune --quiet\n\
         printf '{GREEN}%s{PLAIN}\\n' {reference}\n\
         git checkout -f -q --detach {sha}\n"
    );
    let mut env = vec![("GIT_TERMINAL_PROMPT", Secret::new("0".to_owned()))];
    let settings = FETCHING.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let settings = settings.chain([(format!("url.{full}.insteadOf"), plain)]).collect::<Vec<_>>();
    env.push(("GIT_CONFIG_COUNT", Secret::new(settings.len().to_string())));
    for ((key, value), (key_name, value_name)) in settings.into_iter().zip(SETTINGS) {
        env.extend([(key_name, Secret::new(key)), (value_name, Secret::new(value))]);
    }
    Ok(Sources { script, env })
}

/// The repository's URL without and with its credentials.
fn urls(repo_url: &str) -> Result<(String, String)> {
    let wrong = || Error::invalid("job-sources", "the job's repository has no usable http address");
    let full = url::Url::parse(repo_url).map_err(|_| wrong())?;
    if !matches!(full.scheme(), "http" | "https") {
        return Err(wrong());
    }
    let mut plain = full.clone();
    plain.set_username("").map_err(|()| wrong())?;
    plain.set_password(None).map_err(|()| wrong())?;
    Ok((plain.into(), full.into()))
}

fn wrong(what: &str, value: &str) -> Error {
    Error::invalid("job-sources", format!("the job's {what} {value:.100?} is not one"))
}

/// A value of git-config(1), whatever it holds.
fn config_value(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// One word for a POSIX shell, whatever it holds.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(sha: &str, refspec: &str) -> GitInfo {
        GitInfo {
            repo_url: "http://gitlab-ci-token:s3cret@127.0.0.1:1/group/tool.git".into(),
            sha: sha.into(),
            refspecs: vec![refspec.into()],
            ref_name: "it's".into(),
            depth: 20,
            ..GitInfo::default()
        }
    }

    #[test]
    fn the_token_is_not_in_the_script() {
        let sources =
            sources(&git(&"a".repeat(40), "+refs/heads/main:refs/remotes/origin/main"), "/builds/x").unwrap();
        assert!(!sources.script.contains("s3cret"));
        assert!(sources.script.contains("url = \"http://127.0.0.1:1/group/tool.git\""), "{}", sources.script);
        assert!(sources.script.contains("--depth 20"));
        assert!(sources.env.iter().any(|(_, value)| value.expose().contains("s3cret@")));
    }

    #[test]
    fn names_that_are_options_or_syntax_are_refused() {
        let good = "a".repeat(40);
        assert!(sources(&git("--upload-pack=x", "+refs/heads/a:refs/heads/a"), "/b").is_err());
        assert!(sources(&git(&good, "--upload-pack=x"), "/b").is_err());
        assert!(sources(&git(&good, "+refs/heads/a b"), "/b").is_err());
        let mut other = git(&good, "+refs/heads/a");
        other.repo_url = "ext::sh -c evil".into();
        assert!(sources(&other, "/b").is_err());
    }

    #[test]
    fn an_address_cannot_add_settings() {
        assert_eq!(config_value("a\"\\\n[x]"), "\"a\\\"\\\\\\n[x]\"");
    }

    #[test]
    fn only_the_first_line_of_a_long_command_is_shown() {
        let text = step(&["echo 'one'\necho two".into()], "/builds/x");
        assert!(text.contains("$ echo '\\''one'\\'' # collapsed multi-line command"), "{text}");
        assert!(text.ends_with("echo 'one'\necho two\n"));
    }
}

//! The house rules that a program can check. Each rule says what is wrong and where.
//!
//! Never changes a file, except ARCHITECTURE.md's table with `--fix`.

use std::path::Path;

use crate::{Outcome, capture, layers, links, read, root};

const BEGIN: &str = "<!-- crates:begin -->";
const END: &str = "<!-- crates:end -->";

/// Lines of a source file at the most, its tests not counted.
const FILE_LINES: usize = 800;
/// Packages in Cargo.lock at the most.
const PACKAGES: usize = 500;
/// Where each direct dependency has its reason.
const REASONS: &str = "docs/adr/0002-dependencies.md";

/// Hosts of public registries, in halves so that this file does not name them.
const HOSTS: &[(&str, &str)] = &[
    ("py", "pi.org"),
    ("python", "hosted.org"),
    ("npm", "js.org"),
    ("npm", "js.com"),
    ("index.crates", ".io"),
    ("static.crates", ".io"),
    ("proxy.golang", ".org"),
    ("sum.golang", ".org"),
    ("repo.", "maven."),
    ("repo1.", "maven."),
    ("deb.deb", "ian.org"),
];
/// Beginnings of paths that exist on a developer's machine only.
const PLACES: &[(&str, &str)] = &[("/wo", "rk/"), ("/fa", "rm/"), ("/ro", "ot/.")];

/// Checks every rule.
///
/// # Errors
/// The list of what is wrong.
pub fn run(args: &[String]) -> Outcome {
    let fix = match args {
        [] => false,
        [flag] if flag == "--fix" => true,
        _ => return Err("usage: cargo xtask tidy [--fix]".into()),
    };
    let root = root();
    let packages = layers::packages()?;
    let mut wrong = layers::check(&packages);
    wrong.extend(architecture(&root.join("ARCHITECTURE.md"), &layers::table(&packages), fix)?);
    let mut git = std::process::Command::new("git");
    let tracked = capture(git.args(["ls-files", "-z"]).current_dir(&root))?;
    for file in tracked.split_terminator('\0') {
        // A binary file has no text rules, and a file may be tracked and deleted.
        if let Ok(text) = std::fs::read_to_string(root.join(file)) {
            wrong.extend(check_file(&root, file, &text));
        }
    }
    wrong.extend(dependencies(&root)?);
    if wrong.is_empty() {
        println!("tidy");
        return Ok(());
    }
    Err(format!("{}\n{} rule(s) broken", wrong.join("\n"), wrong.len()))
}

/// Compares the table in ARCHITECTURE.md with the real one; writes it with `fix`.
fn architecture(path: &Path, table: &str, fix: bool) -> Outcome<Option<String>> {
    let old = if path.exists() { read(path)? } else { format!("# Architecture\n\n{BEGIN}\n{END}\n") };
    let Some(new) = replace_table(&old, table) else {
        return Ok(Some(format!("ARCHITECTURE.md: the lines `{BEGIN}` and `{END}` are missing")));
    };
    if path.exists() && new == old {
        return Ok(None);
    }
    if !fix {
        return Ok(Some("ARCHITECTURE.md: the crate table is old; run `cargo xtask tidy --fix`".into()));
    }
    std::fs::write(path, new).map_err(|e| format!("cannot write ARCHITECTURE.md: {e}"))?;
    Ok(None)
}

fn replace_table(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

fn check_file(root: &Path, file: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let ends = |ending: &str| Path::new(file).extension().is_some_and(|e| e == ending);
    if ends("rs") {
        if !text.starts_with("//!") {
            wrong.push(format!("{file}: does not open with `//!`: what is it for?"));
        }
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        if lines > FILE_LINES {
            wrong.push(format!("{file}: {lines} lines before its tests, more than {FILE_LINES}"));
        }
    }
    if ends("md") {
        wrong.extend(links::check(root, file, text));
    }
    if !is_lock(file) {
        wrong.extend(names(file, text));
    }
    wrong
}

/// Lock files name the registry they were made with.
fn is_lock(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    let of_example = file.starts_with("examples/")
        && (Path::new(name).extension().is_some_and(|e| e == "lock") || name == "package-lock.json");
    file == "Cargo.lock" || of_example
}

fn names(file: &str, text: &str) -> Vec<String> {
    let both = |list: &[(&str, &str)]| list.iter().map(|(a, b)| format!("{a}{b}")).collect::<Vec<_>>();
    let (hosts, places) = (both(HOSTS), both(PLACES));
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if hosts.iter().any(|host| line.contains(host)) {
            wrong.push(format!("{file}:{number}: names the host of a public registry"));
        }
        if places.iter().any(|place| line.contains(place)) {
            wrong.push(format!("{file}:{number}: names a path of one machine"));
        }
    }
    wrong
}

/// The size of Cargo.lock, and a reason for each direct dependency.
fn dependencies(root: &Path) -> Outcome<Vec<String>> {
    let mut wrong = Vec::new();
    let count = read(&root.join("Cargo.lock"))?.lines().filter(|line| *line == "[[package]]").count();
    if count > PACKAGES {
        wrong.push(format!("Cargo.lock: {count} packages, more than {PACKAGES}"));
    }
    let reasons = read(&root.join(REASONS))?;
    for name in direct(&read(&root.join("Cargo.toml"))?) {
        if !reasons.lines().any(|line| line.starts_with(&format!("| `{name}` |"))) {
            wrong.push(format!("{REASONS}: no reason for `{name}`"));
        }
    }
    Ok(wrong)
}

/// The names in `[workspace.dependencies]` that are not our own crates.
fn direct(manifest: &str) -> Vec<&str> {
    let table = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    table
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.trim()))
        .filter(|name| !name.starts_with('#') && !name.starts_with("cofferdam-"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_purpose_and_a_long_one_are_named() {
        let long = format!("//! x\n{}#[cfg(test)]\n", "\n".repeat(FILE_LINES));
        let wrong = check_file(&root(), "a.rs", &long);
        assert!(wrong.len() == 1 && wrong[0].contains("801 lines"), "{wrong:?}");
        assert_eq!(check_file(&root(), "a.rs", "fn main() {}\n").len(), 1);
        assert!(check_file(&root(), "a.rs", "//! x\n").is_empty());
    }

    #[test]
    fn a_registry_host_is_found_outside_lock_files() {
        let line = format!("index = \"https://{}{}/simple\"\n", HOSTS[0].0, HOSTS[0].1);
        assert_eq!(check_file(&root(), "docs/x.toml", &line).len(), 1);
        assert!(check_file(&root(), "examples/berth/uv.lock", &line).is_empty());
    }

    #[test]
    fn the_table_is_replaced_and_the_text_around_it_kept() {
        let old = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(replace_table(&old, "new\n").unwrap(), format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(replace_table("no markers", "x"), None);
    }

    #[test]
    fn direct_dependencies_are_read_from_the_manifest() {
        let manifest =
            "[workspace.dependencies]\n# ours = no\ncofferdam-x = 1\ntoml = \"1\"\n\n[profile]\na = 1\n";
        assert_eq!(direct(manifest), ["toml"]);
    }
}

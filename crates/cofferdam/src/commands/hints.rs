//! What a person is told about a build beside its own words: folders that hide what it fetches, and clients that no
//! sandbox can run.
//!
//! Guesses from names, told as advice: nothing here may change what is run or how it ends.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

/// Folders that clients fill with what they fetched. A build that finds them fetches nothing.
const FILLED: &[&str] = &["node_modules", ".venv", "venv", "vendor/bundle", "vendor/composer", ".terraform"];
/// Clients that make namespaces of their own, or let a daemon outside fetch.
const CONTAINERS: &[&str] = &["podman", "buildah", "docker", "nerdctl"];
/// Bytes of a script in which they are looked for.
const MAX_SCRIPT: u64 = 256 << 10;

/// A warning about folders of `files` that the last build has filled, unless they are the project's own (git tracks them).
pub fn filled(folder: &Path, files: &[PathBuf]) -> Option<String> {
    let found: BTreeSet<&str> = files.iter().filter_map(|file| filled_folder(file)).collect();
    let own: BTreeSet<String> = if found.is_empty() { BTreeSet::new() } else { tracked(folder) };
    let found: Vec<&str> = found.into_iter().filter(|folder| !own.contains(*folder)).collect();
    (!found.is_empty()).then(|| {
        let (all, them) = (found.join(", "), if found.len() == 1 { "it" } else { "them" });
        format!(
            "warning: {all}: copied with the folder, so what lies in {them} is not fetched and not recorded. Remove {them}, or \
             name {them} in .gitignore"
        )
    })
}

fn filled_folder(file: &Path) -> Option<&'static str> {
    let path = format!("/{}", file.to_str()?);
    FILLED.iter().copied().find(|folder| path.contains(&format!("/{folder}/")))
}

/// Those of them in which git tracks something.
fn tracked(folder: &Path) -> BTreeSet<String> {
    let listed = Command::new("git").args(["ls-files", "-z", "--cached"]).current_dir(folder).output();
    let Some(done) = listed.ok().filter(|done| done.status.success()) else { return BTreeSet::new() };
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.split('\0').filter_map(|file| filled_folder(Path::new(file))).map(str::to_owned).collect()
}

/// What to use instead, where a command that failed calls a client of containers: itself, in a script or a Makefile.
pub fn containers(folder: &Path, command: &[String]) -> Option<String> {
    let words: Vec<&str> = command.iter().flat_map(|word| word.split_whitespace()).collect();
    let makes = words.iter().any(|word| word.rsplit('/').next() == Some("make"));
    let makefiles = ["GNUmakefile", "makefile", "Makefile"].into_iter().filter(|_| makes);
    let scripts = words.iter().copied().filter(|word| !word.starts_with('/')).chain(makefiles);
    let texts = scripts.filter_map(|script| {
        let path = folder.join(script);
        let small = std::fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= MAX_SCRIPT);
        small.then(|| std::fs::read_to_string(path).ok()).flatten()
    });
    let client = command.iter().cloned().chain(texts).find_map(|text| named(&text))?;
    Some(format!(
        "hint: {client} cannot run in a sandbox, which gives no namespaces and no daemon. Get images with `skopeo copy \
         docker://IMAGE oci-archive:FILE`, or collect what a Dockerfile names: `cofferdam collect --from . --as NAME`"
    ))
}

fn named(text: &str) -> Option<&'static str> {
    let mut words = text.split(|c: char| !(c.is_alphanumeric() || "-_.:/".contains(c)));
    words.find_map(|word| {
        let program = word.rsplit('/').next().unwrap_or_default();
        CONTAINERS.iter().copied().find(|client| !word.contains(':') && program == *client)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_last_build_are_told_unless_git_tracks_them() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["web/node_modules/a/index.js", "vendor/bundle/x", "vendor/lib.go", "src/venv.rs"];
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        let told = filled(folder.path(), &files).unwrap();
        assert!(told.starts_with("warning: node_modules, vendor/bundle: copied"), "{told}");
        assert_eq!(filled(folder.path(), &files[2..]), None);
        for file in &files[..2] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let git =
            |words: &[&str]| Command::new("git").args(words).current_dir(folder.path()).output().unwrap();
        git(&["init", "-q"]);
        git(&["add", "vendor"]);
        let told = filled(folder.path(), &files).unwrap();
        assert!(told.starts_with("warning: node_modules: copied"), "{told}");
    }

    #[test]
    fn who_calls_podman_is_told_of_skopeo() {
        let folder = tempfile::tempdir().unwrap();
        let told = |words: &[&str]| {
            containers(folder.path(), &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert!(told(&["podman", "pull", "x"]).unwrap().starts_with("hint: podman cannot run"));
        assert!(told(&["sh", "-c", "a && /usr/bin/buildah bud ."]).unwrap().contains("buildah"));
        assert_eq!(told(&["skopeo", "copy", "docker://reg.example/docker:1", "oci:x"]), None);
        assert_eq!(told(&["make"]), None);
        std::fs::write(folder.path().join("Makefile"), "all:\n\tdocker build .\n").unwrap();
        assert!(told(&["make"]).unwrap().contains("docker"));
    }
}

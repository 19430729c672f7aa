//! Platforms in one spelling: `<system>-<processor>`, such as `linux-x86_64`.
//!
//! Lock files, indexes and people write the same machine in many ways; this is the one place that knows
//! them. Systems are `linux` (with glibc), `linux-musl`, `macos`, `windows` and others as written; processors
//! are `x86_64`, `x86`, `aarch64`, `armv7` and others as written. Either half may be [`ANY`]; the word alone
//! means a file that runs everywhere. A word that is not known is kept, never guessed.

/// Every system, every processor, or (alone) both.
pub const ANY: &str = "any";

/// One platform from the words that an ecosystem has for a system and a processor.
#[must_use]
pub fn platform(system: &str, processor: &str) -> String {
    let (system, processor) = (system_name(system), processor_name(processor));
    if system == ANY && processor == ANY { ANY.to_owned() } else { format!("{system}-{processor}") }
}

/// Whether a file for one platform serves another that was asked for. Both as [`platform`] writes them.
#[must_use]
pub fn serves(file: &str, asked: &str) -> bool {
    if file == ANY || file == asked {
        return true;
    }
    let half = |a: &str, b: &str| a == b || a == ANY;
    match (file.rsplit_once('-'), asked.rsplit_once('-')) {
        (Some((s, p)), Some((system, processor))) => half(s, system) && half(p, processor),
        _ => false,
    }
}

/// Every pair of the systems and processors that an entry names, in npm's words: a word that begins with `!`
/// leaves all others, which is all; `libc` tells the two kinds of Linux apart. Empty when it runs everywhere.
#[must_use]
pub fn pairs(systems: &[&str], processors: &[&str], libc: &[&str]) -> Vec<String> {
    /// So many words are as good as all; real packages have fewer.
    const MAX_WORDS: usize = 12;
    let named = |words: &[&str]| -> Vec<String> {
        let words = words.iter().filter(|w| !w.starts_with('!') && !matches!(**w, "any" | "none"));
        let words: Vec<String> = words.map(|w| (*w).to_owned()).collect();
        if words.is_empty() || words.len() > MAX_WORDS { vec![ANY.to_owned()] } else { words }
    };
    let only_musl = libc.contains(&"musl") && !libc.contains(&"glibc");
    let mut all = Vec::new();
    for system in named(systems) {
        let is_linux = only_musl && (system == "linux" || system == ANY);
        let system = if is_linux { "linux-musl" } else { &system };
        all.extend(named(processors).iter().map(|processor| platform(system, processor)));
    }
    all.retain(|p| p != ANY);
    all.sort();
    all.dedup();
    all
}

fn system_name(word: &str) -> String {
    let word = word.to_ascii_lowercase();
    match word.as_str() {
        "" | "any" | "none" => ANY,
        "manylinux" => "linux",
        "musllinux" | "linuxmusl" | "linux_musl" | "alpine" => "linux-musl",
        "darwin" | "macosx" | "osx" => "macos",
        "win32" | "win" | "mingw32" | "mingw" | "mswin" => "windows",
        other => other,
    }
    .to_owned()
}

fn processor_name(word: &str) -> String {
    let word = word.to_ascii_lowercase();
    match word.as_str() {
        "" | "any" | "none" | "noarch" => ANY,
        "amd64" | "x64" | "x86-64" => "x86_64",
        "i386" | "i486" | "i586" | "i686" | "ia32" | "386" => "x86",
        "arm64" | "armv8" => "aarch64",
        "arm" | "armv7l" | "armhf" => "armv7",
        "armv6l" => "armv6",
        "powerpc64le" | "ppc64el" => "ppc64le",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_has_one_name() {
        for (system, processor, name) in [
            ("linux", "x64", "linux-x86_64"),
            ("Linux", "AMD64", "linux-x86_64"),
            ("manylinux", "x86_64", "linux-x86_64"),
            ("musllinux", "aarch64", "linux-musl-aarch64"),
            ("darwin", "arm64", "macos-aarch64"),
            ("win32", "ia32", "windows-x86"),
            ("", "", "any"),
            ("linux", "", "linux-any"),
            ("", "s390x", "any-s390x"),
            ("plan9", "vax", "plan9-vax"),
        ] {
            assert_eq!(platform(system, processor), name);
        }
    }

    #[test]
    fn pairs_are_all_that_is_named_and_refusals_name_nothing() {
        assert_eq!(pairs(&["darwin"], &["x64", "arm64"], &[]), ["macos-aarch64", "macos-x86_64"]);
        assert_eq!(pairs(&["linux"], &["x64"], &["musl"]), ["linux-musl-x86_64"]);
        assert_eq!(pairs(&["linux"], &["x64"], &["glibc"]), ["linux-x86_64"]);
        assert_eq!(pairs(&["!win32"], &[], &[]), Vec::<String>::new());
        assert_eq!(pairs(&[], &["s390x"], &[]), ["any-s390x"]);
    }

    #[test]
    fn a_file_for_every_processor_serves_each_and_no_other_system() {
        assert!(serves("any", "linux-x86_64") && serves("linux-any", "linux-x86_64"));
        assert!(serves("linux-musl-any", "linux-musl-aarch64"));
        assert!(!serves("linux-any", "linux-musl-aarch64"), "another C library is another system");
        assert!(!serves("linux-x86_64", "any") && !serves("macos-any", "linux-x86_64"));
    }
}

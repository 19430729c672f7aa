//! Files that somebody made to break a reader: it may refuse them, and must come back, soon and with little.

use cofferdam_lockfiles::{Kind, MAX_NOTES, MAX_TEXT, kind_of, read, read_as};

use crate::fixture;

const FIXTURES: [&str; 34] = [
    "ansible/requirements.yml",
    "bun/bun.lock",
    "cargo/Cargo.lock",
    "cargo-1/Cargo.lock",
    "compose/compose.yaml",
    "composer/composer.lock",
    "docker/Dockerfile",
    "gem/Gemfile.lock",
    "git/.gitmodules",
    "gitlab/.gitlab-ci.yml",
    "go/go.mod",
    "go/go.sum",
    "gradle/gradle.lockfile",
    "gradle/wrapper/gradle-wrapper.properties",
    "helm/Chart.yaml",
    "helm/values.yaml",
    "maven/pom.xml",
    "npm-1/npm-shrinkwrap.json",
    "npm-3/package-lock.json",
    "nuget/packages.lock.json",
    "pdm/pdm.lock",
    "pip/requirements.txt",
    "pipenv/Pipfile.lock",
    "pip-tools/requirements-dev.txt",
    "pnpm-5/pnpm-lock.yaml",
    "pnpm-6/pnpm-lock.yaml",
    "pnpm-9/pnpm-lock.yaml",
    "poetry/poetry.lock",
    "pylock/pylock.toml",
    "terraform/.terraform.lock.hcl",
    "uv/uv.lock",
    "want/cofferdam.want",
    "yarn-1/yarn.lock",
    "yarn-berry/yarn.lock",
];

/// Pieces that have meaning in one of the formats, and some that have none.
const PIECES: [&str; 44] = [
    "@",
    "#",
    "$",
    "${",
    "}",
    "{",
    "[",
    "]",
    "\"",
    "'",
    "\\",
    "\\u12",
    "%",
    "://",
    "/",
    "//",
    "/-/",
    "..",
    ":",
    ",",
    "=",
    "-",
    "<",
    ">",
    "<<",
    "&a ",
    "*a",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "é",
    "\u{1f980}",
    "\u{feff}",
    "node_modules/",
    "git+",
    "sha512-",
    "--hash",
    "h1:",
    "FROM ",
    "<!DOCTYPE",
    "&#0;",
    "null",
    "🦀@é://é/é@é#é?é",
];

/// A small generator: the same texts in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % below.max(1)
    }

    /// A place between two characters.
    fn place(&mut self, text: &str) -> usize {
        let mut at = self.roll(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    fn mutate(&mut self, text: &mut String) {
        let at = self.place(text);
        match self.roll(6) {
            0 => text.insert_str(at, PIECES[self.roll(PIECES.len())]),
            1 => {
                let end = self.place(text);
                let (from, to) = (at.min(end), at.max(end));
                if to - from < 60 {
                    text.replace_range(from..to, "");
                }
            }
            2 => text.truncate(at),
            3 => {
                let line = text.lines().nth(self.roll(40)).unwrap_or_default().to_owned();
                text.insert_str(at, &format!("\n{line}\n"));
            }
            4 => text.insert_str(at, &PIECES[self.roll(PIECES.len())].repeat(self.roll(200))),
            _ => {
                let lines: Vec<&str> = text.lines().collect();
                let skip = self.roll(lines.len());
                let kept = lines.iter().enumerate().filter(|(n, _)| *n != skip).map(|(_, l)| *l);
                *text = kept.collect::<Vec<_>>().join("\n");
            }
        }
    }
}

/// What is listed is safe to show, however hostile the file was.
fn check_safe(kind: Kind, text: &str) {
    let Ok(reading) = read_as(kind, "folder/file", text) else { return };
    assert!(reading.notes.len() <= MAX_NOTES + 1);
    for item in &reading.items {
        let texts = [Some(&item.name), item.source.as_ref(), item.markers.as_ref()];
        for text in texts.into_iter().flatten().chain(&item.asked_by).chain(&item.digests) {
            assert!(!text.contains(char::is_control), "{kind}: {text:?}");
        }
        assert!(!item.name.is_empty() && !item.name.contains(char::is_whitespace));
        assert!(item.line >= 1 && item.purl().is_none_or(|p| p.as_str().starts_with("pkg:")));
        assert!(!item.name.contains("secret") && !item.source.as_deref().unwrap_or("").contains("secret"));
    }
    assert!(
        reading
            .items
            .is_sorted_by(|a, b| (a.ecosystem, &a.name, &a.version) <= (b.ecosystem, &b.name, &b.version))
    );
    for path in &reading.includes {
        assert!(!path.starts_with('/') && !path.split('/').any(|s| s == ".."), "{path}");
    }
}

#[test]
fn a_damaged_file_is_read_or_refused_and_never_worse() {
    let mut dice = Dice(0x5eed_c0ff_e4da_0001);
    for name in FIXTURES {
        let (path, whole) = fixture(name);
        let kind = kind_of(&path).unwrap();
        for _ in 0..60 {
            let mut text = whole.clone();
            for _ in 0..=dice.roll(4) {
                dice.mutate(&mut text);
                check_safe(kind, &text);
            }
        }
    }
}

#[test]
fn every_reader_survives_the_files_of_every_other() {
    let texts: Vec<(Kind, String)> =
        FIXTURES.iter().map(|name| (kind_of(name).unwrap(), fixture(name).1)).collect();
    for (kind, _) in &texts {
        texts.iter().for_each(|(_, text)| check_safe(*kind, text));
        ["", "\n", "\0", "{}", "[]", "null", "---", "---\n---\n", "<a/>"]
            .iter()
            .for_each(|text| check_safe(*kind, text));
    }
}

#[test]
fn every_prefix_of_a_file_is_read_or_refused() {
    for name in FIXTURES {
        let (path, text) = fixture(name);
        let kind = kind_of(&path).unwrap();
        for (at, _) in text.char_indices().step_by(7) {
            check_safe(kind, &text[..at]);
        }
    }
}

#[test]
fn towers_and_floods_end_in_bounded_time() {
    let kinds: Vec<Kind> = FIXTURES.iter().map(|name| kind_of(name).unwrap()).collect();
    let floods = [
        "[".repeat(300_000),
        "{\"a\":".repeat(100_000),
        "- ".repeat(100_000),
        "a: ".repeat(100_000),
        "<a>".repeat(100_000),
        "[[a]]\n".repeat(30_000),
        "? ".repeat(100_000),
        "\"".repeat(300_001),
        "a\\\n".repeat(100_000),
        "ARG A=$A$A\n".repeat(20_000) + "FROM $A\n",
        "-r x\n".repeat(50_000),
        "\n".repeat(500_000),
    ];
    for kind in kinds {
        floods.iter().for_each(|text| check_safe(kind, text));
    }
}

#[test]
fn one_name_a_thousand_times_is_one_entry_with_some_askers() {
    let mut text = String::from("version = 4\n");
    for n in 0..3000 {
        text += &format!(
            "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"registry+https://i.example\"\ndependencies = [\"a\", \"b{n}\"]\n"
        );
        text += &format!("[[package]]\nname = \"b{n}\"\nversion = \"1\"\ndependencies = [\"a 1\"]\n");
    }
    let reading = read("Cargo.lock", &text).unwrap();
    assert_eq!(reading.items.len(), 1);
    let askers = &reading.items[0].asked_by;
    assert!(askers.len() <= 32 && askers.contains(&"b0".to_owned()), "{askers:?}");
}

#[test]
fn a_file_that_is_too_large_or_of_no_kind_is_refused_with_advice() {
    let error = read("go.sum", &"x".repeat(MAX_TEXT + 1)).unwrap_err();
    assert!(error.message().contains("more than") && error.advice().is_some());
    let error = read("a/README.md", "hello").unwrap_err();
    assert_eq!((error.code(), error.message().starts_with("a/README.md, line 1: ")), ("lock-file", true));
    let many: String = (0..200_002).map(|n| format!("a:b{n}:1=x\n")).collect();
    assert!(read("gradle.lockfile", &many).unwrap_err().message().contains("200000 entries"));
    let many: String = (0..2000).map(|n| format!("what is {n}\n")).collect();
    let notes = read("requirements.txt", &many).unwrap().notes;
    assert_eq!((notes.len(), notes.last().unwrap().text.starts_with("1500 more")), (MAX_NOTES + 1, true));
}

#[test]
fn a_broken_file_is_refused_with_its_line() {
    for (path, text, line) in [
        ("uv.lock", "version = 1\n[[package]]\nversion = '1'\n", 2),
        ("uv.lock", "a = 1\n", 1),
        ("package-lock.json", "{\n \"a\":\n}", 3),
        ("package-lock.json", "{}", 1),
        ("pnpm-lock.yaml", "a: 1\nlockfileVersion: '13.0'\n", 2),
        ("yarn.lock", "# yarn lockfile v1\n\n  version \"1\"\n", 3),
        ("go.sum", "a v1 h1:x\na v1\n", 2),
        ("pom.xml", "<a>\n</b>", 2),
        (".terraform.lock.hcl", "provider \"a/b/c\" {\n}\n", 1),
        ("Dockerfile", "RUN x\n", 1),
        ("composer.lock", "{\"packages\": [\n{}]}", 2),
        ("Gemfile.lock", "GEM\n  specs:\n    a\n", 3),
        ("pylock.toml", "lock-version = '2.0'\n", 1),
    ] {
        let error = read(path, text).unwrap_err();
        assert!(error.message().starts_with(&format!("{path}, line {line}: ")), "{path}: {error}");
        assert!(error.advice().is_some(), "{path}");
    }
}

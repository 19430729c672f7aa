//! What a person's own client configuration says of where clients fetch from, shown to builds whose home is empty.
//!
//! The formats of the site need none of it: the site asks their upstreams as the account that runs it would. All
//! other clients dial the addresses that they are set to, so a build must find the same settings.
//!
//! Must never show a build a credential: a file in which one stands is left out whole, and that is told.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

/// Files that say where a client fetches from: below the home, the variable that names another place, whose.
const FILES: &[(&str, &str, &str)] = &[
    (".config/go/env", "GOENV", "Go"),
    (MAVEN, "", "Maven"),
    (".gradle/init.gradle", "", "Gradle"),
    (".gradle/init.gradle.kts", "", "Gradle"),
    (".gemrc", "GEMRC", "RubyGems"),
    (BUNDLER, "", "Bundler"),
    (".config/composer/config.json", "", "Composer"),
    (".nuget/NuGet/NuGet.Config", "", "NuGet"),
    (".config/NuGet/NuGet.Config", "", "NuGet on Mono"),
    (HELM, "HELM_REPOSITORY_CONFIG", "Helm"),
    (".terraformrc", "TF_CLI_CONFIG_FILE", "Terraform"),
    (".ansible.cfg", "ANSIBLE_CONFIG", "Ansible"),
    (".config/containers/registries.conf", "CONTAINERS_REGISTRIES_CONF", "podman and skopeo"),
];
const MAVEN: &str = ".m2/settings.xml";
const BUNDLER: &str = ".bundle/config";

/// Settings that name a file or folder of the person's machine which no build sees: authorities, instead of which every
/// client believes the run's own, and caches, which would hide what is fetched. Place, and how the line begins.
const ELSEWHERE: &[(&str, &str)] = &[
    (".gemrc", ":ssl_ca_cert:"),
    (".gemrc", "ssl_ca_cert:"),
    (".gemrc", "gemhome:"),
    (".gemrc", "gempath:"),
    (BUNDLER, "BUNDLE_SSL_CA_CERT:"),
    (BUNDLER, "BUNDLE_PATH:"),
    (".terraformrc", "plugin_cache_dir"),
];
const HELM: &str = ".config/helm/repositories.yaml";
/// The same of Helm, whose keys may have the dash of their entry before them: their values are emptied.
const HELM_FILES: &[&str] = &["caFile:", "certFile:", "keyFile:"];
/// A choice that Helm writes for every repository, and no credential.
const HELM_CHOICE: &str = "pass_credentials_all:";

/// What begins the keys of Bundler's settings that have a part of their own behind two underscores; of all others such a
/// key is a host's name, and its value that host's user and password.
const BUNDLER_PARTS: &[&str] = &["BUNDLE_MIRROR__", "BUNDLE_BUILD__", "BUNDLE_LOCAL__"];

/// Variables that say where a client fetches from, and what it believes of it.
const VARIABLES: &[&str] = &[
    "GOPROXY",
    "GONOPROXY",
    "GOPRIVATE",
    "GOSUMDB",
    "GONOSUMDB",
    "GOINSECURE",
    "GOVCS",
    "GOFLAGS",
    "GOTOOLCHAIN",
];

/// Words beside which credentials stand, and those of proxies, which do not exist in a sandbox.
const TELLTALE: &[&str] = &[
    "password",
    "passwd",
    "token",
    "secret",
    "credential",
    "apikey",
    "api_key",
    "_auth",
    "oauth",
    "bearer",
    "http_proxy",
    "https_proxy",
];

/// A larger file is no configuration.
const MAX_BYTES: u64 = 256 * 1024;

/// A person's settings, for one build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Files relative to the build's home, with their text.
    pub files: Vec<(String, String)>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// What is left out, and why; a sentence each.
    pub left_out: Vec<String>,
}

impl Own {
    /// Those of whoever runs this program.
    pub fn find() -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Self::of(home.as_deref(), &|name| std::env::var(name).ok())
    }

    /// Those of a person with this home and this environment.
    fn of(home: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| Some(name).filter(|n| !n.is_empty()).and_then(env).filter(|v| !v.is_empty());
        let mut own = Self::default();
        for (place, variable, whose) in FILES {
            let below_config = place.strip_prefix(".config/").zip(set("XDG_CONFIG_HOME"));
            let usual = match below_config {
                Some((rest, config)) => Some(Path::new(&config).join(rest)),
                None => home.map(|home| home.join(place)),
            };
            let Some(path) = set(variable).map(PathBuf::from).or(usual) else { continue };
            let small = std::fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= MAX_BYTES);
            let Some(text) = small.then(|| std::fs::read_to_string(&path).ok()).flatten() else { continue };
            match harmless(place, &text) {
                Ok(text) => own.files.push(((*place).to_owned(), text)),
                Err(word) => own.left_out.push(format!(
                    "{} ({whose}) is not shown to the build: `{word}` stands in it",
                    path.display()
                )),
            }
        }
        let passed =
            VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), without_users(&set(name)?))));
        own.env.extend(passed);
        own
    }

    /// The keys of Go's checksum databases that this person's Go knows: of `GOSUMDB`, and of Go itself, whose
    /// program holds that of its own database in `src/cmd/go/internal/modfetch/key.go`. Nothing is run.
    pub fn note_keys(&self) -> Vec<String> {
        let file =
            self.files.iter().find(|(place, _)| place == ".config/go/env").map(|(_, text)| text.as_str());
        let lines =
            file.into_iter().flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("GOSUMDB="));
        let set = self.env.iter().filter(|(name, _)| name == "GOSUMDB").map(|(_, value)| value.as_str());
        let first = |value: &str| value.split_whitespace().next().map(str::to_owned);
        let mut keys: Vec<String> = lines.chain(set).filter_map(first).collect();
        let text = own_keys_of_go().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        keys.extend(text.split('"').map(str::to_owned));
        keys.retain(|key| {
            key.len() < 512 && key.splitn(3, '+').count() == 3 && !key.contains(char::is_whitespace)
        });
        keys.dedup();
        keys
    }

    /// For people, where there is something to say: what goes with the build.
    pub fn told(&self) -> Option<String> {
        let files = self.files.iter().map(|(place, _)| format!("~/{place}"));
        let all: Vec<String> = files.chain(self.env.iter().map(|(name, _)| name.clone())).collect();
        (!all.is_empty()).then(|| format!("your own settings count: {}", all.join(", ")))
    }
}

/// The file of the Go on the `PATH` that names its own database's key.
fn own_keys_of_go() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&path).map(|folder| folder.join("go")).find(|file| file.is_file())?;
    let root = std::fs::canonicalize(program).ok()?.parent()?.parent()?.to_owned();
    let file = root.join("src/cmd/go/internal/modfetch/key.go");
    std::fs::metadata(&file).is_ok_and(|m| m.is_file() && m.len() <= MAX_BYTES).then_some(file)
}

/// The text without what a build must not see, or the word that gives it away.
fn harmless(place: &str, text: &str) -> Result<String, &'static str> {
    let mut text = without_users(text);
    if place == MAVEN {
        for (from, to) in [("<!--", "-->"), ("<servers>", "</servers>"), ("<proxies>", "</proxies>")] {
            text = without(&text, from, to);
        }
    }
    if text.lines().any(|line| here(place, line).as_deref() != Some(line)) {
        text = text.lines().filter_map(|line| here(place, line).map(|line| format!("{line}\n"))).collect();
    }
    for line in text.lines() {
        if place == HELM && line.trim_start_matches([' ', '-']).starts_with(HELM_CHOICE) {
            continue;
        }
        let lower = line.to_lowercase();
        let found = TELLTALE.iter().find_map(|word| Some((*word, lower.split_once(word)?.1)));
        if let Some((word, rest)) = found
            && !rest.trim_matches(|c: char| "\"':=, \t".contains(c)).is_empty()
        {
            return Err(word);
        }
    }
    Ok(text)
}

/// A line of settings as it counts in a build, if it does.
fn here<'a>(place: &str, line: &'a str) -> Option<Cow<'a, str>> {
    let plain = line.trim_start();
    if place == HELM {
        let key = plain.trim_start_matches("- ");
        let begin = HELM_FILES.iter().find(|begin| key.starts_with(**begin));
        let emptied = |begin: &&str| {
            let indent = line.get(..line.len() - key.len()).unwrap_or_default();
            Cow::Owned(format!("{indent}{begin} \"\""))
        };
        return Some(begin.map_or(Cow::Borrowed(line), emptied));
    }
    let elsewhere = ELSEWHERE.iter().any(|(of, begin)| *of == place && plain.starts_with(begin));
    (!elsewhere && (place != BUNDLER || !names_a_host(plain))).then_some(Cow::Borrowed(line))
}

/// Whether a line of Bundler's settings is a host's user and password: `BUNDLE_GEMS__HOST__EXAMPLE: "ann:hush"`.
fn names_a_host(line: &str) -> bool {
    let key = line.split(':').next().unwrap_or_default();
    key.contains("__") && !BUNDLER_PARTS.iter().any(|part| key.starts_with(part))
}

/// The text without everything from `from` to `to`.
fn without(text: &str, from: &str, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(from) {
        out.push_str(before);
        rest = after.split_once(to).map_or("", |(_, after)| after);
    }
    out + rest
}

/// The text whose addresses have neither user nor password.
fn without_users(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(|c: char| c.is_whitespace() || "/?#,|\"'<>".contains(c)).unwrap_or(after.len());
        let (authority, _) = after.split_at(end);
        rest = authority.rfind('@').map_or(after, |at| after.split_at(at + 1).1);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(files: &[(&str, &str)], env: &[(&str, &str)]) -> Own {
        let home = tempfile::tempdir().unwrap();
        for (place, text) in files {
            let path = home.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Own::of(Some(home.path()), &env)
    }

    #[test]
    fn the_keys_of_checksum_databases_are_those_of_the_own_configuration() {
        let go =
            "GOPROXY=https://mirror.example/go\nGOSUMDB=one.example+00000000+AAAA https://sums.example\n";
        let keys = own(&[(".config/go/env", go)], &[("GOSUMDB", "two.example+00000000+BBBB")]).note_keys();
        assert!(keys.starts_with(&["one.example+00000000+AAAA".into(), "two.example+00000000+BBBB".into()]));
        assert!(!own(&[], &[("GOSUMDB", "off")]).note_keys().contains(&"off".to_owned()));
    }

    #[test]
    fn addresses_are_shown_and_their_users_are_not() {
        let go = "GOPROXY=https://ann:hush@mirror.example/go,direct\n";
        let found =
            own(&[(".config/go/env", go)], &[("GOPROXY", "http://a@one.example|http://two.example/@x")]);
        assert_eq!(
            found.files,
            [(".config/go/env".into(), "GOPROXY=https://mirror.example/go,direct\n".into())]
        );
        assert_eq!(found.env, [("GOPROXY".into(), "http://one.example|http://two.example/@x".into())]);
        assert!(found.told().unwrap().ends_with("~/.config/go/env, GOPROXY"), "{found:?}");
        assert_eq!(own(&[], &[]).told(), None);
    }

    #[test]
    fn a_file_with_a_credential_is_left_out_and_told() {
        let found = own(&[(".gemrc", ":sources:\n- https://gems.example\n:rubygems_api_key: 12ab\n")], &[]);
        assert!(found.files.is_empty() && found.left_out[0].contains("RubyGems"), "{found:?}");
        // Helm writes the keys whether or not there is a value.
        let helm = "repositories:\n- name: a\n  pass_credentials_all: false\n  password: \"\"\n  url: https://charts.example\n";
        assert_eq!(own(&[(".config/helm/repositories.yaml", helm)], &[]).files[0].1, helm);
    }

    #[test]
    fn of_mavens_settings_the_mirrors_count_and_servers_and_proxies_do_not() {
        let text = "<settings><!-- a password --><servers><server><password>hush</password></server></servers>\
                    <proxies><proxy><host>p</host></proxy></proxies><mirrors><mirror/></mirrors></settings>";
        assert_eq!(
            own(&[(MAVEN, text)], &[]).files[0].1,
            "<settings><mirrors><mirror/></mirrors></settings>"
        );
        assert_eq!(own(&[(MAVEN, "<settings><servers><password>hush")], &[]).files[0].1, "<settings>");
    }

    #[test]
    fn files_of_this_machine_that_no_build_sees_are_not_named_to_it() {
        let shown = |place: &str, text: &str| own(&[(place, text)], &[]).files[0].1.clone();
        let gem = ":sources:\n- https://gems.example/\n:ssl_ca_cert: /etc/ssl/ours.pem\n";
        assert_eq!(shown(".gemrc", gem), ":sources:\n- https://gems.example/\n");
        let helm = "repositories:\n- caFile: /home/ann/ours.pem\n  keyFile: /k\n  name: a\n";
        assert_eq!(shown(HELM, helm), "repositories:\n- caFile: \"\"\n  keyFile: \"\"\n  name: a\n");
        assert_eq!(
            shown(".terraformrc", "plugin_cache_dir = \"/c\"\ndisable_checkpoint = true\n"),
            "disable_checkpoint = true\n"
        );
    }

    #[test]
    fn a_password_for_a_host_in_bundlers_settings_is_taken_out_and_mirrors_stay() {
        let text = "---\nBUNDLE_GEMS__HARBOUR__EXAMPLE: \"ann:hush\"\nBUNDLE_MIRROR__HTTPS://GEMS__EXAMPLE/: \"https://mirror.example\"\n\
                    BUNDLE_BUILD__FERRY: \"--with-oars\"\nBUNDLE_PATH: \"/home/ann/gems\"\n";
        let shown = own(&[(BUNDLER, text)], &[]).files[0].1.clone();
        assert!(!shown.contains("hush") && !shown.contains("/home/ann"), "{shown}");
        assert!(shown.contains("mirror.example") && shown.contains("--with-oars"), "{shown}");
        let composer = "{\"github-oauth\": {\"code.example\": \"hush\"}}";
        assert!(own(&[(".config/composer/config.json", composer)], &[]).files.is_empty());
    }

    #[test]
    fn a_variable_that_names_the_file_counts() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("mine");
        std::fs::write(&file, "GONOSUMDB=*\n").unwrap();
        let env = |name: &str| (name == "GOENV").then(|| file.display().to_string());
        assert_eq!(Own::of(None, &env).files, [(".config/go/env".into(), "GONOSUMDB=*\n".into())]);
        assert_eq!(Own::of(None, &|name| (name == "GOENV").then(|| "off".into())), Own::default());
    }
}

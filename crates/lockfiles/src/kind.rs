//! Which file is what: by its name, and for a few names that say nothing by the first lines.

use std::fmt;

/// The sorts of files that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// pip's requirements, by hand or by a tool.
    Requirements,
    /// `uv.lock`
    UvLock,
    /// `poetry.lock`
    PoetryLock,
    /// `pdm.lock`
    PdmLock,
    /// `Pipfile.lock`
    PipfileLock,
    /// `pylock.toml` (PEP 751)
    Pylock,
    /// `package-lock.json`, `npm-shrinkwrap.json`
    NpmLock,
    /// `pnpm-lock.yaml`
    PnpmLock,
    /// `yarn.lock`, classic and berry
    YarnLock,
    /// `bun.lock`
    BunLock,
    /// `Cargo.lock`
    CargoLock,
    /// `go.sum`
    GoSum,
    /// `go.mod`
    GoMod,
    /// `pom.xml`
    Pom,
    /// `gradle.lockfile`
    GradleLock,
    /// `gradle-wrapper.properties`
    GradleWrapper,
    /// `Dockerfile`, `Containerfile`
    Dockerfile,
    /// `compose.yaml`
    Compose,
    /// `.gitlab-ci.yml`
    GitlabCi,
    /// `Chart.yaml`, `Chart.lock`
    HelmChart,
    /// `values.yaml`
    HelmValues,
    /// `.terraform.lock.hcl`
    TerraformLock,
    /// `requirements.yml` of Ansible
    AnsibleRequirements,
    /// `Gemfile.lock`
    GemfileLock,
    /// `composer.lock`
    ComposerLock,
    /// `packages.lock.json` of NuGet
    NugetLock,
    /// `.gitmodules`
    Gitmodules,
    /// `cofferdam.want`
    Want,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requirements => "requirements.txt",
            Self::UvLock => "uv.lock",
            Self::PoetryLock => "poetry.lock",
            Self::PdmLock => "pdm.lock",
            Self::PipfileLock => "Pipfile.lock",
            Self::Pylock => "pylock.toml",
            Self::NpmLock => "package-lock.json",
            Self::PnpmLock => "pnpm-lock.yaml",
            Self::YarnLock => "yarn.lock",
            Self::BunLock => "bun.lock",
            Self::CargoLock => "Cargo.lock",
            Self::GoSum => "go.sum",
            Self::GoMod => "go.mod",
            Self::Pom => "pom.xml",
            Self::GradleLock => "gradle.lockfile",
            Self::GradleWrapper => "gradle-wrapper.properties",
            Self::Dockerfile => "Dockerfile",
            Self::Compose => "compose.yaml",
            Self::GitlabCi => ".gitlab-ci.yml",
            Self::HelmChart => "Chart.yaml",
            Self::HelmValues => "values.yaml",
            Self::TerraformLock => ".terraform.lock.hcl",
            Self::AnsibleRequirements => "requirements.yml",
            Self::GemfileLock => "Gemfile.lock",
            Self::ComposerLock => "composer.lock",
            Self::NugetLock => "packages.lock.json",
            Self::Gitmodules => ".gitmodules",
            Self::Want => "cofferdam.want",
        })
    }
}

/// What a file is, by its name; none when the name says nothing.
#[must_use]
pub fn kind_of(path: &str) -> Option<Kind> {
    let mut segments = path.rsplit(['/', '\\']);
    let name = segments.next()?;
    let folder = segments.next().unwrap_or_default();
    let kind = match name {
        "uv.lock" => Kind::UvLock,
        "poetry.lock" => Kind::PoetryLock,
        "pdm.lock" => Kind::PdmLock,
        "Pipfile.lock" => Kind::PipfileLock,
        "package-lock.json" | "npm-shrinkwrap.json" => Kind::NpmLock,
        "pnpm-lock.yaml" => Kind::PnpmLock,
        "yarn.lock" => Kind::YarnLock,
        "bun.lock" => Kind::BunLock,
        "Cargo.lock" => Kind::CargoLock,
        "go.sum" | "go.work.sum" => Kind::GoSum,
        "go.mod" => Kind::GoMod,
        "pom.xml" => Kind::Pom,
        "gradle.lockfile" | "buildscript-gradle.lockfile" | "settings-gradle.lockfile" => Kind::GradleLock,
        "gradle-wrapper.properties" => Kind::GradleWrapper,
        ".gitlab-ci.yml" => Kind::GitlabCi,
        // Helm 2 kept the dependencies of charts in `requirements.yaml`; Ansible's file ends in `.yml`.
        "Chart.yaml" | "Chart.lock" | "requirements.lock" => Kind::HelmChart,
        "values.yaml" => Kind::HelmValues,
        ".terraform.lock.hcl" => Kind::TerraformLock,
        "requirements.yml" | "requirements.yaml" => Kind::AnsibleRequirements,
        "Gemfile.lock" | "gems.locked" => Kind::GemfileLock,
        "composer.lock" => Kind::ComposerLock,
        "packages.lock.json" => Kind::NugetLock,
        ".gitmodules" => Kind::Gitmodules,
        "cofferdam.want" => Kind::Want,
        _ => return by_pattern(name, folder),
    };
    Some(kind)
}

fn by_pattern(name: &str, folder: &str) -> Option<Kind> {
    let lower = name.to_ascii_lowercase();
    let (stem, ending) = lower.rsplit_once('.').unwrap_or((&lower, ""));
    let is_image_file = |text: &str| matches!(text, "dockerfile" | "containerfile");
    if is_image_file(ending) || lower.split('.').next().is_some_and(is_image_file) {
        return Some(Kind::Dockerfile);
    }
    match ending {
        // `constraints.txt` narrows versions and asks for nothing.
        "txt" if stem.contains("requirements") || folder == "requirements" => Some(Kind::Requirements),
        "toml" if stem == "pylock" || stem.starts_with("pylock.") => Some(Kind::Pylock),
        "lockfile" if folder == "dependency-locks" => Some(Kind::GradleLock),
        "yml" | "yaml" => {
            let first = stem.split(['.', '-']).next().unwrap_or_default();
            let is_compose = stem.starts_with("docker-compose") || first == "compose";
            if is_compose {
                Some(Kind::Compose)
            } else if stem.ends_with(".gitlab-ci") {
                Some(Kind::GitlabCi)
            } else {
                None
            }
        }
        _ => None,
    }
}

/// What a file is whose name says nothing, by how it begins.
pub(crate) fn by_content(path: &str, text: &str) -> Option<Kind> {
    let first = |n: usize| text.lines().map(str::trim).filter(|l| !l.is_empty()).take(n);
    if first(3).any(|line| line == "# yarn lockfile v1") {
        return Some(Kind::YarnLock);
    }
    let by_tool = |line: &str| line.starts_with('#') && line.contains("autogenerated by");
    let ends_in_txt = path.to_ascii_lowercase().ends_with(".txt");
    if ends_in_txt && (first(3).any(by_tool) || first(200).any(|line| line.contains("--hash=sha256:"))) {
        return Some(Kind::Requirements);
    }
    let mut instructions = first(50).filter(|line| !line.starts_with('#') && !line.starts_with("ARG "));
    if instructions.next().is_some_and(|line| line.starts_with("FROM ")) {
        return Some(Kind::Dockerfile);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_enough_for_most_files() {
        for (path, kind) in [
            ("a/requirements-dev.txt", Some(Kind::Requirements)),
            ("dev-requirements.txt", Some(Kind::Requirements)),
            ("requirements/base.txt", Some(Kind::Requirements)),
            ("constraints.txt", None),
            ("requirements.in", None),
            ("notes.txt", None),
            ("pylock.spam.toml", Some(Kind::Pylock)),
            ("Dockerfile", Some(Kind::Dockerfile)),
            ("Dockerfile.dev", Some(Kind::Dockerfile)),
            ("web.Dockerfile", Some(Kind::Dockerfile)),
            ("dockerfile-notes.md", None),
            ("docker-compose.override.yml", Some(Kind::Compose)),
            ("compose.prod.yaml", Some(Kind::Compose)),
            ("composed.yaml", None),
            ("ci/build.gitlab-ci.yml", Some(Kind::GitlabCi)),
            ("bun.lockb", None),
            ("gradle/dependency-locks/main.lockfile", Some(Kind::GradleLock)),
            ("", None),
        ] {
            assert_eq!(kind_of(path), kind, "{path}");
        }
    }

    #[test]
    fn a_few_files_are_known_by_their_first_lines() {
        assert_eq!(by_content("x", "\n# yarn lockfile v1\n"), Some(Kind::YarnLock));
        let compiled = "# This file was autogenerated by a tool\nx==1\n";
        assert_eq!(by_content("deps.txt", compiled), Some(Kind::Requirements));
        assert_eq!(by_content("deps.md", compiled), None);
        assert_eq!(by_content("build", "# x\nARG A=1\nFROM a:1\n"), Some(Kind::Dockerfile));
        assert_eq!(by_content("x.txt", "FROMAGE\n"), None);
    }
}

//! Python: pip, pip-tools, uv, Poetry, PDM and the standard lock file.

use crate::check;

#[test]
fn requirements_have_ranges_digests_addresses_and_other_files() {
    check(
        "pip/requirements.txt",
        &[
            "pypi flask (>=3,<4) if python_version >= \"3.9\"",
            "pypi numpy 1.26.4 sha256:aa sha256:bb",
            "pypi requests *",
            "pypi same 1.0",
            "git https://git.example/group/other.git v1.2 for other",
            "git ssh://git@git.example/group/edit.git * for edit-me",
            "url https://files.example/plain.tar.gz *",
            "url https://files.example/tool-1.0-py3-none-any.whl * sha256:cc for tool",
        ],
        &[
            (2, "index https://index.example/simple"),
            (5, "narrows versions"),
            (17, "variable of the environment"),
            (19, "no version"),
        ],
        &["outside.txt", "pip/base/common.txt"],
    );
}

#[test]
fn comments_of_a_compiler_say_who_asked() {
    check(
        "pip-tools/requirements-dev.txt",
        &[
            "pypi click 8.1.7 sha256:aa for -r requirements.in, flask",
            "pypi flask 3.0.0 sha256:bb for -r requirements.in if sys_platform == 'linux'",
            "pypi markupsafe 2.1.3 for jinja2, werkzeug",
        ],
        &[],
        &[],
    );
}

#[test]
fn uv_tells_extras_and_tools_from_what_is_shipped() {
    check(
        "uv/uv.lock",
        &[
            "pypi anyio 4.3.0 sha256:aa sha256:bb for app",
            "pypi idna 3.6 sha256:cc for anyio, pytest",
            "pypi pluggy 1.4.0 for pytest dev",
            "pypi pytest 8.0.0 for app dev",
            "pypi torch 2.2.0+cpu sha256:dd at https://torch.example/whl/cpu for app",
            "pypi uvloop 0.19.0 for app if sys_platform == 'linux' optional",
            "git https://git.example/g/r.git 0123456789012345678901234567890123456789 for from-git",
            "url https://files.example/from-url.tar.gz * sha256:aa for from-url",
        ],
        &[(58, "2 registries")],
        &[],
    );
}

#[test]
fn poetry_groups_and_sources_are_told_apart() {
    check(
        "poetry/poetry.lock",
        &[
            "pypi attrs 23.1.0 sha256:aa for Pytest",
            "pypi elsewhere 1.0 at https://index.example/simple",
            "pypi old 1.0 sha256:bb dev optional",
            "pypi pytest 8.0.0 if sys_platform == \"linux\" dev",
            "git https://git.example/g/r.git 0123456789012345678901234567890123456789 for from-git",
        ],
        &[],
        &[],
    );
}

#[test]
fn what_pipenv_could_not_lock_is_listed_without_a_version() {
    check(
        "pipenv/Pipfile.lock",
        &[
            "pypi attrs 26.1.0 sha256:c6 sha256:d0 at https://other.example/simple if python_version >= '3.9' dev",
            "pypi certifi 2026.10.19.post1 sha256:13 if python_version >= '3.7'",
            "pypi click * if sys_platform == 'win32'",
            "pypi idna 3.20 sha256:a7 sha256:ab if python_version >= '3.9'",
            "pypi requests 2.31.0 sha256:58 sha256:94 if python_version >= '3.7'",
            "git https://git.example/g/r.git 0123456789012345678901234567890123456789 for from-git",
            "url https://files.example/from-url.tar.gz * sha256:aa for from-url",
        ],
        &[(69, "2 registries")],
        &[],
    );
}

#[test]
fn pdm_groups_and_sources_are_told_apart() {
    check(
        "pdm/pdm.lock",
        &[
            "pypi anyio 4.3.0 sha256:aa sha256:bb",
            "pypi idna 3.6 for anyio if python_version >= \"3.8\"",
            "pypi pytest 8.0.0 dev",
            "git https://git.example/g/tool.git 0123456789012345678901234567890123456789 for tool",
        ],
        &[],
        &[],
    );
}

#[test]
fn the_standard_lock_file_has_packages_archives_and_repositories() {
    check(
        "pylock/pylock.toml",
        &[
            "pypi attrs 25.1.0 sha256:aa for cattrs",
            "pypi cattrs 24.1.2 sha256:bb if 'dev' in dependency_groups",
            "git https://git.example/tool.git 0123456789012345678901234567890123456789 for tool",
            "url https://files.example/archived.tar.gz * sha256:cc for archived",
        ],
        &[],
        &[],
    );
}

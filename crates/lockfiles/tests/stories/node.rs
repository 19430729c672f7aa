//! JavaScript: npm, pnpm, Yarn and Bun.

use crate::check;

#[test]
fn a_flat_package_lock_finds_askers_as_node_does() {
    check(
        "npm-3/package-lock.json",
        &[
            "npm @s/b 2.0.0 sha512:bb at https://private.example/npm for app",
            "npm a 1.0.0 sha512:aa for app",
            "npm c 1.5.0 for a on macos-aarch64, macos-x86_64 optional",
            "npm c 2.0.0 for @s/b",
            "npm real 3.0.0",
            "npm t 1.0.0 for app dev",
            "git ssh://git@git.example/g/g.git 0123456789012345678901234567890123456789 for g",
            "url https://files.example/u.tgz?token=*** * sha512:aa for u",
        ],
        &[(13, "2 registries")],
        &[],
    );
}

#[test]
fn a_nested_package_lock_is_walked_and_its_aliases_are_named() {
    check(
        "npm-1/npm-shrinkwrap.json",
        &[
            "npm a 1.0.0 sha1:11",
            "npm b 1.1.0 for a dev",
            "npm b 2.0.0 for a optional",
            "npm real 3.0.0",
            "git https://github.com/group/g.git 0123456789012345678901234567890123456789 for g",
        ],
        &[],
        &[],
    );
}

#[test]
fn pnpm_9_has_its_graph_in_snapshots() {
    check(
        "pnpm-9/pnpm-lock.yaml",
        &[
            "npm @esb/linux-x64 0.20.0 sha512:aa for tool on linux-x86_64 dev",
            "npm host 5.0.0 sha512:aa for plugin",
            "npm plugin 2.1.0 sha512:bb",
            "npm tool 1.0.0 sha512:aa dev",
            "git https://git.example/r.git abc for r",
            "url https://codeload.example/x/g/tar.gz/0123 * for g",
        ],
        &[],
        &[],
    );
}

#[test]
fn pnpm_6_has_peers_in_brackets() {
    check("pnpm-6/pnpm-lock.yaml", &["npm @s/c 3.0.0 sha512:bb for a", "npm a 1.0.0 sha512:aa"], &[], &[]);
}

#[test]
fn pnpm_5_has_slashes_and_hosts_in_its_keys() {
    check(
        "pnpm-5/pnpm-lock.yaml",
        &["npm @s/c 3.0.0 sha512:bb for a dev optional", "npm a 1.0.0 sha512:aa", "npm d 4.0.0 sha512:bb"],
        &[],
        &[],
    );
}

#[test]
fn yarn_1_has_a_format_of_its_own() {
    check(
        "yarn-1/yarn.lock",
        &[
            "npm @s/a 1.2.0 sha1:11 sha512:aa",
            "npm b 2.1.0 sha1:11 for @s/a",
            "npm ms 2.1.3 sha1:57 sha512:e8 for local",
            "npm real 3.0.1 sha1:11",
            "git https://git.example/g.git 0123456789012345678901234567890123456789 for g",
        ],
        &[],
        &[],
    );
}

#[test]
fn later_yarns_have_yaml_and_checksums_of_their_own_archives() {
    check(
        "yarn-berry/yarn.lock",
        &[
            "npm @s/a 1.2.0 for app",
            "npm b 2.1.0 for @s/a on linux-musl-x86_64",
            "git https://git.example/g.git 0123456789012345678901234567890123456789 for g",
        ],
        &[(12, "Yarn's own archives")],
        &[],
    );
}

#[test]
fn bun_has_lists_with_trailing_commas() {
    check(
        "bun/bun.lock",
        &[
            "npm a 1.0.0 sha512:aa",
            "npm c 1.0.0 sha512:bb for t dev",
            "npm c 2.0.0 sha512:bb for a on linux-x86_64",
            "npm t 1.0.0 sha512:bb dev",
            "git https://github.com/group/g.git 0123456 for g",
        ],
        &[],
        &[],
    );
}

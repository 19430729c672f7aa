//! Rust, Go, Java, Ruby, PHP and .NET.

use crate::check;

#[test]
fn cargo_tells_versions_of_one_name_apart() {
    check(
        "cargo/Cargo.lock",
        &[
            "cargo a 1.0.0 sha256:aa for app",
            "cargo b 1.0.0 sha256:bb for a",
            "cargo b 2.0.0 sha256:cc for app",
            "cargo p 1.0.0 sha256:dd at https://private.example/index",
            "git https://git.example/g.git 0123456789012345678901234567890123456789 for g",
        ],
        &[(32, "2 registries")],
        &[],
    );
}

#[test]
fn the_first_cargo_lock_had_its_checksums_elsewhere() {
    check("cargo-1/Cargo.lock", &["cargo a 1.0.0 sha256:aa for app"], &[], &[]);
}

#[test]
fn go_sum_keeps_the_hash_of_a_go_mod_apart() {
    check(
        "go/go.sum",
        &[
            "golang mod.example/B/v2 v2.1.0 go.mod:h1:zM",
            "golang mod.example/a v1.0.0 go.mod:h1:u7 h1:qq",
            "golang mod.example/c v0.0.0-20200101000000-0123456789ab h1:zM",
        ],
        &[],
        &[],
    );
}

#[test]
fn go_mod_is_read_with_its_replacements() {
    check(
        "go/go.mod",
        &[
            "golang fork.example/c v1.3.1 for mod.example/c",
            "golang mod.example/a v1.0.0",
            "golang mod.example/d v1.4.0",
        ],
        &[(4, "toolchain go1.22.3")],
        &[],
    );
}

#[test]
fn a_pom_lists_what_it_literally_declares() {
    check(
        "maven/pom.xml",
        &[
            "maven com.example:bom 3 for dependencyManagement",
            "maven com.example:helper 1 for compiler",
            "maven com.example:lib 1.5",
            "maven com.example:managed 2.0",
            "maven com.example:parent 7 for parent",
            "maven com.example:test ([1,2)) dev optional",
            "maven com.example:unmanaged *",
            "maven org.apache.maven.plugins:compiler 3.0 for build",
        ],
        &[(1, "`mvn`, which decides"), (28, "com.example:unmanaged"), (33, "`${loop}`")],
        &["maven/core/pom.xml"],
    );
}

#[test]
fn gradle_tells_what_only_tests_need() {
    check(
        "gradle/gradle.lockfile",
        &["maven com.example:lib 1.0", "maven com.example:test 2.0 dev"],
        &[],
        &[],
    );
}

#[test]
fn the_wrapper_needs_one_file() {
    check(
        "gradle/wrapper/gradle-wrapper.properties",
        &["url https://files.example/gradle-8.5-bin.zip * sha256:aa for gradle"],
        &[],
        &[],
    );
}

#[test]
fn gems_have_platforms_and_a_bundler() {
    check(
        "gem/Gemfile.lock",
        &[
            "git https://git.example/g.git 0123456789012345678901234567890123456789 for g",
            "gem bundler 2.5.3 for BUNDLED WITH",
            "gem nokogiri 1.15.0 sha256:aa on linux-x86_64, macos-aarch64",
            "gem racc 1.7.1 sha256:bb for nokogiri",
        ],
        &[],
        &[],
    );
}

#[test]
fn composer_archives_lie_at_forges() {
    check(
        "composer/composer.lock",
        &[
            "git https://git.example/b.git def for vendor/b",
            "composer vendor/a v1.0.0 sha1:11 at https://files.example/a.zip?access_token=***",
            "composer vendor/t 1.0.0 at https://files.example/t.zip dev",
        ],
        &[],
        &[],
    );
}

#[test]
fn nugets_hash_is_no_digest_of_the_file() {
    check(
        "nuget/packages.lock.json",
        &["nuget A.Lib 1.0.0 nuget:aa", "nuget B.Lib 2.0.0 nuget:bb for A.Lib"],
        &[],
        &[],
    );
}

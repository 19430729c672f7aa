//! pip, twine and uv.

use std::fs;

use crate::common::{
    Site, packages,
    tools::{Person, have, named},
};

/// Two distributions: `ferry` needs `oars`.
fn distributions(author: &Person) -> std::path::PathBuf {
    let (oars, oars_bytes) = packages::wheel("oars", "1.0", &[]);
    let (ferry, ferry_bytes) = packages::wheel("ferry", "2.1", &["oars>=1"]);
    let (source, source_bytes) = packages::sdist("ferry", "2.1");
    author.folder("dist", &[(&oars, &oars_bytes), (&ferry, &ferry_bytes), (&source, &source_bytes)])
}

fn publish_both(site: &Site, token: &str) {
    for (file, bytes) in [packages::wheel("oars", "1.0", &[]), packages::wheel("ferry", "2.1", &["oars>=1"])]
    {
        let answer = packages::upload_distribution(site, token, "pypi-local", (&file, &bytes), &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn twine_uploads_a_wheel_and_its_source_and_pip_installs_them() {
    let Some(twine) = named("twine", "COFFERDAM_TEST_TWINE") else { return };
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    // Set up as `cofferdam env` says, and in no other way.
    let mut author = Person::of(&site, &token);
    let dist = distributions(&author);
    let files: Vec<String> = ["oars-1.0-py3-none-any.whl", "ferry-2.1-py3-none-any.whl", "ferry-2.1.tar.gz"]
        .iter()
        .map(|f| dist.join(f).display().to_string())
        .collect();
    let mut arguments = vec!["upload", "--disable-progress-bar"];
    arguments.extend(files.iter().map(String::as_str));
    author.does(&dist, &twine, &arguments);
    // Once more is no mistake: the bytes are the same.
    author.does(&dist, &twine, &arguments);

    let page = site.get("/r/pypi/simple/ferry/").text();
    assert!(page.contains("ferry-2.1-py3-none-any.whl") && page.contains("ferry-2.1.tar.gz"), "{page}");
    author.set("TWINE_PASSWORD", "cfd_nobody");
    let refused = author.fails(&dist, &twine, &arguments);
    assert!(refused.contains("401"), "{refused}");
}

#[test]
fn who_may_not_upload_or_uploads_to_a_group_reads_in_twine_what_is_missing() {
    let Some(twine) = named("twine", "COFFERDAM_TEST_TWINE") else { return };
    let site = Site::isolated("harbour");
    let says = |token: &str, repository: &str, expected: &[&str]| {
        let mut author = Person::of(&site, token);
        let dist = distributions(&author);
        author.set("TWINE_REPOSITORY_URL", &format!("{}/r/{repository}/legacy/", site.url));
        let file = dist.join("oars-1.0-py3-none-any.whl").display().to_string();
        let refused = author.fails(&dist, &twine, &["upload", "--disable-progress-bar", &file]);
        // Twine breaks lines where its window ends.
        let refused = refused.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in expected {
            assert!(refused.contains(word), "{word}: {refused}");
        }
    };
    says(
        &site.person("olga", "officer"),
        "pypi-local",
        &["403", "olga may not do this", "the role developer"],
    );
    let token = site.person("dev", "developer");
    says(&token, "pypi", &["403", "it is a group", "publish to `pypi-local`"]);
    says(&token, "pypi-mirror", &["403", "publish to `pypi-local`"]);
}

#[test]
fn pip_installs_from_the_group_with_dependencies() {
    if !have("pip") {
        return;
    }
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    publish_both(&site, &token);
    let user = Person::of(&site, &token);
    let out = user.folder("out", &[]);
    user.does(&out, "python3", &["-m", "pip", "install", "--no-compile", "--target", "site", "ferry"]);
    assert_eq!(fs::read_to_string(out.join("site/oars/__init__.py")).unwrap(), "VERSION = \"1.0\"\n");
    user.does(&out, "python3", &["-m", "pip", "download", "--no-deps", "--dest", "wheels", "ferry==2.1"]);
    let (name, bytes) = packages::wheel("ferry", "2.1", &["oars>=1"]);
    assert_eq!(fs::read(out.join("wheels").join(name)).unwrap(), bytes, "the bytes are those of the author");
    let nobody = user.fails(&out, "python3", &["-m", "pip", "install", "--target", "site", "submarine"]);
    assert!(nobody.contains("No matching distribution found for submarine"), "{nobody}");
}

#[test]
fn pip_with_a_wrong_token_is_told_so() {
    if !have("pip") {
        return;
    }
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    publish_both(&site, &token);
    let mut user = Person::of(&site, &token);
    user.set("PIP_INDEX_URL", &format!("http://__token__:cfd_wrong@{}/r/pypi/simple/", site.address()));
    let out = user.folder("out", &[]);
    // With `no-input`, pip tells why an index could not be read only when it is asked to be talkative.
    let refused = user.fails(&out, "python3", &["-m", "pip", "-vv", "install", "--target", "site", "ferry"]);
    assert!(refused.contains("401") || refused.contains("credentials"), "{refused}");
    assert!(!out.join("site/ferry").exists());
}

#[test]
fn uv_installs_from_the_group() {
    let Some(uv) = named("uv", "COFFERDAM_TEST_UV") else { return };
    if !have("python3") {
        return;
    }
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    publish_both(&site, &token);
    let user = Person::of(&site, &token);
    let out = user.folder("out", &[]);
    let target = out.join("site").display().to_string();
    user.does(&out, uv, &["pip", "install", "--no-cache", "--target", &target, "ferry"]);
    assert!(out.join("site/ferry/__init__.py").exists() && out.join("site/oars/__init__.py").exists());
}

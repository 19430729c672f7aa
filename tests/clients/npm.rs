//! npm.

use std::fs;

use serde_json::json;

use crate::common::{
    Site,
    tools::{Person, have},
};

#[test]
fn npm_publishes_installs_views_tags_and_searches() {
    if !have("npm") {
        return;
    }
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    let author = Person::of(&site, &token);
    let hosted = format!("{}/r/npm-local/", site.url);
    let place = hosted.strip_prefix("http:").unwrap();
    author.folder(".", &[(".npmrc", format!("registry={hosted}\n{place}:_authToken={token}\n").as_bytes())]);
    let mut author = author;
    author.set("npm_config_registry", &hosted);
    for (version, tag) in [("1.0.0", "latest"), ("2.0.0-rc.1", "next")] {
        let manifest =
            json!({ "name": "@harbour/winch", "version": version, "main": "index.js" }).to_string();
        let code = format!("module.exports = '{version}'\n");
        let source =
            author.folder("winch", &[("package.json", manifest.as_bytes()), ("index.js", code.as_bytes())]);
        author.does(&source, "npm", &["publish", "--tag", tag]);
    }
    let source = author.home().join("winch");
    let again = author.fails(&source, "npm", &["publish", "--tag", "next"]);
    assert!(again.contains("previously published versions"), "{again}");
    author.does(&source, "npm", &["dist-tag", "add", "@harbour/winch@2.0.0-rc.1", "beta"]);

    let user = Person::of(&site, &token);
    let app = user.folder("app", &[("package.json", br#"{"name":"app","version":"1.0.0","private":true}"#)]);
    user.does(&app, "npm", &["install", "@harbour/winch"]);
    assert_eq!(
        fs::read_to_string(app.join("node_modules/@harbour/winch/index.js")).unwrap(),
        "module.exports = '1.0.0'\n"
    );
    let lock = fs::read_to_string(app.join("package-lock.json")).unwrap();
    assert!(lock.contains("sha512-"), "{lock}");
    assert_eq!(user.does(&app, "npm", &["view", "@harbour/winch@next", "version"]).trim(), "2.0.0-rc.1");
    let tags = user.does(&app, "npm", &["dist-tag", "ls", "@harbour/winch"]);
    assert!(tags.contains("beta: 2.0.0-rc.1") && tags.contains("latest: 1.0.0"), "{tags}");
    assert!(user.does(&app, "npm", &["search", "winch", "--parseable"]).contains("@harbour/winch"));
    let nobody = user.fails(&app, "npm", &["install", "submarine"]);
    assert!(nobody.contains("E404"), "{nobody}");
}

#[test]
fn npm_without_a_good_token_may_not_publish() {
    if !have("npm") {
        return;
    }
    let site = Site::isolated("harbour");
    let reader = site.person("ada", "auditor");
    let hosted = format!("{}/r/npm-local/", site.url);
    for (token, status) in [("cfd_nobody", "401"), (reader.as_str(), "403")] {
        let mut author = Person::of(&site, &reader);
        let place = hosted.strip_prefix("http:").unwrap();
        let text = format!("registry={hosted}\n{place}:_authToken={token}\n");
        author.folder(".", &[(".npmrc", text.as_bytes())]);
        author.set("npm_config_registry", &hosted);
        let source = author.folder("winch", &[("package.json", br#"{"name":"winch","version":"1.0.0"}"#)]);
        let refused = author.fails(&source, "npm", &["publish"]);
        assert!(refused.contains(status), "{refused}");
    }
    assert_eq!(site.get("/r/npm/winch").status, 404);
}

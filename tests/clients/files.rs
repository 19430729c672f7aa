//! Plain files by PUT and GET, and tokens in the path.

use serde_json::json;

use crate::common::{Site, packages};

#[test]
fn a_file_is_stored_listed_read_and_removed() {
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    let put = site.send(&token, "PUT", "/r/generic-local/charts/north/sound.txt", b"deep water\n");
    assert_eq!(put.status, 201, "{}", put.text());
    assert_eq!(put.json()["size"], 11);
    let again = site.send(&token, "PUT", "/r/generic-local/charts/north/sound.txt", b"deep water\n");
    assert_eq!(again.status, 200, "the same bytes again change nothing");
    assert_eq!(site.get("/r/generic/charts/north/sound.txt").body, b"deep water\n");
    let list = site.get("/r/generic/charts/north/").text();
    assert!(list.contains("sound.txt"), "{list}");
    assert_eq!(site.send(&token, "DELETE", "/r/generic-local/charts/north/sound.txt", b"").status, 204);
    assert_eq!(site.get("/r/generic/charts/north/sound.txt").status, 404);
}

#[test]
fn a_token_in_the_path_says_who_is_asking_and_stays_in_addresses() {
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    let who = site.get(&format!("/t/{token}/api/v1/whoami"));
    assert!(who.text().contains("dev"), "{}", who.text());
    let put = site.ask("PUT", &format!("/t/{token}/r/generic-local/a/b.txt"), &[], b"by path");
    assert_eq!(put.status, 201, "{}", put.text());
    let (file, bytes) = packages::wheel("oars", "1.0", &[]);
    assert_eq!(packages::upload_distribution(&site, &token, "pypi-local", (&file, &bytes), &[]).status, 200);
    let accept = [("accept", "application/vnd.pypi.simple.v1+json")];
    let page = site.ask("GET", &format!("/t/{token}/r/pypi/simple/oars/"), &accept, b"");
    assert_eq!(page.status, 200, "{}", page.text());
    let config = site.get(&format!("/t/{token}/r/cargo/config.json")).json();
    let dl = config["dl"].as_str().unwrap();
    assert!(dl.contains(&format!("/t/{token}/r/cargo")), "{dl}");
    assert_eq!(site.get("/t/cfd_wrong/r/generic/a/b.txt").status, 401);
}

#[test]
fn a_site_that_is_not_open_answers_nobody_without_a_token() {
    let mut site = Site::init(tempfile::tempdir().unwrap(), "harbour", "isolated");
    let config = site.home().join("cofferdam.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("anonymous_read = true", "anonymous_read = false")).unwrap();
    site.serve();
    let token = site.person("dev", "developer");
    assert_eq!(site.send(&token, "PUT", "/r/generic-local/a/b.txt", b"x").status, 201);
    for path in
        ["/r/generic/a/b.txt", "/r/pypi/simple/", "/r/npm/x", "/r/cargo/config.json", "/api/v1/repositories"]
    {
        assert_eq!(site.get(path).status, 401, "{path}");
    }
    assert_eq!(site.send(&token, "GET", "/r/generic/a/b.txt", b"").body, b"x");
    let health = site.get("/healthz");
    assert_eq!(health.status, 200, "{}", json!(health.text()));
}

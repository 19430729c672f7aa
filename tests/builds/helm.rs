//! Helm, with a repository of one chart that another depends on.

use std::{fs, process::Command};

use crate::{
    Build,
    common::tools::have_sandbox,
    known,
    world::{NONE, World},
};

/// `helm --version` is no command of Helm's.
pub fn have_helm() -> bool {
    let works = Command::new("helm").arg("version").output().is_ok_and(|done| done.status.success());
    if !works {
        println!("skipped: helm: there is no working helm on the PATH");
    }
    works
}

const CHART: &str = "apiVersion: v2\nname: quay\nversion: 1.0.0\n";
const TEMPLATE: &str =
    "kind: ConfigMap\napiVersion: v1\nmetadata: {name: quay}\ndata: {sails: \"{{ .Values.sails }}\"}\n";

/// A repository, as `helm repo index` makes it.
pub fn repository(base: &str) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("quay");
    fs::create_dir_all(root.join("templates")).unwrap();
    for (name, text) in
        [("Chart.yaml", CHART), ("values.yaml", "sails: two\n"), ("templates/it.yaml", TEMPLATE)]
    {
        fs::write(root.join(name), text).unwrap();
    }
    let helm = |words: &[&str]| {
        let made = Command::new("helm").args(words).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    };
    helm(&["package", "quay"]);
    helm(&["repo", "index", "--url", base, "."]);
    ["index.yaml", "quay-1.0.0.tgz"]
        .map(|name| (format!("{base}/{name}"), fs::read(folder.path().join(name)).unwrap()))
        .into()
}

#[test]
fn a_chart_s_dependency_comes_from_the_repository_that_it_names() {
    if !have_helm() || !have_sandbox() {
        return;
    }
    let world = World::new(repository("https://charts.example/stable"));
    let pair = world.pair(NONE);
    let chart = "apiVersion: v2\nname: harbour\nversion: 0.1.0\ndependencies:\n- name: quay\n  version: 1.0.0\n  \
                 repository: https://charts.example/stable\n";
    let build = Build {
        files: &[("Chart.yaml", chart.as_bytes())],
        command: "rm -rf charts Chart.lock; helm dependency update .; helm template . > out; grep -q two out; rm Chart.lock charts/*",
        person: &[],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), ["pkg:helm/quay@1.0.0"]);
    let collection = pair.outside.by(&pair.officers.0, &["collect", "boat"]).ok();
    let chart = collection["items"].as_array().unwrap().iter().find(|item| item["known_as"].is_string());
    assert_eq!(chart.unwrap()["mentioned"], serde_json::json!(["Chart.yaml:5"]), "{collection:#}");
}

#[test]
fn a_chart_is_pulled_from_a_repository_that_the_person_has_added() {
    if !have_helm() || !have_sandbox() {
        return;
    }
    let world = World::new(repository("http://charts.example/stable"));
    let pair = world.pair(NONE);
    // What `helm repo add --ca-file` writes.
    let settings = tempfile::tempdir().unwrap();
    let file = settings.path().join("repositories.yaml");
    let text = "apiVersion: \"\"\ngenerated: \"0001-01-01T00:00:00Z\"\nrepositories:\n- caFile: /home/ann/ours.pem\n  certFile: \"\"\n  \
                insecure_skip_tls_verify: false\n  keyFile: \"\"\n  name: harbour\n  pass_credentials_all: false\n  password: \"\"\n  \
                url: http://charts.example/stable\n  username: \"\"\n";
    fs::write(&file, text).unwrap();
    let build = Build {
        files: &[("values.yaml", b"sails: three\n")],
        command: "rm -f out; helm repo update; helm template harbour/quay --version 1.0.0 -f values.yaml > out; grep -q three out",
        person: &[("HELM_REPOSITORY_CONFIG", file.to_str().unwrap())],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), ["pkg:helm/quay@1.0.0"]);
}

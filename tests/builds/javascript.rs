//! npm, pnpm, Yarn and Bun, and a project that fetches by other ways besides.

use serde_json::json;

use crate::{
    Build, addresses,
    common::{
        packages,
        tools::{have, have_sandbox, named},
        upstream::{pair_with, upstream},
    },
    path_with,
    world::World,
};

const MANIFEST: &[u8] =
    br#"{"name":"boat","version":"1.0.0","private":true,"dependencies":{"ferry":"^1.0.0"}}"#;
const USE: &str = "node -e 'if (require(\"ferry\") !== \"ferry 1.0.0\") process.exit(1)'";

#[test]
fn npm_installs_what_a_lock_file_names() {
    if !have("npm") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let locked = |name: &str, needs: serde_json::Value| {
        let tarball = packages::npm_package(name, "1.0.0", &needs);
        let document = packages::npm_document(name, "1.0.0", &needs, &tarball);
        json!({ "version": "1.0.0", "integrity": document["versions"]["1.0.0"]["dist"]["integrity"], "dependencies": needs })
    };
    let lock = json!({
        "name": "boat", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
        "packages": {
            "": { "name": "boat", "version": "1.0.0", "dependencies": { "ferry": "^1.0.0" } },
            "node_modules/ferry": locked("ferry", json!({ "oars": "^1.0.0" })),
            "node_modules/oars": locked("oars", json!({})),
        },
    })
    .to_string();
    let build = Build {
        files: &[("package.json", MANIFEST), ("package-lock.json", lock.as_bytes())],
        command: &format!("npm ci; {USE}"),
        person: &[],
    };
    let recorded = build.crosses(&pair, upstream);
    assert_eq!((&recorded["releases"], addresses(&recorded).len()), (&2.into(), 0), "{recorded}");
}

#[test]
fn pnpm_installs_a_project() {
    let Some(pnpm) = named("pnpm", "COFFERDAM_TEST_PNPM") else { return };
    if !have("node") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let build = Build {
        files: &[("package.json", MANIFEST)],
        command: &format!("rm -rf node_modules pnpm-lock.yaml; pnpm install; {USE}; test -s pnpm-lock.yaml"),
        person: &[("PATH", &path_with(&pnpm))],
    };
    let recorded = build.crosses(&pair, upstream);
    assert_eq!((&recorded["releases"], addresses(&recorded).len()), (&2.into(), 0), "{recorded}");
}

#[test]
fn yarn_installs_a_project() {
    if let Some(yarn) = named("yarn", "COFFERDAM_TEST_YARN") {
        yarn_installs(&yarn);
    }
}

#[test]
fn yarn_1_installs_a_project() {
    let Some(yarn) = std::env::var_os("COFFERDAM_TEST_YARN1") else {
        println!("skipped: yarn 1: COFFERDAM_TEST_YARN1 does not name it");
        return;
    };
    yarn_installs(std::path::Path::new(&yarn));
}

/// Of whichever Yarn. Later ones make no `node_modules` by themselves, and pass over what is younger than a day.
fn yarn_installs(yarn: &std::path::Path) {
    if !have("node") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let build = Build {
        files: &[("package.json", MANIFEST), (".yarnrc.yml", b"nodeLinker: node-modules\n")],
        command: &format!(
            "export YARN_NPM_MINIMAL_AGE_GATE=0; rm -rf node_modules yarn.lock; : > yarn.lock; yarn install; {USE}; test -s yarn.lock"
        ),
        person: &[("PATH", &path_with(yarn))],
    };
    let recorded = build.crosses(&pair, upstream);
    assert_eq!((&recorded["releases"], addresses(&recorded).len()), (&2.into(), 0), "{recorded}");
}

#[test]
fn bun_installs_a_project() {
    let Some(bun) = named("bun", "COFFERDAM_TEST_BUN") else { return };
    if !have("node") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let build = Build {
        files: &[("package.json", MANIFEST)],
        command: &format!("rm -rf node_modules bun.lock; bun install; {USE}; test -s bun.lock"),
        person: &[("PATH", &path_with(&bun))],
    };
    let recorded = build.crosses(&pair, upstream);
    assert_eq!((&recorded["releases"], addresses(&recorded).len()), (&2.into(), 0), "{recorded}");
}

/// Downloads a program as many packages do when they are installed.
const INSTALL: &str = "require('http').get('http://tools.example/rig.bin', r => {\n\
     if (r.statusCode !== 200) process.exit(1)\n\
     r.pipe(require('fs').createWriteStream('rig.bin'))\n});\n";

#[test]
fn a_mixed_project_takes_packages_an_install_script_s_download_and_a_makefile_s() {
    if !["npm", "make", "curl"].iter().all(|name| have(name)) || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let token = upstream.person("author", "developer");
    let scripts = json!({ "postinstall": "node install.js" });
    let manifest = json!({ "name": "rig", "version": "1.0.0", "scripts": scripts });
    let tarball =
        packages::tar_gz(&[("package/package.json", &manifest.to_string()), ("package/install.js", INSTALL)]);
    let mut document = packages::npm_document("rig", "1.0.0", &json!({}), &tarball);
    document["versions"]["1.0.0"]["scripts"] = scripts;
    let published = packages::publish_npm(&upstream, &token, "npm-local", "rig", &document);
    assert!(matches!(published.status, 200 | 201), "{}", published.text());

    let world = World::new([
        ("http://tools.example/rig.bin".to_owned(), b"a rig\n".to_vec()),
        ("http://charts.example/north.txt".to_owned(), b"north\n".to_vec()),
    ]);
    let pair = world.pair(&upstream.url);
    let makefile = "all: chart.txt\n\tnpm install --foreground-scripts\n\tgrep -q 'a rig' node_modules/rig/rig.bin\n\
                    chart.txt:\n\tcurl -fsS http://charts.example/north.txt -o chart.txt\n";
    let build = Build {
        files: &[
            (
                "package.json",
                br#"{"name":"boat","version":"1.0.0","private":true,"dependencies":{"ferry":"1","rig":"1"}}"#,
            ),
            ("Makefile", makefile.as_bytes()),
        ],
        command: "rm -rf node_modules package-lock.json chart.txt; make",
        person: &[],
    };
    let recorded = build.crosses(&pair, (upstream, world));
    assert_eq!(addresses(&recorded), ["http://charts.example/north.txt", "http://tools.example/rig.bin"]);
    // Three packages, and two files by their addresses.
    assert_eq!(recorded["releases"], 5, "{recorded}");
}

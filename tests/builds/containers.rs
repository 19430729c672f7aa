//! Images: skopeo gets them in a sandbox, and whoever calls podman there is told so.

use cofferdam_types::Sha256;
use serde_json::json;

use crate::{
    Build,
    common::tools::{have, have_sandbox},
    known,
    world::{NONE, World},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry that wants no token, with one image, and that image's digest.
fn registry(base: &str) -> (Vec<(String, Vec<u8>)>, Sha256) {
    // A tape archive of nothing.
    let layer = vec![0; 10_240];
    let config = json!({ "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", Sha256::of(&layer))] } });
    let config = config.to_string().into_bytes();
    let part = |kind: &str, bytes: &[u8]| {
        json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{}", Sha256::of(bytes)),
            "size": bytes.len() })
    };
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": part("config.v1+json", &config),
        "layers": [part("layer.v1.tar", &layer)] });
    let manifest = manifest.to_string().into_bytes();
    let digest = Sha256::of(&manifest);
    let blob = |bytes: &[u8]| (format!("{base}/v2/boat/blobs/sha256:{}", Sha256::of(bytes)), bytes.to_vec());
    let files = vec![
        (format!("{base}/v2/"), b"{}".to_vec()),
        blob(&layer),
        blob(&config),
        (format!("{base}/v2/boat/manifests/2"), manifest.clone()),
        (format!("{base}/v2/boat/manifests/sha256:{digest}"), manifest),
    ];
    (files, digest)
}

#[test]
fn skopeo_gets_an_image_as_a_file_that_podman_loads_outside_of_the_sandbox() {
    if !have("skopeo") || !have_sandbox() {
        return;
    }
    let (files, digest) = registry("https://reg.example");
    let world = World::new(files);
    let pair = world.pair(NONE);
    let build = Build {
        files: &[("Dockerfile", b"FROM reg.example/boat:2\n")],
        command: "rm -rf image; skopeo --insecure-policy copy docker://reg.example/boat:2 dir:image",
        person: &[],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), [format!("pkg:oci/boat@sha256:{digest}")]);
}

#[test]
fn whoever_runs_podman_in_a_recording_is_told_what_to_use_instead() {
    if !have_sandbox() {
        return;
    }
    let world = World::new(registry("https://reg.example").0);
    let pair = world.pair(NONE);
    let folder = tempfile::tempdir().unwrap();
    // Whether or not it is installed: it ends with an error either way.
    std::fs::write(folder.path().join("Makefile"), "all:\n\tpodman pull reg.example/boat:2\n").unwrap();
    let record =
        ["record", "--name", "boat", "--", "sh", "-ec", "grep -o 'podman.*' Makefile | sh -e", "make"];
    let done = pair.outside.by_in(folder.path(), &pair.officers.0, &record);
    assert_ne!(done.code, 0, "{done:#?}");
    let hint =
        done.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap_or_else(|| panic!("{done:#?}"));
    assert!(
        hint.contains("podman") && hint.contains("skopeo copy") && hint.contains("collect --from"),
        "{hint}"
    );
}

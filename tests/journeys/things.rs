//! Images and repositories that lists name: collected without running anything, answered when the outside is gone, and
//! nothing believed that a registry cannot prove.

use std::{fs, path::Path};

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_testkit::GitBackend;
use cofferdam_types::Sha256;
use serde_json::{Value, json};

use crate::{
    common::{
        Pair, Site,
        tools::{have, have_sandbox},
    },
    registry::{Content, INDEX, MANIFEST, World},
};

/// Which registry speaks no TLS, as podman's and skopeo's users say it.
const PLAIN: &str = "[[registry]]\nlocation = \"reg.example\"\ninsecure = true\n";
const REGISTRY: &str = "/r/web/http/reg.example/v2";

fn home(settings: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join(".config/containers")).unwrap();
    fs::write(home.path().join(".config/containers/registries.conf"), settings).unwrap();
    home
}

fn pair(world: &World) -> Pair {
    let mut pair = Pair::new("");
    pair.outside.restart_with(&[("HTTP_PROXY", &format!("http://{}", world.address))]);
    pair
}

/// A tape archive of nothing is a layer.
fn layer(n: u8) -> Vec<u8> {
    let mut bytes = vec![0; 10_240];
    bytes[9_000] = n;
    bytes
}

/// `reg.example/boat:2` for two processors, signed, and an image of one.
fn fleet() -> (Content, Value) {
    let mut content = Content::default();
    let list: Vec<Value> =
        [("amd64", 1), ("arm64", 2)].map(|(cpu, n)| content.image("boat", "", cpu, &layer(n))).into();
    let index = content.manifest(
        "boat",
        "2",
        INDEX,
        &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": list }),
    );
    let (config, payload) =
        (content.blob("boat", b"{}"), content.blob("boat", b"signed by the harbour master"));
    let signature =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [payload] });
    let tag = format!("{}.sig", index["digest"].as_str().unwrap().replace(':', "-"));
    content.manifest("boat", &tag, MANIFEST, &signature);
    (content, index)
}

fn collect(site: &Site, token: &str, home: &Path, folder: &Path, more: &[&str]) -> crate::common::Output {
    let from = folder.to_str().unwrap();
    let words = [&["collect", "--from", from, "--as", "things"][..], more].concat();
    site.by_with(folder, &[("HOME", home.to_str().unwrap())], token, &words)
}

#[test]
fn an_image_with_its_signature_is_collected_and_pulled_when_the_registry_is_gone() {
    let (content, index) = fleet();
    let world = World::new(content, None);
    let pair = pair(&world);
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let (home, folder) = (home(PLAIN), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("Dockerfile"), "# what we build on\nFROM reg.example/boat:2\nRUN true\n")
        .unwrap();
    let done = collect(outside, officer, home.path(), folder.path(), &["--platform", "linux-x86_64"]).ok();
    assert_eq!((&done["complete"], &done["left"]), (&json!(true), &json!([])), "{done}");
    let asked = world.end();
    let stranger = |line: &&String| line.contains("hush") && !line.contains("//reg.example/v2/boat/");
    assert_eq!(asked.iter().find(stranger), None, "a token goes to the registry that asked for it alone");
    assert!(asked.iter().any(|line| line.contains(" http://store.example/")), "{asked:?}");

    let collection = outside.by(officer, &["collect", "things"]).ok();
    let items = collection["items"].as_array().unwrap();
    for item in items {
        assert_eq!(item["asked_by"], json!(["reg.example/boat:2"]), "{item}");
        assert_eq!(item["mentioned"], json!(["Dockerfile:2"]), "{item}");
    }
    assert!(!collection.to_string().contains("hush"));
    let arm = Sha256::of(&layer(2)).to_hex();
    assert!(
        !items.iter().any(|item| item["address"].as_str().unwrap().contains(&arm)),
        "it was not asked for"
    );

    // Nobody is outside any more, and whoever pulls finds everything in the order in which clients ask.
    let digest = index["digest"].as_str().unwrap();
    let get = |site: &Site, path: &str, accept: &str| site.ask("GET", path, &[("accept", accept)], b"");
    let replays = |site: &Site| {
        let hello = get(site, &format!("{REGISTRY}/"), "*/*");
        assert_eq!(hello.status, 401);
        let wants = hello.header("www-authenticate").to_owned();
        assert!(wants.starts_with("Bearer realm=\"http://auth.example/token\""), "{wants}");
        let query = "scope=repository%3Aboat%3Apull&service=reg.example";
        let token = get(site, &format!("/r/web/http/auth.example/token?{query}"), "*/*");
        assert_eq!((token.status, token.json()["token"].as_str()), (200, Some("not-kept")));
        let list = get(site, &format!("{REGISTRY}/boat/manifests/2"), &format!("{MANIFEST}, {INDEX}"));
        assert_eq!((list.status, list.header("content-type")), (200, INDEX));
        assert_eq!(get(site, &format!("{REGISTRY}/boat/manifests/{digest}"), INDEX).body, list.body);
        let one = list.json()["manifests"][0]["digest"].as_str().unwrap().to_owned();
        let one = get(site, &format!("{REGISTRY}/boat/manifests/{one}"), MANIFEST).json();
        let blob = one["layers"][0]["digest"].as_str().unwrap().to_owned();
        let away = get(site, &format!("{REGISTRY}/boat/blobs/{blob}"), "*/*");
        assert_eq!(away.status, 307);
        let there = away.header("location").replacen("http://", "/r/web/http/", 1);
        assert_eq!(get(site, &there, "*/*").body, layer(1));
        let signature = format!("{REGISTRY}/boat/manifests/{}.sig", digest.replace(':', "-"));
        assert_eq!(get(site, &signature, MANIFEST).status, 200);
        let nothing = format!("{REGISTRY}/boat/manifests/{}.att", digest.replace(':', "-"));
        assert_eq!(get(site, &nothing, MANIFEST).status, 404);
    };
    replays(outside);
    let packed = pair.pack("things", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&packed).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    replays(&pair.inside);

    if !have("skopeo") || !have_sandbox() {
        return;
    }
    let pull = "skopeo --insecure-policy copy --src-tls-verify=false docker://reg.example/boat:2 oci:boat";
    let command = ["inside", "--", "sh", "-ec", pull];
    let built = pair.inside.by_with(
        folder.path(),
        &[("HOME", home.path().to_str().unwrap())],
        &pair.developers.1,
        &command,
    );
    assert_eq!(built.code, 0, "{built:#?}");
    assert!(folder.path().join("boat/index.json").is_file());
}

#[test]
fn a_recorded_pull_with_the_real_client_is_rehearsed_without_the_registry() {
    if !have("skopeo") || !have_sandbox() {
        return;
    }
    let (content, _) = fleet();
    let world = World::new(content, None);
    let pair = pair(&world);
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let (home, folder) = (home(PLAIN), tempfile::tempdir().unwrap());
    let pull = "skopeo --insecure-policy copy -q --all --src-tls-verify=false docker://reg.example/boat:2 oci:boat\n\
                skopeo inspect --raw --tls-verify=false docker://reg.example/boat:2 | grep -q manifests\nrm -rf boat";
    let environment = [("HOME", home.path().to_str().unwrap())];
    let words = ["record", "--name", "pull", "--", "sh", "-ec", pull];
    let recorded = outside.by_with(folder.path(), &environment, officer, &words).ok();
    assert_eq!(recorded["exit_code"], 0, "{recorded}");
    world.end();
    let rehearsed = outside.by_with(Path::new("/"), &environment, officer, &["rehearse", "pull"]).ok();
    assert_eq!(rehearsed["complete"], true, "{rehearsed}");
}

#[test]
fn what_a_registry_cannot_prove_or_sends_without_end_is_named_and_not_collected() {
    let mut content = Content::default();
    // A layer with other bytes than its digest.
    content.image("liar", "1", "amd64", &layer(3));
    let blob = format!("/v2/liar/blobs/sha256:{}", Sha256::of(&layer(3)));
    content.replace(&blob, "application/octet-stream", layer(4));
    // A manifest of five megabytes.
    content.replace("/v2/whale/manifests/1", MANIFEST, vec![b' '; 5 << 20]);
    // Indexes in indexes.
    let mut inner = content.image("doll", "", "amd64", &layer(5));
    for depth in 0..5 {
        let tag = if depth == 4 { "1" } else { "" };
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [inner] });
        inner = content.manifest("doll", tag, INDEX, &index);
    }
    // An index that names a manifest whose bytes are that index.
    let digest = format!("sha256:{}", Sha256::of(b"ring"));
    let ring = json!({ "schemaVersion": 2, "manifests": [{ "digest": digest, "size": 4 }] }).to_string();
    for reference in ["1", &digest] {
        content.replace(&format!("/v2/ring/manifests/{reference}"), INDEX, ring.clone().into_bytes());
    }
    // A realm on another scheme.
    content.image("evil", "1", "amd64", &layer(6));
    let world = World::new(content, None);
    let pair = pair(&world);
    let (home, folder) = (home(PLAIN), tempfile::tempdir().unwrap());
    let names = ["liar", "whale", "doll", "ring", "evil", "ghost"];
    let images: Vec<String> = names.iter().map(|n| format!("\"reg.example/{n}:1\"")).collect();
    fs::write(folder.path().join("cofferdam.want"), format!("images = [{}]\n", images.join(", "))).unwrap();
    let done = collect(&pair.outside, &pair.officers.0, home.path(), folder.path(), &["--platform", "all"]);
    let left = done.json["left"].as_array().expect("a list").clone();
    assert_eq!((done.code, left.len()), (1, 6), "{done:#?}");
    let why = |name: &str| {
        let found = left.iter().find(|l| l[0].as_str().unwrap().contains(&format!("reg.example/{name}")));
        found.unwrap_or_else(|| panic!("{name} in {left:?}"))[1].as_str().unwrap().to_owned()
    };
    assert!(why("liar").contains("other bytes"), "{}", why("liar"));
    assert!(why("whale").contains("more than 4194304 bytes"), "{}", why("whale"));
    assert!(why("doll").contains("without end"), "{}", why("doll"));
    assert!(why("ring").contains("other bytes"), "{}", why("ring"));
    assert!(why("evil").contains("without a name (401)"), "{}", why("evil"));
    assert!(why("ghost").contains("has no image"), "{}", why("ghost"));
    let collection = pair.outside.by(&pair.officers.0, &["collect", "things"]).ok();
    let lie = Sha256::of(&layer(4)).to_hex();
    assert!(!collection.to_string().contains(&lie), "bytes that contradict their address are kept by nobody");
    let asked = world.end();
    assert!(!asked.iter().any(|l| l.contains("/v2/evil/") && l.contains("hush")), "{asked:?}");
}

#[test]
fn a_repository_with_its_submodule_is_collected_and_cloned_inside_in_both_ways() {
    let server = tempfile::tempdir().unwrap();
    let Some(backend) = GitBackend::find(server.path()) else {
        println!("skipped: git: not on this machine");
        return;
    };
    if !have("git") || !have_sandbox() {
        return;
    }
    backend.script(
        "git init -q work; cd work; echo a > a; git add a; git commit -qm a; git tag v1; echo b > a; git commit -qam b; \
         cd ..; git clone -q --bare work r.git; git init -q outer; cd outer; echo o > o; git add o; git commit -qm o; \
         git -c protocol.file.allow=always submodule --quiet add ../r.git inner; \
         git config -f .gitmodules submodule.inner.url ../r.git; git add .gitmodules; git commit -qm outer; \
         git tag v2; cd ..; git clone -q --bare outer outer.git",
    );
    let world = World::new(Content::default(), Some(backend));
    let pair = pair(&world);
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let (home, folder) = (home(""), tempfile::tempdir().unwrap());
    let want = "git = [\"http://code.example/outer.git#v2\", \"ssh://git@code.example/r.git\"]\n";
    fs::write(folder.path().join("cofferdam.want"), want).unwrap();
    let done = collect(outside, officer, home.path(), folder.path(), &[]);
    assert_eq!(done.code, 1, "{done:#?}");
    let left = done.json["left"].as_array().unwrap();
    assert!(left.len() == 1 && left[0][1].as_str().unwrap().contains("HTTP"), "{left:?}");
    fs::write(folder.path().join("cofferdam.want"), want.replace(", \"ssh://git@code.example/r.git\"", ""))
        .unwrap();
    let done = collect(outside, officer, home.path(), folder.path(), &[]).ok();
    assert_eq!(done["complete"], true, "{done}");
    assert!(world.end().len() > 5);
    let collection = outside.by(officer, &["collect", "things"]).ok();
    let named = collection["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|i| i["mentioned"] == json!(["cofferdam.want:1"]));
    assert!(named.count() > 2, "{collection}");

    let packed = pair.pack("things", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&packed).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    let build = "git clone -q --recurse-submodules http://code.example/outer.git whole; cat whole/inner/a\n\
                 git clone -q --depth 1 --branch v2 http://code.example/outer.git one; git -C one log --oneline | wc -l\n\
                 rm -rf whole one";
    let built = pair.inside.by_in(folder.path(), &pair.developers.1, &["inside", "--", "sh", "-ec", build]);
    assert_eq!((built.code, built.stdout.trim()), (0, "b\n1"), "{built:#?}");
}

#[test]
fn a_signed_image_is_proved_by_the_keys_of_the_person_s_own_policy_and_again_inside() {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let mut content = Content::default();
    let one = content.image("boat", "2", "amd64", &layer(1));
    let digest = one["digest"].as_str().unwrap();
    let said = json!({ "critical": { "identity": { "docker-reference": "reg.example/boat" },
        "image": { "docker-manifest-digest": digest }, "type": "cosign container image signature" } });
    let said = said.to_string().into_bytes();
    let made = STANDARD.encode(key.sign(&SystemRandom::new(), &said).unwrap());
    let mut signed = content.blob("boat", &said);
    signed["mediaType"] = json!("application/vnd.dev.cosign.simplesigning.v1+json");
    signed["annotations"] = json!({ "dev.cosignproject.cosign/signature": made });
    let config = content.blob("boat", b"{}");
    let signature =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [signed] });
    content.manifest("boat", &format!("{}.sig", digest.replace(':', "-")), MANIFEST, &signature);
    let world = World::new(content, None);
    let pair = pair(&world);
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let (home, folder) = (home(PLAIN), tempfile::tempdir().unwrap());
    let der = STANDARD.encode(key.public_key().as_der().unwrap().as_ref());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
    let policy = json!({ "default": [{ "type": "reject" }], "transports": { "docker": {
        "reg.example": [{ "type": "sigstoreSigned", "keyData": STANDARD.encode(pem) }] } } });
    fs::write(home.path().join(".config/containers/policy.json"), policy.to_string()).unwrap();
    fs::write(folder.path().join("Dockerfile"), "FROM reg.example/boat:2\n").unwrap();
    let done = collect(outside, officer, home.path(), folder.path(), &["--platform", "linux-x86_64"]).ok();
    assert_eq!(done["complete"], true, "{done}");
    world.end();
    let proved = |lines: &Value, at: &str| {
        let texts = lines.as_array().unwrap().iter().filter_map(|line| line.pointer(at)?.as_array());
        let texts: Vec<&str> = texts.flatten().filter_map(Value::as_str).collect();
        assert!(!texts.is_empty(), "{lines:#}");
        for text in texts {
            assert!(
                text.starts_with("cosign: this digest is signed by a key that the recording brought ("),
                "{text}"
            );
            assert!(text.ends_with("under this name"), "{text}");
        }
    };
    proved(&outside.by(officer, &["collect", "things"]).ok()["items"], "/proofs");
    let packed = pair.pack("things", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&packed).ok()["id"].to_string();
    let received = pair.inside.by(&pair.officers.1, &["transfers", &id]).ok();
    proved(&received["difference"]["added"], "/traits/proofs");
}

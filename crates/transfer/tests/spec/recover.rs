//! README.txt, followed with nothing but stock tools: every blob comes back bit for bit.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cofferdam_types::Sha256;

use crate::{
    tools,
    vectors::{Vector, list},
};

/// The steps of README.txt as a shell script. JSON is read by `jq` where it is there, else by Python.
const SCRIPT: &str = r#"
set -eu
cd "$1"; KEY="$2"; OUT="$3"
if command -v jq > "$OUT/which"
then predicate() { jq -r .payload header.dsse.json | base64 -d | jq -r '.predicate.files[] | .sha256 + "  " + .name'; }
     lines() { jq -r '[.kind, (.offset // .sha256), (.len // .size), .raw] | @tsv' "$OUT/manifest.jsonl"; }
else predicate() { python3 -c 'import base64,json
for f in json.loads(base64.b64decode(json.load(open("header.dsse.json"))["payload"]))["predicate"]["files"]: print(f["sha256"]+"  "+f["name"])'; }
     lines() { python3 -c 'import json,sys
for line in open(sys.argv[1]):
  v = json.loads(line)
  print(v["kind"], v.get("offset", v.get("sha256")), v.get("len", v.get("size")), v.get("raw"), sep="\t")' "$OUT/manifest.jsonl"; }
fi
# 1. What was signed
predicate > "$OUT/SHA256SUMS"
sha256sum --quiet -c "$OUT/SHA256SUMS"
# 2. What is inside
age -d -i "$KEY" manifest.jsonl.zst.age | zstd -dc > "$OUT/manifest.jsonl"
# 3. The packs, and the blobs in them
: > "$OUT/raw"; start=0; fresh=no
lines > "$OUT/lines"
while IFS="$(printf '\t')" read -r kind first second _; do
  case "$kind" in
  pack)
    if [ "$fresh" = no ]; then : > "$OUT/raw"; start=0; fi
    fresh=yes
    cat v*.ctv | tail -c +$((first + 1)) | head -c "$second" > "$OUT/pack"
    age -d -i "$KEY" "$OUT/pack" > "$OUT/packed"
    zstd -dcq "$OUT/packed" >> "$OUT/raw" ;;
  blob)
    fresh=no
    tail -c +$((start + 1)) "$OUT/raw" | head -c "$second" > "$OUT/blob-$first"
    start=$((start + second))
    echo "$first  $OUT/blob-$first" | sha256sum --quiet -c ;;
  esac
done < "$OUT/lines"
"#;

fn recover(vector: &Vector, folder: &Path) -> PathBuf {
    let home = tempfile::tempdir().unwrap().keep();
    fs::write(home.join("key"), vector.identity.as_ref().unwrap()).unwrap();
    fs::create_dir(home.join("out")).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "recover"]).arg(folder).arg(home.join("key")).arg(home.join("out"));
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}: {}", vector.name, String::from_utf8_lossy(&done.stderr));
    home
}

#[test]
fn every_blob_of_a_sealed_transfer_is_recovered_with_stock_tools() {
    let needed = ["sh", "age", "zstd", "sha256sum", "base64", "head", "tail"];
    if !tools::have("recovery with stock tools", &needed[1..])
        || !(tools::have("reading JSON", &["jq"]) || tools::have("reading JSON", &["python3"]))
    {
        return;
    }
    let mut recovered = 0;
    for vector in list().iter().filter(|v| v.verdict == "verified" && v.identity.is_some()) {
        let folder = tools::spec().join("vectors").join(&vector.folder);
        let home = recover(vector, &folder);
        let blobs: Vec<String> =
            tools::names(&home.join("out")).into_iter().filter(|n| n.starts_with("blob-")).collect();
        let expected = vector.blobs.as_ref().unwrap();
        assert_eq!(blobs.len(), expected.len(), "{}", vector.name);
        for blob in expected {
            let bytes = fs::read(home.join("out").join(format!("blob-{}", blob.sha256))).unwrap();
            assert_eq!((bytes.len() as u64, Sha256::of(&bytes)), (blob.size, blob.sha256));
            recovered += 1;
        }
        fs::remove_dir_all(home).unwrap();
    }
    assert!(recovered >= 10);
}

#[test]
fn the_readme_on_the_medium_names_the_commands_that_were_tried() {
    let readme =
        fs::read_to_string(tools::spec().join("vectors").join(&list()[0].folder).join("README.txt")).unwrap();
    let joined = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    for command in [
        "jq -r .payload header.dsse.json | base64 -d | jq .predicate",
        "age -d -i KEY manifest.jsonl.zst.age | zstd -dc > manifest.jsonl",
        "cat v*.ctv | tail -c +$((O+1)) | head -c N | age -d -i KEY | zstd -dc > raw",
        "tail -c +$((START+1)) raw | head -c SIZE > blob ; sha256sum blob",
        "sha256sum *",
    ] {
        assert!(joined.contains(command), "{command}");
    }
}

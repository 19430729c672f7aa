//! Transfers that were damaged or forged on the way: each is refused by its own code, by `verify`
//! and by `receive`, and leaves nothing behind.

#[path = "../common/mod.rs"]
mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{Output, Pair, Site, copy_folder, files_below};

/// A pair of sites and one good transfer between them.
struct Story {
    pair: Pair,
    good: PathBuf,
    key: String,
    /// Where copies are damaged.
    copies: tempfile::TempDir,
}

impl Story {
    fn new() -> Self {
        let pair = Pair::new("");
        let token = &pair.developers.0;
        let body: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        for path in ["/r/generic-local/maps/a.bin", "/r/generic-local/maps/b.bin"] {
            let bytes = if path.ends_with("a.bin") { &body[..] } else { &body[..99_999] };
            assert_eq!(pair.outside.send(token, "PUT", path, bytes).status, 201);
        }
        pair.record("maps", &["/r/generic/maps/a.bin", "/r/generic/maps/b.bin"]);
        let packed = pair.pack("maps", &[]);
        let good = PathBuf::from(packed["path"].as_str().unwrap());
        let key = pair.outside.keys().0;
        Self { pair, good, key, copies: tempfile::tempdir().unwrap() }
    }

    /// A copy of the good transfer under its own name.
    fn copy(&self, number: usize) -> PathBuf {
        let to = self.copies.path().join(number.to_string()).join(self.good.file_name().unwrap());
        copy_folder(&self.good, &to);
        to
    }

    fn verify(&self, folder: &Path, key: &str) -> Output {
        common::cofferdam(&["verify", "--key", key, "--for", "inside", folder.to_str().unwrap()])
    }

    /// Both commands refuse a folder alike, and the site is as before. The message.
    #[track_caller]
    fn refused(&self, folder: &Path, exit: i32, code: &str) -> String {
        let site = &self.pair.inside;
        let before = (site.blobs(), site.repositories());
        let message = self.verify(folder, &self.key).fails(exit, code);
        let received = self.pair.receive(folder.to_str().unwrap()).fails(exit, code);
        assert_eq!(message, received, "both commands say the same");
        assert!(site.transfers().is_empty(), "nothing was imported");
        assert_eq!((site.blobs(), site.repositories()), before, "nothing stays behind");
        message
    }
}

#[test]
fn a_flipped_bit_in_any_file_is_found_and_named() {
    let story = Story::new();
    let names: Vec<_> = files_below(&story.good).iter().map(|f| f.file_name().unwrap().to_owned()).collect();
    assert!(names.len() >= 4, "header, manifest, readme and a pack: {names:?}");
    for (n, name) in names.iter().enumerate() {
        let copy = story.copy(n);
        let mut bytes = fs::read(copy.join(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(copy.join(name), bytes).unwrap();
        let name = name.to_str().unwrap();
        let output = story.verify(&copy, &story.key);
        let code = output.json["error"]["code"].as_str().unwrap_or_default().to_owned();
        assert_eq!(output.code, 3, "{output:#?}");
        let message = story.refused(&copy, output.code, &code);
        assert!(message.starts_with(name), "{message}");
        if name.ends_with(".ctv") {
            assert_eq!((output.code, code.as_str()), (3, "digest-mismatch"));
            assert!(message.contains("at byte "), "{message}");
        }
    }
    let whole = story.copy(99);
    assert_eq!(story.verify(&whole, &story.key).ok()["ok"], true, "the undamaged copy is good");
    story.pair.receive(whole.to_str().unwrap()).ok();
}

#[test]
fn missing_extra_and_linked_files_are_refused() {
    let story = Story::new();
    let packs: Vec<_> =
        files_below(&story.good).into_iter().filter(|f| f.extension().is_some_and(|e| e == "ctv")).collect();
    let pack = packs[0].file_name().unwrap();
    let missing = story.copy(1);
    fs::remove_file(missing.join(pack)).unwrap();
    assert!(story.refused(&missing, 6, "missing-file").starts_with(pack.to_str().unwrap()));

    let extra = story.copy(2);
    fs::write(extra.join("notes.txt"), "hello").unwrap();
    assert!(story.refused(&extra, 3, "unexpected-file").starts_with("notes.txt"));

    let unlisted = story.copy(3);
    fs::write(unlisted.join("v9999.ctv"), "hello").unwrap();
    assert!(story.refused(&unlisted, 3, "unexpected-file").starts_with("v9999.ctv"));

    let linked = story.copy(4);
    fs::remove_file(linked.join(pack)).unwrap();
    std::os::unix::fs::symlink(&packs[0], linked.join(pack)).unwrap();
    story.refused(&linked, 3, "not-a-regular-file");
}

#[test]
fn truncated_renamed_and_unfinished_folders_are_refused() {
    let story = Story::new();
    let name = story.good.file_name().unwrap().to_str().unwrap().to_owned();
    let pack =
        files_below(&story.good).into_iter().find(|f| f.extension().is_some_and(|e| e == "ctv")).unwrap();
    let truncated = story.copy(1);
    let bytes = fs::read(&pack).unwrap();
    fs::write(truncated.join(pack.file_name().unwrap()), &bytes[..bytes.len() / 2]).unwrap();
    story.refused(&truncated, 3, "size-mismatch");

    let copy = story.copy(2);
    let renamed = copy.with_file_name(format!("{name}x"));
    fs::rename(&copy, &renamed).unwrap();
    story.refused(&renamed, 3, "wrong-folder");

    // The packer's own name for what it has not finished starts with a dot.
    let copy = story.copy(3);
    let unfinished = copy.with_file_name(format!(".{name}"));
    fs::rename(&copy, &unfinished).unwrap();
    story.refused(&unfinished, 2, "not-a-transfer");
}

#[test]
fn another_key_and_another_destination_are_refused() {
    let story = Story::new();
    let stranger = Site::isolated("stranger");
    let output = story.verify(&story.good, &stranger.keys().0);
    assert_eq!(output.code, 3, "{output:#?}");
    let (officer, folder) = (stranger.person("olga", "officer"), story.good.to_str().unwrap());
    stranger.by(&officer, &["receive", folder]).fails(3, "no-trusted-key");
    stranger.trust(&story.pair.outside);
    stranger.by(&officer, &["receive", folder]).fails(3, "other-destination");
    assert!(stranger.transfers().is_empty());
}

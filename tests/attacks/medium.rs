//! Files that are not what they should be.

use std::{
    fs::{self, File},
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::{
    sender::resign,
    table::{Bench, Case},
};

pub const CASES: &[Case] = &[
    Case { name: "endless data: a volume", code: "size-mismatch", make: endless_volume },
    Case { name: "endless data: the manifest", code: "size-mismatch", make: endless_manifest },
    Case { name: "truncated volume", code: "size-mismatch", make: truncated },
    Case { name: "swapped volumes", code: "digest-mismatch", make: swapped },
    Case { name: "one flipped bit", code: "digest-mismatch", make: flipped },
    Case { name: "mix-and-match: a volume of another transfer", code: "digest-mismatch", make: mixed_volume },
    Case {
        name: "mix-and-match: the manifest of another transfer",
        code: "size-mismatch",
        make: mixed_manifest,
    },
    Case { name: "mix-and-match: the header of another transfer", code: "wrong-folder", make: mixed_header },
    Case {
        name: "mix-and-match: the folders of two transfers",
        code: "mixed-transfers",
        make: two_transfers,
    },
    Case { name: "a volume that is a link", code: "not-a-regular-file", make: linked_volume },
    Case { name: "a header that is a link", code: "not-a-regular-file", make: linked_header },
    Case { name: "a volume that is a pipe", code: "not-a-regular-file", make: pipe },
    Case { name: "a header that is a pipe", code: "not-a-regular-file", make: pipe_header },
    Case { name: "a volume that is a socket", code: "not-a-regular-file", make: socket },
    Case { name: "a volume that is a folder", code: "not-a-regular-file", make: folder_volume },
    Case { name: "a transfer that is a link", code: "not-a-transfer", make: linked_folder },
    Case { name: "a transfer that was never finished", code: "not-a-transfer", make: unfinished },
    Case { name: "a file that starts by itself", code: "unexpected-file", make: autorun },
    Case { name: "case collision: two spellings of a volume", code: "unexpected-file", make: two_spellings },
    Case { name: "a volume that nobody signed", code: "unexpected-file", make: one_more },
    Case { name: "a root that nobody listed", code: "unexpected-file", make: old_root },
    Case { name: "traversal: a listed file above the folder", code: "bad-header", make: traversal },
    Case { name: "traversal: a listed file from the root", code: "bad-header", make: absolute },
    Case { name: "an extra file behind the door", code: "unexpected-file", make: extra_flat },
    Case { name: "a flat file that is a link", code: "not-a-regular-file", make: linked_flat },
    Case { name: "a folder of flat files that is a link", code: "not-a-regular-file", make: linked_files },
    Case { name: "a patch that is none", code: "bad-patch", make: no_patch },
    Case { name: "a patch of another transfer", code: "bad-patch", make: other_patch },
    Case { name: "a patch that lists what it does not hold", code: "bad-patch", make: empty_patch },
    Case { name: "a patch whose ranges overflow", code: "bad-patch", make: overflowing_patch },
    Case { name: "a patch that is cut short", code: "bad-patch", make: cut_patch },
];

const V1: &str = "v000001.ctv";
const V2: &str = "v000002.ctv";
const MANIFEST: &str = "manifest.jsonl.zst.age";
const HEADER: &str = "header.dsse.json";

fn changed(bench: &Bench, change: impl Fn(&Path)) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.plain);
    change(&folder);
    vec![folder]
}

fn endless_volume(bench: &Bench) -> Vec<PathBuf> {
    changed(bench, |at| File::options().write(true).open(at.join(V1)).unwrap().set_len(1 << 40).unwrap())
}

fn endless_manifest(bench: &Bench) -> Vec<PathBuf> {
    changed(bench, |at| {
        File::options().write(true).open(at.join(MANIFEST)).unwrap().set_len(1 << 40).unwrap()
    })
}

fn truncated(bench: &Bench) -> Vec<PathBuf> {
    changed(bench, |at| File::options().write(true).open(at.join(V2)).unwrap().set_len(1000).unwrap())
}

fn swapped(bench: &Bench) -> Vec<PathBuf> {
    changed(bench, |at| {
        fs::rename(at.join(V1), at.join("x")).unwrap();
        fs::rename(at.join(V2), at.join(V1)).unwrap();
        fs::rename(at.join("x"), at.join(V2)).unwrap();
    })
}

fn flipped(bench: &Bench) -> Vec<PathBuf> {
    changed(bench, |at| {
        let mut bytes = fs::read(at.join(V2)).unwrap();
        bytes[77] ^= 1;
        fs::write(at.join(V2), bytes).unwrap();
    })
}

fn of_the_next(bench: &Bench, name: &str) -> Vec<PathBuf> {
    let copy = |at: &Path| fs::copy(bench.next.join(name), at.join(name)).unwrap();
    changed(bench, |at| assert!(copy(at) > 0))
}

fn mixed_volume(bench: &Bench) -> Vec<PathBuf> {
    of_the_next(bench, V1)
}

fn mixed_manifest(bench: &Bench) -> Vec<PathBuf> {
    of_the_next(bench, MANIFEST)
}

fn mixed_header(bench: &Bench) -> Vec<PathBuf> {
    of_the_next(bench, HEADER)
}

fn two_transfers(bench: &Bench) -> Vec<PathBuf> {
    vec![bench.copy(&bench.plain), bench.copy(&bench.next)]
}

fn linked(bench: &Bench, name: &str) -> Vec<PathBuf> {
    changed(bench, |at| {
        fs::remove_file(at.join(name)).unwrap();
        symlink(bench.plain.join(name), at.join(name)).unwrap();
    })
}

fn linked_volume(bench: &Bench) -> Vec<PathBuf> {
    linked(bench, V1)
}

fn linked_header(bench: &Bench) -> Vec<PathBuf> {
    linked(bench, HEADER)
}

fn fifo(bench: &Bench, name: &str) -> Vec<PathBuf> {
    changed(bench, |at| {
        fs::remove_file(at.join(name)).unwrap();
        mknodat(CWD, at.join(name), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    })
}

fn pipe(bench: &Bench) -> Vec<PathBuf> {
    fifo(bench, V2)
}

fn pipe_header(bench: &Bench) -> Vec<PathBuf> {
    fifo(bench, HEADER)
}

fn socket(bench: &Bench) -> Vec<PathBuf> {
    changed(bench, |at| {
        fs::remove_file(at.join(V1)).unwrap();
        drop(UnixListener::bind(at.join(V1)).unwrap());
    })
}

fn folder_volume(bench: &Bench) -> Vec<PathBuf> {
    changed(bench, |at| {
        fs::remove_file(at.join(V1)).unwrap();
        fs::create_dir(at.join(V1)).unwrap();
    })
}

fn linked_folder(bench: &Bench) -> Vec<PathBuf> {
    let link = bench.folder().join(bench.plain.file_name().unwrap());
    symlink(&bench.plain, &link).unwrap();
    vec![link]
}

fn unfinished(bench: &Bench) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.plain);
    let name = format!(".{}.partial", folder.file_name().unwrap().to_str().unwrap());
    let hidden = folder.with_file_name(name);
    fs::rename(folder, &hidden).unwrap();
    vec![hidden]
}

fn added(bench: &Bench, name: &str) -> Vec<PathBuf> {
    changed(bench, |at| fs::write(at.join(name), "x").unwrap())
}

fn autorun(bench: &Bench) -> Vec<PathBuf> {
    added(bench, "autorun.inf")
}

fn two_spellings(bench: &Bench) -> Vec<PathBuf> {
    added(bench, "V000001.CTV")
}

fn one_more(bench: &Bench) -> Vec<PathBuf> {
    added(bench, "v000099.ctv")
}

fn old_root(bench: &Bench) -> Vec<PathBuf> {
    added(bench, "root.1.dsse.json")
}

fn traversal(bench: &Bench) -> Vec<PathBuf> {
    changed(bench, |at| resign(at, "v000002.ctv", "../../x.ctv"))
}

fn absolute(bench: &Bench) -> Vec<PathBuf> {
    changed(bench, |at| resign(at, "v000002.ctv", "/etc/passwd"))
}

fn extra_flat(bench: &Bench) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.flat);
    fs::write(folder.join("files/setup.exe"), "x").unwrap();
    vec![folder]
}

fn linked_flat(bench: &Bench) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.flat);
    fs::remove_file(folder.join("files/b.txt")).unwrap();
    symlink("/etc/passwd", folder.join("files/b.txt")).unwrap();
    vec![folder]
}

fn linked_files(bench: &Bench) -> Vec<PathBuf> {
    let folder = bench.copy(&bench.flat);
    fs::remove_dir_all(folder.join("files")).unwrap();
    symlink(bench.flat.join("files"), folder.join("files")).unwrap();
    vec![folder]
}

fn patched(bench: &Bench, list: &str, bytes: &[u8]) -> Vec<PathBuf> {
    let whole = [b"CT1PATCH".as_slice(), &(list.len() as u64).to_le_bytes(), list.as_bytes(), bytes].concat();
    changed(bench, |at| fs::write(at.join("r000001.ctr"), &whole).unwrap())
}

fn no_patch(bench: &Bench) -> Vec<PathBuf> {
    changed(bench, |at| fs::write(at.join("r000001.ctr"), [255; 100]).unwrap())
}

fn other_patch(bench: &Bench) -> Vec<PathBuf> {
    let list = json!({ "transfer": "00".repeat(32), "ranges": [[0, 4]] });
    patched(bench, &list.to_string(), b"evil")
}

fn empty_patch(bench: &Bench) -> Vec<PathBuf> {
    let list = json!({ "transfer": bench.identity, "ranges": [[0, 1_u64 << 40]] });
    patched(bench, &list.to_string(), b"evil")
}

fn overflowing_patch(bench: &Bench) -> Vec<PathBuf> {
    let list = json!({ "transfer": bench.identity, "ranges": [[u64::MAX, 2]] });
    patched(bench, &list.to_string(), b"evil")
}

fn cut_patch(bench: &Bench) -> Vec<PathBuf> {
    changed(bench, |at| fs::write(at.join("r000001.ctr"), b"CT1PA").unwrap())
}

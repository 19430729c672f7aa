//! Nothing but names, the header and root documents is read before the signatures hold.

use std::{
    fs::{self, File},
    path::Path,
};

use cofferdam_transfer::Survey;

use crate::{
    sender::{envelope, put_envelope},
    table::{Bench, admit, trust},
};

/// Bytes that this thread has read, as the kernel counts them.
fn read_so_far() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/io").unwrap();
    text.lines().find_map(|l| l.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// What opening a transfer reads, and the code of its refusal.
fn opened(folder: &Path) -> (u64, Option<&'static str>) {
    let before = read_so_far();
    let code = Survey::open(&[folder], &trust()).err().map(|refusal| refusal.code);
    (read_so_far() - before, code)
}

#[test]
fn no_content_is_read_before_the_signatures_hold() {
    let bench = Bench::new();
    let folder = bench.copy(&bench.plain);
    let mut forged = envelope(&folder);
    forged.signatures.truncate(1);
    put_envelope(&folder, &forged);
    let header = fs::metadata(folder.join("header.dsse.json")).unwrap().len();
    // Files that a parser would choke on, and whose reading would never end.
    for name in ["README.txt", "manifest.jsonl.zst.age", "v000001.ctv", "v000002.ctv"] {
        File::create(folder.join(name)).unwrap().set_len(4 << 40).unwrap();
    }
    fs::write(folder.join("r000001.ctr"), [255; 5000]).unwrap();
    fs::write(folder.join("station-0123456789abcdef.dsse.json"), "{").unwrap();
    let (read, code) = opened(&folder);
    assert_eq!(code, Some("too-few-signatures"));
    // The kernel's own account is read by the same thread: some hundred bytes.
    assert!((header..header + 1024).contains(&read), "{read} bytes were read, the header has {header}");
    assert_eq!(admit(&[folder]).unwrap_err().code, "too-few-signatures", "and before anything is hashed");
}

#[test]
fn the_decision_about_a_good_header_reads_nothing_else_either() {
    let bench = Bench::new();
    let folder = bench.copy(&bench.plain);
    let header = fs::metadata(folder.join("header.dsse.json")).unwrap().len();
    for name in ["manifest.jsonl.zst.age", "v000001.ctv"] {
        File::create(folder.join(name)).unwrap().set_len(4 << 40).unwrap();
    }
    let (read, code) = opened(&folder);
    assert_eq!(code, None);
    assert!((header..header + 1024).contains(&read), "{read} bytes were read, the header has {header}");
}

/// The parser of a manifest sees no byte of one that is not the signed one.
#[test]
fn a_manifest_is_hashed_before_it_is_opened() {
    let bench = Bench::new();
    let folder = bench.copy(&bench.plain);
    let manifest = folder.join("manifest.jsonl.zst.age");
    let bomb = vec![0; usize::try_from(fs::metadata(&manifest).unwrap().len()).unwrap()];
    fs::write(manifest, bomb).unwrap();
    assert_eq!(admit(&[folder]).unwrap_err().code, "digest-mismatch");
}

//! What a large feed costs: 100,000 advisories in an archive that is made here, and 10,000 releases that are judged by
//! them. Prints one line of JSON; `cargo xtask bench advisories` runs it.

use std::{fmt::Write as _, fs, io::Write as _, time::Instant};

use cofferdam_scan::{Bounds, Index};

const ADVISORIES: u32 = 100_000;
const RELEASES: u32 = 10_000;

/// The most memory that this process has had, in bytes (proc_pid_status(5)).
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process knows itself");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("all.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).expect("it is written"));
    let mut unpacked = 0;
    for n in 0..ADVISORIES {
        let versions: Vec<String> = (0..40).map(|v| format!("\"{}.{v}.{}\"", n % 7, n % 3)).collect();
        let mut text = String::new();
        write!(
            text,
            r#"{{"id":"X-{n}","aliases":["CVE-{n}"],"modified":"2026-01-01T00:00:00Z","summary":"a weakness of package {n}","details":"{}",
"severity":[{{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}}],"affected":[{{"package":{{"ecosystem":"PyPI","name":"package-{}"}},
"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"{}.5"}}]}}],"versions":[{}]}}]}}"#,
            "words about it ".repeat(100), n / 5, n % 7, versions.join(",")
        )
        .expect("it is written");
        unpacked += text.len();
        zip.start_file(format!("X-{n}.json"), zip::write::SimpleFileOptions::default())
            .expect("it is written");
        zip.write_all(text.as_bytes()).expect("it is written");
    }
    zip.finish().expect("it is written");
    let (begin, mut index) = (Instant::now(), Index::default());
    let loaded = index.load(&path, &Bounds::default()).expect("a feed");
    let (load, begin) = (begin.elapsed(), Instant::now());
    let found: usize =
        (0..RELEASES).map(|n| index.judge(&format!("pkg:pypi/package-{}@3.1", n * 2)).findings.len()).sum();
    let judge = begin.elapsed();
    assert_eq!(loaded.advisories, u64::from(ADVISORIES));
    let told = serde_json::json!({
        "unpacked_bytes": unpacked, "load_s": load.as_secs_f64(), "judge_s": judge.as_secs_f64(), "findings": found,
        "peak_bytes": peak(),
    });
    println!("{told}");
}

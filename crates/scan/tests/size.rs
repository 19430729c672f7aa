//! How long a large feed takes, and how much memory: `cargo test --release -p cofferdam-scan --test size -- --ignored`.

use std::{fmt::Write as _, fs, io::Write as _, time::Instant};

use cofferdam_scan::{Bounds, Index};

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let lines = status.lines().filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS"));
    lines.collect::<Vec<_>>().join(", ")
}

#[test]
#[ignore = "a measurement: 100,000 advisories as an archive, 10,000 releases"]
fn a_feed_of_a_hundred_thousand_advisories() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let mut unpacked = 0;
    for n in 0..100_000 {
        let versions: Vec<String> = (0..40).map(|v| format!("\"{}.{v}.{}\"", n % 7, n % 3)).collect();
        let mut text = String::new();
        write!(
            text,
            r#"{{"id":"X-{n}","aliases":["CVE-{n}"],"modified":"2026-01-01T00:00:00Z","summary":"a weakness of package {n}","details":"{}",
"severity":[{{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}}],"affected":[{{"package":{{"ecosystem":"PyPI","name":"package-{}"}},
"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}},{{"fixed":"{}.5"}}]}}],"versions":[{}]}}]}}"#,
            "words about it ".repeat(100), n / 5, n % 7, versions.join(",")
        )
        .unwrap();
        unpacked += text.len();
        zip.start_file(format!("X-{n}.json"), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let before = memory();
    let (begin, mut index) = (Instant::now(), Index::default());
    let loaded = index.load(&path, &Bounds::default()).unwrap();
    let (load, begin) = (begin.elapsed(), Instant::now());
    let found: usize =
        (0..10_000).map(|n| index.judge(&format!("pkg:pypi/package-{}@3.1", n * 2)).findings.len()).sum();
    println!("{unpacked} bytes unpacked; load {load:?}; judge {:?}, {found} findings", begin.elapsed());
    println!("before: {before}; after: {}", memory());
    assert_eq!(loaded.advisories, 100_000);
    assert!(found > 0);
}

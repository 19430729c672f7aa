//! Conditional requests, ranges and HEAD (RFC 9110), on files and on documents.

use crate::common::{Site, packages};

#[test]
fn a_file_is_asked_for_in_parts_and_only_when_it_is_not_held() {
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    let body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert_eq!(site.send(&token, "PUT", "/r/generic-local/maps/tile.bin", &body).status, 201);
    let path = "/r/generic/maps/tile.bin";
    let whole = site.get(path);
    assert_eq!((whole.status, whole.body.len()), (200, body.len()));
    let etag = whole.header("etag").to_owned();
    assert!(etag.starts_with('"'), "{etag}");
    let held = site.ask("GET", path, &[("if-none-match", &etag)], b"");
    assert_eq!((held.status, held.body.len()), (304, 0));
    let head = site.ask("HEAD", path, &[], b"");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "100000", 0));

    for (range, from, to) in
        [("bytes=0-0", 0, 1), ("bytes=99990-", 99_990, 100_000), ("bytes=-5", 99_995, 100_000)]
    {
        let part = site.ask("GET", path, &[("range", range)], b"");
        assert_eq!((part.status, &part.body[..]), (206, &body[from..to]), "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {from}-{}/100000", to - 1));
    }
    let outside = site.ask("GET", path, &[("range", "bytes=100000-")], b"");
    assert_eq!((outside.status, outside.header("content-range")), (416, "bytes */100000"));
    let stale = site.ask("GET", path, &[("range", "bytes=0-9"), ("if-range", "\"other\"")], b"");
    assert_eq!((stale.status, stale.body.len()), (200, body.len()), "a part of other bytes is not joined");
}

#[test]
fn a_document_changes_its_tag_when_it_changes() {
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    let publish = |version| {
        let (file, bytes) = packages::wheel("oars", version, &[]);
        let answer = packages::upload_distribution(&site, &token, "pypi-local", (&file, &bytes), &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    publish("1.0");
    let path = "/r/pypi/simple/oars/";
    let first = site.get(path);
    let etag = first.header("etag").to_owned();
    assert!(!etag.is_empty());
    assert_eq!(site.ask("GET", path, &[("if-none-match", &etag)], b"").status, 304);
    let packed = site.ask("GET", path, &[("accept-encoding", "gzip")], b"");
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_ne!(packed.header("etag"), etag, "the compressed form is another representation");
    let head = site.ask("HEAD", path, &[], b"");
    assert_eq!(head.header("content-length"), first.body.len().to_string());
    publish("1.1");
    let second = site.ask("GET", path, &[("if-none-match", &etag)], b"");
    assert_eq!(second.status, 200);
    assert!(second.text().contains("oars-1.1"), "{}", second.text());
}

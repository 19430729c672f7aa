//! What travels back: forged receipts, wants and repair requests change nothing at the sending site.

use std::{fs, path::PathBuf};

use cofferdam_transfer::receipt::{About, Inventory, Outcome, Receipt, RepairRequest, Want, Wants};
use cofferdam_trust::{Envelope, SigningKey, words};
use cofferdam_types::{Sha256, Timestamp};
use serde_json::json;

use crate::{
    common::{Output, Site},
    sender::{CREATED, key, noise, sealing},
};

/// A sending site that has sent one transfer to `inside`, whose key is number 20; `harbour` has number 21.
struct Outside {
    site: Site,
    officer: String,
    desk: tempfile::TempDir,
    about: About,
    transfer: String,
}

impl Outside {
    fn new() -> Self {
        let site = Site::connected("outside");
        let (officer, developer) = (site.person("olga", "officer"), site.person("dev", "developer"));
        for (name, n) in [("inside", 20), ("harbour", 21)] {
            let admin = &site.admin;
            site.by(admin, &["key", "trust", name, &key(n).verifying_key().to_string()]).ok();
            site.by(admin, &["key", "recipient", name, &sealing(n).recipient().to_string()]).ok();
        }
        let put = site.send(&developer, "PUT", "/r/generic-local/maps/a.bin", &noise(200_000, 1));
        assert_eq!(put.status, 201, "{}", put.text());
        let started =
            site.post(&officer, "/api/v1/recordings", &json!({ "name": "maps", "command": "read" })).json();
        for (token, verb) in [("record_token", "end"), ("replay_token", "rehearsed")] {
            let secret = started[token].as_str().unwrap();
            assert_eq!(site.send(secret, "GET", "/r/generic/maps/a.bin", b"").status, 200);
            let path = format!("/api/v1/recordings/{}/{verb}", started["id"]);
            assert_eq!(site.post(&officer, &path, &json!({ "exit_code": 0 })).status, 200);
        }
        let desk = tempfile::tempdir().unwrap();
        let into = desk.path().to_str().unwrap();
        let packed = site.by(&officer, &["pack", "--to", "inside", "--recording", "maps", into]).ok();
        let header_sha256 = packed["header_sha256"].as_str().unwrap().parse().unwrap();
        let about = About { stream: "outside+inside".into(), epoch: 1, seq: 1, header_sha256 };
        Self { site, officer, desk, about, transfer: packed["id"].to_string() }
    }

    fn receipt(&self) -> Receipt {
        Receipt {
            site: "inside".parse().unwrap(),
            transfer: self.about.clone(),
            outcome: Outcome::Published,
            at: Timestamp::from_seconds(CREATED),
            inventory: None,
            unreadable: Vec::new(),
            refused: Vec::new(),
            held: Vec::new(),
        }
    }

    fn file(&self, text: &str) -> String {
        let path = tempfile::NamedTempFile::new_in(&self.desk).unwrap().keep().unwrap().1;
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn take(&self, what: &str, text: &str) -> Output {
        self.site.by(&self.officer, &[what, "take", &self.file(text)])
    }

    /// Refused, and the outcome of the transfer is as unknown as before.
    #[track_caller]
    fn refuses(&self, what: &str, text: &str, code: &str) {
        let before = self.state();
        self.take(what, text).fails(3, code);
        assert_eq!(self.state(), before, "{what}: {code}");
    }

    fn state(&self) -> (String, String) {
        let transfer = self.site.by(&self.officer, &["transfers", &self.transfer]).ok().to_string();
        (transfer, self.site.by(&self.officer, &["want", "list"]).ok().to_string())
    }
}

fn text(envelope: &Envelope) -> String {
    String::from_utf8(envelope.to_json().unwrap()).unwrap()
}

#[test]
fn forged_receipts_prove_nothing() {
    let outside = Outside::new();
    let (good, inside) = (outside.receipt(), key(20));
    let sign = |receipt: &Receipt, key: &SigningKey| text(&receipt.sign(key).unwrap());
    outside.refuses("receipt", &sign(&good, &key(99)), "too-few-signatures");
    // Another site that is believed about itself speaks for this one.
    outside.refuses("receipt", &sign(&good, &key(21)), "too-few-signatures");
    let theirs = Receipt { site: "harbour".parse().unwrap(), ..good.clone() };
    outside.refuses("receipt", &sign(&theirs, &key(21)), "other-transfer");
    let unknown = Receipt { site: "nowhere".parse().unwrap(), ..good.clone() };
    outside.refuses("receipt", &sign(&unknown, &key(21)), "no-trusted-key");
    let mut elsewhere = good.clone();
    elsewhere.transfer.header_sha256 = Sha256::of(b"another transfer");
    outside.refuses("receipt", &sign(&elsewhere, &inside), "other-transfer");
    // The list says more than the signed root of it.
    let inventory = Some(Inventory::of(&[Sha256::of(b"a")]));
    let more = Receipt { inventory, held: vec![Sha256::of(b"a"), Sha256::of(b"b")], ..good.clone() };
    outside.refuses("receipt", &sign(&more, &inside), "bad-receipt");
    // Other words above the signature of the right key.
    let mut altered = good.sign(&inside).unwrap();
    altered.payload = Receipt { outcome: Outcome::Rejected, ..good.clone() }.sign(&inside).unwrap().payload;
    outside.refuses("receipt", &text(&altered), "signature-invalid");
    outside.refuses("receipt", "{\"payload\":", "bad-envelope");
    // A statement of another kind, well signed.
    let wants = Wants { site: "inside".parse().unwrap(), at: good.at, items: Vec::new() };
    outside.refuses("receipt", &text(&wants.sign(&inside).unwrap()), "bad-statement");
    // By telephone: the words are right, the signature is not.
    outside.refuses("receipt", &words::encode(&good.compact(&key(99))).join("\n"), "bad-receipt");
    let mut bits = good.compact(&inside);
    bits[1] ^= 1;
    outside.refuses("receipt", &bits.iter().map(|b| format!("{b:02x}")).collect::<String>(), "bad-receipt");

    let taken = outside.take("receipt", &sign(&good, &inside)).ok();
    assert_eq!(taken["outcome"], "published", "the honest one is taken: {taken}");
}

#[test]
fn forged_wants_ask_for_nothing() {
    let outside = Outside::new();
    let want = |package: String| Want {
        format: "pypi".into(),
        package,
        version: String::new(),
        asked: 1,
        note: String::new(),
    };
    let wants = |items: Vec<Want>| Wants {
        site: "inside".parse().unwrap(),
        at: Timestamp::from_seconds(CREATED),
        items,
    };
    let good = wants(vec![want("requests".into())]);
    outside.refuses("want", &text(&good.sign(&key(99)).unwrap()), "too-few-signatures");
    outside.refuses("want", &text(&good.sign(&key(21)).unwrap()), "too-few-signatures");
    outside.refuses("want", "[]", "bad-envelope");
    let endless = wants(vec![want("x".repeat(100_000))]);
    outside.refuses("want", &text(&endless.sign(&key(20)).unwrap()), "bad-want");
    let many = wants(vec![want("x".into()); 10_001]);
    outside.refuses("want", &text(&many.sign(&key(20)).unwrap()), "bad-want");
    outside.refuses("want", &text(&outside.receipt().sign(&key(20)).unwrap()), "bad-statement");
    outside.take("want", &text(&good.sign(&key(20)).unwrap())).ok();
}

#[test]
fn forged_repair_requests_let_nothing_out() {
    let outside = Outside::new();
    let request = |ranges: Vec<(u64, u64)>| RepairRequest {
        site: "inside".parse().unwrap(),
        transfer: outside.about.clone(),
        at: Timestamp::from_seconds(CREATED),
        ranges,
    };
    let answer = |text: &str| {
        let medium: PathBuf = tempfile::tempdir_in(&outside.desk).unwrap().keep();
        let file = outside.file(text);
        let arguments = ["repair", "--answer", &file, "--medium", medium.to_str().unwrap()];
        let output = outside.site.by(&outside.officer, &arguments);
        let left = fs::read_dir(&medium).unwrap().count();
        assert_eq!(left == 0, output.code != 0, "{output:#?}");
        output
    };
    let sign = |request: &RepairRequest, n: u8| text(&request.sign(&key(n)).unwrap());
    let good = request(vec![(0, 100)]);
    answer(&sign(&good, 99)).fails(3, "too-few-signatures");
    answer(&sign(&good, 21)).fails(3, "too-few-signatures");
    let mut other = good.clone();
    other.transfer.header_sha256 = Sha256::of(b"another transfer");
    answer(&sign(&other, 20)).fails(3, "other-transfer");
    let endless = vec![(0, u64::MAX), (1, u64::MAX)];
    for ranges in
        [endless, vec![(0, 1 << 60)], vec![(u64::MAX, 2)], vec![(50, 10), (0, 10)], vec![(0, 0)], vec![]]
    {
        answer(&sign(&request(ranges), 20)).fails(3, "bad-request");
    }
    answer("nothing").fails(3, "bad-envelope");
    answer(&sign(&good, 20)).ok();
}

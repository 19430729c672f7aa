//! A wish goes out on paper, comes in as a package, and both sides know where it stands.

use serde_json::Value;

use super::{Pair, bytes, put};

/// What the outside's list says of the inside's wants: name, version, state and transfer, in the order of names.
fn standing(pair: &Pair) -> Vec<String> {
    let list = pair.outside.by(&pair.officers.0, &["want", "list"]).ok();
    let all = list["wants"].as_array().unwrap().iter().filter(|w| w["site"] == "inside");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut rows: Vec<_> = all
        .map(|w| {
            let parts = ["package", "version", "state", "transfer"].map(|name| text(&w[name]));
            parts.join(" ").replace("  ", " ")
        })
        .collect();
    rows.sort();
    rows
}

fn ask(pair: &Pair, wants: &[&[&str]]) {
    for want in wants {
        pair.inside.by(&pair.officers.1, &[&["want", "add", "generic"], *want].concat()).ok();
    }
    let file = pair.medium.path().join("wants.json");
    let file = file.to_str().unwrap();
    pair.inside.by(&pair.officers.1, &["want", "request", file]).ok();
    pair.outside.by(&pair.officers.0, &["want", "take", file]).ok();
}

#[test]
fn a_want_is_packed_when_a_transfer_has_it_and_filled_when_the_receipt_says_so() {
    let pair = Pair::new("");
    put(&pair, "maps/a.bin", &bytes(1, 1000));
    ask(&pair, &[&["maps"], &["maps", "a.bin"], &["maps", "b.bin"], &["charts"]]);
    assert_eq!(
        standing(&pair),
        ["charts open null", "maps a.bin open null", "maps b.bin open null", "maps open null"]
    );

    pair.record("one", &["/r/generic/maps/a.bin"]);
    pair.pack("one", &["--dry-run"]);
    assert_eq!(standing(&pair)[3], "maps open null", "nothing was written");
    let packed = pair.pack("one", &[]);
    let there = ["charts open null", "maps a.bin packed 1", "maps b.bin open null", "maps packed 1"];
    assert_eq!(standing(&pair), there);

    // It is on its way, and somebody inside is impatient.
    ask(&pair, &[&["maps"]]);
    assert_eq!(standing(&pair), there);
    let id = pair.receive(packed["path"].as_str().unwrap()).ok()["id"].to_string();
    pair.receipt(&id);
    assert_eq!(standing(&pair), there, "what lies in quarantine nobody can use");
    pair.approve_and_publish(&id);
    pair.receipt(&id);
    assert_eq!(
        standing(&pair),
        ["charts open null", "maps a.bin filled 1", "maps b.bin open null", "maps filled 1"]
    );
}

#[test]
fn a_want_whose_transfer_was_rejected_is_open_again() {
    let pair = Pair::new("");
    put(&pair, "maps/a.bin", &bytes(1, 1000));
    ask(&pair, &[&["maps"]]);
    pair.record("one", &["/r/generic/maps/a.bin"]);
    let packed = pair.pack("one", &[]);
    assert_eq!(standing(&pair), ["maps packed 1"]);
    let id = pair.receive(packed["path"].as_str().unwrap()).ok()["id"].to_string();
    let digest = pair.inside.by(&pair.approvers[0], &["transfers", &id]).ok()["digest"].clone();
    pair.inside.by(&pair.approvers[0], &["reject", &id, "--digest", digest.as_str().unwrap()]).ok();
    pair.receipt(&id);
    assert_eq!(standing(&pair), ["maps open null"]);
}

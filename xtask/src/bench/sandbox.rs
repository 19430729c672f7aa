//! What a sandbox costs: its start with a sealed and with a watched network, and what a relay adds to bytes and
//! requests. The sandbox crate's own example measures; direct connections stand beside it in the same run.

use serde_json::Value;

use super::Line;
use crate::{Outcome, capture, cargo};

const RUNS: &str = "200";

pub(super) fn run() -> Outcome {
    let mut example = cargo();
    example.args([
        "run",
        "--quiet",
        "--release",
        "-p",
        "cofferdam-sandbox",
        "--example",
        "watched_cost",
        "--",
        RUNS,
    ]);
    let measured: Value = serde_json::from_str(&capture(&mut example)?).map_err(|e| e.to_string())?;
    let number = |path: &str| {
        let value = measured.pointer(path).and_then(Value::as_f64);
        value.ok_or_else(|| format!("the example has not measured {path}"))
    };
    line("load of the machine at the start", number("/load")?, "programs", None)?;
    for share in ["p50", "p95"] {
        let sealed = number(&format!("/start/sealed/{share}_ms"))?;
        let watched = number(&format!("/start/watched/{share}_ms"))?;
        line(&format!("sealed start {share}"), sealed, "ms", None)?;
        line(&format!("watched start {share}"), watched, "ms", Some(("sealed start", sealed)))?;
    }
    for (what, path) in [("download", "down"), ("upload", "up")] {
        let direct = number(&format!("/{path}/direct/GB_per_s"))?;
        let relayed = number(&format!("/{path}/relayed/GB_per_s"))?;
        line(&format!("{what} through a relay"), relayed, "GB/s", Some(("direct loopback", direct)))?;
    }
    for (what, path) in [("request of 1 KiB", "requests"), ("new connection and request", "connects")] {
        for share in ["p50", "p95"] {
            let direct = number(&format!("/{path}/direct/{share}_ms"))?;
            let relayed = number(&format!("/{path}/relayed/{share}_ms"))?;
            let peer = Some(("direct loopback", direct));
            line(&format!("{what} through a relay, {share}"), relayed, "ms", peer)?;
            line(&format!("{what}, added at {share}"), relayed - direct, "ms", None)?;
        }
    }
    Ok(())
}

fn line(metric: &str, value: f64, unit: &str, peer: Option<(&str, f64)>) -> Outcome {
    let rounded = |number: f64| (number * 1000.0).round() / 1000.0;
    let ratio = peer.filter(|(_, other)| *other > 0.0).map(|(_, other)| rounded(value / other));
    let value = rounded(value);
    Line { bench: "sandbox", metric, value, unit, peer: peer.map(|(name, _)| name), ratio }.print()
}

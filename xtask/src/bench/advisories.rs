//! What a feed of advisories costs: loading it, judging by it, and the memory. The crate's own example measures.

use serde_json::Value;

use super::Line;
use crate::{Outcome, capture, cargo};

pub(super) fn run() -> Outcome {
    let mut example = cargo();
    example.args(["run", "--quiet", "--release", "-p", "cofferdam-scan", "--example", "feed_cost"]);
    let measured: Value = serde_json::from_str(&capture(&mut example)?).map_err(|e| e.to_string())?;
    for (metric, name, unit) in [
        ("100,000 advisories loaded", "load_s", "s"),
        ("10,000 releases judged", "judge_s", "s"),
        ("most memory", "peak_bytes", "B"),
    ] {
        let value = measured[name].as_f64().ok_or_else(|| format!("the example has not measured {name}"))?;
        Line { bench: "advisories", metric, value, unit, peer: None, ratio: None }.print()?;
    }
    Ok(())
}

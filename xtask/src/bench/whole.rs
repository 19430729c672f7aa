//! How long the whole story takes: `try --check` with real downloads, and with its own packages.

use std::process::Command;

use serde_json::Value;

use super::{Line, release_binary};
use crate::Outcome;

pub(super) fn run() -> Outcome {
    let sample = tell("sample", &["try", "--check", "--sample"]);
    let real = tell("real", &["try", "--check"]);
    sample.and(real)
}

fn tell(which: &str, arguments: &[&str]) -> Outcome {
    let output = Command::new(release_binary()?).args(arguments).output().map_err(|e| e.to_string())?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let step: Value = serde_json::from_str(line).map_err(|e| format!("{line}: {e}"))?;
        if step["ok"] != true {
            return Err(format!("{arguments:?}: {line}"));
        }
        let metric = format!("{which} {}", step["step"].as_str().unwrap_or_default());
        let value = step["seconds"].as_f64().ok_or("a step without seconds")?;
        Line { bench: "try", metric: &metric, value, unit: "s", peer: None, ratio: None }.print()?;
    }
    if output.status.success() { Ok(()) } else { Err(format!("{arguments:?} ended with {}", output.status)) }
}

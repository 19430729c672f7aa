//! A site with 100,000 files: how long until it answers, and how much memory it holds when idle.

use std::time::Instant;

use super::{Line, percentile, site::Site};
use crate::{Outcome, cargo, run as run_command};

const FILES: usize = 100_000;
const STARTS: usize = 10;

pub(super) fn run() -> Outcome {
    let site = Site::create()?;
    let mut fill = cargo();
    fill.args(["run", "--quiet", "--release", "-p", "cofferdam-registry", "--example", "fill", "--"]);
    run_command(fill.arg(site.home()).arg(FILES.to_string()))?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let start = Instant::now();
        let _server = site.start()?;
        let answer = site.client()?.ask("GET /r/generic-local/folder-1/file-1.txt", &[], &[])?;
        if answer.status != 200 {
            return Err(format!("the first answer was {}", answer.status));
        }
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let say = |metric: &str, value, unit| {
        Line { bench: "start", metric, value, unit, peer: None, ratio: None }.print()
    };
    for (metric, share) in [("first answer p50", 0.5), ("first answer p95", 0.95)] {
        say(metric, percentile(&times, share).ok_or("no start")?, "ms")?;
    }
    let server = site.start()?;
    site.client()?.ask("GET /readyz", &[], &[])?;
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.id())).map_err(|e| e.to_string())?;
    for key in ["VmRSS", "VmHWM"] {
        let line = status.lines().find(|l| l.starts_with(key)).ok_or("no memory in the process's status")?;
        let kib: f64 = line.split_whitespace().nth(1).and_then(|v| v.parse().ok()).ok_or("no number")?;
        say(key, kib / 1024.0, "MiB")?;
    }
    Ok(())
}

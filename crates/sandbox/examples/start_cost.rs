//! Prints what it costs to start and end a sandbox around `/bin/true`, as JSON.
//!
//! `cargo run --release -p cofferdam-sandbox --example start_cost -- [RUNS]`; a measurement, not a test.

use std::time::{Duration, Instant};

use cofferdam_sandbox::{Sandbox, SandboxSpec};

#[tokio::main]
async fn main() -> Result<(), cofferdam_types::Error> {
    let runs = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(100_usize);
    let (mut starts, mut totals) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
    for _ in 0..runs {
        let begin = Instant::now();
        let mut running = Sandbox::spawn(SandboxSpec::new(["/bin/true"])).await?;
        starts.push(begin.elapsed());
        running.wait().await?;
        totals.push(begin.elapsed());
    }
    println!(
        "{}",
        serde_json::json!({
            "runs": runs,
            "start_ms": { "p50": quantile(&mut starts, 50), "p95": quantile(&mut starts, 95) },
            "start_to_end_ms": { "p50": quantile(&mut totals, 50), "p95": quantile(&mut totals, 95) },
        })
    );
    Ok(())
}

fn quantile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort();
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

//! Very many items published in one switch: how long receiving and the switch take, how much memory they need, and
//! how long readers of what was published before wait meanwhile.
//!
//! `COFFERDAM_BENCH_SWITCH_ITEMS` sets how many items (100,000 without it).

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{Line, percentile, server::Server, site::Site};
use crate::{Outcome, capture, cargo, root, run as run_command};

/// Threads that read all the time, each one request after the other.
const READERS: usize = 2;
/// A reader's pause between two requests: they are people and builds, not a load.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) fn run() -> Outcome {
    let items = match std::env::var("COFFERDAM_BENCH_SWITCH_ITEMS") {
        Ok(text) => text.parse().map_err(|e| format!("COFFERDAM_BENCH_SWITCH_ITEMS: {e}"))?,
        Err(_) => 100_000usize,
    };
    // One that fails does not take the others' numbers away.
    [("generic", items.div_ceil(100)), ("pypi", items.div_ceil(10)), ("pypi", items)]
        .map(|(format, packages)| once(format, items, packages))
        .into_iter()
        .collect()
}

fn once(format: &str, items: usize, packages: usize) -> Outcome {
    let site = Site::create()?;
    let medium = tempfile::tempdir().map_err(|e| e.to_string())?;
    let tokens =
        [("olga", "officer"), ("ann", "approver"), ("ben", "approver")].map(|(n, role)| site.person(n, role));
    let [officer, ann, ben] = tokens;
    let (officer, approvers) = (officer?, [ann?, ben?]);
    let server = site.start()?;
    let folder = transfer(&site, format, items, packages, medium.path())?;
    let put = site.client()?.ask("PUT /r/generic-local/known/a.txt", &site.bearer(), b"known")?;
    if put.status != 201 {
        return Err(format!("a publish was answered with {}", put.status));
    }
    let what = format!("{items} {format} items in {packages} packages");
    let say = |metric: &str, value: f64, unit: &str| {
        let metric = format!("{what}: {metric}");
        Line { bench: "switch", metric: &metric, value, unit, peer: None, ratio: None }.print()
    };

    let (received, seconds) =
        timed(|| post(&site, &officer, "/api/v1/transfers/receive", &json!({ "path": folder })))?;
    say("receive", seconds, "s")?;
    say("receive, peak of memory", peak(&server)?, "MiB")?;
    let (id, digest) = (&received["id"], &received["digest"]);
    for approver in &approvers {
        post(&site, approver, &format!("/api/v1/transfers/{id}/approve"), &json!({ "digest": digest }))?;
    }
    std::fs::write(format!("/proc/{}/clear_refs", server.id()), "5").map_err(|e| e.to_string())?;
    let readers = Readers::start(&site)?;
    let published = timed(|| post(&site, &officer, &format!("/api/v1/transfers/{id}/publish"), &json!({})));
    let mut times = readers.stop()?;
    let (_, seconds) = published?;
    say("publish", seconds, "s")?;
    say("publish, peak of memory", peak(&server)?, "MiB")?;
    times.sort_by(f64::total_cmp);
    for (name, share) in [("p50", 0.5), ("p95", 0.95), ("largest", 1.0)] {
        let value = percentile(&times, share).ok_or("no reader was answered")?;
        say(&format!("reading meanwhile, {name} of {}", times.len()), value, "ms")?;
    }
    seen(&site, format, packages)
}

/// A transfer for the site, believed by it: its folder.
fn transfer(site: &Site, format: &str, items: usize, packages: usize, into: &Path) -> Outcome<String> {
    let shown = site.said(&["key", "show"])?;
    let recipient = shown["recipient"].as_str().ok_or("no recipient was printed")?;
    run_command(cargo().args([
        "build",
        "--release",
        "--quiet",
        "-p",
        "cofferdam-transfer",
        "--example",
        "switch_transfer",
    ]))?;
    let mut make = Command::new(root().join("target/release/examples/switch_transfer"));
    make.args([format, &items.to_string(), &packages.to_string(), "bench", recipient]).arg(into);
    let made: Value = serde_json::from_str(capture(&mut make)?.trim()).map_err(|e| e.to_string())?;
    let text = |name: &str| made[name].as_str().map(str::to_owned).ok_or(format!("no {name} was printed"));
    let (url, key) = (format!("http://{}", site.address), text("key")?);
    site.said(&["--site", &url, "--token", &site.admin, "key", "trust", "outside", &key])?;
    text("path")
}

fn post(site: &Site, token: &str, path: &str, body: &Value) -> Outcome<Value> {
    let headers = [format!("Authorization: Bearer {token}"), "Content-Type: application/json".to_owned()];
    site.client()?.json(&format!("POST {path}"), &headers, body.to_string().as_bytes())
}

fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, f64)> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed().as_secs_f64()))
}

/// The largest resident memory of the server, in MiB.
fn peak(server: &Server) -> Outcome<f64> {
    let path = format!("/proc/{}/status", server.id());
    let status = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let line = status.lines().find(|l| l.starts_with("VmHWM")).ok_or("no memory in the process's status")?;
    let kib: f64 = line.split_whitespace().nth(1).and_then(|v| v.parse().ok()).ok_or("no number")?;
    Ok(kib / 1024.0)
}

/// After the switch everything is there.
fn seen(site: &Site, format: &str, packages: usize) -> Outcome {
    let last = packages - 1;
    let path = match format {
        "generic" => format!("/r/generic/folder-{last:06}/"),
        _ => format!("/r/pypi/simple/package-{last:06}/"),
    };
    let answer = site.client()?.ask(&format!("GET {path}"), &[], &[])?;
    if answer.status == 200 { Ok(()) } else { Err(format!("{path} was answered with {}", answer.status)) }
}

/// Readers of what was published before.
struct Readers {
    ended: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Outcome<Vec<f64>>>>,
}

impl Readers {
    fn start(site: &Site) -> Outcome<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for _ in 0..READERS {
            let (mut client, ended) = (site.client()?, Arc::clone(&ended));
            threads.push(thread::spawn(move || {
                let mut times = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    for path in ["/r/generic/known/", "/r/generic/known/a.txt"] {
                        let start = Instant::now();
                        let answer = client.ask(&format!("GET {path}"), &[], &[])?;
                        if answer.status != 200 {
                            return Err(format!("{path} was answered with {}", answer.status));
                        }
                        times.push(start.elapsed().as_secs_f64() * 1000.0);
                        thread::park_timeout(PAUSE);
                    }
                }
                Ok(times)
            }));
        }
        Ok(Self { ended, threads })
    }

    fn stop(self) -> Outcome<Vec<f64>> {
        self.ended.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for thread in self.threads {
            times.extend(thread.join().map_err(|_| "a reader panicked")??);
        }
        Ok(times)
    }
}

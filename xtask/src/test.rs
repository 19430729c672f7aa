//! Everything that must pass before a change is merged, step by step, with what was skipped.
//!
//! A later step runs even when an earlier one failed, so that one run tells everything.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
    time::Instant,
};

use crate::{Outcome, cargo, clients, root, run as run_command, tidy};

/// Runs every step; `args` go to `cargo test`.
///
/// # Errors
/// The names of the steps that failed.
pub fn run(args: &[String]) -> Outcome {
    let mut failed = Vec::new();
    let mut skipped = Vec::new();
    step("tidy", &mut failed, || tidy::run(&[]));
    step("fmt", &mut failed, || run_command(cargo().args(["fmt", "--all", "--check"])));
    step("clippy", &mut failed, || {
        run_command(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    });
    let mut found = clients::Clients::default();
    step("clients", &mut failed, || {
        found = clients::prepare();
        Ok(())
    });
    step("cargo test", &mut failed, || cargo_test(args, &found, &mut skipped));
    skipped.splice(0..0, found.skipped);
    skipped.sort();
    skipped.dedup();
    println!("\nskipped: {}", if skipped.is_empty() { "nothing" } else { "" });
    for line in &skipped {
        println!("  {line}");
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn step(name: &'static str, failed: &mut Vec<&str>, work: impl FnOnce() -> Outcome) {
    println!("\n== {name}");
    let start = Instant::now();
    let outcome = work();
    let seconds = start.elapsed().as_secs_f64();
    match outcome {
        Ok(()) => println!("== {name}: ok, {seconds:.1} s"),
        Err(text) => {
            println!("{text}\n== {name}: FAILED, {seconds:.1} s");
            failed.push(name);
        }
    }
}

/// The arguments of cargo: the whole workspace unless a package is named, and the output of passing
/// tests, because that is where they say what they skipped.
fn arguments(args: &[String]) -> Vec<String> {
    let split = args.iter().position(|a| a == "--").unwrap_or(args.len());
    let (own, harness) = args.split_at(split);
    let named = own.iter().any(|a| a.starts_with("-p") || a.starts_with("--package"));
    let mut all: Vec<String> = vec!["test".into(), "--no-fail-fast".into()];
    all.extend((!named).then(|| "--workspace".into()));
    all.extend(own.iter().cloned());
    all.extend(["--".into(), "--show-output".into()]);
    all.extend(harness.iter().skip(1).cloned());
    all
}

fn cargo_test(args: &[String], clients: &clients::Clients, skipped: &mut Vec<String>) -> Outcome {
    let log = root().join("target/test.log");
    let broken = |e: std::io::Error| format!("the output of cargo test: {e}");
    let mut file = File::create(&log).map_err(broken)?;
    let mut command = cargo();
    command.args(arguments(args)).envs(clients.variables.iter().cloned()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cannot run {command:?}: {e}"))?;
    let mut output = BufReader::new(child.stdout.take().expect("standard output is piped"));
    let mut filter = Filter::default();
    let mut bytes = Vec::new();
    while output.read_until(b'\n', &mut bytes).map_err(broken)? > 0 {
        file.write_all(&bytes).map_err(broken)?;
        let line = String::from_utf8_lossy(&bytes);
        if filter.shows(line.trim_end(), skipped) {
            print!("{line}");
        }
        bytes.clear();
    }
    let status = child.wait().map_err(broken)?;
    println!("the whole output is in target/test.log");
    if status.success() { Ok(()) } else { Err(format!("cargo test ended with {status}")) }
}

/// Hides what passing tests printed, and keeps what they skipped.
#[derive(Default)]
struct Filter {
    hiding: bool,
}

impl Filter {
    fn shows(&mut self, line: &str, skipped: &mut Vec<String>) -> bool {
        // A test harness prints two lists `successes:`, then the failures, then the result.
        match line {
            "successes:" => self.hiding = true,
            "failures:" => self.hiding = false,
            _ if line.starts_with("test result: ") => self.hiding = false,
            _ => {}
        }
        // With --nocapture the line may stand after `test name ... `.
        if let Some((_, what)) =
            line.split_once("skipped: ").filter(|(b, _)| b.is_empty() || b.ends_with("... "))
        {
            skipped.push(what.to_owned());
        }
        !self.hiding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_skipped_is_kept_and_the_result_is_shown() {
        let output = "running 2 tests\ntest a ... ok\n\nsuccesses:\n\n---- a stdout ----\nskipped: tar: no tar\nnoise\n
successes:\n    a\n\nfailures:\n\n---- b stdout ----\npanicked\n\ntest result: FAILED. 1 passed";
        let (mut filter, mut skipped) = (Filter::default(), Vec::new());
        let shown: Vec<&str> = output.lines().filter(|l| filter.shows(l, &mut skipped)).collect();
        assert_eq!(skipped, ["tar: no tar"]);
        assert!(shown.contains(&"panicked") && shown.contains(&"test result: FAILED. 1 passed"));
        assert!(!shown.contains(&"noise") && !shown.contains(&"    a"));
    }

    #[test]
    fn arguments_reach_cargo_and_the_harness() {
        let given =
            |text: &str| arguments(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).join(" ");
        assert_eq!(given(""), "test --no-fail-fast --workspace -- --show-output");
        assert_eq!(given("-p xtask -- tidy"), "test --no-fail-fast -p xtask -- --show-output tidy");
    }
}

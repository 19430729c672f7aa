//! What a step did: a line for people, or one JSON object for programs.

use std::time::{Duration, Instant};

use cofferdam_types::{Error, Result};
use serde_json::{Map, Value, json};

use crate::output::say_line;

/// The numbers in front of the steps; the issue's own count.
const STEPS: usize = 10;

/// Collects and prints.
pub struct Report {
    json: bool,
    done: usize,
    failed: bool,
    current: String,
    started: Instant,
    all: Instant,
}

/// What a step says about itself.
#[derive(Default)]
pub struct Facts {
    values: Map<String, Value>,
    lines: Vec<String>,
}

impl Facts {
    /// A fact for programs.
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// A line for people.
    pub fn line(mut self, text: impl Into<String>) -> Self {
        self.lines.push(text.into());
        self
    }

    /// Where to look.
    pub fn look(self, at: impl Into<String>) -> Self {
        let at = at.into();
        self.line(format!("look: {at}"))
    }
}

impl Report {
    /// For people, or (`json`) for programs.
    pub fn new(json: bool) -> Self {
        let now = Instant::now();
        Self { json, done: 0, failed: false, current: "start".into(), started: now, all: now }
    }

    /// A sentence between steps, for people only.
    pub fn say(&self, text: &str) {
        if !self.json {
            say_line(text);
        }
    }

    /// Begins a step.
    pub fn begin(&mut self, step: &str, title: &str) {
        self.current = step.to_owned();
        self.started = Instant::now();
        if !self.json {
            let number =
                if step == "start" { String::new() } else { format!("{:>2}/{STEPS} ", self.done + 1) };
            say_line(&format!("\n{number}{title}"));
        }
    }

    /// Ends the step that was begun.
    pub fn held(&mut self, facts: Facts) {
        let seconds = self.started.elapsed();
        if self.current != "start" {
            self.done += 1;
        }
        if self.json {
            self.print(true, seconds, facts.values);
        } else {
            for line in facts.lines {
                say_line(&format!("      {line}"));
            }
            say_line(&format!("      ({:.2} s)", seconds.as_secs_f64()));
        }
    }

    /// The step that was begun did not hold.
    pub fn failed(&mut self, error: &Error) {
        self.failed = true;
        let mut facts = Map::new();
        facts.insert("error".into(), json!(error.message()));
        facts.insert("code".into(), json!(error.code()));
        facts.insert("cause".into(), json!(error.internal_chain()));
        if self.json {
            self.print(false, self.started.elapsed(), facts);
        } else {
            say_line(&format!("      DID NOT HOLD: {}", error.internal_chain()));
            if let Some(hint) = error.advice() {
                say_line(&format!("      {hint}"));
            }
        }
    }

    /// The end: what was left behind is a failure too.
    pub fn end(&mut self, left: Result<()>) {
        self.current = "end".into();
        if let Err(error) = &left {
            self.failed(error);
        }
        let seconds = self.all.elapsed();
        if self.json {
            let mut facts = Map::new();
            facts.insert("steps".into(), json!(self.done));
            self.print(!self.failed, seconds, facts);
        } else if !self.failed {
            say_line(&format!("\nevery step held, in {:.1} s", seconds.as_secs_f64()));
        }
    }

    /// Whether every step held.
    pub fn all_held(&self) -> bool {
        !self.failed
    }

    fn print(&self, ok: bool, seconds: Duration, facts: Map<String, Value>) {
        let mut value = Map::new();
        value.insert("step".into(), json!(self.current));
        value.insert("ok".into(), json!(ok));
        value.insert("seconds".into(), json!((seconds.as_secs_f64() * 1000.0).round() / 1000.0));
        value.extend(facts);
        say_line(&Value::Object(value).to_string());
    }
}

//! Progress bars that tell the truth, on a terminal only.
//!
//! The site does the work and knows how far it is; this asks it a few times a second while the request runs.

use std::{io::IsTerminal as _, time::Duration};

use cofferdam_types::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::{client::Client, output};

const EVERY: Duration = Duration::from_millis(200);

/// A bar on a terminal, nothing elsewhere.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that shows nothing yet.
    pub fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        Self(bar)
    }

    /// Where the work stands. Items are counted, everything else is bytes.
    pub fn stand(&self, phase: &str, done: u64, total: u64, held: u64) {
        let template = if phase.ends_with("(items)") {
            "{msg} {wide_bar} {pos}/{len} {eta}"
        } else {
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
        };
        self.0.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let here = if held > 0 { format!(" ({} here already)", output::bytes(held)) } else { String::new() };
        self.0.set_message(format!("{}{here}", phase.trim_end_matches(" (items)")));
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// A line on a terminal that says what goes on and for how long; nothing elsewhere.
pub struct Spinner(ProgressBar);

impl Spinner {
    /// Begins, with a word about what.
    pub fn new(what: &str) -> Self {
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}");
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(what.to_owned());
        if !bar.is_hidden() {
            bar.enable_steady_tick(EVERY);
        }
        Self(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl cofferdam_transfer::Progress for Bar {
    fn bytes(&self, done: u64, total: u64) {
        self.stand("verifying", done, total, 0);
    }
}

/// Posts `body` and shows how far the site has come until it answers.
///
/// # Errors
/// What the site answered.
pub async fn follow(client: &Client, path: &str, body: &mut Value) -> Result<Value> {
    if !std::io::stderr().is_terminal() {
        return client.post(path, body).await;
    }
    let name = cofferdam_trust::token::generate("op")?.expose().clone();
    body["operation"] = json!(name);
    let bar = Bar::new();
    let work = client.post(path, body);
    tokio::pin!(work);
    let answer = loop {
        tokio::select! {
            answer = &mut work => break answer,
            () = tokio::time::sleep(EVERY) => {
                if let Ok(stand) = client.get(&format!("/api/v1/operations/{name}")).await {
                    let number = |field: &str| stand[field].as_u64().unwrap_or(0);
                    if let Some(phase) = stand["phase"].as_str() {
                        bar.stand(phase, number("done"), number("total"), number("held"));
                    }
                }
            }
        }
    };
    bar.end();
    answer
}

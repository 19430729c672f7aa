//! A bar on a terminal: bytes, rate and time left. Quiet elsewhere.

use std::io::IsTerminal as _;

use cofferdam_station::{Stage, Watch};
use cofferdam_transfer::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// The bar.
pub struct Bar(ProgressBar);

impl Bar {
    /// Shown only if standard error is a terminal.
    pub fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = "{msg} {wide_bar} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
        let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(bar.with_style(style.progress_chars("##-")))
    }

    /// Takes it off the terminal.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn bytes(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Watch for Bar {
    fn stage(&self, stage: Stage) {
        self.0.reset();
        self.0.set_message(match stage {
            Stage::Reading => "reading",
            Stage::Locating => "locating damage",
            Stage::FlatFiles => "reading items",
        });
    }
}

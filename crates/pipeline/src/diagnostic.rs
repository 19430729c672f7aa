//! What is wrong with a pipeline's definition and where. Must never decide that something is wrong.

use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A place in a file, both numbers starting at 1.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// Path of the file inside the project.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Where it is.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to write instead, when that is known.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A mistake without a hint.
    pub fn new(place: &Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic { place: place.clone(), message: message.into(), hint: None }
    }

    /// Says what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }
}

/// Writes mistakes as text, each with its line and a caret; `read` gives a file's text where it is known.
pub fn render(diagnostics: &[Diagnostic], read: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let Place { file, line, column } = &diagnostic.place;
        let _ = writeln!(out, "{file}:{line}:{column}: {}", diagnostic.message);
        let text = read(file);
        if let Some(text) = text.as_deref().and_then(|text| text.lines().nth(line.saturating_sub(1))) {
            let number = line.to_string();
            let pad = " ".repeat(column.saturating_sub(1).min(text.chars().count()));
            let _ = writeln!(out, " {number} | {text}\n {} | {pad}^", " ".repeat(number.len()));
        }
        if let Some(hint) = &diagnostic.hint {
            let _ = writeln!(out, "   = {hint}");
        }
    }
    out
}

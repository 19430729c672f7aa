//! Talking to people and programs: data on standard output, talk on standard error, exit codes.

use std::{io::Write as _, process::ExitCode};

use cofferdam_types::{Error, ErrorKind};
use serde_json::{Value, json};

/// Prints text as it is on standard output. Who has stopped reading (`| head`) is told no more, and nothing fails for it.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The same, as a line.
pub fn say_line(text: &str) {
    say(&format!("{text}\n"));
}

/// Says what went wrong: to people on standard error, to programs as JSON on standard output.
pub fn failed(error: &Error, json: bool) -> ExitCode {
    if json {
        let value =
            json!({ "error": { "code": error.code(), "message": error.message(), "hint": error.advice() } });
        say_line(&value.to_string());
    } else {
        eprintln!("error: {}", error.message());
        if error.kind() == ErrorKind::Internal {
            eprintln!("cause: {}", error.internal_chain());
        }
        if let Some(hint) = error.advice() {
            eprintln!("hint:  {hint}");
        }
    }
    ExitCode::from(error.kind().exit_code())
}

/// Prints an answer: as JSON, or by `text` for people.
pub fn show(value: &Value, json: bool, text: impl FnOnce(&Value) -> String) {
    if json {
        say_line(&value.to_string());
    } else {
        let text = text(value);
        match text.is_empty() || text.ends_with('\n') {
            true => say(&text),
            false => say_line(&text),
        }
    }
}

/// Bytes as people read them.
pub fn bytes(n: u64) -> String {
    match n {
        0..=9_999 => format!("{n} B"),
        10_000..=9_999_999 => format!("{:.1} kB", n as f64 / 1e3),
        10_000_000..=9_999_999_999 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}

/// Columns of text, aligned.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut out = line(head.to_vec());
    for row in rows {
        out.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    out
}

//! `cofferdam doctor`: what this machine can do.

use std::process::{Command, ExitCode};

use cofferdam_types::Result;
use serde_json::json;

use super::Context;
use crate::output;

/// One thing that was tried.
pub struct Check {
    /// What.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do when it does not.
    pub remedy: String,
    /// Whether Cofferdam cannot work without it.
    pub required: bool,
}

/// External programs: name, arguments that print the version, whether it is required, how to get it.
const PROGRAMS: &[(&str, &[&str], bool, &str)] = &[
    ("git", &["--version"], true, "install git with the machine's package manager"),
    ("bash", &["--version"], false, "jobs fall back to sh without it"),
    ("python3", &["--version"], false, "needed for builds with pip: install python3 and python3-venv"),
    ("pip", &["--version"], false, "needed for builds with pip: install python3-pip"),
    ("npm", &["--version"], false, "needed for builds with npm: install nodejs and npm"),
    ("cargo", &["--version"], false, "needed for builds with cargo: install Rust"),
    ("postgres", &["--version"], false, "only for sites that outgrow SQLite: install postgresql"),
];

/// Tries everything.
pub fn checks() -> Vec<Check> {
    let mut out: Vec<Check> = cofferdam_sandbox::probe()
        .into_iter()
        .map(|c| Check {
            name: format!("sandbox: {}", c.name),
            ok: c.ok,
            detail: c.detail.to_string(),
            remedy: c.remedy.unwrap_or_default(),
            required: c.required,
        })
        .collect();
    for (name, arguments, required, remedy) in PROGRAMS {
        let found = Command::new(name).args(*arguments).output().ok().filter(|o| o.status.success());
        let detail = found.as_ref().map_or_else(
            || "not found".to_owned(),
            |o| String::from_utf8_lossy(&o.stdout).lines().next().unwrap_or("").to_owned(),
        );
        out.push(Check {
            name: format!("program: {name}"),
            ok: found.is_some(),
            detail,
            remedy: (*remedy).to_owned(),
            required: *required,
        });
    }
    out
}

/// `cofferdam doctor`.
pub fn run(context: &Context) -> Result<ExitCode> {
    let checks = checks();
    let value: Vec<_> = checks
        .iter()
        .map(|c| json!({ "name": c.name, "ok": c.ok, "detail": c.detail, "remedy": c.remedy, "required": c.required }))
        .collect();
    output::show(&json!({ "checks": value }), context.json, |_| {
        let mut text = String::new();
        for check in &checks {
            let mark = if check.ok {
                "ok     "
            } else if check.required {
                "MISSING"
            } else {
                "absent "
            };
            text.push_str(&format!("{mark}  {:<32} {}\n", check.name, check.detail));
            if !check.ok && !check.remedy.is_empty() {
                text.push_str(&format!("         {:<32} {}\n", "", check.remedy));
            }
        }
        text
    });
    Ok(if checks.iter().all(|c| c.ok || !c.required) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

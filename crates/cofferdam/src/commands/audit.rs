//! `cofferdam audit`: the log can be checked by anybody, offline.

use std::{
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use cofferdam_audit::{Report, Verifier};
use cofferdam_store::Db;
use cofferdam_trust::note::{self, NoteKey};
use cofferdam_types::{Error, Result};
use serde_json::{Value, json};

use super::Context;
use crate::{cli::AuditAction, home::Home, output, site::database};

const PAGE: usize = 1000;

/// Runs one action.
pub async fn run(context: &Context, action: AuditAction) -> Result<()> {
    match action {
        AuditAction::Verify { file: Some(file), note_key } => {
            let key = note_key.ok_or_else(|| {
                Error::invalid("note-key", "an export is checked against the site's note key")
                    .hint("`cofferdam key show` on the site prints it; pass it with --note-key")
            })?;
            show(context, &verify_file(&file, &key.parse()?)?);
        }
        AuditAction::Verify { file: None, .. } => {
            let report = verify(&context.home()?).await?;
            show(context, &report);
        }
        AuditAction::Export { file } => export(context, &file).await?,
        AuditAction::Log { limit } => {
            let (db, _) = open(&context.home()?).await?;
            let mut tx = db.read().await?;
            let rows = tx.audit().latest(i64::MAX as u64, limit).await?;
            drop(tx);
            db.close().await;
            let value: Vec<Value> = rows.iter().filter_map(|r| serde_json::from_str(&r.body).ok()).collect();
            output::show(&json!({ "entries": value }), context.json, |_| {
                let cells = |r: &cofferdam_store::AuditEntryRow| {
                    vec![
                        r.index.to_string(),
                        r.at.to_string(),
                        r.actor.clone(),
                        r.action.clone(),
                        r.target.clone(),
                    ]
                };
                output::table(
                    &["index", "at", "who", "what", "to what"],
                    &rows.iter().map(cells).collect::<Vec<_>>(),
                )
            });
        }
    }
    Ok(())
}

async fn open(home: &Home) -> Result<(Db, NoteKey)> {
    let config = home.config()?;
    let key = NoteKey::new(config.name.as_str(), home.key()?.verifying_key())?;
    Ok((database(home, &config).await?, key))
}

fn show(context: &Context, report: &Report) {
    let value = serde_json::to_value(report).unwrap_or_default();
    output::show(&value, context.json, |_| {
        format!(
            "the audit log holds: {} entries, {} signed checkpoints, {} entries since the last one\n  root {}\n",
            report.entries, report.checkpoints, report.unsigned_tail, report.root
        )
    });
}

/// Texts of notes whose signature holds.
fn texts(notes: &[String], key: &NoteKey) -> Result<Vec<String>> {
    notes.iter().map(|n| note::verify(n, std::slice::from_ref(key)).map(|v| v.text)).collect()
}

/// Checks the log of a state folder, believing nothing but the entries' bytes and the site's key.
///
/// # Errors
/// `VerificationFailed` naming what does not hold.
pub async fn verify(home: &Home) -> Result<Report> {
    let (db, key) = open(home).await?;
    let mut tx = db.read().await?;
    let notes: Vec<String> = tx.audit().checkpoints().await?.into_iter().map(|(_, n)| n).collect();
    let mut verifier = Verifier::new(key.name(), &texts(&notes, &key)?)?;
    let mut next = 0;
    loop {
        let page = cofferdam_audit::entries(&mut tx, next, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for row in &page {
            verifier.entry(row.index, &row.body)?;
        }
        next += page.len() as u64;
    }
    drop(tx);
    db.close().await;
    verifier.finish()
}

/// An export: first a line with every checkpoint, then a line an entry.
async fn export(context: &Context, file: &Path) -> Result<()> {
    let failed = |e| Error::io("writing the export", e);
    let (db, key) = open(&context.home()?).await?;
    let mut tx = db.read().await?;
    let notes: Vec<String> = tx.audit().checkpoints().await?.into_iter().map(|(_, n)| n).collect();
    let temporary = PathBuf::from(format!("{}.part", file.display()));
    let mut out = BufWriter::new(std::fs::File::create(&temporary).map_err(failed)?);
    writeln!(out, "{}", json!({ "origin": key.name(), "checkpoints": notes })).map_err(failed)?;
    let mut count = 0;
    loop {
        let page = cofferdam_audit::entries(&mut tx, count, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for row in &page {
            writeln!(out, "{}", json!({ "index": row.index, "body": row.body })).map_err(failed)?;
        }
        count += page.len() as u64;
    }
    drop(tx);
    db.close().await;
    out.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)?;
    std::fs::rename(&temporary, file).map_err(failed)?;
    output::show(&json!({ "entries": count, "file": file }), context.json, |_| {
        format!("wrote {count} entries to {}\nnote key: {key}\n", file.display())
    });
    Ok(())
}

fn verify_file(file: &Path, key: &NoteKey) -> Result<Report> {
    let failed = |e| Error::io(format!("reading {}", file.display()), e);
    let broken = || Error::verification("audit-export", format!("{} is not an audit export", file.display()));
    let mut lines = BufReader::new(std::fs::File::open(file).map_err(failed)?).lines();
    let head: Value =
        serde_json::from_str(&lines.next().ok_or_else(broken)?.map_err(failed)?).map_err(|_| broken())?;
    let notes: Vec<String> = serde_json::from_value(head["checkpoints"].clone()).map_err(|_| broken())?;
    let mut verifier = Verifier::new(key.name(), &texts(&notes, key)?)?;
    for line in lines {
        let value: Value = serde_json::from_str(&line.map_err(failed)?).map_err(|_| broken())?;
        let (index, body) =
            (value["index"].as_u64().ok_or_else(broken)?, value["body"].as_str().ok_or_else(broken)?);
        verifier.entry(index, body)?;
    }
    verifier.finish()
}

//! `cofferdam pack`, `verify`, `receive`, `transfers`, `approve`, `reject`, `publish`.

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

use cofferdam_transfer::{Trust, freshness, verify as verify_folder};
use cofferdam_trust::VerifyingKey;
use cofferdam_types::{Clock as _, Error, Result, time::SystemClock};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::Context;
use crate::{
    cli::{PackArgs, VoteArgs},
    output,
};

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

/// `cofferdam pack`.
pub async fn pack(context: &Context, arguments: &PackArgs) -> Result<()> {
    let into = std::path::absolute(&arguments.into).map_err(|e| Error::io("finding the medium", e))?;
    let body = json!({
        "destination": arguments.to, "recordings": arguments.recordings, "projects": arguments.projects,
        "into": into, "full": arguments.full,
    });
    let value = context.client()?.post("/api/v1/transfers/pack", &body).await?;
    output::show(&value, context.json, |v| {
        format!(
            "packed transfer {} into {}\n  {} on the medium: {} blobs ({}), {} already there ({})\n  identity {}\n",
            v["id"],
            v["path"].as_str().unwrap_or(""),
            output::bytes(number(v, "bytes")),
            v["blobs"],
            output::bytes(number(v, "blob_bytes")),
            v["held"],
            output::bytes(number(v, "held_bytes")),
            v["header_sha256"].as_str().unwrap_or("")
        )
    });
    Ok(())
}

/// A bar on a terminal, nothing elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style =
            ProgressStyle::with_template("verifying {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }
}

impl cofferdam_transfer::Progress for Bar {
    fn bytes(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

/// `cofferdam verify`: works anywhere, with nothing but public keys.
pub fn verify(context: &Context, folder: &Path, keys: &[String], destination: &str) -> Result<()> {
    let keys = keys.iter().map(|k| k.parse::<VerifyingKey>()).collect::<Result<Vec<_>>>()?;
    let this_site = destination.parse().map_err(|e| Error::invalid("site-name", format!("{e}")))?;
    let trust = Trust { keys, threshold: 1, this_site };
    let bar = Bar::new();
    let verified = verify_folder(folder, &trust, &bar)?;
    bar.0.finish_and_clear();
    let header = &verified.header;
    let value = json!({
        "ok": true, "stream": header.stream, "epoch": header.epoch, "seq": header.seq, "created": header.created,
        "header_sha256": verified.header_sha256, "files": header.files.len() + 1,
        "bytes": header.files.iter().map(|f| f.size).sum::<u64>(), "blobs": verified.blob_list().len(),
        "requires": verified.required().len(),
        "freshness": format!("{:?}", freshness(header, SystemClock.now())),
        "signers": verified.signers.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    output::show(&value, context.json, |v| {
        format!(
            "the transfer is whole and signed: {} number {}, {} blobs, {}\n  identity {}\n",
            header.stream,
            header.seq,
            v["blobs"],
            output::bytes(number(v, "bytes")),
            verified.header_sha256
        )
    });
    Ok(())
}

/// `cofferdam receive`.
pub async fn receive(context: &Context, folder: &Path) -> Result<ExitCode> {
    let folder = std::path::absolute(folder).map_err(|e| Error::io("finding the transfer", e))?;
    let value = context.client()?.post("/api/v1/transfers/receive", &json!({ "path": folder })).await?;
    let sound = value["sound"] == true;
    output::show(&value, context.json, |v| {
        let mut text = format!(
            "received transfer {} from `{}`: {} releases, {} blobs, {}; in quarantine, nobody sees it yet\n",
            v["id"],
            v["source"].as_str().unwrap_or(""),
            v["releases"],
            v["blobs"],
            output::bytes(number(v, "bytes"))
        );
        for refused in v["refused"].as_array().into_iter().flatten() {
            let text_of = |at: usize| refused[at].as_str().unwrap_or("").to_owned();
            text.push_str(&format!("  refused: {} ({})\n", text_of(0), text_of(1)));
        }
        if sound {
            text.push_str(&format!(
                "next: two other people look at it (`cofferdam transfers {0}`) and `cofferdam approve {0}`\n",
                v["id"]
            ));
        }
        text
    });
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

/// `cofferdam transfers`.
pub async fn list(context: &Context, id: Option<i64>) -> Result<()> {
    let client = context.client()?;
    if let Some(id) = id {
        let mut value = client.get(&format!("/api/v1/transfers/{id}")).await?;
        value["difference"] = client.get(&format!("/api/v1/transfers/{id}/difference")).await?;
        output::show(&value, context.json, one);
        return Ok(());
    }
    let value = client.get("/api/v1/transfers").await?;
    output::show(&value, context.json, |v| {
        let rows: Vec<Vec<String>> = v["transfers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|t| {
                let text = |name: &str| t[name].as_str().unwrap_or("").to_owned();
                let votes = t["approval"]["votes"].as_array().map_or(0, Vec::len);
                vec![
                    t["id"].to_string(),
                    text("direction"),
                    text("stream"),
                    t["seq"].to_string(),
                    text("state"),
                    output::bytes(number(t, "bytes")),
                    format!("{votes}/{}", t["approval"]["needed"].as_u64().unwrap_or(0)),
                    text("at"),
                ]
            })
            .collect();
        output::table(&["id", "direction", "stream", "seq", "state", "size", "votes", "at"], &rows)
    });
    Ok(())
}

fn one(value: &Value) -> String {
    let text = |name: &str| value[name].as_str().unwrap_or("").to_owned();
    let mut out = format!(
        "transfer {} ({}): {} number {}, {}\n  identity {}\n  to approve {}\n",
        value["id"],
        text("direction"),
        text("stream"),
        value["seq"],
        text("state"),
        text("header_sha256"),
        text("digest")
    );
    for vote in value["approval"]["votes"].as_array().into_iter().flatten() {
        out.push_str(&format!("  {} said {} {}\n", vote["person"], vote["verdict"], vote["reason"]));
    }
    for (title, name) in [("new", "added"), ("updated", "updated"), ("here already", "known")] {
        for line in value["difference"][name].as_array().into_iter().flatten() {
            let from = line["from"]
                .as_str()
                .filter(|_| name == "updated")
                .map(|f| format!(" (from {f})"))
                .unwrap_or_default();
            out.push_str(&format!(
                "  {title}: {} {} in {}{from}, {}\n",
                line["package"].as_str().unwrap_or(""),
                line["version"].as_str().unwrap_or(""),
                line["repository"].as_str().unwrap_or(""),
                output::bytes(number(line, "size"))
            ));
        }
    }
    for project in value["difference"]["projects"].as_array().into_iter().flatten() {
        out.push_str(&format!("  git: {} {}\n", project[0], project[1]));
    }
    out
}

/// `cofferdam approve` and `reject`.
pub async fn vote(context: &Context, arguments: &VoteArgs, verb: &str) -> Result<()> {
    let client = context.client()?;
    let digest = match &arguments.digest {
        Some(digest) => digest.clone(),
        None => {
            let mut value = client.get(&format!("/api/v1/transfers/{}", arguments.id)).await?;
            value["difference"] =
                client.get(&format!("/api/v1/transfers/{}/difference", arguments.id)).await?;
            eprint!("{}", one(&value));
            confirm(verb)?;
            value["digest"].as_str().unwrap_or_default().to_owned()
        }
    };
    let body = json!({ "digest": digest, "reason": arguments.reason });
    let value = client.post(&format!("/api/v1/transfers/{}/{verb}", arguments.id), &body).await?;
    output::show(&value, context.json, |v| match v["state"].as_str() {
        Some("approved") => format!("approved: `cofferdam publish {}` makes it visible\n", arguments.id),
        Some("rejected") => "rejected: it stays in quarantine and cannot be published\n".into(),
        _ => format!("counted: {} of {}\n", v["yes"], v["needed"]),
    });
    Ok(())
}

/// A person at a terminal says yes to what they see. A program has to name the digest.
fn confirm(verb: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::invalid(
            "digest-needed",
            format!("without a terminal, `{verb}` needs the digest that was looked at"),
        )
        .hint("`cofferdam --json transfers ID` shows it; pass it with --digest"));
    }
    eprint!("{verb} exactly this? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|e| Error::io("reading the answer", e))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Error::invalid("not-confirmed", "nothing was done"))
}

/// `cofferdam publish`.
pub async fn publish(context: &Context, id: i64) -> Result<()> {
    let value = context.client()?.post(&format!("/api/v1/transfers/{id}/publish"), &json!({})).await?;
    output::show(&value, context.json, |v| {
        let mut text = format!("transfer {id} is published\n");
        for generation in v["generations"].as_array().into_iter().flatten() {
            text.push_str(&format!(
                "  {} generation {}\n",
                generation[0].as_str().unwrap_or(""),
                generation[1]
            ));
        }
        for moved in v["beside"].as_array().into_iter().flatten() {
            let text_of = |at: usize| moved[at].as_str().unwrap_or("").to_owned();
            text.push_str(&format!(
                "  {} has gone another way here: what arrived is in {}\n",
                text_of(0),
                text_of(1)
            ));
        }
        text
    });
    Ok(())
}

//! `cofferdam pack`, `receive`, `transfers`, `approve`, `reject`, `publish`.

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use cofferdam_transfer::Profile;
use cofferdam_types::{Error, Result};
use serde_json::{Value, json};

use super::{Context, medium, progress};
use crate::{
    cli::{PackArgs, VoteArgs},
    output,
};

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

/// What `--door` says: nothing for sealed, else a profile.
fn profile(door: &str) -> Result<Option<Profile>> {
    match door {
        "sealed" => Ok(None),
        "inspectable" => Ok(Some(Profile::default())),
        file => {
            let wrong = |why: String| {
                Error::invalid("door", format!("`{file}` is no door: {why}")).hint(
                    "give `sealed`, `inspectable`, or a file with a profile (see the manual, transfers)",
                )
            };
            let text = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
            toml::from_str(&text).map(Some).map_err(|e| wrong(e.to_string()))
        }
    }
}

/// `cofferdam pack`.
pub async fn pack(context: &Context, arguments: &PackArgs) -> Result<()> {
    let into = std::path::absolute(&arguments.into).map_err(|e| Error::io("finding the medium", e))?;
    if !(0.0..=100.0).contains(&arguments.parity) {
        return Err(Error::invalid("parity", "parity is between 0 and 100 per cent"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    let permille = (arguments.parity * 10.0).round() as u32;
    let volume_size = arguments.media.as_deref().map(medium::volume_size).transpose()?;
    let mut body = json!({
        "destinations": arguments.to, "recordings": arguments.recordings, "projects": arguments.projects,
        "into": into, "full": arguments.full, "assume_received": arguments.assume_received,
        "profile": profile(&arguments.door)?, "volume_size": volume_size, "parity_permille": permille,
        "delta": arguments.delta, "new_epoch": arguments.new_epoch, "dry_run": arguments.dry_run,
    });
    let mut value = progress::follow(&context.client()?, "/api/v1/transfers/pack", &mut body).await?;
    if !arguments.dry_run {
        let folder = Path::new(value["path"].as_str().unwrap_or_default());
        // The transfer is whole without its papers: it must not look as if it were not.
        match medium::write_papers(folder, arguments.media.as_deref()) {
            Ok(papers) => {
                value["papers"] =
                    serde_json::to_value(papers).map_err(|e| Error::internal("an answer", e))?;
            }
            Err(error) => eprintln!("warning: no label sheet and no folders for media: {}", error.message()),
        }
    }
    output::show(&value, context.json, |v| packed(v, arguments.dry_run));
    Ok(())
}

fn packed(v: &Value, dry_run: bool) -> String {
    let mut text = if dry_run {
        "this would be packed; nothing was written\n".to_owned()
    } else {
        format!("packed transfer {} into {}\n", v["id"], v["path"].as_str().unwrap_or(""))
    };
    text += &format!(
        "  {} on the medium: {} blobs ({}), {} the receiver holds ({})\n",
        output::bytes(number(v, "bytes")),
        v["blobs"],
        output::bytes(number(v, "blob_bytes")),
        v["held"],
        output::bytes(number(v, "held_bytes")),
    );
    let at = |n: usize| v["delta_bytes"][n].as_u64().unwrap_or(0);
    if number(v, "deltas") > 0 {
        text += &format!(
            "  {} files travel as recipes: {} instead of {}\n",
            v["deltas"],
            output::bytes(at(1)),
            output::bytes(at(0))
        );
    }
    if v["receipt"].is_null() && number(v, "held") == 0 {
        text += "  no receipt has come back yet: everything travels\n";
    }
    if !dry_run {
        text += &format!(
            "  {}, {} volumes and {} of parity\n  identity {}\n",
            v["suite"].as_str().unwrap_or(""),
            v["volumes"][0],
            v["volumes"][1],
            v["header_sha256"].as_str().unwrap_or("")
        );
        text += &format!("  labels and hash list to print: {}\n", v["papers"]["page"].as_str().unwrap_or(""));
        for disc in v["papers"]["discs"].as_array().into_iter().flatten() {
            text += &format!("  for one medium: {}\n", disc.as_str().unwrap_or(""));
        }
        for copy in v["papers"]["to_copy"].as_array().into_iter().flatten() {
            let part = |n: usize| copy[n].as_str().unwrap_or("").to_owned();
            text += &format!("  copy {} to {}\n", part(0), part(1));
        }
    }
    text
}

/// `cofferdam receive`.
pub async fn receive(context: &Context, folders: &[PathBuf], more: Value) -> Result<ExitCode> {
    let absolute =
        |folder: &PathBuf| std::path::absolute(folder).map_err(|e| Error::io("finding the transfer", e));
    let folders = folders.iter().map(absolute).collect::<Result<Vec<_>>>()?;
    let mut body = more;
    body["folders"] = json!(folders);
    let value = progress::follow(&context.client()?, "/api/v1/transfers/receive", &mut body).await?;
    let sound = value["sound"] == true;
    output::show(&value, context.json, received);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn received(v: &Value) -> String {
    if v["again"] == true {
        return format!("transfer {} was received before; nothing was done again\n", v["id"]);
    }
    let mut text = format!(
        "received transfer {} from `{}`: {} releases, {} blobs and {} rebuilt, {}; in quarantine, nobody sees it yet\n",
        v["id"],
        v["source"].as_str().unwrap_or(""),
        v["releases"],
        v["blobs"],
        v["rebuilt"],
        output::bytes(number(v, "bytes"))
    );
    for file in v["mended"].as_array().into_iter().flatten() {
        text.push_str(&format!("  mended: {}\n", file.as_str().unwrap_or("")));
    }
    for (list, word) in [("door", "at the door"), ("refused", "refused")] {
        for line in v[list].as_array().into_iter().flatten() {
            let text_of = |at: usize| line[at].as_str().unwrap_or("").to_owned();
            text.push_str(&format!("  {word}: {} ({})\n", text_of(0), text_of(1)));
        }
    }
    if v["sound"] == true {
        text.push_str(&format!(
            "next: two other people look at it (`cofferdam transfers {0}`) and `cofferdam approve {0}`\n\
             and the sender learns of it by `cofferdam receipt give {0}`\n",
            v["id"]
        ));
    }
    text
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
    for note in value["difference"]["notable"].as_array().into_iter().flatten() {
        out.push_str(&format!("  ! {}\n", note.as_str().unwrap_or("")));
    }
    for rehearsal in value["difference"]["rehearsals"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "  rehearsed: {} ({} packages, {} connections to the outside), says {}\n",
            rehearsal["command"].as_str().unwrap_or(""),
            rehearsal["used"].as_array().map_or(0, Vec::len),
            rehearsal["outside"],
            rehearsal["site"].as_str().unwrap_or("")
        ));
    }
    for (repository, sum) in value["difference"]["sizes"].as_object().into_iter().flatten() {
        out.push_str(&format!(
            "  {repository}: {} releases, {}\n",
            sum[1],
            output::bytes(sum[0].as_u64().unwrap_or(0))
        ));
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
            for proof in line["traits"]["proofs"].as_array().into_iter().flatten() {
                out.push_str(&format!("    {}\n", proof.as_str().unwrap_or("")));
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfers_text_tells_what_upstreams_proofs_say_of_each_release() {
        let line = |name: &str, proofs: Value| json!({ "package": name, "version": "1", "repository": "web", "size": 3, "traits": { "proofs": proofs } });
        let difference = json!({
            "added": [line("ferry", json!(["record 0 is in that tree of 1"])), line("oars", json!([]))],
            "known": [line("keel", json!(["DOES NOT HOLD: the bytes have h1:x"]))],
        });
        let text = one(&json!({ "id": 1, "difference": difference }));
        let lines: Vec<&str> = text.lines().skip_while(|line| !line.contains("ferry")).collect();
        assert_eq!(lines[1], "    record 0 is in that tree of 1", "{text}");
        assert!(lines[2].contains("oars") && lines[3].contains("keel"), "{text}");
        assert_eq!(lines[4], "    DOES NOT HOLD: the bytes have h1:x", "{text}");
    }
}

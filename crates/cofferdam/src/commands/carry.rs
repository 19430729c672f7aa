//! `cofferdam repair`, `receipt`, `want`, `stream`: what mends a crossing, and what travels back.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use cofferdam_transfer::{Authority, Survey, Trust};
use cofferdam_types::{Error, Result};
use cofferdam_web::paper::{self, ReceiptFacts, ReceiptPaper};
use serde_json::{Value, json};

use super::{Context, progress::Bar};
use crate::{
    cli::{MediumAction, ReceiptAction, RepairArgs, StreamAction, WantAction},
    output,
};

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io("finding a folder", e))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| {
        Error::invalid("unreadable", format!("{} cannot be read", path.display())).with_source(e)
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| Error::io(format!("writing {}", path.display()), e))
}

/// `cofferdam repair`.
pub async fn repair(context: &Context, arguments: &RepairArgs) -> Result<()> {
    if let (Some(answer), Some(medium)) = (&arguments.answer, &arguments.medium) {
        let from = arguments.from.as_deref().map(absolute).transpose()?;
        let body = json!({ "request": read(answer)?, "from": from, "into": absolute(medium)? });
        let value = context.client()?.post("/api/v1/repairs/answer", &body).await?;
        output::show(&value, context.json, |v| {
            format!(
                "{} were lost: {} to carry in {}\n",
                output::bytes(v["bytes"][0].as_u64().unwrap_or(0)),
                output::bytes(v["bytes"][1].as_u64().unwrap_or(0)),
                v["folder"].as_str().unwrap_or("")
            )
        });
        return Ok(());
    }
    let folders = arguments.folders.iter().map(|f| absolute(f)).collect::<Result<Vec<_>>>()?;
    if let Some(file) = &arguments.request {
        let value = context.client()?.post("/api/v1/repairs/request", &json!({ "folders": folders })).await?;
        write(file, value["request"].as_str().unwrap_or_default())?;
        output::show(&value, context.json, |v| {
            format!(
                "{} are lost; the request is in {}: carry it to the sender, who answers it with `cofferdam repair --answer`\n",
                output::bytes(v["bytes"].as_u64().unwrap_or(0)),
                file.display()
            )
        });
        return Ok(());
    }
    let Some(into) = &arguments.into else {
        return Err(Error::invalid("repair", "it is not said what to do with the damage").hint(
            "give --into DIR to mend from parity, --request FILE to ask the sender, or --answer FILE",
        ));
    };
    mend(context, &folders, into, &arguments.keys)
}

fn mend(context: &Context, folders: &[PathBuf], into: &Path, keys: &[String]) -> Result<()> {
    let keys = keys.iter().map(|k| k.parse()).collect::<Result<Vec<_>>>()?;
    let trust = Trust { authority: Authority::Keys { keys, threshold: 1 }, this_site: None };
    let paths: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let bar = Bar::new();
    let mut survey = Survey::open(&paths, &trust)?;
    survey.hash(&bar)?;
    if survey.faults().next().is_none() {
        bar.end();
        return Err(Error::conflict("nothing-lost", "nothing is damaged or missing"));
    }
    let mended = survey.repair(&absolute(into)?, &bar);
    bar.end();
    let value = serde_json::to_value(mended?).map_err(|e| Error::internal("an answer", e))?;
    output::show(&value, context.json, |v| {
        let files: Vec<_> = v["files"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!(
            "mended {} into {}\nreceive it together with the medium: cofferdam receive MEDIUM {}\n",
            files.join(", "),
            v["folder"].as_str().unwrap_or(""),
            v["folder"].as_str().unwrap_or("")
        )
    });
    Ok(())
}

/// `cofferdam receipt`.
pub async fn receipt(context: &Context, action: ReceiptAction) -> Result<()> {
    match action {
        ReceiptAction::Give { id, level, file, page } => {
            let path = format!("/api/v1/transfers/{id}/receipt");
            let value = context.client()?.post(&path, &json!({ "level": level })).await?;
            if let Some(file) = file {
                write(&file, value["envelope"].as_str().unwrap_or_default())?;
            }
            if let Some(page) = page {
                write(&page, &receipt_page(&value)?)?;
            }
            output::show(&value, context.json, |v| {
                let mut text = format!(
                    "transfer {} of `{}` is {}; read these lines to the sender, or carry the file:\n",
                    v["receipt"]["transfer"]["seq"],
                    v["receipt"]["transfer"]["stream"].as_str().unwrap_or(""),
                    v["receipt"]["outcome"].as_str().unwrap_or("")
                );
                for line in v["words"].as_array().into_iter().flatten() {
                    text.push_str(&format!("  {}\n", line.as_str().unwrap_or("")));
                }
                text
            });
        }
        ReceiptAction::Take { file } => {
            let text = match file {
                Some(file) => read(&file)?,
                None => {
                    let mut text = String::new();
                    std::io::stdin()
                        .read_to_string(&mut text)
                        .map_err(|e| Error::io("reading the receipt", e))?;
                    text
                }
            };
            let value = context.client()?.post("/api/v1/receipts", &json!({ "text": text })).await?;
            output::show(&value, context.json, |v| {
                let mut text = format!(
                    "transfer {} is {} there: {} more blobs are known to be held\n",
                    v["transfer"],
                    v["outcome"].as_str().unwrap_or(""),
                    v["proved"]
                );
                for warning in v["warnings"].as_array().into_iter().flatten() {
                    text.push_str(&format!("warning: {}\n", warning.as_str().unwrap_or("")));
                }
                text
            });
        }
    }
    Ok(())
}

/// A page to print: the same words, and a QR code of the compact form.
fn receipt_page(value: &Value) -> Result<String> {
    let words = value["words"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (receipt, transfer) = (&value["receipt"], &value["receipt"]["transfer"]);
    let facts = ReceiptFacts {
        site: text(&receipt["site"]),
        stream: text(&transfer["stream"]),
        epoch: transfer["epoch"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default(),
        seq: transfer["seq"].as_u64().unwrap_or_default(),
        outcome: text(&receipt["outcome"]),
        at: text(&receipt["at"]),
        identity: text(&transfer["headerSha256"]),
        held: receipt["inventory"]["count"].as_u64(),
    };
    let words = words.map(text).collect();
    paper::receipt_page(&ReceiptPaper::of(&facts, words, value["compact"].as_str().unwrap_or_default()))
}

/// `cofferdam want`.
pub async fn want(context: &Context, action: WantAction) -> Result<()> {
    let client = context.client()?;
    match action {
        WantAction::Add { format, package, release: version, note } => {
            let body = json!({ "format": format, "package": package, "version": version, "note": note });
            let value = client.post("/api/v1/wants", &body).await?;
            output::show(&value, context.json, |_| {
                format!(
                    "noted: {format} {package} {version}\nit travels with the next `cofferdam want request`\n"
                )
            });
        }
        WantAction::List => {
            let value = client.get("/api/v1/wants").await?;
            output::show(&value, context.json, |v| {
                let row = |w: &Value| {
                    let text = |name: &str| w[name].as_str().unwrap_or("").to_owned();
                    vec![
                        text("site"),
                        text("format"),
                        text("package"),
                        text("version"),
                        w["asked"].to_string(),
                        text("state"),
                        w["transfer"].as_i64().map_or_else(String::new, |id| id.to_string()),
                        text("note"),
                    ]
                };
                let rows: Vec<_> = v["wants"].as_array().into_iter().flatten().map(row).collect();
                output::table(
                    &["site", "format", "package", "version", "asked", "state", "transfer", "note"],
                    &rows,
                )
            });
        }
        WantAction::Request { file } => {
            let value = client.post("/api/v1/wants/request", &json!({})).await?;
            write(&file, value["request"].as_str().unwrap_or_default())?;
            output::show(&value, context.json, |v| {
                format!("{} wants are in {}: carry it to the connected site\n", v["items"], file.display())
            });
        }
        WantAction::Take { file } => {
            let value = client.post("/api/v1/wants/take", &json!({ "text": read(&file)? })).await?;
            output::show(&value, context.json, |v| {
                format!(
                    "{} wants of `{}` are listed here now: `cofferdam want list`\n",
                    v["items"],
                    v["site"].as_str().unwrap_or("")
                )
            });
        }
    }
    Ok(())
}

/// `cofferdam medium`.
pub async fn medium(context: &Context, action: MediumAction) -> Result<()> {
    let client = context.client()?;
    match action {
        MediumAction::List => {
            let value = client.get("/api/v1/media").await?;
            output::show(&value, context.json, |v| {
                let row = |m: &Value| {
                    let text = |name: &str| m[name].as_str().unwrap_or("").to_owned();
                    vec![
                        text("serial"),
                        m["transfer"].to_string(),
                        text("state"),
                        text("holder"),
                        text("at"),
                        text("label"),
                    ]
                };
                let rows: Vec<_> = v["media"].as_array().into_iter().flatten().map(row).collect();
                output::table(&["serial", "transfer", "state", "holder", "since", "label"], &rows)
            });
        }
        MediumAction::Move { serial, state, holder, transfer, label, files } => {
            let files = (!files.is_empty()).then_some(files);
            let body = json!({
                "serial": serial, "state": state, "holder": holder, "transfer": transfer, "label": label, "files": files,
            });
            let value = client.post("/api/v1/media", &body).await?;
            output::show(&value, context.json, |_| format!("{serial} is {state}, with {holder}\n"));
        }
    }
    Ok(())
}

/// `cofferdam stream`.
pub async fn stream(context: &Context, action: StreamAction) -> Result<()> {
    let client = context.client()?;
    match action {
        StreamAction::List => {
            let value = client.get("/api/v1/streams").await?;
            output::show(&value, context.json, |v| {
                let row = |s: &Value| {
                    let text = |name: &str| s[name].as_str().unwrap_or("").to_owned();
                    vec![text("stream"), text("at"), text("reason")]
                };
                let rows: Vec<_> = v["frozen"].as_array().into_iter().flatten().map(row).collect();
                output::table(&["stream", "since", "reason"], &rows)
            });
        }
        StreamAction::Thaw { stream, reason } => {
            let body = json!({ "stream": stream, "reason": reason });
            let value = client.post("/api/v1/streams/thaw", &body).await?;
            output::show(&value, context.json, |_| format!("transfers of `{stream}` are taken again\n"));
        }
    }
    Ok(())
}

//! `cofferdam key`: this site's keys, and those it believes.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use cofferdam_trust::{
    Envelope, SigningKey, VerifyingKey,
    note::NoteKey,
    root::{Role, RoleKeys, Root, RootKey},
};
use cofferdam_types::{Clock as _, Error, Result, time::SystemClock};
use serde_json::{Value, json};

use super::Context;
use crate::{
    cli::{KeyAction, RootArgs},
    output,
};

/// Runs one action.
pub async fn run(context: &Context, action: KeyAction) -> Result<()> {
    match action {
        KeyAction::Show => {
            let home = context.home()?;
            let (config, key) = (home.config()?, home.key()?);
            let public = key.verifying_key();
            let recipient = home.sealing_key()?.recipient();
            let note = NoteKey::new(config.name.as_str(), public)?;
            let value = json!({
                "site": config.name, "key": public.to_string(), "key_id": public.id().to_string(),
                "recipient": recipient.to_string(),
                "note_key": note.to_string(), "pem": public.to_pem(),
            });
            output::show(&value, context.json, |_| {
                format!(
                    "site      {}\nkey       {public}\nkey id    {}\nrecipient {recipient}\nnote key  {note}\n{}",
                    config.name,
                    public.id(),
                    public.to_pem()
                )
            });
            Ok(())
        }
        KeyAction::List => {
            let value = context.client()?.get("/api/v1/keys").await?;
            output::show(&value, context.json, sites_text);
            Ok(())
        }
        KeyAction::Forget { of: site, key } => {
            let body = json!({ "site": site, "key": key });
            let value = context.client()?.post("/api/v1/keys/forget", &body).await?;
            output::show(&value, context.json, |_| format!("forgot {key} of `{site}`\n"));
            Ok(())
        }
        KeyAction::Trust { sender: site, key } => {
            let body = json!({ "site": site, "key": key });
            let value = context.client()?.post("/api/v1/keys", &body).await?;
            output::show(&value, context.json, |v| {
                format!("transfers of `{site}` signed with {} are believed\n", v["key_id"])
            });
            Ok(())
        }
        KeyAction::Recipient { receiver: site, recipient } => {
            let body = json!({ "site": site, "recipient": recipient });
            let value = context.client()?.post("/api/v1/keys/recipient", &body).await?;
            output::show(&value, context.json, |_| {
                format!("transfers for `{site}` are sealed to {recipient}\n")
            });
            Ok(())
        }
        KeyAction::New { file } => {
            let key = SigningKey::generate()?;
            key.write_new(&file)?;
            let public = key.verifying_key();
            let value = json!({ "file": file, "key": public.to_string(), "key_id": public.id().to_string() });
            output::show(&value, context.json, |_| format!("wrote {}\nkey       {public}\n", file.display()));
            Ok(())
        }
        KeyAction::Root(arguments) => make_root(context, &arguments),
        KeyAction::SignRoot { file, key } => {
            let key = SigningKey::read(&key)?;
            let mut envelope = read_root(&file)?;
            envelope.add_signature(&key)?;
            write_root(context, &file, &envelope, false)
        }
        KeyAction::TrustRoot { sender: site, file, fingerprint } => {
            let body = json!({ "site": site, "root": read_root(&file)?, "fingerprint": fingerprint });
            let value = context.client()?.post("/api/v1/keys/root", &body).await?;
            output::show(&value, context.json, |v| {
                format!("transfers of `{site}` are believed by its root version {}\n", v["version"])
            });
            Ok(())
        }
    }
}

fn sites_text(value: &Value) -> String {
    let sites = value["sites"].as_array().map_or(&[][..], Vec::as_slice);
    if sites.is_empty() {
        return "no other site is known yet: `cofferdam key trust SITE KEY` and `cofferdam key recipient SITE \
                RECIPIENT`, with what `cofferdam key show` prints there\n"
            .to_owned();
    }
    let mut text = String::new();
    for site in sites {
        let name = site["site"].as_str().unwrap_or_default();
        let mut line = |what: &str, said: &str| text.push_str(&format!("{name}  {what:<10}{said}\n"));
        for (list, what) in [("keys", "believed"), ("recipients", "seal to")] {
            for key in site[list].as_array().into_iter().flatten() {
                line(what, key.as_str().unwrap_or_default());
            }
        }
        if let Some(root) = site["root"].as_object() {
            let end = root["expires"].as_str().unwrap_or_default();
            let over = if root["expired"] == true { "EXPIRED" } else { "good until" };
            line("root", &format!("version {}, {over} {end}, {}", root["version"], root["fingerprint"]));
        }
    }
    text
}

fn read_root(file: &Path) -> Result<Envelope> {
    let json = fs::read(file).map_err(|e| {
        Error::invalid("unreadable", format!("{} cannot be read", file.display())).with_source(e)
    })?;
    Envelope::from_json(json.trim_ascii())
}

/// Writes a root document; a new one must not replace another.
fn write_root(context: &Context, file: &Path, envelope: &Envelope, new: bool) -> Result<()> {
    if new && file.exists() {
        return Err(Error::conflict("file-exists", format!("{} is already there", file.display())));
    }
    fs::write(file, envelope.to_json()?).map_err(|e| Error::io("writing the root document", e))?;
    let root = Root::read_unverified(envelope)?;
    let fingerprint = root.fingerprint()?;
    let value = json!({
        "file": file, "version": root.version, "fingerprint": fingerprint, "signatures": envelope.signatures.len(),
        "expires": root.expires, "not_asked_for": root.unconsulted().collect::<Vec<_>>(),
    });
    output::show(&value, context.json, |_| {
        let words = cofferdam_trust::words::encode(&fingerprint.0).join("\n  ");
        let unasked: String = root
            .unconsulted()
            .map(|role| format!("the role {role} is written down, and nothing asks for its signature yet\n"))
            .collect();
        format!(
            "root version {} with {} signatures in {}\nfingerprint {fingerprint}\nread aloud:\n  {words}\n{unasked}",
            root.version,
            envelope.signatures.len(),
            file.display()
        )
    });
    Ok(())
}

fn make_root(context: &Context, arguments: &RootArgs) -> Result<()> {
    let before =
        arguments.after.as_deref().map(|file| Root::read_unverified(&read_root(file)?)).transpose()?;
    let now = SystemClock.now();
    let mut root = Root {
        version: before.map_or(1, |root| root.version + 1),
        issued: now,
        expires: now.plus(Duration::from_secs(arguments.days * 24 * 3600)),
        distinct_persons: arguments.distinct_persons,
        keys: BTreeMap::new(),
        roles: BTreeMap::new(),
    };
    for holder in &arguments.holders {
        let wrong = || {
            Error::invalid("holder", format!("`{holder}` does not say who holds which role"))
                .hint("write ROLE=PERSON:KEY, such as releaser=olga:cofferdam-ed25519:…")
        };
        let (role, rest) = holder.split_once('=').ok_or_else(wrong)?;
        let (person, key) = rest.split_once(':').ok_or_else(wrong)?;
        let (role, key) = (role.parse::<Role>()?, key.parse::<VerifyingKey>()?);
        root.keys.insert(key.id(), RootKey { key, person: person.to_owned() });
        let own =
            root.roles.entry(role).or_insert_with(|| RoleKeys { keys: Default::default(), threshold: 1 });
        own.keys.insert(key.id());
    }
    for threshold in &arguments.thresholds {
        let wrong = || {
            Error::invalid("threshold", format!("`{threshold}` is no threshold of a role"))
                .hint("write ROLE=N")
        };
        let (role, n) = threshold.split_once('=').ok_or_else(wrong)?;
        let own = root.roles.get_mut(&role.parse::<Role>()?).ok_or_else(wrong)?;
        own.threshold = n.parse().map_err(|_| wrong())?;
    }
    root.check()?;
    let envelope = root.sign(&[])?;
    write_root(context, &arguments.file, &envelope, true)
}

//! `cofferdam key`: this site's keys, and those it believes.

use cofferdam_trust::note::NoteKey;
use cofferdam_types::Result;
use serde_json::json;

use super::Context;
use crate::{cli::KeyAction, output};

/// Runs one action.
pub async fn run(context: &Context, action: KeyAction) -> Result<()> {
    match action {
        KeyAction::Show => {
            let home = context.home()?;
            let (config, key) = (home.config()?, home.key()?);
            let public = key.verifying_key();
            let note = NoteKey::new(config.name.as_str(), public)?;
            let value = json!({
                "site": config.name, "key": public.to_string(), "key_id": public.id().to_string(),
                "note_key": note.to_string(), "pem": public.to_pem(),
            });
            output::show(&value, context.json, |_| {
                format!(
                    "site      {}\nkey       {public}\nkey id    {}\nnote key  {note}\n{}",
                    config.name,
                    public.id(),
                    public.to_pem()
                )
            });
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
    }
}

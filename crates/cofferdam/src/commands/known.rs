//! What a rehearsal needs to know of its recording: it stays with the person who made it, readable by them alone, for
//! the replay token is a secret.

use std::path::{Path, PathBuf};

use cofferdam_runner::write_private;
use cofferdam_types::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Context, record::Session};

/// A recording that was made here.
#[derive(Serialize, Deserialize)]
pub struct Known {
    /// Its number at the site.
    pub id: i64,
    /// The token that replays it.
    pub replay_token: String,
    /// The folder that is built.
    pub folder: PathBuf,
    /// The command.
    pub command: Vec<String>,
}

impl Known {
    /// What is known here of a recording.
    ///
    /// # Errors
    /// `NotFound` when this person has not recorded it here.
    pub fn recall(context: &Context, name: &str) -> Result<Self> {
        let text = std::fs::read_to_string(place(context, name)?).map_err(|_| {
            Error::not_found(format!("nothing is known here of a recording `{name}`"))
                .hint("rehearse as the person who recorded, with the same --home")
        })?;
        serde_json::from_str(&text).map_err(|e| Error::internal("reading what is known of the recording", e))
    }

    /// The names of all of them.
    ///
    /// # Errors
    /// `Internal` when the folder cannot be read.
    pub fn names(context: &Context) -> Result<Vec<String>> {
        let folder = context.home()?.path().join("recordings");
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("finding the recordings", error)),
        };
        let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }
}

/// Remembers a recording that was begun.
///
/// # Errors
/// `Invalid` for a name that is no file's.
pub fn remember(
    context: &Context,
    name: &str,
    folder: &Path,
    command: &[String],
    session: &Session,
) -> Result<()> {
    let path = place(context, name)?;
    let failed = |e| Error::io("remembering the recording", e);
    let known = Known {
        id: session.id,
        replay_token: session.replay.expose().clone(),
        folder: std::path::absolute(folder).map_err(failed)?,
        command: command.to_owned(),
    };
    let text = serde_json::to_string(&known).map_err(|e| Error::internal("remembering the recording", e))?;
    write_private(&path, &text)
}

fn place(context: &Context, name: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(plain) || name.starts_with('.') {
        let text = format!("`{name}` is not a usable name: letters, digits, - _ .");
        return Err(Error::invalid("recording-name", text));
    }
    Ok(context.home()?.path().join("recordings").join(format!("{name}.json")))
}

//! Feeds of advisories: files of this machine, and addresses, which are fetched through the site in the name of a recording
//! of their own, so that they are kept and can be packed.
//!
//! No feed's address is built in: a plain ecosystem word needs the base that the person sets.

use std::{collections::BTreeSet, path::PathBuf};

use cofferdam_crossing::Observed;
use cofferdam_lockfiles::Ecosystem;
use cofferdam_scan::{Bounds, Index, ecosystem_of};
use cofferdam_types::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use super::{fetch::follow, resolve::web_path};
use crate::{
    client::Client,
    commands::{mentions::mentions_of, record::Session},
};

/// Where the feeds of ecosystems are: an address or a folder, with `{ecosystem}` or without.
const BASE: &str = "COFFERDAM_ADVISORIES";
/// The recording that keeps fetched feeds.
const RECORDING: &str = "advisories";

/// Feeds that were read.
#[derive(Default)]
pub struct Advisories {
    /// What they say.
    pub index: Index,
    /// What was read of each.
    pub feeds: Vec<Value>,
    done: BTreeSet<String>,
}

impl Advisories {
    /// Reads feeds by path, address or ecosystem.
    ///
    /// # Errors
    /// What is wrong with one of them; what the site answered.
    pub async fn of(client: &Client, named: &[String]) -> Result<Self> {
        let mut all = Self::default();
        all.more(client, named).await?;
        Ok(all)
    }

    /// Reads more of them; what was read already is not read again.
    ///
    /// # Errors
    /// What is wrong with one of them; what the site answered.
    pub async fn more(&mut self, client: &Client, named: &[String]) -> Result<()> {
        let mut session = None;
        let done = self.read(client, named, &mut session).await;
        // Also when one could not be had: a recording that nobody ends would stand there as one that goes on.
        if let Some(session) = session {
            let body = json!({
                "exit_code": i32::from(done.is_err()), "listed": true, "observed": Observed::default(), "mentions": [],
            });
            let ended = client.post(&format!("/api/v1/recordings/{}/end", session.id), &body).await;
            return done.and(ended.map(drop));
        }
        done
    }

    /// The first that is an address begins a session.
    async fn read(&mut self, client: &Client, named: &[String], session: &mut Option<Session>) -> Result<()> {
        for name in named {
            let place = place(name)?;
            if !self.done.insert(place.clone()) {
                continue;
            }
            if !is_address(&place) {
                self.load(&place, PathBuf::from(&place).as_path())?;
                continue;
            }
            if session.is_none() {
                let command = ["collect", "--advisories", &place].map(str::to_owned);
                *session = Some(Session::start(client, RECORDING, &command).await?);
            }
            let Some(session) = &session else { continue };
            let file = fetch(client, session, &place).await?;
            self.load(&place, file.path())?;
        }
        Ok(())
    }

    fn load(&mut self, place: &str, path: &std::path::Path) -> Result<()> {
        let loaded = self.index.load_as(place, path, &Bounds::default())?;
        if loaded.unread > 0 {
            let first = loaded.unread_named.first().map(|(place, why)| format!("{place}: {why}"));
            eprintln!(
                "{} records of {place} could not be read: {}",
                loaded.unread,
                first.unwrap_or_default()
            );
        }
        let mut value = serde_json::to_value(&loaded).map_err(|e| Error::internal("a feed's numbers", e))?;
        value["feed"] = json!(place);
        self.feeds.push(value);
        Ok(())
    }

    /// Whether any feed was read.
    pub fn any(&self) -> bool {
        !self.feeds.is_empty()
    }
}

/// The feeds that a folder's `cofferdam.want` lists, as ecosystem words.
///
/// # Errors
/// `Internal` when the folder cannot be read.
pub fn wanted(folder: &std::path::Path) -> Result<Vec<String>> {
    let listed = mentions_of(folder)?.listed.into_iter().map(|(_, item)| item);
    Ok(listed.filter(|item| item.ecosystem == Ecosystem::Advisories).map(|item| item.name).collect())
}

/// The address or path of the feed of an ecosystem (a lock file's word for it).
///
/// # Errors
/// `Invalid` when no base is set, saying what to set.
pub fn feed_of(word: &str) -> Result<String> {
    feed_below(std::env::var(BASE).ok().as_deref(), word)
}

fn feed_below(base: Option<&str>, word: &str) -> Result<String> {
    let Some(ecosystem) = ecosystem_of(word) else {
        return Err(Error::invalid(
            "no-feed",
            format!("there are no advisories of `{word}` that this program judges"),
        ));
    };
    let Some(base) = base.filter(|base| !base.is_empty()) else {
        let text = format!("nobody said where the advisories of {word} are");
        return Err(Error::invalid("no-feed", text).hint(format!(
            "set {BASE} to the address or folder below which {ecosystem}/all.zip is, in the OSV schema; or name a feed \
             with --advisories"
        )));
    };
    if base.contains("{ecosystem}") {
        return Ok(base.replace("{ecosystem}", ecosystem));
    }
    Ok(format!("{}/{ecosystem}/all.zip", base.trim_end_matches('/')))
}

/// An address or a path; an ecosystem's word is looked up, unless a file is called so.
fn place(name: &str) -> Result<String> {
    let is_word = !name.contains(['/', '.']) && name.parse::<Ecosystem>().is_ok();
    if is_word && !std::path::Path::new(name).exists() { feed_of(name) } else { Ok(name.to_owned()) }
}

fn is_address(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

/// Fetches a feed through the site into a file that removes itself.
async fn fetch(client: &Client, session: &Session, address: &str) -> Result<tempfile::NamedTempFile> {
    use std::io::Write as _;
    let setups = client.setups(None, "").await?;
    let web = setups.iter().find(|s| s.format == "web").map_or("web", |s| s.repository.as_str());
    let path = web_path(web, address)
        .ok_or_else(|| Error::invalid("no-feed", format!("`{address}` is no address of HTTP or HTTPS")))?;
    let failed = |e| Error::io("keeping a feed for a moment", e);
    // Some records of one file are told apart by how it is called.
    let end = address.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, end)| end);
    let suffix = if end == "jsonl" || end == "ndjson" { format!(".{end}") } else { String::new() };
    let mut file = tempfile::Builder::new().suffix(&suffix).tempfile().map_err(failed)?;
    let recorder = client.named(&session.record);
    let (_, mut body) = follow(&recorder, &path, None, None).await?;
    if !body.status().is_success() {
        let text = format!("{address} answers {}", body.status().as_u16());
        return Err(Error::new(ErrorKind::Unavailable, "upstream-status", text)
            .hint("name the address of a feed in the OSV schema"));
    }
    while let Some(chunk) = recorder.chunk(&mut body).await? {
        file.write_all(&chunk).map_err(failed)?;
    }
    file.flush().map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ecosystems_feed_is_below_the_base_that_a_person_sets() {
        let below = |base, word| feed_below(Some(base), word).unwrap();
        assert_eq!(below("https://feeds.example/osv/", "pypi"), "https://feeds.example/osv/PyPI/all.zip");
        assert_eq!(below("/srv/{ecosystem}.jsonl", "cargo"), "/srv/crates.io.jsonl");
        let error = feed_below(None, "npm").unwrap_err();
        assert!(error.advice().unwrap().contains("COFFERDAM_ADVISORIES"), "{error:?}");
        assert_eq!(feed_below(Some("x"), "deb").unwrap_err().code(), "no-feed");
    }
}

//! Other sites: whose signatures count, for whom to seal, and what was seen of their streams.
//!
//! The *ledger* is a text file beside the database: one line for each transfer that was taken in. A database
//! that is older than the ledger was restored from a backup, and forgotten transfers could be played again.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
};

use cofferdam_transfer::{Authority, Header, Trust};
use cofferdam_trust::{Envelope, VerifyingKey, age::Recipient, root::Root};
use cofferdam_types::{Error, Result, Sha256, SiteName, Timestamp};
use serde_json::json;

use crate::{Crossing, log};

/// In the ledger, behind a stream's name: what stands above no longer counts.
const THAWED: &str = "thawed";

/// What this site knows of another one.
#[derive(Clone, Debug, serde::Serialize)]
pub struct KnownSite {
    /// Its name.
    pub site: String,
    /// Its keys that are believed, unless there is a root.
    pub keys: Vec<String>,
    /// For whom transfers to it are sealed.
    pub recipients: Vec<String>,
    /// The newest root document that says whose signatures count.
    pub root: Option<KnownRoot>,
}

impl KnownSite {
    fn named(name: &str) -> Self {
        Self { site: name.to_owned(), keys: Vec::new(), recipients: Vec::new(), root: None }
    }
}

/// A root document that is believed.
#[derive(Clone, Debug, serde::Serialize)]
pub struct KnownRoot {
    /// Rises by one with each rotation.
    pub version: u64,
    /// SHA-256 of the document, to read aloud.
    pub fingerprint: Sha256,
    /// Its last moment.
    pub expires: Timestamp,
    /// Whether that has passed: nothing it vouches for is taken without a person's reason.
    pub expired: bool,
}

impl Crossing {
    /// Believes transfers that are signed with `key` when they say that they come from `site`.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn trust_key(&self, site: &SiteName, key: &VerifyingKey, actor: &str) -> Result<()> {
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        tx.crossing().trust(site.as_str(), &key.to_string(), actor, now).await?;
        let detail = json!({ "key": key.to_string(), "key_id": key.id().to_string() });
        log(&mut tx, actor, "key.trust", &format!("site:{site}"), detail, now).await?;
        tx.commit().await
    }

    /// Seals transfers for `site` to this key of it.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn add_recipient(&self, site: &SiteName, recipient: &Recipient, actor: &str) -> Result<()> {
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        tx.carry().add_recipient(site.as_str(), &recipient.to_string(), actor, now).await?;
        let detail = json!({ "recipient": recipient.to_string() });
        log(&mut tx, actor, "key.recipient", &format!("site:{site}"), detail, now).await?;
        tx.commit().await
    }

    /// Everything that is believed about other sites, and to whom it is sealed for them.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn known_sites(&self) -> Result<Vec<KnownSite>> {
        let mut tx = self.db().read().await?;
        let keys = tx.crossing().trusted().await?;
        let (recipients, rooted) = (tx.carry().recipients().await?, tx.carry().root_sites().await?);
        drop(tx);
        let mut sites: BTreeMap<String, KnownSite> = BTreeMap::new();
        let mut of = |name: &str, change: &dyn Fn(&mut KnownSite)| {
            change(sites.entry(name.to_owned()).or_insert_with(|| KnownSite::named(name)));
        };
        for (name, key) in &keys {
            of(name, &|site| site.keys.push(key.clone()));
        }
        for (name, recipient) in &recipients {
            of(name, &|site| site.recipients.push(recipient.clone()));
        }
        let now = self.now_at_least().await?;
        for name in &rooted {
            let site =
                name.parse::<SiteName>().map_err(|e| Error::internal("a site's name in the database", e))?;
            if let Some(root) = self.root_of(&site).await? {
                let known = KnownRoot {
                    version: root.version,
                    fingerprint: root.fingerprint()?,
                    expires: root.expires,
                    expired: root.expired(now),
                };
                of(name, &|site| site.root = Some(known.clone()));
            }
        }
        Ok(sites.into_values().collect())
    }

    /// Believes a key of `site` no more, seals to a recipient of it no more, or believes none of its root
    /// documents: `key` is a public key, a recipient, or `root`.
    ///
    /// # Errors
    /// `Invalid` when `key` is none of them; `NotFound` when this site did not know it.
    pub async fn forget_key(&self, site: &SiteName, key: &str, actor: &str) -> Result<()> {
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        let (known, what) = if key == "root" {
            (tx.carry().remove_roots(site.as_str()).await?, "root")
        } else if key.starts_with("age1") {
            let recipient: Recipient = key.parse()?;
            (tx.carry().remove_recipient(site.as_str(), &recipient.to_string()).await?, "recipient")
        } else {
            let key: VerifyingKey = key.parse()?;
            (tx.crossing().distrust(site.as_str(), &key.to_string()).await?, "key")
        };
        if !known {
            return Err(Error::not_found(format!("this site knows no such {what} of `{site}`"))
                .hint("`cofferdam key list` shows what it knows"));
        }
        log(&mut tx, actor, "key.forget", &format!("site:{site}"), json!({ what: key }), now).await?;
        tx.commit().await
    }

    /// This clock, or the newest date that was signed by somebody who is believed, if that is later: an isolated
    /// clock that stands still or was set back makes nothing young again.
    pub(crate) async fn now_at_least(&self) -> Result<Timestamp> {
        let floor = self.db().read().await?.carry().time_floor().await?;
        let now = self.clock().now();
        Ok(floor.map_or(now, |floor| Timestamp(floor.0.max(now.0))))
    }

    /// Believes a site's first root document, because a person compared its fingerprint; or its next one.
    ///
    /// # Errors
    /// `VerificationFailed` as the trust root says.
    pub async fn trust_root(
        &self,
        site: &SiteName,
        envelope: &Envelope,
        fingerprint: Option<Sha256>,
        actor: &str,
    ) -> Result<Root> {
        let root = match (self.root_of(site).await?, fingerprint) {
            (Some(current), _) => Root::rotate(&current, envelope)?,
            (None, Some(fingerprint)) => Root::first(envelope, fingerprint)?,
            (None, None) => {
                return Err(Error::invalid("root-fingerprint", "the first root needs its fingerprint").hint(
                    "ask the person who made the root to read it aloud, and give it with --fingerprint",
                ));
            }
        };
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        let text = text_of(envelope)?;
        tx.carry().add_root(site.as_str(), root.version, &text, actor, now).await?;
        let detail = json!({ "version": root.version, "fingerprint": root.fingerprint()? });
        log(&mut tx, actor, "root.trust", &format!("site:{site}"), detail, now).await?;
        tx.commit().await?;
        Ok(root)
    }

    /// The newest root that is believed for a site.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn root_of(&self, site: &SiteName) -> Result<Option<Root>> {
        let rows = self.db().read().await?.carry().roots(site.as_str()).await?;
        let Some((_, text)) = rows.last() else { return Ok(None) };
        Root::read_unverified(&Envelope::from_json(text.as_bytes())?).map(Some)
    }

    /// Every root of this site's own that its receivers may lack: version and envelope.
    pub(crate) async fn own_roots(&self) -> Result<Vec<(u32, Vec<u8>)>> {
        let rows = self.db().read().await?.carry().roots(self.0.site.as_str()).await?;
        let link = |(version, text): (u64, String)| Some((u32::try_from(version).ok()?, text.into_bytes()));
        Ok(rows.into_iter().filter_map(link).collect())
    }

    /// Whom this site believes about transfers from `source`.
    ///
    /// # Errors
    /// `VerificationFailed` (`no-trusted-key`) when nobody is trusted for it.
    pub async fn trust_in(&self, source: &SiteName) -> Result<Trust> {
        let this_site = Some(self.0.site.clone());
        if let Some(root) = self.root_of(source).await? {
            return Ok(Trust { authority: Authority::Root(Box::new(root)), this_site });
        }
        let keys = self.keys_of(source).await?;
        if keys.is_empty() {
            let text = format!("this site does not believe anybody about transfers from `{source}` yet");
            return Err(Error::verification("no-trusted-key", text)
                .hint("compare the sender's key by phone or on paper, then `cofferdam key trust SITE KEY`"));
        }
        Ok(Trust { authority: Authority::Keys { keys, threshold: 1 }, this_site })
    }

    /// The single keys that are trusted for a site.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn keys_of(&self, site: &SiteName) -> Result<Vec<VerifyingKey>> {
        let rows = self.db().read().await?.crossing().trusted().await?;
        Ok(rows
            .iter()
            .filter(|(name, _)| name == site.as_str())
            .filter_map(|(_, key)| key.parse().ok())
            .collect())
    }

    /// For whom a transfer to `site` is sealed: that site's keys. The caller adds this site's own, so that the
    /// sender can answer questions about what it sent.
    ///
    /// # Errors
    /// `Conflict` (`no-recipient`) when none is known.
    pub(crate) async fn recipients_for(&self, site: &SiteName) -> Result<Vec<Recipient>> {
        let rows = self.db().read().await?.carry().recipients().await?;
        let theirs: Vec<Recipient> = rows
            .iter()
            .filter(|(name, _)| name == site.as_str())
            .filter_map(|(_, key)| key.parse().ok())
            .collect();
        if theirs.is_empty() {
            let text = format!("no key is known to seal transfers for `{site}` to");
            return Err(Error::conflict("no-recipient", text).hint(format!(
                "run `cofferdam key show` at `{site}` and here `cofferdam key recipient {site} age1…`; \
                 or pack with --door inspectable, which encrypts nothing"
            )));
        }
        Ok(theirs)
    }

    /// Every stream from which nothing is taken: name, reason, since when.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn frozen_streams(&self) -> Result<Vec<(String, String, Timestamp)>> {
        self.db().read().await?.carry().frozen_streams().await
    }

    /// Takes from a frozen stream again.
    ///
    /// # Errors
    /// `NotFound` when it is not frozen.
    pub async fn thaw(&self, stream: &str, reason: &str, actor: &str) -> Result<()> {
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        if !tx.carry().thaw(stream).await? {
            return Err(Error::not_found(format!("the stream `{stream}` is not frozen")));
        }
        log(&mut tx, actor, "stream.thaw", &format!("stream:{stream}"), json!({ "reason": reason }), now)
            .await?;
        tx.commit().await?;
        // What a restored database has forgotten may come again: people have decided so.
        self.write_in_ledger(&format!("{stream} {THAWED}\n"))
    }

    pub(crate) async fn freeze(&self, stream: &str, reason: &str) -> Result<()> {
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        tx.carry().freeze(stream, reason, now).await?;
        log(
            &mut tx,
            "system",
            "stream.freeze",
            &format!("stream:{stream}"),
            json!({ "reason": reason }),
            now,
        )
        .await?;
        tx.commit().await
    }

    /// Adds a line to the ledger; durable when it returns.
    pub(crate) fn enter_in_ledger(&self, header: &Header, identity: &Sha256) -> Result<()> {
        self.write_in_ledger(&format!("{} {} {} {identity}\n", header.stream, header.epoch, header.seq))
    }

    fn write_in_ledger(&self, line: &str) -> Result<()> {
        let at = |e| Error::io("writing the ledger of transfers", e);
        let mut file =
            OpenOptions::new().append(true).create(true).mode(0o600).open(&self.0.ledger).map_err(at)?;
        file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(at)
    }

    /// The last position of a stream that the ledger knows since people last thawed it.
    pub(crate) fn last_in_ledger(&self, stream: &str) -> Result<Option<(u32, u64)>> {
        let file = match std::fs::File::open(&self.0.ledger) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("reading the ledger of transfers", e)),
        };
        let mut last = None;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|e| Error::io("reading the ledger of transfers", e))?;
            let mut words = line.split(' ');
            if words.next() == Some(stream) {
                let word = words.next();
                if word == Some(THAWED) {
                    last = None;
                    continue;
                }
                let epoch = word.and_then(|w| w.parse().ok());
                let position = epoch.zip(words.next().and_then(|w| w.parse().ok()));
                last = last.max(position);
            }
        }
        Ok(last)
    }
}

pub(crate) fn text_of(envelope: &Envelope) -> Result<String> {
    String::from_utf8(envelope.to_json()?).map_err(|e| Error::internal("an envelope", e))
}

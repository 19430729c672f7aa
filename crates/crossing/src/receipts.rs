//! What travels back: receipts and repair requests, given and taken. Wants are in `wants`.

use std::path::PathBuf;

use cofferdam_store::{ReceiptRow, TransferRow};
use cofferdam_transfer::{
    Header, Survey, answer,
    receipt::{About, Compact, Inventory, Outcome, Receipt, RepairRequest},
};
use cofferdam_trust::{Envelope, words};
use cofferdam_types::{Error, Result, Sha256, SiteName, Timestamp, TransferId};
use serde_json::json;

use crate::{
    Crossing, log,
    receive::{DOOR_VERDICT, blocking},
    sites::text_of,
    wants::{answered, destinations},
};

/// A receipt in all its forms.
#[derive(Clone, Debug, serde::Serialize)]
pub struct GivenReceipt {
    /// What it says.
    pub receipt: Receipt,
    /// The signed statement.
    pub envelope: String,
    /// The compact form in hexadecimal: what the QR code holds.
    pub compact: String,
    /// The compact form as numbered lines of words.
    pub words: Vec<String>,
}

/// What a receipt changed here.
#[derive(Clone, Debug, serde::Serialize)]
pub struct TakenReceipt {
    /// The transfer.
    pub transfer: TransferId,
    /// What became of it.
    pub outcome: String,
    /// Blobs that the receiver is now known to hold.
    pub proved: u64,
    /// Things a person should know, such as a site that went back in time.
    pub warnings: Vec<String>,
}

/// The answer to a repair request.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Answered {
    /// The folder to carry.
    pub folder: PathBuf,
    /// Bytes that were asked for, and bytes in the folder.
    pub bytes: (u64, u64),
}

impl Crossing {
    /// Signs what became of a received transfer, telling no more than `level` and the site's policy let out.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a transfer that was sent from here.
    pub async fn give_receipt(&self, id: TransferId, level: Option<u8>, actor: &str) -> Result<GivenReceipt> {
        let level = level.unwrap_or(self.0.receipt_level).min(self.0.receipt_level);
        let row = self.transfer(id).await?;
        if row.direction != "received" {
            return Err(Error::conflict(
                "not-received",
                format!("transfer {id} was sent from here; its receiver gives the receipt"),
            ));
        }
        let items = self.items(id).await?;
        let outcome = match row.state.as_str() {
            "rejected" => Outcome::Rejected,
            "refused" => Outcome::Refused,
            _ if items.iter().any(|i| i.verdict.starts_with(DOOR_VERDICT)) => Outcome::Partial,
            "published" => Outcome::Published,
            _ => Outcome::Quarantined,
        };
        let now = self.clock().now();
        let held: Vec<Sha256> = self
            .db()
            .read()
            .await?
            .carry()
            .held("received", &row.stream)
            .await?
            .into_iter()
            .map(|h| h.0)
            .collect();
        let refused =
            items.iter().filter(|i| i.verdict != "ok").map(|i| (i.purl.clone(), i.verdict.clone())).collect();
        let receipt = Receipt {
            site: self.0.site.clone(),
            transfer: about(&row),
            outcome,
            at: now,
            inventory: Some(Inventory::of(&held)),
            unreadable: Vec::new(),
            refused,
            held,
        }
        .at_level(level);
        let envelope = text_of(&receipt.sign(&self.0.key)?)?;
        let compact = receipt.compact(&self.0.key);
        let mut tx = self.db().write().await?;
        tx.carry()
            .insert_receipt(&ReceiptRow {
                id: 0,
                direction: "given".into(),
                site: self.0.site.to_string(),
                transfer: id,
                outcome: outcome.as_str().into(),
                envelope: envelope.clone(),
                at: now,
                actor: actor.into(),
            })
            .await?;
        let detail = json!({ "outcome": outcome.as_str(), "level": level, "header": row.header_sha256 });
        log(&mut tx, actor, "receipt.give", &format!("transfer:{id}"), detail, now).await?;
        tx.commit().await?;
        Ok(GivenReceipt { receipt, envelope, words: words::encode(&compact), compact: hex::encode(&compact) })
    }

    /// Takes a receipt: a signed statement, its compact form in hexadecimal, or its words.
    ///
    /// # Errors
    /// `VerificationFailed` when no key of the receiving site signed it; or when it is about no
    /// transfer of this site; `words-…` with the line that is wrong.
    pub async fn take_receipt(&self, text: &str, actor: &str) -> Result<TakenReceipt> {
        let trimmed = text.trim();
        if trimmed.starts_with('{') {
            let envelope = envelope_in(trimmed)?;
            return self.take_statement(&envelope, actor).await;
        }
        let bytes = match hex::decode(trimmed) {
            Ok(bytes) => bytes,
            Err(_) => words::decode(text)?,
        };
        self.take_compact(&bytes, actor).await
    }

    async fn take_statement(&self, envelope: &Envelope, actor: &str) -> Result<TakenReceipt> {
        let site = site_in(envelope)?;
        let receipt = Receipt::read(envelope, &self.receiver_keys(&site).await?)?;
        let row = self.sent(|row| row.header_sha256 == receipt.transfer.header_sha256, &site).await?;
        let mut warnings = Vec::new();
        if !receipt.held.is_empty() {
            let known = self.db().read().await?.carry().held("sent", &row.stream).await?;
            let gone = known.iter().filter(|(sha256, _)| receipt.held.binary_search(sha256).is_err()).count();
            if gone > 0 {
                warnings.push(format!(
                    "{site} no longer holds {gone} blobs that it had before: it may have been restored from a backup; \
                     pack the next transfer with --full"
                ));
            }
        }
        if let Some(inventory) = receipt.inventory.filter(|_| !receipt.held.is_empty())
            && Inventory::of(&receipt.held) != inventory
        {
            return Err(Error::verification(
                "bad-receipt",
                "the receipt's list and its Merkle root do not agree",
            ));
        }
        let said = (receipt.outcome, receipt.at, text_of(envelope)?);
        self.accept(&row, &site, said, warnings, actor).await
    }

    async fn take_compact(&self, bytes: &[u8], actor: &str) -> Result<TakenReceipt> {
        let rows = self.db().read().await?.crossing().trusted().await?;
        let mut found = None;
        for (name, key) in rows {
            if let (Ok(site), Ok(key)) = (name.parse::<SiteName>(), key.parse())
                && let Ok(compact) = Compact::read(bytes, &[key])
            {
                found = Some((site, compact));
            }
        }
        let Some((site, compact)) = found else {
            // The same refusal that a single key would give.
            return Err(Compact::read(bytes, &[])
                .err()
                .unwrap_or_else(|| Error::verification("bad-receipt", "nobody signed it")));
        };
        let row = self.sent(|row| row.header_sha256.0[..16] == compact.header_prefix, &site).await?;
        let said = (compact.outcome, compact.at, String::new());
        self.accept(&row, &site, said, Vec::new(), actor).await
    }

    async fn accept(
        &self,
        row: &TransferRow,
        site: &SiteName,
        (outcome, at, envelope): (Outcome, Timestamp, String),
        warnings: Vec<String>,
        actor: &str,
    ) -> Result<TakenReceipt> {
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        let given = ReceiptRow {
            id: 0,
            direction: "taken".into(),
            site: site.to_string(),
            transfer: row.id,
            outcome: outcome.as_str().into(),
            envelope,
            at,
            actor: actor.into(),
        };
        tx.carry().insert_receipt(&given).await?;
        let receipts = tx.carry().receipts(row.id).await?;
        if let Some(outcome) = together(row, &receipts) {
            tx.carry().set_outcome(row.id, outcome).await?;
        }
        if let Some(outcome) = newest(&receipts, site.as_str()) {
            answered(&mut tx, row.id, site.as_str(), outcome).await?;
        }
        let detail = json!({ "site": site, "outcome": outcome.as_str(), "header": row.header_sha256 });
        log(&mut tx, actor, "receipt.take", &format!("transfer:{}", row.id), detail, now).await?;
        tx.commit().await?;
        let proved = if outcome.proves_holding() { row.blobs } else { 0 };
        Ok(TakenReceipt { transfer: row.id, outcome: outcome.as_str().into(), proved, warnings })
    }

    async fn sent(&self, is: impl Fn(&TransferRow) -> bool, site: &SiteName) -> Result<TransferRow> {
        let mut tx = self.db().read().await?;
        let to = |row: &TransferRow| destinations(row).any(|name| name == site.as_str());
        let mut before = i64::MAX;
        loop {
            let page = tx.crossing().transfers(before, 500).await?;
            let Some(last) = page.last() else { break };
            before = last.id.0;
            if let Some(row) = page.into_iter().find(|row| row.direction == "sent" && to(row) && is(row)) {
                return Ok(row);
            }
        }
        let text = format!("what `{site}` signed is about no transfer that was sent to it from here");
        Err(Error::verification("other-transfer", text)
            .hint("take it to the site that sent the transfer; if it should be this one, ask the signer"))
    }

    pub(crate) async fn receiver_keys(&self, site: &SiteName) -> Result<Vec<cofferdam_trust::VerifyingKey>> {
        let keys = self.keys_of(site).await?;
        if keys.is_empty() {
            return Err(Error::verification("no-trusted-key", format!("no key of `{site}` is trusted here"))
                .hint("run `cofferdam key show` there and `cofferdam key trust SITE KEY` here"));
        }
        Ok(keys)
    }

    /// For one-way doors: what was sent counts as held, because a person says so.
    pub(crate) async fn assume_received(&self, stream: &str, actor: &str) -> Result<()> {
        let rows = self.db().read().await?.crossing().stream("sent", stream).await?;
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        for row in rows.iter().filter(|row| row.outcome.is_empty()) {
            tx.carry().set_outcome(row.id, Outcome::Published.as_str()).await?;
            for site in destinations(row) {
                answered(&mut tx, row.id, site, Outcome::Published).await?;
            }
            let detail = json!({ "header": row.header_sha256 });
            log(&mut tx, actor, "receipt.assume", &format!("transfer:{}", row.id), detail, now).await?;
        }
        tx.commit().await
    }

    /// Asks for what a damaged transfer lacks: the signed request as text, and its bytes.
    ///
    /// # Errors
    /// `Conflict` when nothing is missing; as [`Survey::open`].
    pub async fn request_repair(&self, folders: Vec<PathBuf>, actor: &str) -> Result<(String, u64)> {
        let source = crate::receive::source_of(&folders)?;
        let trust = self.trust_in(&source).await?;
        let (header, identity, ranges) = blocking(move || {
            let paths: Vec<_> = folders.iter().map(PathBuf::as_path).collect();
            let mut survey = Survey::open(&paths, &trust)?;
            survey.hash(&())?;
            let harm = survey.harm(&())?;
            Ok((survey.header.clone(), survey.header_sha256, harm.ranges))
        })
        .await?;
        if ranges.is_empty() {
            return Err(Error::conflict("nothing-lost", "nothing that is needed is lost: receive it"));
        }
        let now = self.clock().now();
        let bytes = ranges.iter().map(|r| r.1).sum();
        let request = RepairRequest {
            site: self.0.site.clone(),
            transfer: about_header(&header, identity),
            at: now,
            ranges,
        };
        let text = text_of(&request.sign(&self.0.key)?)?;
        let mut tx = self.db().write().await?;
        let detail = json!({ "header": identity, "bytes": bytes });
        log(&mut tx, actor, "repair.request", &format!("stream:{}", header.stream), detail, now).await?;
        tx.commit().await?;
        Ok((text, bytes))
    }

    /// Answers a repair request from this site's copy of the transfer.
    ///
    /// # Errors
    /// `VerificationFailed` for a request that the site did not sign, or that is about no transfer of ours; a copy that is gone.
    pub async fn answer_repair(
        &self,
        text: &str,
        from: Option<PathBuf>,
        into: PathBuf,
        actor: &str,
    ) -> Result<Answered> {
        let envelope = envelope_in(text)?;
        let site = site_in(&envelope)?;
        let request = RepairRequest::read(&envelope, &self.receiver_keys(&site).await?)?;
        let row = self.sent(|row| row.header_sha256 == request.transfer.header_sha256, &site).await?;
        let folder = from.unwrap_or_else(|| row.folder.clone().into());
        let authority =
            cofferdam_transfer::Authority::Keys { keys: vec![self.0.key.verifying_key()], threshold: 1 };
        let trust = cofferdam_transfer::Trust { authority, this_site: None };
        let asked = request.ranges.iter().fold(0u64, |sum, r| sum.saturating_add(r.1));
        let ranges = request.ranges.clone();
        let (folder, bytes) = blocking(move || {
            let mut survey = Survey::open(&[&folder], &trust)?;
            survey.hash(&())?;
            survey.require_whole()?;
            answer(&survey, &ranges, &into)
        })
        .await?;
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        let detail = json!({ "site": site, "asked": asked, "bytes": bytes });
        log(&mut tx, actor, "repair.answer", &format!("transfer:{}", row.id), detail, now).await?;
        tx.commit().await?;
        Ok(Answered { folder, bytes: (asked, bytes) })
    }
}

/// What the newest receipts of all destinations say together: a blob counts as held only when every one of
/// them holds it. `None` until each has said something.
fn together(row: &TransferRow, receipts: &[ReceiptRow]) -> Option<&'static str> {
    let mut all = Outcome::Published;
    for site in destinations(row) {
        all = all.worse(newest(receipts, site)?);
    }
    Some(all.as_str())
}

/// What the newest receipt of a site says.
///
/// The newest is the one that was signed last, not the one that came last; the compact form tells no seconds.
fn newest(receipts: &[ReceiptRow], site: &str) -> Option<Outcome> {
    let taken = receipts.iter().filter(|r| r.direction == "taken" && r.site == site);
    let newest = taken.max_by_key(|r| (r.at.0.div_euclid(60_000_000), r.id))?;
    Outcome::parse(&newest.outcome)
}

fn about(row: &TransferRow) -> About {
    About { stream: row.stream.clone(), epoch: row.epoch, seq: row.seq, header_sha256: row.header_sha256 }
}

fn about_header(header: &Header, header_sha256: Sha256) -> About {
    About { stream: header.stream.clone(), epoch: header.epoch, seq: header.seq, header_sha256 }
}

/// What came on a medium: malformed is as bad as not signed.
pub(crate) fn envelope_in(text: &str) -> Result<Envelope> {
    Envelope::from_json(text.trim().as_bytes()).map_err(|e| Error::verification(e.code(), e.message()))
}

/// The site that a statement says it is from: only to choose whose keys must have signed it.
pub(crate) fn site_in(envelope: &Envelope) -> Result<SiteName> {
    let bad = || Error::verification("bad-statement", "this is no statement of a site");
    let payload = envelope.unverified_payload().map_err(|_| bad())?;
    let value: serde_json::Value = serde_json::from_slice(&payload).map_err(|_| bad())?;
    value["predicate"]["site"].as_str().and_then(|s| s.parse().ok()).ok_or_else(bad)
}

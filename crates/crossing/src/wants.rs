//! What is wanted, and where it stands: `open`, `sent` (to the connected site, inside), `packed` (into a transfer for
//! the site that wants it, outside), `filled` (published at the site that wants it, and outside: its receipt says so).
//!
//! A want is a wish: nothing here may fetch, pack or admit anything.

use std::collections::HashMap;

use cofferdam_store::{NewWant, TransferItemRow, TransferRow, Tx, WantRow};
use cofferdam_transfer::receipt::{Outcome, Want, Wants};
use cofferdam_types::{Error, Result, SiteName, Timestamp, TransferId};
use serde_json::json;

use crate::{
    Crossing, log,
    receipts::{envelope_in, site_in},
    sites::text_of,
};

/// The states of a want.
pub const WANT_STATES: [&str; 4] = ["open", "sent", "packed", "filled"];

/// What another site's count is taken for at most: a number that is only shown.
const MOST_ASKED: u64 = 1_000_000;
/// Rows that are read at once.
const PAGE: usize = 500;
/// Wants in one request, at most.
const MAX_WANTS: usize = 10_000;

impl Crossing {
    /// Notes that somebody wants a package.
    ///
    /// # Errors
    /// `Invalid` without a package, or for an unknown format.
    pub async fn want(
        &self,
        format: &str,
        package: &str,
        version: &str,
        note: &str,
        actor: &str,
    ) -> Result<()> {
        if !fits(package, version, note) {
            return Err(Error::invalid(
                "bad-want",
                "a want has a package of at most 500 bytes and a short note",
            ));
        }
        self.0.registry.format(format)?;
        let package = &self.key_of(format, package);
        let now = self.clock().now();
        let want = NewWant { site: self.0.site.as_str(), format, package, version, asked: 1, note, actor };
        let mut tx = self.db().write().await?;
        tx.carry().want(want, now).await?;
        let detail = json!({ "format": format, "package": package, "version": version, "note": note });
        log(&mut tx, actor, "want", &format!("package:{format}/{package}"), detail, now).await?;
        tx.commit().await
    }

    /// The name under which a release would answer the want; as it was written when it is no package's name.
    fn key_of(&self, format: &str, package: &str) -> String {
        let key = self.0.registry.format(format).and_then(|f| f.package_key(package));
        key.unwrap_or_else(|_| package.to_owned())
    }

    /// Every want, oldest first.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn wants(&self) -> Result<Vec<WantRow>> {
        let mut tx = self.db().read().await?;
        let (mut all, mut last): (Vec<WantRow>, i64) = (Vec::new(), 0);
        loop {
            let page = tx.carry().wants(last, PAGE).await?;
            let Some(end) = page.last() else { return Ok(all) };
            last = end.id;
            all.extend(page);
        }
    }

    /// The open wants of this site as a signed request, which then counts as sent.
    ///
    /// # Errors
    /// `Conflict` when nothing is wanted.
    pub async fn request_wants(&self, actor: &str) -> Result<(String, usize)> {
        let mut tx = self.db().write().await?;
        let open = tx.carry().open_wants(self.0.site.as_str(), MAX_WANTS).await?;
        if open.is_empty() {
            return Err(Error::conflict("nothing-wanted", "nothing is wanted")
                .hint("note it on the page Wants or with `cofferdam want add FORMAT PACKAGE`"));
        }
        let now = self.clock().now();
        let items = open.iter().map(|w| Want {
            format: w.format.clone(),
            package: w.package.clone(),
            version: w.version.clone(),
            asked: w.asked,
            note: w.note.clone(),
        });
        let wants = Wants { site: self.0.site.clone(), at: now, items: items.collect() };
        let text = text_of(&wants.sign(&self.0.key)?)?;
        let ids: Vec<i64> = open.iter().map(|want| want.id).collect();
        tx.carry().move_wants(&ids, "sent", TransferId(0)).await?;
        log(&mut tx, actor, "want.request", "wants", json!({ "items": open.len() }), now).await?;
        tx.commit().await?;
        Ok((text, open.len()))
    }

    /// Takes another site's wants in; they are then listed here. A request that came before, or is older than one that
    /// did, changes nothing.
    ///
    /// # Errors
    /// `VerificationFailed` when the site did not sign them.
    pub async fn take_wants(&self, text: &str, actor: &str) -> Result<(SiteName, usize)> {
        let envelope = envelope_in(text)?;
        let site = site_in(&envelope)?;
        let wants = Wants::read(&envelope, &self.receiver_keys(&site).await?)?;
        if wants.items.len() > MAX_WANTS || wants.items.iter().any(|w| !fits(&w.package, &w.version, &w.note))
        {
            let text =
                format!("`{site}` wants more than {MAX_WANTS} things, or one with too long a name or note");
            return Err(Error::verification("bad-want", text));
        }
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        // Their clock may be ahead; a time that is yet to come would outlast their next requests.
        let at = Timestamp(wants.at.0.min(now.0));
        let actor_there = format!("site:{site}");
        for want in &wants.items {
            let row = NewWant {
                site: site.as_str(),
                format: &want.format,
                package: &self.key_of(&want.format, &want.package),
                version: &want.version,
                asked: want.asked.min(MOST_ASKED),
                note: &want.note,
                actor: &actor_there,
            };
            tx.carry().want_elsewhere(row, at).await?;
        }
        let detail = json!({ "site": site, "items": wants.items.len() });
        log(&mut tx, actor, "want.take", &format!("site:{site}"), detail, now).await?;
        tx.commit().await?;
        Ok((site, wants.items.len()))
    }
}

/// In the transaction that keeps a sent transfer: what its destinations want of what it has is on its way.
pub(crate) async fn packed(
    tx: &mut Tx,
    row: &TransferRow,
    id: TransferId,
    items: &[TransferItemRow],
) -> Result<()> {
    for site in destinations(row) {
        let mut wants = Unfilled::of(tx, site).await?;
        items.iter().filter(|item| item.kind == "release").for_each(|item| wants.meet(item));
        wants.move_on(tx, "packed", id).await?;
    }
    Ok(())
}

/// What a site wants and has not got, and which of it the releases of a transfer are.
pub(crate) struct Unfilled {
    /// Version (empty for any) and row, by format and package.
    open: HashMap<(String, String), Vec<(String, i64)>>,
    met: Vec<i64>,
}

impl Unfilled {
    pub(crate) async fn of(tx: &mut Tx, site: &str) -> Result<Self> {
        let mut open: HashMap<(String, String), Vec<(String, i64)>> = HashMap::new();
        let mut last = 0;
        loop {
            let page = tx.carry().unfilled_wants(site, last, PAGE).await?;
            let Some(end) = page.last() else { return Ok(Self { open, met: Vec::new() }) };
            last = end.id;
            for want in page {
                open.entry((want.format, want.package)).or_default().push((want.version, want.id));
            }
        }
    }

    /// A release that may be wanted.
    pub(crate) fn meet(&mut self, item: &TransferItemRow) {
        if self.open.is_empty() {
            return;
        }
        let Some(wants) = self.open.get_mut(&(item.format.clone(), item.package.clone())) else { return };
        wants.retain(|(version, id)| {
            let met = version.is_empty() || *version == item.version;
            self.met.extend(met.then_some(*id));
            !met
        });
    }

    /// Everything that was met is now `state` by `transfer`.
    pub(crate) async fn move_on(self, tx: &mut Tx, state: &str, transfer: TransferId) -> Result<()> {
        tx.carry().move_wants(&self.met, state, transfer).await.map(drop)
    }
}

/// In the transaction that takes a site's receipt. Only what is published there can be used there; what was not taken
/// whole proves nothing, and the wish stands.
pub(crate) async fn answered(tx: &mut Tx, id: TransferId, site: &str, outcome: Outcome) -> Result<()> {
    match outcome {
        Outcome::Published => tx.carry().arrived_wants(site, id).await?,
        Outcome::Quarantined => 0,
        Outcome::Rejected | Outcome::Refused | Outcome::Partial => tx.carry().reopen_wants(site, id).await?,
    };
    Ok(())
}

/// The sites that a stream goes to.
pub(crate) fn destinations(row: &TransferRow) -> impl Iterator<Item = &str> {
    row.stream.split('+').skip(1)
}

/// Whether a want is one that people can read.
const fn fits(package: &str, version: &str, note: &str) -> bool {
    !package.is_empty() && package.len() <= 500 && version.len() <= 200 && note.len() <= 2000
}

//! Receipts as they were kept, for people to read, print and carry. Nothing new is said here.

use cofferdam_store::ReceiptRow;
use cofferdam_transfer::receipt::Receipt;
use cofferdam_trust::{Envelope, words};
use cofferdam_types::{Error, Result, TransferId};

use crate::{Crossing, GivenReceipt};

/// A receipt as it was kept. Its signature was verified when it was taken.
#[derive(Clone, Debug)]
pub struct KeptReceipt {
    /// Its row.
    pub row: ReceiptRow,
    /// What it says; `None` for one that came as words or as a code, which says no more than its row.
    pub says: Option<Receipt>,
}

impl KeptReceipt {
    fn of(row: ReceiptRow) -> Self {
        let payload =
            Envelope::from_json(row.envelope.as_bytes()).ok().and_then(|e| e.unverified_payload().ok());
        let value = payload.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
        let says = value.and_then(|value| serde_json::from_value(value["predicate"].clone()).ok());
        Self { row, says }
    }
}

impl Crossing {
    /// How much a receipt of this site may tell, 0 to 3.
    #[must_use]
    pub fn receipt_level(&self) -> u8 {
        self.0.receipt_level
    }

    /// The receipts about a transfer, oldest first.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn receipts(&self, id: TransferId) -> Result<Vec<KeptReceipt>> {
        let rows = self.db().read().await?.carry().receipts(id).await?;
        Ok(rows.into_iter().map(KeptReceipt::of).collect())
    }

    /// One receipt about a transfer.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn kept_receipt(&self, id: TransferId, receipt: i64) -> Result<KeptReceipt> {
        let found = self.db().read().await?.carry().receipt(receipt).await?;
        let found = found.filter(|row| row.transfer == id).ok_or_else(|| {
            Error::not_found(format!("there is no receipt {receipt} about transfer {id} at this site"))
        })?;
        Ok(KeptReceipt::of(found))
    }

    /// A receipt that was given before, again in all its forms: nothing new is signed but its compact form, which says
    /// the same.
    ///
    /// # Errors
    /// `Conflict` for one that was taken: only who signed it has its words.
    pub fn given_receipt(&self, kept: &KeptReceipt) -> Result<GivenReceipt> {
        let receipt = kept.says.clone().filter(|_| kept.row.direction == "given").ok_or_else(|| {
            Error::conflict("not-given", "this receipt was not given here, so there are no words of it")
        })?;
        let compact = receipt.compact(&self.0.key);
        let envelope = kept.row.envelope.clone();
        Ok(GivenReceipt { receipt, envelope, words: words::encode(&compact), compact: hex::encode(&compact) })
    }
}

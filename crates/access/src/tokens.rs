//! Tokens: random, shown once, kept as SHA-256 only.

use std::time::Duration;

use cofferdam_audit::{Entry, append};
use cofferdam_store::{TokenOwner, TokenRow, Tx};
use cofferdam_trust::token::{PREFIX, generate, hash};
use cofferdam_types::{Error, ErrorKind, Result, Secret, TokenId};
use serde_json::json;

use crate::{Access, Principal, RecordingMode};

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    /// What its owner calls it.
    pub name: &'a str,
    /// To whom it belongs.
    pub owner: TokenOwner,
    /// What it is limited to; empty is everything its owner may do.
    pub scopes: &'a str,
    /// How long it is good for; `None` until it is revoked.
    pub lifetime: Option<Duration>,
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|e| Error::internal("the random generator", e))?;
    Ok(bytes)
}

impl Access {
    /// Makes a token in the caller's transaction and returns it: the only time that it is known.
    ///
    /// # Errors
    /// `Internal` when the database or the random generator fails.
    pub async fn create_token_in(&self, tx: &mut Tx, new: NewToken<'_>) -> Result<(TokenId, Secret<String>)> {
        let token = generate(PREFIX)?;
        let now = self.clock.now();
        let expires = new.lifetime.map(|l| now.plus(l));
        let id = tx
            .access()
            .insert_token(&hash(token.expose()), new.name, new.owner, new.scopes, now, expires)
            .await?;
        Ok((id, token))
    }

    /// Makes a token for a person or machine, with its audit entry.
    ///
    /// # Errors
    /// As [`Access::create_token_in`].
    pub async fn create_token(&self, new: NewToken<'_>, actor: &str) -> Result<Secret<String>> {
        let mut tx = self.db.write().await?;
        let detail = json!({ "name": new.name, "scopes": new.scopes, "lifetime_seconds": new.lifetime.map(|l| l.as_secs()) });
        let target = match new.owner {
            TokenOwner::Person(id) => format!("person:{id}"),
            TokenOwner::Job(id) => format!("job:{id}"),
            TokenOwner::Runner(id) => format!("runner:{id}"),
            TokenOwner::Recording(id) => format!("recording:{id}"),
        };
        let (_, token) = self.create_token_in(&mut tx, new).await?;
        let entry = Entry {
            at: self.clock.now(),
            actor: actor.into(),
            action: "token.create".into(),
            target,
            detail,
        };
        append(&mut tx, &entry).await?;
        tx.commit().await?;
        Ok(token)
    }

    /// Who a token is.
    ///
    /// # Errors
    /// `Unauthenticated` when it is unknown, revoked or past its time: the three are not told apart.
    pub async fn by_token(&self, token: &str) -> Result<Principal> {
        let mut tx = self.db.read().await?;
        let row = tx.access().token_by_hash(&hash(token)).await?;
        let now = self.clock.now();
        let good = row.filter(|t| t.revoked.is_none() && t.expires.is_none_or(|at| now < at));
        let Some(token) = good else { return Err(unknown()) };
        self.owner(&mut tx, &token).await
    }

    async fn owner(&self, tx: &mut Tx, token: &TokenRow) -> Result<Principal> {
        Ok(match token.owner {
            TokenOwner::Person(id) => {
                let person =
                    tx.access().person(id).await?.filter(|p| p.state == "active").ok_or_else(unknown)?;
                self.principal_of(tx, person).await?
            }
            TokenOwner::Job(id) => Principal::Job(id),
            TokenOwner::Runner(id) => Principal::Runner(id),
            TokenOwner::Recording(id) => {
                let mode =
                    if token.scopes == "record" { RecordingMode::Record } else { RecordingMode::Replay };
                Principal::Recording(id, mode)
            }
        })
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// `NotFound` when there is no such token that is still good.
    pub async fn revoke_token(&self, id: TokenId, actor: &str) -> Result<()> {
        let now = self.clock.now();
        let mut tx = self.db.write().await?;
        if !tx.access().revoke_token(id, now).await? {
            return Err(Error::not_found(format!("there is no token {id} that could be revoked")));
        }
        let entry = Entry {
            at: now,
            actor: actor.into(),
            action: "token.revoke".into(),
            target: format!("token:{id}"),
            detail: json!({}),
        };
        append(&mut tx, &entry).await?;
        tx.commit().await
    }
}

fn unknown() -> Error {
    Error::new(
        ErrorKind::Unauthenticated,
        "bad-token",
        "this token is not known here, was revoked, or is past its time",
    )
    .hint("make a new one: `cofferdam token create`")
}

//! The two-person rule.
//!
//! An approval is a question about exactly one digest. It is a property of the thing that is to
//! happen, not of a role: the person who asked cannot vote, one person is one vote, one no ends it,
//! and a changed digest makes it void. Administrators included. [`decide`] is the whole rule, pure;
//! the functions below it keep it in the database, each with its audit entry.

use cofferdam_audit::{Entry, append};
use cofferdam_store::{ApprovalRow, Tx, VoteRow};
use cofferdam_types::{Error, PersonId, Result, Sha256, Timestamp};
use serde_json::json;

/// How many must say yes.
pub const NEEDED: u32 = 2;

/// A vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it happen.
    Yes,
    /// Do not.
    No,
}

/// Where a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalState {
    /// More votes are needed.
    Open,
    /// Enough people said yes.
    Approved,
    /// Somebody said no.
    Rejected,
    /// What it was about has changed.
    Void,
    /// It was used for what it was asked for; it cannot be used twice.
    Used,
}

/// What a vote does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It counts, and more are needed.
    Counted {
        /// How many yes there are now.
        yes: u32,
    },
    /// It was the last that was needed.
    Approved,
    /// It ends the question.
    Rejected,
}

impl ApprovalState {
    fn parse(text: &str) -> Self {
        match text {
            "open" => Self::Open,
            "approved" => Self::Approved,
            "rejected" => Self::Rejected,
            "used" => Self::Used,
            _ => Self::Void,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Void => "void",
            Self::Used => "used",
        }
    }
}

/// The state of a stored question.
#[must_use]
pub fn state_of(row: &ApprovalRow) -> ApprovalState {
    ApprovalState::parse(&row.state)
}

/// The rule: what a vote by `person` on what they saw (`digest`) does.
///
/// # Errors
/// `PolicyRefused` with the reason: `own-request`, `voted-already`, `approval-closed`,
/// `approval-changed`.
pub fn decide(
    row: &ApprovalRow,
    votes: &[(PersonId, Verdict)],
    person: PersonId,
    verdict: Verdict,
    digest: &Sha256,
) -> Result<Decision> {
    let refuse = |code, why: &str| Err(Error::new(cofferdam_types::ErrorKind::PolicyRefused, code, why));
    if state_of(row) != ApprovalState::Open {
        return refuse("approval-closed", &format!("this was already decided: it is {}", row.state));
    }
    if row.digest != digest.to_hex() {
        return refuse(
            "approval-changed",
            "it has changed since you looked at it: look again, then vote on what you see",
        );
    }
    if row.requested_by == person {
        return refuse(
            "own-request",
            "you asked for this, so you cannot approve it: two other people have to",
        );
    }
    if votes.iter().any(|(voter, _)| *voter == person) {
        return refuse("voted-already", "you have voted already: one person is one vote");
    }
    if verdict == Verdict::No {
        return Ok(Decision::Rejected);
    }
    let yes =
        1 + u32::try_from(votes.iter().filter(|(_, v)| *v == Verdict::Yes).count()).unwrap_or(u32::MAX - 1);
    Ok(if yes >= row.needed { Decision::Approved } else { Decision::Counted { yes } })
}

/// Asks: `kind` is to happen to `subject`, which is exactly `digest`. An open question about an
/// older digest of the same subject becomes void.
///
/// # Errors
/// `Internal` when the database fails.
pub async fn ask(
    tx: &mut Tx,
    kind: &str,
    subject: &str,
    digest: &Sha256,
    by: (PersonId, &str),
    now: Timestamp,
) -> Result<i64> {
    if let Some(old) = tx.access().approval_of(kind, subject).await?
        && matches!(state_of(&old), ApprovalState::Open | ApprovalState::Approved)
    {
        tx.access().decide(old.id, &old.state, "void", now).await?;
        log(tx, by.1, "approval.void", subject, json!({ "approval": old.id, "digest": old.digest }), now)
            .await?;
    }
    let id = tx.access().insert_approval(kind, subject, &digest.to_hex(), by.0, NEEDED, now).await?;
    log(tx, by.1, "approval.ask", subject, json!({ "approval": id, "kind": kind, "digest": digest }), now)
        .await?;
    Ok(id)
}

/// Votes. `digest` is of what the voter was shown.
///
/// # Errors
/// As [`decide`]; `NotFound` when nothing was asked. A refused vote is in the audit log too: commit
/// the transaction in either case.
pub async fn vote(
    tx: &mut Tx,
    id: i64,
    person: (PersonId, &str),
    verdict: Verdict,
    reason: &str,
    digest: &Sha256,
    now: Timestamp,
) -> Result<Decision> {
    let row = tx
        .access()
        .approval(id)
        .await?
        .ok_or_else(|| Error::not_found(format!("there is no approval {id}")))?;
    let votes: Vec<_> = tx.access().votes(id).await?.iter().map(|v| (v.person, verdict_of(v))).collect();
    let word = if verdict == Verdict::Yes { "yes" } else { "no" };
    let decided = decide(&row, &votes, person.0, verdict, digest);
    let outcome = match &decided {
        Ok(_) => "counted".to_owned(),
        Err(error) => format!("refused: {}", error.code()),
    };
    let detail =
        json!({ "approval": id, "digest": digest, "verdict": word, "reason": reason, "outcome": outcome });
    log(tx, person.1, "approval.vote", &row.subject, detail, now).await?;
    let decision = decided?;
    tx.access().insert_vote(id, person.0, word, reason, now).await?;
    let to = match decision {
        Decision::Counted { .. } => return Ok(decision),
        Decision::Approved => "approved",
        Decision::Rejected => "rejected",
    };
    tx.access().decide(id, "open", to, now).await?;
    Ok(decision)
}

/// Takes an approved question for what it was asked for: in the same transaction as the act, once,
/// and only for the digest that was approved.
///
/// # Errors
/// `AwaitingApproval` saying what is missing; `PolicyRefused` when it was rejected, void, used, or
/// is about another digest.
pub async fn take(
    tx: &mut Tx,
    kind: &str,
    subject: &str,
    digest: &Sha256,
    now: Timestamp,
) -> Result<ApprovalRow> {
    let row = tx.access().approval_of(kind, subject).await?;
    let row = row.ok_or_else(|| awaiting(format!("nobody has asked for {subject} to be approved yet")))?;
    let refuse = |code, why: String| Error::new(cofferdam_types::ErrorKind::PolicyRefused, code, why);
    if row.digest != digest.to_hex() {
        return Err(refuse(
            "approval-changed",
            format!("{subject} has changed since it was approved: ask again"),
        ));
    }
    match state_of(&row) {
        ApprovalState::Approved => {
            tx.access().decide(row.id, "approved", "used", now).await?;
            Ok(row)
        }
        ApprovalState::Open => {
            let yes = tx.access().votes(row.id).await?.len();
            Err(awaiting(format!("{subject} has {yes} of {} approvals", row.needed)))
        }
        other => Err(refuse("approval-closed", format!("the approval of {subject} is {}", other.as_str()))),
    }
}

fn awaiting(message: String) -> Error {
    Error::new(cofferdam_types::ErrorKind::AwaitingApproval, "awaiting-approval", message)
        .hint("two people other than the one who asked have to approve: `cofferdam approve`")
}

fn verdict_of(vote: &VoteRow) -> Verdict {
    if vote.verdict == "yes" { Verdict::Yes } else { Verdict::No }
}

async fn log(
    tx: &mut Tx,
    actor: &str,
    action: &str,
    target: &str,
    detail: serde_json::Value,
    at: Timestamp,
) -> Result<()> {
    let entry = Entry { at, actor: actor.into(), action: action.into(), target: target.into(), detail };
    append(tx, &entry).await.map(drop)
}

//! Rows of people, roles, tokens and approvals. What they allow is decided in the `access` crate.

use cofferdam_types::{JobId, PersonId, RecordingId, Result, RunnerId, Timestamp, TokenId};

use crate::{
    Row, Tx,
    sql::{args, statements},
};

statements! {
    INSERT_PERSON = "INSERT INTO person (id, name, display, password_hash, state, created) VALUES ($1, $2, $3, $4, 'active', $5)";
    PERSON_BY_NAME = "SELECT id, name, display, password_hash, state FROM person WHERE name = $1";
    PERSON = "SELECT id, name, display, password_hash, state FROM person WHERE id = $1";
    PEOPLE = "SELECT id, name, display, password_hash, state FROM person ORDER BY name";
    SET_PASSWORD = "UPDATE person SET password_hash = $2 WHERE id = $1";
    SET_STATE = "UPDATE person SET state = $2 WHERE id = $1";
    GRANT = "INSERT INTO role_grant (person_id, role, granted) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    REVOKE_ROLE = "DELETE FROM role_grant WHERE person_id = $1 AND role = $2";
    ROLES = "SELECT role FROM role_grant WHERE person_id = $1 ORDER BY role";

    INSERT_TOKEN = "INSERT INTO token (id, hash, name, person_id, job_id, runner_id, recording_id, scopes, created, expires)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    TOKEN_BY_HASH = "SELECT id, name, person_id, job_id, runner_id, recording_id, scopes, created, expires, revoked FROM token WHERE hash = $1";
    TOKENS_OF = "SELECT id, name, person_id, job_id, runner_id, recording_id, scopes, created, expires, revoked FROM token
        WHERE person_id = $1 ORDER BY id";
    REVOKE_TOKEN = "UPDATE token SET revoked = $2 WHERE id = $1 AND revoked IS NULL";
    REVOKE_JOB_TOKENS = "UPDATE token SET revoked = $2 WHERE job_id = $1 AND revoked IS NULL";

    INSERT_APPROVAL = "INSERT INTO approval (id, kind, subject, digest, requested_by, needed, state, created)
        VALUES ($1, $2, $3, $4, $5, $6, 'open', $7)";
    APPROVAL = "SELECT id, kind, subject, digest, requested_by, needed, state, created FROM approval WHERE id = $1";
    APPROVAL_OF = "SELECT id, kind, subject, digest, requested_by, needed, state, created FROM approval
        WHERE kind = $1 AND subject = $2 ORDER BY id DESC LIMIT 1";
    OPEN_APPROVALS = "SELECT id, kind, subject, digest, requested_by, needed, state, created FROM approval WHERE state = 'open' ORDER BY id";
    DECIDE = "UPDATE approval SET state = $2, decided = $3 WHERE id = $1 AND state = $4";
    INSERT_VOTE = "INSERT INTO approval_vote (approval_id, person_id, verdict, reason, at) VALUES ($1, $2, $3, $4, $5)";
    VOTES = "SELECT v.person_id, p.name, v.verdict, v.reason, v.at FROM approval_vote v JOIN person p ON p.id = v.person_id
        WHERE v.approval_id = $1 ORDER BY v.at, v.person_id";
}

/// A person.
#[derive(Clone, Debug)]
pub struct PersonRow {
    /// Their id.
    pub id: PersonId,
    /// The name they log in with.
    pub name: String,
    /// The name shown to others.
    pub display: String,
    /// The argon2id hash of their password, in PHC form; `None` when they have only tokens.
    pub password_hash: Option<String>,
    /// `active` or `blocked`.
    pub state: String,
}

/// To whom a token belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenOwner {
    /// A person.
    Person(PersonId),
    /// A running job.
    Job(JobId),
    /// A runner.
    Runner(RunnerId),
    /// A recording of a build.
    Recording(RecordingId),
}

/// A token without its secret.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// Its id.
    pub id: TokenId,
    /// What its owner calls it.
    pub name: String,
    /// To whom it belongs.
    pub owner: TokenOwner,
    /// What it is limited to, separated by spaces; empty is everything its owner may do.
    pub scopes: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

/// A question that two people answer.
#[derive(Clone, Debug)]
pub struct ApprovalRow {
    /// Its id.
    pub id: i64,
    /// What is to happen, such as `transfer.publish`.
    pub kind: String,
    /// To what, such as `transfer:3`.
    pub subject: String,
    /// The digest of exactly what was shown to the people who vote.
    pub digest: String,
    /// Who asked.
    pub requested_by: PersonId,
    /// How many must say yes.
    pub needed: u32,
    /// `open`, `approved`, `rejected`, `void` or `used`.
    pub state: String,
    /// When it was asked.
    pub created: Timestamp,
}

/// A vote.
#[derive(Clone, Debug)]
pub struct VoteRow {
    /// Who.
    pub person: PersonId,
    /// Their name.
    pub name: String,
    /// `yes` or `no`.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Rows of access.
pub struct AccessRows<'t>(pub(crate) &'t mut Tx);

impl AccessRows<'_> {
    /// Adds a person.
    ///
    /// # Errors
    /// `Conflict` when the name is taken; `Internal` when the database fails, as for every method.
    pub async fn insert_person(
        &mut self,
        name: &str,
        display: &str,
        hash: Option<&str>,
        now: Timestamp,
    ) -> Result<PersonId> {
        let id = self.0.next_id("person").await?;
        self.0.execute(INSERT_PERSON, args![id, name, display, hash, now]).await?;
        Ok(PersonId(id))
    }

    /// A person by name.
    pub async fn person_by_name(&mut self, name: &str) -> Result<Option<PersonRow>> {
        self.0.optional(PERSON_BY_NAME, args![name]).await?.map(|row| person(&row)).transpose()
    }

    /// A person by id.
    pub async fn person(&mut self, id: PersonId) -> Result<Option<PersonRow>> {
        self.0.optional(PERSON, args![id]).await?.map(|row| person(&row)).transpose()
    }

    /// Everybody, by name.
    pub async fn people(&mut self) -> Result<Vec<PersonRow>> {
        self.0.all(PEOPLE, args![]).await?.iter().map(person).collect()
    }

    /// Changes a person's password hash.
    pub async fn set_password(&mut self, id: PersonId, hash: &str) -> Result<()> {
        self.0.execute(SET_PASSWORD, args![id, hash]).await.map(drop)
    }

    /// Blocks or unblocks a person.
    pub async fn set_state(&mut self, id: PersonId, state: &str) -> Result<()> {
        self.0.execute(SET_STATE, args![id, state]).await.map(drop)
    }

    /// Gives a role.
    pub async fn grant(&mut self, id: PersonId, role: &str, now: Timestamp) -> Result<()> {
        self.0.execute(GRANT, args![id, role, now]).await.map(drop)
    }

    /// Takes a role.
    pub async fn revoke_role(&mut self, id: PersonId, role: &str) -> Result<()> {
        self.0.execute(REVOKE_ROLE, args![id, role]).await.map(drop)
    }

    /// A person's roles.
    pub async fn roles(&mut self, id: PersonId) -> Result<Vec<String>> {
        self.0.all(ROLES, args![id]).await?.iter().map(|row| row.text("role")).collect()
    }

    /// Adds a token by its hash.
    pub async fn insert_token(
        &mut self,
        hash: &str,
        name: &str,
        owner: TokenOwner,
        scopes: &str,
        now: Timestamp,
        expires: Option<Timestamp>,
    ) -> Result<TokenId> {
        let id = self.0.next_id("token").await?;
        let (mut person, mut job, mut runner, mut recording) = (None, None, None, None);
        match owner {
            TokenOwner::Person(id) => person = Some(id),
            TokenOwner::Job(id) => job = Some(id),
            TokenOwner::Runner(id) => runner = Some(id),
            TokenOwner::Recording(id) => recording = Some(id),
        }
        let values = args![id, hash, name, person, job, runner, recording, scopes, now, expires];
        self.0.execute(INSERT_TOKEN, values).await?;
        Ok(TokenId(id))
    }

    /// A token by its hash, whatever its state.
    pub async fn token_by_hash(&mut self, hash: &str) -> Result<Option<TokenRow>> {
        self.0.optional(TOKEN_BY_HASH, args![hash]).await?.map(|row| token(&row)).transpose()
    }

    /// A person's tokens.
    pub async fn tokens_of(&mut self, id: PersonId) -> Result<Vec<TokenRow>> {
        self.0.all(TOKENS_OF, args![id]).await?.iter().map(token).collect()
    }

    /// Revokes a token; `false` when it was revoked already.
    pub async fn revoke_token(&mut self, id: TokenId, now: Timestamp) -> Result<bool> {
        Ok(self.0.execute(REVOKE_TOKEN, args![id, now]).await? > 0)
    }

    /// Revokes the tokens of a job that has ended.
    pub async fn revoke_job_tokens(&mut self, job: JobId, now: Timestamp) -> Result<()> {
        self.0.execute(REVOKE_JOB_TOKENS, args![job, now]).await.map(drop)
    }

    /// Asks a question.
    pub async fn insert_approval(
        &mut self,
        kind: &str,
        subject: &str,
        digest: &str,
        by: PersonId,
        needed: u32,
        now: Timestamp,
    ) -> Result<i64> {
        let id = self.0.next_id("approval").await?;
        self.0.execute(INSERT_APPROVAL, args![id, kind, subject, digest, by, needed, now]).await?;
        Ok(id)
    }

    /// A question by id.
    pub async fn approval(&mut self, id: i64) -> Result<Option<ApprovalRow>> {
        self.0.optional(APPROVAL, args![id]).await?.map(|row| approval(&row)).transpose()
    }

    /// The newest question about a subject.
    pub async fn approval_of(&mut self, kind: &str, subject: &str) -> Result<Option<ApprovalRow>> {
        self.0.optional(APPROVAL_OF, args![kind, subject]).await?.map(|row| approval(&row)).transpose()
    }

    /// Every open question.
    pub async fn open_approvals(&mut self) -> Result<Vec<ApprovalRow>> {
        self.0.all(OPEN_APPROVALS, args![]).await?.iter().map(approval).collect()
    }

    /// Moves a question from one state to another; `false` when it was not in the first.
    pub async fn decide(&mut self, id: i64, from: &str, to: &str, now: Timestamp) -> Result<bool> {
        Ok(self.0.execute(DECIDE, args![id, to, now, from]).await? > 0)
    }

    /// Adds a vote.
    ///
    /// # Errors
    /// `Conflict` when the person has voted already.
    pub async fn insert_vote(
        &mut self,
        id: i64,
        by: PersonId,
        verdict: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.0.execute(INSERT_VOTE, args![id, by, verdict, reason, now]).await.map(drop)
    }

    /// The votes on a question, oldest first.
    pub async fn votes(&mut self, id: i64) -> Result<Vec<VoteRow>> {
        let rows = self.0.all(VOTES, args![id]).await?;
        rows.iter()
            .map(|row| {
                Ok(VoteRow {
                    person: PersonId(row.int("person_id")?),
                    name: row.text("name")?,
                    verdict: row.text("verdict")?,
                    reason: row.text("reason")?,
                    at: row.time("at")?,
                })
            })
            .collect()
    }
}

fn person(row: &Row) -> Result<PersonRow> {
    Ok(PersonRow {
        id: PersonId(row.int("id")?),
        name: row.text("name")?,
        display: row.text("display")?,
        password_hash: row.opt_text("password_hash")?,
        state: row.text("state")?,
    })
}

fn token(row: &Row) -> Result<TokenRow> {
    let owner = if let Some(id) = row.opt_int("person_id")? {
        TokenOwner::Person(PersonId(id))
    } else if let Some(id) = row.opt_int("job_id")? {
        TokenOwner::Job(JobId(id))
    } else if let Some(id) = row.opt_int("runner_id")? {
        TokenOwner::Runner(RunnerId(id))
    } else {
        TokenOwner::Recording(RecordingId(row.int("recording_id")?))
    };
    Ok(TokenRow {
        id: TokenId(row.int("id")?),
        name: row.text("name")?,
        owner,
        scopes: row.text("scopes")?,
        created: row.time("created")?,
        expires: row.opt_time("expires")?,
        revoked: row.opt_time("revoked")?,
    })
}

fn approval(row: &Row) -> Result<ApprovalRow> {
    Ok(ApprovalRow {
        id: row.int("id")?,
        kind: row.text("kind")?,
        subject: row.text("subject")?,
        digest: row.text("digest")?,
        requested_by: PersonId(row.int("requested_by")?),
        needed: u32::try_from(row.int("needed")?).unwrap_or(u32::MAX),
        state: row.text("state")?,
        created: row.time("created")?,
    })
}

//! The durable task table: enqueued in the transaction that asks, leased, retried, visible.

use std::time::Duration;

use cofferdam_types::{Result, TaskId, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Row, Tx,
    sql::{args, statements},
};

statements! {
    INSERT = "INSERT INTO task (id, kind, payload, state, unique_key, run_after, attempts, max_attempts, created)
        VALUES ($1, $2, $3, 'ready', $4, $5, 0, $6, $7) ON CONFLICT DO NOTHING";
    /// The oldest task that is ready, or whose worker died holding it.
    LEASE = "UPDATE task SET state = 'leased', attempts = attempts + 1, lease_owner = $1, lease_until = $2
        WHERE id = (SELECT id FROM task WHERE (state = 'ready' AND run_after <= $3) OR (state = 'leased' AND lease_until < $3)
                    ORDER BY run_after, id LIMIT 1)
          AND (state = 'ready' OR (state = 'leased' AND lease_until < $3))
        RETURNING id, kind, payload, attempts, max_attempts";
    HEARTBEAT = "UPDATE task SET lease_until = $3 WHERE id = $1 AND state = 'leased' AND lease_owner = $2";
    DONE = "UPDATE task SET state = 'done', finished = $3, error = NULL WHERE id = $1 AND state = 'leased' AND lease_owner = $2";
    AGAIN = "UPDATE task SET state = 'ready', run_after = $3, error = $4 WHERE id = $1 AND state = 'leased' AND lease_owner = $2";
    FAILED = "UPDATE task SET state = 'failed', finished = $3, error = $4 WHERE id = $1 AND state = 'leased' AND lease_owner = $2";
    NEXT_AT = "SELECT MIN(CASE WHEN state = 'leased' THEN lease_until ELSE run_after END) AS at FROM task WHERE state IN ('ready', 'leased')";
    LIST = "SELECT id, kind, payload, state, attempts, max_attempts, error, created, finished FROM task
        WHERE id > $1 ORDER BY id LIMIT $2";
}

/// A task to be enqueued.
#[derive(Clone, Debug)]
pub struct NewTask<'a> {
    /// The kind: a constant of the crate that handles it.
    pub kind: &'a str,
    /// When several are asked for before one has started, they become one.
    pub unique_key: Option<&'a str>,
    /// Not before this time.
    pub run_after: Timestamp,
    /// Tries at the most.
    pub max_attempts: u32,
}

/// A leased task.
#[derive(Clone, Debug)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// Its kind.
    pub kind: String,
    /// Its payload as JSON text.
    pub payload: String,
    /// Which try this is, from 1.
    pub attempts: u32,
    /// Tries at the most.
    pub max_attempts: u32,
}

impl TaskRow {
    /// The payload as its type.
    ///
    /// # Errors
    /// `Internal` when it is of another kind.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.payload)
            .map_err(|e| cofferdam_types::Error::internal(format!("the payload of a {} task", self.kind), e))
    }
}

/// Background work.
pub struct Tasks<'t>(pub(crate) &'t mut Tx);

impl Tasks<'_> {
    /// Enqueues a task; it exists if and only if this transaction commits.
    ///
    /// # Errors
    /// `Internal` when the database fails; so for every method here.
    pub async fn enqueue(
        &mut self,
        task: NewTask<'_>,
        payload: &impl Serialize,
        now: Timestamp,
    ) -> Result<()> {
        let id = self.0.next_id("task").await?;
        let payload = serde_json::to_string(payload)
            .map_err(|e| cofferdam_types::Error::internal("a task's payload", e))?;
        let values = args![id, task.kind, payload, task.unique_key, task.run_after, task.max_attempts, now];
        self.0.execute(INSERT, values).await.map(drop)
    }

    /// Takes the next task for `owner` until `now + lease`; a worker that dies loses it then.
    pub async fn lease(&mut self, owner: &str, lease: Duration, now: Timestamp) -> Result<Option<TaskRow>> {
        let row = self.0.optional(LEASE, args![owner, now.plus(lease), now]).await?;
        row.map(|row| task(&row)).transpose()
    }

    /// Keeps a lease; `false` when it was lost.
    pub async fn heartbeat(&mut self, id: TaskId, owner: &str, until: Timestamp) -> Result<bool> {
        Ok(self.0.execute(HEARTBEAT, args![id, owner, until]).await? == 1)
    }

    /// Finishes a task; `false` when the lease was lost (somebody else does it again then).
    pub async fn done(&mut self, id: TaskId, owner: &str, now: Timestamp) -> Result<bool> {
        Ok(self.0.execute(DONE, args![id, owner, now]).await? == 1)
    }

    /// Gives a failed task back for another try at `run_after`, or for good when tries are used up.
    pub async fn fail(
        &mut self,
        task: &TaskRow,
        owner: &str,
        error: &str,
        run_after: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let (sql, at) = if task.attempts < task.max_attempts { (AGAIN, run_after) } else { (FAILED, now) };
        self.0.execute(sql, args![task.id, owner, at, error]).await.map(drop)
    }

    /// When the next task wants to run; `None` when there is none.
    pub async fn next_at(&mut self) -> Result<Option<Timestamp>> {
        self.0.one(NEXT_AT, args![]).await?.opt_time("at")
    }

    /// A page of tasks by id, for people: `(row, state, error)`.
    pub async fn list(&mut self, after: i64, limit: usize) -> Result<Vec<(TaskRow, String, Option<String>)>> {
        let rows = self.0.all(LIST, args![after, limit]).await?;
        rows.iter().map(|row| Ok((task(row)?, row.text("state")?, row.opt_text("error")?))).collect()
    }
}

fn task(row: &Row) -> Result<TaskRow> {
    Ok(TaskRow {
        id: TaskId(row.int("id")?),
        kind: row.text("kind")?,
        payload: row.text("payload")?,
        attempts: u32::try_from(row.int("attempts")?).unwrap_or(u32::MAX),
        max_attempts: u32::try_from(row.int("max_attempts")?).unwrap_or(u32::MAX),
    })
}

//! Rows of projects, pipelines, jobs, logs, artifacts and runners. When a job may run and what a
//! state means is decided in the `forge` and `pipeline` crates.

use cofferdam_types::{JobId, PipelineId, ProjectId, Result, RunnerId, Sha256, Timestamp};

use crate::{
    Row, Tx,
    sql::{args, statements},
};

/// The largest body of one row of a log, in bytes.
const LOG_ROW: usize = 64 << 10;

statements! {
    INSERT_PROJECT = "INSERT INTO project (id, namespace, name, default_branch, pipelines, created) VALUES ($1, $2, $3, $4, 0, $5)";
    PROJECT = "SELECT id, namespace, name, default_branch, created FROM project WHERE id = $1";
    PROJECT_BY_PATH = "SELECT id, namespace, name, default_branch, created FROM project WHERE namespace = $1 AND name = $2";
    PROJECTS = "SELECT id, namespace, name, default_branch, created FROM project WHERE id > $1 ORDER BY id LIMIT $2";
    INSERT_PUSH = "INSERT INTO push_event (id, project_id, actor, updates, at) VALUES ($1, $2, $3, $4, $5)";

    INSERT_RUNNER = "INSERT INTO runner (id, description, tags, run_untagged, state, info, created) VALUES ($1, $2, $3, $4, 'active', '{}', $5)";
    RUNNER = "SELECT id, description, tags, run_untagged, state, info, contacted, created FROM runner WHERE id = $1";
    RUNNERS = "SELECT id, description, tags, run_untagged, state, info, contacted, created FROM runner ORDER BY id";
    RUNNER_CONTACT = "UPDATE runner SET contacted = $2, info = COALESCE($3, info) WHERE id = $1";
    RUNNER_STATE = "UPDATE runner SET state = $2 WHERE id = $1";

    NEXT_PIPELINE = "UPDATE project SET pipelines = pipelines + 1 WHERE id = $1 RETURNING pipelines";
    INSERT_PIPELINE = "INSERT INTO pipeline (id, project_id, iid, git_ref, sha, before_sha, source, state, error, actor, changes, created)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11)";
    PIPELINE = "SELECT id, project_id, iid, git_ref, sha, before_sha, source, state, error, actor, created, started, finished
        FROM pipeline WHERE id = $1";
    PIPELINES = "SELECT id, project_id, iid, git_ref, sha, before_sha, source, state, error, actor, created, started, finished
        FROM pipeline WHERE project_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
    /// Takes the row's lock on PostgreSQL; SQLite has one writer anyway.
    LOCK_PIPELINE = "UPDATE pipeline SET changes = changes + 1 WHERE id = $1";
    SET_PIPELINE = "UPDATE pipeline SET state = $2, started = $3, finished = $4 WHERE id = $1";

    INSERT_JOB = "INSERT INTO job (id, pipeline_id, project_id, name, stage, position, state, plan, tags, timeout, attempt, superseded,
            created, queued, log_size, log_crc)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13, 0, 0)";
    JOB = "SELECT id, pipeline_id, project_id, name, stage, position, state, plan, tags, timeout, attempt, superseded, runner_id,
            failure_reason, exit_code, created, queued, started, finished, heard, log_size, log_crc FROM job WHERE id = $1";
    JOBS = "SELECT id, pipeline_id, project_id, name, stage, position, state, plan, tags, timeout, attempt, superseded, runner_id,
            failure_reason, exit_code, created, queued, started, finished, heard, log_size, log_crc
        FROM job WHERE pipeline_id = $1 ORDER BY position, id";
    PENDING = "SELECT id, pipeline_id, tags FROM job WHERE state = 'pending' AND id > $1 ORDER BY id LIMIT $2";
    /// Two runners that want one job: the second finds it taken.
    TAKE = "UPDATE job SET state = 'running', runner_id = $2, started = $3, heard = $3 WHERE id = $1 AND state = 'pending' RETURNING id";
    HEARD = "UPDATE job SET heard = $2 WHERE id = $1";
    STEP = "UPDATE job SET state = $2, failure_reason = $3, exit_code = $4, queued = COALESCE(queued, $5),
            finished = COALESCE($6, finished) WHERE id = $1";
    SUPERSEDE = "UPDATE job SET superseded = 1 WHERE id = $1";
    LOST = "SELECT id FROM job WHERE state = 'running' AND (heard < $1 OR started + timeout * 1000000 < $2) ORDER BY id LIMIT $3";
    /// The row's lock, and the log's length under it.
    LOCK_LOG = "UPDATE job SET heard = $2 WHERE id = $1 RETURNING log_size, log_crc";
    SET_LOG = "UPDATE job SET log_size = $2, log_crc = $3 WHERE id = $1";
    INSERT_LOG = "INSERT INTO job_log (job_id, first, body) VALUES ($1, $2, $3)";
    DELETE_LOG = "DELETE FROM job_log WHERE job_id = $1";
    /// The rows from the one that holds offset `$2`.
    LOG = "SELECT first, body FROM job_log WHERE job_id = $1
            AND first >= (SELECT COALESCE(MAX(first), 0) FROM job_log WHERE job_id = $1 AND first <= $2) ORDER BY first LIMIT $3";

    INSERT_ARTIFACT = "INSERT INTO artifact (id, job_id, kind, format, name, sha256, size, created, expires)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (job_id, kind, name) DO UPDATE SET format = $4, sha256 = $6, size = $7, created = $8, expires = $9";
    ARTIFACTS = "SELECT id, job_id, kind, format, name, sha256, size, created, expires FROM artifact WHERE job_id = $1 ORDER BY id";
    INSERT_STATEMENT = "INSERT INTO statement (id, kind, subject, sha256, envelope, created) VALUES ($1, $2, $3, $4, $5, $6)";
    STATEMENT = "SELECT kind, subject, sha256, envelope, created FROM statement WHERE kind = $1 AND subject = $2";
}

/// A git project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectRow {
    /// Its id.
    pub id: ProjectId,
    /// The group it is in.
    pub namespace: String,
    /// Its name in the group.
    pub name: String,
    /// The branch that `HEAD` names.
    pub default_branch: String,
    /// When it was created.
    pub created: Timestamp,
}

impl ProjectRow {
    /// `<group>/<project>`, as in its address.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A runner: a machine that asks for jobs.
#[derive(Clone, Debug)]
pub struct RunnerRow {
    /// Its id.
    pub id: RunnerId,
    /// What people call it.
    pub description: String,
    /// The tags it has.
    pub tags: Vec<String>,
    /// Whether it takes jobs without tags.
    pub run_untagged: bool,
    /// `active` or `paused`.
    pub state: String,
    /// What it last said about itself, JSON.
    pub info: String,
    /// When it last called.
    pub contacted: Option<Timestamp>,
    /// When it was registered.
    pub created: Timestamp,
}

/// A pipeline to be inserted.
#[derive(Clone, Debug)]
pub struct NewPipeline<'a> {
    /// Its project.
    pub project: ProjectId,
    /// The whole reference, such as `refs/heads/main`.
    pub git_ref: &'a str,
    /// The commit.
    pub sha: &'a str,
    /// What the reference named before; forty zeros when it is new.
    pub before_sha: &'a str,
    /// Why it runs: `push`, `web`, `api`.
    pub source: &'a str,
    /// Its first state.
    pub state: &'a str,
    /// Why it failed before it began: the diagnostics of its file; empty otherwise.
    pub error: &'a str,
    /// Who.
    pub actor: &'a str,
}

/// A pipeline.
#[derive(Clone, Debug)]
pub struct PipelineRow {
    /// Its id, unique at the site.
    pub id: PipelineId,
    /// Its project.
    pub project: ProjectId,
    /// Its number in the project, from 1.
    pub iid: u64,
    /// The whole reference.
    pub git_ref: String,
    /// The commit.
    pub sha: String,
    /// What the reference named before.
    pub before_sha: String,
    /// Why it runs.
    pub source: String,
    /// Its state, in GitLab's words.
    pub state: String,
    /// The diagnostics of its file; empty when it is well-formed.
    pub error: String,
    /// Who.
    pub actor: String,
    /// When it was made.
    pub created: Timestamp,
    /// When its first job began.
    pub started: Option<Timestamp>,
    /// When its last job ended.
    pub finished: Option<Timestamp>,
}

/// A job to be inserted.
#[derive(Clone, Debug)]
pub struct NewJob<'a> {
    /// Its pipeline.
    pub pipeline: PipelineId,
    /// Its project.
    pub project: ProjectId,
    /// Its name.
    pub name: &'a str,
    /// Its stage.
    pub stage: &'a str,
    /// Its place among the pipeline's jobs.
    pub position: u32,
    /// Its first state.
    pub state: &'a str,
    /// What was planned, JSON.
    pub plan: &'a str,
    /// The tags that its runner needs.
    pub tags: &'a [String],
    /// Seconds that it may run.
    pub timeout: u64,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// A job: one try of it.
#[derive(Clone, Debug)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// Its pipeline.
    pub pipeline: PipelineId,
    /// Its project.
    pub project: ProjectId,
    /// Its name.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// Its place among the pipeline's jobs.
    pub position: u32,
    /// Its state, in GitLab's words.
    pub state: String,
    /// What was planned, JSON.
    pub plan: String,
    /// The tags that its runner needs.
    pub tags: Vec<String>,
    /// Seconds that it may run.
    pub timeout: u64,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// Whether a later try has taken its place.
    pub superseded: bool,
    /// Who runs it.
    pub runner: Option<RunnerId>,
    /// Why it failed, in GitLab's words.
    pub failure_reason: Option<String>,
    /// What its script exited with.
    pub exit_code: Option<i64>,
    /// When it was made.
    pub created: Timestamp,
    /// When it became pending.
    pub queued: Option<Timestamp>,
    /// When a runner took it.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// When its runner last said anything about it.
    pub heard: Option<Timestamp>,
    /// Bytes of its log.
    pub log_size: u64,
    /// CRC-32 of its log.
    pub log_crc: u32,
}

/// A change of a job's state.
#[derive(Clone, Debug, Default)]
pub struct JobStep<'a> {
    /// The state to move to.
    pub state: &'a str,
    /// Why it failed.
    pub failure_reason: Option<&'a str>,
    /// What its script exited with.
    pub exit_code: Option<i64>,
    /// Set when it becomes pending.
    pub queued: Option<Timestamp>,
    /// Set when it ends.
    pub finished: Option<Timestamp>,
}

/// What a job left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactRow {
    /// The job.
    pub job: JobId,
    /// `archive`, `junit`, … in GitLab's words.
    pub kind: String,
    /// `zip`, `gzip` or `raw`.
    pub format: String,
    /// Its file name.
    pub name: String,
    /// The bytes.
    pub sha256: Sha256,
    /// Their length.
    pub size: u64,
    /// When it arrived.
    pub created: Timestamp,
    /// When it may be removed.
    pub expires: Option<Timestamp>,
}

/// A signed statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementRow {
    /// What sort, such as `provenance`.
    pub kind: String,
    /// About what, such as `job:7`.
    pub subject: String,
    /// The digest of `envelope`.
    pub sha256: Sha256,
    /// The DSSE envelope, JSON.
    pub envelope: String,
    /// When.
    pub created: Timestamp,
}

/// Rows of the forge.
pub struct ForgeRows<'t>(pub(crate) &'t mut Tx);

impl ForgeRows<'_> {
    /// Adds a project.
    ///
    /// # Errors
    /// `Conflict` when the path is taken; `Internal` when the database fails, as for every method.
    pub async fn insert_project(
        &mut self,
        namespace: &str,
        name: &str,
        branch: &str,
        now: Timestamp,
    ) -> Result<ProjectId> {
        let id = self.0.next_id("project").await?;
        self.0.execute(INSERT_PROJECT, args![id, namespace, name, branch, now]).await?;
        Ok(ProjectId(id))
    }

    /// A project by id.
    pub async fn project(&mut self, id: ProjectId) -> Result<Option<ProjectRow>> {
        self.0.optional(PROJECT, args![id]).await?.map(|row| project(&row)).transpose()
    }

    /// A project by its path.
    pub async fn project_by_path(&mut self, namespace: &str, name: &str) -> Result<Option<ProjectRow>> {
        self.0.optional(PROJECT_BY_PATH, args![namespace, name]).await?.map(|row| project(&row)).transpose()
    }

    /// A page of projects by id.
    pub async fn projects(&mut self, after: ProjectId, limit: usize) -> Result<Vec<ProjectRow>> {
        self.0.all(PROJECTS, args![after, limit]).await?.iter().map(project).collect()
    }

    /// Notes a push: who moved which references.
    pub async fn insert_push(
        &mut self,
        id: ProjectId,
        actor: &str,
        updates: &serde_json::Value,
        now: Timestamp,
    ) -> Result<()> {
        let push = self.0.next_id("push_event").await?;
        self.0.execute(INSERT_PUSH, args![push, id, actor, updates, now]).await.map(drop)
    }

    /// Adds a runner.
    pub async fn insert_runner(
        &mut self,
        description: &str,
        tags: &[String],
        untagged: bool,
        now: Timestamp,
    ) -> Result<RunnerId> {
        let id = self.0.next_id("runner").await?;
        self.0.execute(INSERT_RUNNER, args![id, description, tags.join(" "), untagged, now]).await?;
        Ok(RunnerId(id))
    }

    /// A runner by id.
    pub async fn runner(&mut self, id: RunnerId) -> Result<Option<RunnerRow>> {
        self.0.optional(RUNNER, args![id]).await?.map(|row| runner(&row)).transpose()
    }

    /// Every runner.
    pub async fn runners(&mut self) -> Result<Vec<RunnerRow>> {
        self.0.all(RUNNERS, args![]).await?.iter().map(runner).collect()
    }

    /// Notes that a runner called, and what it said about itself.
    pub async fn runner_contact(&mut self, id: RunnerId, info: Option<&str>, now: Timestamp) -> Result<()> {
        self.0.execute(RUNNER_CONTACT, args![id, now, info]).await.map(drop)
    }

    /// Pauses a runner or lets it go on; `false` when there is none.
    pub async fn set_runner_state(&mut self, id: RunnerId, state: &str) -> Result<bool> {
        Ok(self.0.execute(RUNNER_STATE, args![id, state]).await? > 0)
    }

    /// Adds a pipeline and returns it with its number in the project.
    pub async fn insert_pipeline(&mut self, new: &NewPipeline<'_>, now: Timestamp) -> Result<PipelineRow> {
        let id = self.0.next_id("pipeline").await?;
        let iid = self.0.one(NEXT_PIPELINE, args![new.project]).await?.size("pipelines")?;
        let values = args![
            id,
            new.project,
            iid,
            new.git_ref,
            new.sha,
            new.before_sha,
            new.source,
            new.state,
            new.error,
            new.actor,
            now
        ];
        self.0.execute(INSERT_PIPELINE, values).await?;
        pipeline(&self.0.one(PIPELINE, args![id]).await?)
    }

    /// A pipeline by id.
    pub async fn pipeline(&mut self, id: PipelineId) -> Result<Option<PipelineRow>> {
        self.0.optional(PIPELINE, args![id]).await?.map(|row| pipeline(&row)).transpose()
    }

    /// A page of a project's pipelines, newest first, before `before` (`i64::MAX` for the first page).
    pub async fn pipelines(&mut self, id: ProjectId, before: i64, limit: usize) -> Result<Vec<PipelineRow>> {
        self.0.all(PIPELINES, args![id, before, limit]).await?.iter().map(pipeline).collect()
    }

    /// Takes the right to change a pipeline's jobs until the end of the transaction.
    pub async fn lock_pipeline(&mut self, id: PipelineId) -> Result<()> {
        self.0.execute(LOCK_PIPELINE, args![id]).await.map(drop)
    }

    /// Writes what follows from the states of a pipeline's jobs.
    pub async fn set_pipeline(&mut self, row: &PipelineRow) -> Result<()> {
        self.0.execute(SET_PIPELINE, args![row.id, &row.state, row.started, row.finished]).await.map(drop)
    }

    /// Adds a job.
    pub async fn insert_job(&mut self, new: &NewJob<'_>, now: Timestamp) -> Result<JobId> {
        let id = self.0.next_id("job").await?;
        let queued = (new.state == "pending").then_some(now);
        let values = args![
            id,
            new.pipeline,
            new.project,
            new.name,
            new.stage,
            new.position,
            new.state,
            new.plan,
            new.tags.join(" "),
            new.timeout,
            new.attempt,
            now,
            queued
        ];
        self.0.execute(INSERT_JOB, values).await?;
        Ok(JobId(id))
    }

    /// A job by id.
    pub async fn job(&mut self, id: JobId) -> Result<Option<JobRow>> {
        self.0.optional(JOB, args![id]).await?.map(|row| job(&row)).transpose()
    }

    /// Every try of every job of a pipeline, in the plan's order.
    pub async fn jobs(&mut self, id: PipelineId) -> Result<Vec<JobRow>> {
        self.0.all(JOBS, args![id]).await?.iter().map(job).collect()
    }

    /// A page of jobs that wait for a runner, oldest first, with their pipelines and tags.
    pub async fn pending(
        &mut self,
        after: JobId,
        limit: usize,
    ) -> Result<Vec<(JobId, PipelineId, Vec<String>)>> {
        let rows = self.0.all(PENDING, args![after, limit]).await?;
        rows.iter()
            .map(|row| Ok((JobId(row.int("id")?), PipelineId(row.int("pipeline_id")?), words(row, "tags")?)))
            .collect()
    }

    /// Gives a pending job to a runner; `false` when somebody else has it.
    pub async fn take(&mut self, id: JobId, runner: RunnerId, now: Timestamp) -> Result<bool> {
        Ok(self.0.optional(TAKE, args![id, runner, now]).await?.is_some())
    }

    /// Notes that a job's runner is alive.
    pub async fn heard(&mut self, id: JobId, now: Timestamp) -> Result<()> {
        self.0.execute(HEARD, args![id, now]).await.map(drop)
    }

    /// Moves a job to another state. The caller holds the pipeline's lock.
    pub async fn step(&mut self, id: JobId, step: &JobStep<'_>) -> Result<()> {
        let values = args![id, step.state, step.failure_reason, step.exit_code, step.queued, step.finished];
        self.0.execute(STEP, values).await.map(drop)
    }

    /// Marks a try as replaced by a later one.
    pub async fn supersede(&mut self, id: JobId) -> Result<()> {
        self.0.execute(SUPERSEDE, args![id]).await.map(drop)
    }

    /// Running jobs whose runner was last heard before `silent_since`, or that are past their timeout.
    pub async fn lost(
        &mut self,
        silent_since: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<JobId>> {
        let rows = self.0.all(LOST, args![silent_since, now, limit]).await?;
        rows.iter().map(|row| Ok(JobId(row.int("id")?))).collect()
    }

    /// Takes the right to append to a job's log until the end of the transaction, and notes that the
    /// runner is alive. Gives the log's length and CRC-32.
    pub async fn lock_log(&mut self, id: JobId, now: Timestamp) -> Result<(u64, u32)> {
        let row = self.0.one(LOCK_LOG, args![id, now]).await?;
        Ok((row.size("log_size")?, small(&row, "log_crc")?))
    }

    /// Appends to a log that is `size` bytes long and will have the CRC-32 `crc`.
    pub async fn append_log(&mut self, id: JobId, size: u64, body: &[u8], crc: u32) -> Result<()> {
        let mut first = size;
        for part in body.chunks(LOG_ROW) {
            self.0.execute(INSERT_LOG, args![id, first, part.to_vec()]).await?;
            first += part.len() as u64;
        }
        self.0.execute(SET_LOG, args![id, first, crc]).await.map(drop)
    }

    /// Forgets a log, because its runner will send it again.
    pub async fn clear_log(&mut self, id: JobId) -> Result<()> {
        self.0.execute(DELETE_LOG, args![id]).await?;
        self.0.execute(SET_LOG, args![id, 0i64, 0i64]).await.map(drop)
    }

    /// At most `rows` pieces of a log from the one that holds `offset`: offset of the first byte, bytes.
    pub async fn log(&mut self, id: JobId, offset: u64, rows: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        let rows = self.0.all(LOG, args![id, offset, rows]).await?;
        rows.iter().map(|row| Ok((row.size("first")?, row.bytes("body")?))).collect()
    }

    /// Adds an artifact; the same kind and name again replaces it.
    pub async fn put_artifact(&mut self, row: &ArtifactRow) -> Result<()> {
        let id = self.0.next_id("artifact").await?;
        let values = args![
            id,
            row.job,
            &row.kind,
            &row.format,
            &row.name,
            row.sha256,
            row.size,
            row.created,
            row.expires
        ];
        self.0.execute(INSERT_ARTIFACT, values).await.map(drop)
    }

    /// A job's artifacts.
    pub async fn artifacts(&mut self, id: JobId) -> Result<Vec<ArtifactRow>> {
        self.0.all(ARTIFACTS, args![id]).await?.iter().map(artifact).collect()
    }

    /// Adds a signed statement.
    ///
    /// # Errors
    /// `Conflict` when there is one of that kind about that subject.
    pub async fn insert_statement(&mut self, row: &StatementRow) -> Result<()> {
        let id = self.0.next_id("statement").await?;
        let values = args![id, &row.kind, &row.subject, row.sha256, &row.envelope, row.created];
        self.0.execute(INSERT_STATEMENT, values).await.map(drop)
    }

    /// The statement of a kind about a subject.
    pub async fn statement(&mut self, kind: &str, subject: &str) -> Result<Option<StatementRow>> {
        self.0.optional(STATEMENT, args![kind, subject]).await?.map(|row| statement(&row)).transpose()
    }
}

fn words(row: &Row, name: &str) -> Result<Vec<String>> {
    Ok(row.text(name)?.split_whitespace().map(str::to_owned).collect())
}

fn small(row: &Row, name: &str) -> Result<u32> {
    Ok(u32::try_from(row.int(name)?).unwrap_or(u32::MAX))
}

fn project(row: &Row) -> Result<ProjectRow> {
    Ok(ProjectRow {
        id: ProjectId(row.int("id")?),
        namespace: row.text("namespace")?,
        name: row.text("name")?,
        default_branch: row.text("default_branch")?,
        created: row.time("created")?,
    })
}

fn runner(row: &Row) -> Result<RunnerRow> {
    Ok(RunnerRow {
        id: RunnerId(row.int("id")?),
        description: row.text("description")?,
        tags: words(row, "tags")?,
        run_untagged: row.flag("run_untagged")?,
        state: row.text("state")?,
        info: row.text("info")?,
        contacted: row.opt_time("contacted")?,
        created: row.time("created")?,
    })
}

fn pipeline(row: &Row) -> Result<PipelineRow> {
    Ok(PipelineRow {
        id: PipelineId(row.int("id")?),
        project: ProjectId(row.int("project_id")?),
        iid: row.size("iid")?,
        git_ref: row.text("git_ref")?,
        sha: row.text("sha")?,
        before_sha: row.text("before_sha")?,
        source: row.text("source")?,
        state: row.text("state")?,
        error: row.text("error")?,
        actor: row.text("actor")?,
        created: row.time("created")?,
        started: row.opt_time("started")?,
        finished: row.opt_time("finished")?,
    })
}

fn job(row: &Row) -> Result<JobRow> {
    Ok(JobRow {
        id: JobId(row.int("id")?),
        pipeline: PipelineId(row.int("pipeline_id")?),
        project: ProjectId(row.int("project_id")?),
        name: row.text("name")?,
        stage: row.text("stage")?,
        position: small(row, "position")?,
        state: row.text("state")?,
        plan: row.text("plan")?,
        tags: words(row, "tags")?,
        timeout: row.size("timeout")?,
        attempt: small(row, "attempt")?,
        superseded: row.flag("superseded")?,
        runner: row.opt_int("runner_id")?.map(RunnerId),
        failure_reason: row.opt_text("failure_reason")?,
        exit_code: row.opt_int("exit_code")?,
        created: row.time("created")?,
        queued: row.opt_time("queued")?,
        started: row.opt_time("started")?,
        finished: row.opt_time("finished")?,
        heard: row.opt_time("heard")?,
        log_size: row.size("log_size")?,
        log_crc: small(row, "log_crc")?,
    })
}

fn artifact(row: &Row) -> Result<ArtifactRow> {
    Ok(ArtifactRow {
        job: JobId(row.int("job_id")?),
        kind: row.text("kind")?,
        format: row.text("format")?,
        name: row.text("name")?,
        sha256: row.sha256("sha256")?,
        size: row.size("size")?,
        created: row.time("created")?,
        expires: row.opt_time("expires")?,
    })
}

fn statement(row: &Row) -> Result<StatementRow> {
    Ok(StatementRow {
        kind: row.text("kind")?,
        subject: row.text("subject")?,
        sha256: row.sha256("sha256")?,
        envelope: row.text("envelope")?,
        created: row.time("created")?,
    })
}

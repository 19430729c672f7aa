//! Where an artifact came from, signed by the site: SLSA provenance v1 in an in-toto statement.
//!
//! Everything in it is what the site itself saw: which commit it handed out, which packages it
//! served to the job (digest by digest), which bytes came back. Nothing is taken from the job's word.

use cofferdam_audit::Entry;
use cofferdam_store::{ArtifactRow, JobRow, PipelineRow, ProjectRow, ServedRow, StatementRow, Tx};
use cofferdam_trust::{Statement, Subject, sign_statement};
use cofferdam_types::{Error, JobId, Result, Sha256, Timestamp};
use serde_json::{Value, json};

use crate::Forge;

/// SLSA, "Provenance", version 1.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
const KIND: &str = "provenance";

/// What a statement is made of.
struct Facts<'a> {
    job: &'a JobRow,
    pipeline: &'a PipelineRow,
    project: &'a ProjectRow,
    served: &'a [ServedRow],
    finished: Timestamp,
}

impl Forge {
    /// The signed provenance of a job's artifacts.
    ///
    /// # Errors
    /// `NotFound` when the job has not succeeded, or has left no artifact to speak of.
    pub async fn provenance(&self, job: JobId) -> Result<StatementRow> {
        let found = self.db().read().await?.forge().statement(KIND, &subject(job)).await?;
        found.ok_or_else(|| {
            Error::not_found(format!("there is no provenance of job {job}"))
                .hint("it is made when a job succeeds and has left artifacts")
        })
    }

    /// Signs and keeps the provenance of a job that has just succeeded, in the caller's transaction.
    /// `None` when it left nothing behind.
    pub(crate) async fn attest(
        &self,
        tx: &mut Tx,
        job: &JobRow,
        finished: Timestamp,
    ) -> Result<Option<Sha256>> {
        let artifacts = tx.forge().artifacts(job.id).await?;
        if artifacts.is_empty() {
            return Ok(None);
        }
        let gone = || Error::not_found(format!("the pipeline of job {} is gone", job.id));
        let pipeline = tx.forge().pipeline(job.pipeline).await?.ok_or_else(gone)?;
        let project = tx.forge().project(job.project).await?.ok_or_else(gone)?;
        let served = tx.served().list("job", job.id.0).await?;
        let facts = Facts { job, pipeline: &pipeline, project: &project, served: &served, finished };
        let statement = Statement::new(
            artifacts.iter().map(subject_of).collect(),
            PREDICATE_TYPE,
            self.predicate(&facts),
        );
        let envelope = sign_statement(&statement, &[self.key()])?.to_json()?;
        let sha256 = Sha256::of(&envelope);
        let envelope = String::from_utf8(envelope).map_err(|e| Error::internal("an envelope is text", e))?;
        let row =
            StatementRow { kind: KIND.into(), subject: subject(job.id), sha256, envelope, created: finished };
        tx.forge().insert_statement(&row).await?;
        let entry = Entry {
            at: finished,
            actor: "system".into(),
            action: "provenance.sign".into(),
            target: subject(job.id),
            detail: json!({ "sha256": sha256, "artifacts": artifacts.iter().map(|a| a.sha256).collect::<Vec<_>>() }),
        };
        cofferdam_audit::append(tx, &entry).await?;
        Ok(Some(sha256))
    }

    fn predicate(&self, facts: &Facts<'_>) -> Value {
        let Facts { job, pipeline, project, served, finished } = facts;
        let url = self.public_url();
        let repository = format!("git+{url}/{}.git", project.path());
        let commit = json!({
            "uri": format!("{repository}@{}", pipeline.git_ref),
            "digest": { "gitCommit": pipeline.sha },
        });
        let packages = served.iter().filter_map(|row| {
            let sha256 = row.sha256.filter(|_| row.outcome == "served")?;
            Some(json!({ "uri": row.purl, "digest": { "sha256": sha256 }, "name": row.path,
                "annotations": { "repository": row.repository } }))
        });
        json!({
            "buildDefinition": {
                "buildType": format!("{url}/build-types/pipeline-job/v1"),
                "externalParameters": {
                    "repository": repository,
                    "ref": pipeline.git_ref,
                    "pipeline": crate::planning::PIPELINE_FILE,
                    "job": job.name,
                },
                "internalParameters": { "site": self.site().as_str(), "pipeline_id": pipeline.id, "source": pipeline.source },
                "resolvedDependencies": std::iter::once(commit).chain(packages).collect::<Vec<_>>(),
            },
            "runDetails": {
                "builder": { "id": format!("{url}/builder/sandbox") },
                "metadata": {
                    "invocationId": format!("{url}/api/v1/jobs/{}", job.id),
                    "startedOn": job.started,
                    "finishedOn": finished,
                },
            },
        })
    }
}

fn subject(job: JobId) -> String {
    format!("job:{job}")
}

fn subject_of(artifact: &ArtifactRow) -> Subject {
    Subject::sha256(&artifact.name, artifact.sha256)
}

-- Git projects. `pipelines` counts, so that every project numbers its own pipelines from 1.
CREATE TABLE project (
  id BIGINT PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, default_branch TEXT NOT NULL,
  pipelines BIGINT NOT NULL, created BIGINT NOT NULL
);
CREATE UNIQUE INDEX project_path ON project (namespace, name);
-- What somebody pushed: the moved references as JSON.
CREATE TABLE push_event (
  id BIGINT PRIMARY KEY, project_id BIGINT NOT NULL, actor TEXT NOT NULL, updates TEXT NOT NULL, at BIGINT NOT NULL
);
CREATE INDEX push_event_project ON push_event (project_id, id);
CREATE TABLE runner (
  id BIGINT PRIMARY KEY, description TEXT NOT NULL, tags TEXT NOT NULL, run_untagged BIGINT NOT NULL, state TEXT NOT NULL,
  info TEXT NOT NULL, contacted BIGINT, created BIGINT NOT NULL
);
-- `changes` counts; touching it is the lock under which all jobs of a pipeline change.
CREATE TABLE pipeline (
  id BIGINT PRIMARY KEY, project_id BIGINT NOT NULL, iid BIGINT NOT NULL, git_ref TEXT NOT NULL, sha TEXT NOT NULL,
  before_sha TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, error TEXT NOT NULL, actor TEXT NOT NULL,
  changes BIGINT NOT NULL, created BIGINT NOT NULL, started BIGINT, finished BIGINT
);
CREATE UNIQUE INDEX pipeline_iid ON pipeline (project_id, iid);
-- A try of a planned job; a retry is a new row, and the old one is marked `superseded`.
CREATE TABLE job (
  id BIGINT PRIMARY KEY, pipeline_id BIGINT NOT NULL, project_id BIGINT NOT NULL, name TEXT NOT NULL, stage TEXT NOT NULL,
  position BIGINT NOT NULL, state TEXT NOT NULL, plan TEXT NOT NULL, tags TEXT NOT NULL, timeout BIGINT NOT NULL,
  attempt BIGINT NOT NULL, superseded BIGINT NOT NULL, runner_id BIGINT, failure_reason TEXT, exit_code BIGINT,
  created BIGINT NOT NULL, queued BIGINT, started BIGINT, finished BIGINT, heard BIGINT,
  log_size BIGINT NOT NULL, log_crc BIGINT NOT NULL
);
CREATE INDEX job_pipeline ON job (pipeline_id, position, id);
CREATE INDEX job_state ON job (state, id);
-- The log in the order in which it came; `first` is the offset of the row's first byte.
CREATE TABLE job_log (
  job_id BIGINT NOT NULL, first BIGINT NOT NULL, body BYTES_TYPE NOT NULL, PRIMARY KEY (job_id, first)
);
CREATE TABLE artifact (
  id BIGINT PRIMARY KEY, job_id BIGINT NOT NULL, kind TEXT NOT NULL, format TEXT NOT NULL, name TEXT NOT NULL,
  sha256 TEXT NOT NULL, size BIGINT NOT NULL, created BIGINT NOT NULL, expires BIGINT
);
CREATE UNIQUE INDEX artifact_job ON artifact (job_id, kind, name);
CREATE INDEX artifact_sha256 ON artifact (sha256);
-- Signed statements (DSSE envelopes) about what the site made.
CREATE TABLE statement (
  id BIGINT PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, sha256 TEXT NOT NULL, envelope TEXT NOT NULL,
  created BIGINT NOT NULL
);
CREATE UNIQUE INDEX statement_subject ON statement (kind, subject);

CREATE TABLE person (
  id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, display TEXT NOT NULL, password_hash TEXT,
  state TEXT NOT NULL, created BIGINT NOT NULL
);
CREATE TABLE role_grant (
  person_id BIGINT NOT NULL, role TEXT NOT NULL, granted BIGINT NOT NULL, PRIMARY KEY (person_id, role)
);
-- Only the SHA-256 of a token is kept. A token belongs to a person, a running job, a runner or a recording.
CREATE TABLE token (
  id BIGINT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, person_id BIGINT, job_id BIGINT, runner_id BIGINT,
  recording_id BIGINT,
  scopes TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT, revoked BIGINT
);
CREATE INDEX token_person ON token (person_id);
-- The two-person rule: a question about exactly one digest, and one vote a person.
CREATE TABLE approval (
  id BIGINT PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, digest TEXT NOT NULL, requested_by BIGINT NOT NULL,
  needed BIGINT NOT NULL, state TEXT NOT NULL, created BIGINT NOT NULL, decided BIGINT
);
CREATE INDEX approval_subject ON approval (kind, subject);
CREATE TABLE approval_vote (
  approval_id BIGINT NOT NULL, person_id BIGINT NOT NULL, verdict TEXT NOT NULL, reason TEXT NOT NULL, at BIGINT NOT NULL,
  PRIMARY KEY (approval_id, person_id)
);

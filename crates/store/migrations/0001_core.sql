-- Numbers for ids: one row a sequence, so that both databases hand them out in the same way.
CREATE TABLE sequence (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
-- Facts of the site itself: its name, its keys' ids, the public address its documents hold.
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
-- Slow work. A row is enqueued in the transaction that asks for it, leased by a worker, retried.
CREATE TABLE task (
  id BIGINT PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL,
  unique_key TEXT, run_after BIGINT NOT NULL, attempts BIGINT NOT NULL, max_attempts BIGINT NOT NULL,
  lease_until BIGINT, lease_owner TEXT, error TEXT, created BIGINT NOT NULL, finished BIGINT
);
CREATE INDEX task_ready ON task (state, run_after);
CREATE UNIQUE INDEX task_unique ON task (kind, unique_key) WHERE state = 'ready';

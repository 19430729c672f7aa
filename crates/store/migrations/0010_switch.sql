-- Whether a path ever had other bytes is asked for every new file; only what was removed can tell, and that is little.
CREATE INDEX file_removed ON file (repository_id, path) WHERE removed IS NOT NULL;
-- A generation's list of changes that is too long for one row: `generation.changes` holds its beginning, these the
-- rest in order. Put together they are the text whose digest is in the root.
CREATE TABLE generation_more (
  repository_id BIGINT NOT NULL, n BIGINT NOT NULL, part BIGINT NOT NULL, changes TEXT NOT NULL,
  PRIMARY KEY (repository_id, n, part)
);

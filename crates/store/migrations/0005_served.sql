-- What a session (a recording, a job) was given by the registries, and what it asked for in vain.
CREATE TABLE served (
  kind TEXT NOT NULL, session BIGINT NOT NULL, repository TEXT NOT NULL, path TEXT NOT NULL, package TEXT NOT NULL,
  version TEXT NOT NULL, sha256 TEXT, size BIGINT NOT NULL, purl TEXT NOT NULL, outcome TEXT NOT NULL,
  at BIGINT NOT NULL, times BIGINT NOT NULL, PRIMARY KEY (kind, session, repository, path)
);

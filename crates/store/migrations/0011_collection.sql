-- Where a recorded thing came from: the upstream registry's root as the site is configured, without credentials.
ALTER TABLE served ADD COLUMN source TEXT NOT NULL DEFAULT '';
-- Who asked for it in the session, each once: a client's name and version, or a program and the package it ran for.
CREATE TABLE served_by (
  kind TEXT NOT NULL, session BIGINT NOT NULL, repository TEXT NOT NULL, path TEXT NOT NULL, asker TEXT NOT NULL,
  PRIMARY KEY (kind, session, repository, path, asker)
);
-- What the machine that ran a recorded build says of it, as JSON. `kind`: mentions (of lock files), recorded and
-- rehearsed (platform, network log, what went in and came out).
CREATE TABLE recording_paper (
  recording_id BIGINT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (recording_id, kind)
);
-- What people decided about a collection's items. `kind`: exclude | pin.
CREATE TABLE collection_rule (
  recording_id BIGINT NOT NULL, purl TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, actor TEXT NOT NULL,
  at BIGINT NOT NULL, PRIMARY KEY (recording_id, purl)
);

-- A recorded build and its rehearsal. What it was given is in `served`.
CREATE TABLE recording (
  id BIGINT PRIMARY KEY, name TEXT NOT NULL, command TEXT NOT NULL, actor TEXT NOT NULL, state TEXT NOT NULL,
  started BIGINT NOT NULL, ended BIGINT, exit_code BIGINT, rehearsed BIGINT, rehearsal_exit_code BIGINT, statement TEXT
);
-- Transfers sent and received. `state`: sent | quarantined, refused, rejected, published.
CREATE TABLE transfer (
  id BIGINT PRIMARY KEY, direction TEXT NOT NULL, stream TEXT NOT NULL, source TEXT NOT NULL, epoch BIGINT NOT NULL,
  seq BIGINT NOT NULL, header_sha256 TEXT NOT NULL, digest TEXT NOT NULL, state TEXT NOT NULL, bytes BIGINT NOT NULL,
  blobs BIGINT NOT NULL, created BIGINT NOT NULL, at BIGINT NOT NULL, actor TEXT NOT NULL, published BIGINT
);
CREATE UNIQUE INDEX transfer_position ON transfer (direction, stream, epoch, seq);
CREATE TABLE transfer_item (
  transfer_id BIGINT NOT NULL, n BIGINT NOT NULL, kind TEXT NOT NULL, repository TEXT NOT NULL, format TEXT NOT NULL,
  package TEXT NOT NULL, version TEXT NOT NULL, purl TEXT NOT NULL, size BIGINT NOT NULL, value TEXT NOT NULL,
  verdict TEXT NOT NULL, PRIMARY KEY (transfer_id, n)
);
-- The blobs that a transfer carried: the sender's base for the next one to the same place.
CREATE TABLE transfer_blob (
  transfer_id BIGINT NOT NULL, sha256 TEXT NOT NULL, size BIGINT NOT NULL, PRIMARY KEY (transfer_id, sha256)
);
CREATE INDEX transfer_blob_sha256 ON transfer_blob (sha256);
-- Sites whose transfers are believed, by their keys.
CREATE TABLE trusted_key (
  site TEXT NOT NULL, key TEXT NOT NULL, added BIGINT NOT NULL, actor TEXT NOT NULL, PRIMARY KEY (site, key)
);

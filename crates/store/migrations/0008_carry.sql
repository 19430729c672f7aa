-- What a transfer's medium is like, and what the receiver said of it (`outcome`: empty until a receipt came).
ALTER TABLE transfer ADD COLUMN suite TEXT NOT NULL DEFAULT 'clear-1';
ALTER TABLE transfer ADD COLUMN folder TEXT NOT NULL DEFAULT '';
ALTER TABLE transfer ADD COLUMN outcome TEXT NOT NULL DEFAULT '';
-- The largest date that a believed header of another site bore: time never goes back behind it.
CREATE TABLE time_floor (
  name TEXT PRIMARY KEY, at BIGINT NOT NULL
);
-- Other sites' keys for sealing, and the roots that were believed, by version.
CREATE TABLE site_recipient (
  site TEXT NOT NULL, recipient TEXT NOT NULL, added BIGINT NOT NULL, actor TEXT NOT NULL, PRIMARY KEY (site, recipient)
);
CREATE TABLE site_root (
  site TEXT NOT NULL, version BIGINT NOT NULL, envelope TEXT NOT NULL, added BIGINT NOT NULL, actor TEXT NOT NULL,
  PRIMARY KEY (site, version)
);
-- Groups of packs of a transfer that is being received: what is here is durable in the blob store.
CREATE TABLE staged_group (
  header_sha256 TEXT NOT NULL, first_pack BIGINT NOT NULL, PRIMARY KEY (header_sha256, first_pack)
);
-- Streams from which nothing more is taken until people have found out why.
CREATE TABLE frozen_stream (
  stream TEXT PRIMARY KEY, reason TEXT NOT NULL, at BIGINT NOT NULL
);
-- Receipts given and taken.
CREATE TABLE receipt (
  id BIGINT PRIMARY KEY, direction TEXT NOT NULL, site TEXT NOT NULL, transfer_id BIGINT NOT NULL, outcome TEXT NOT NULL,
  envelope TEXT NOT NULL, at BIGINT NOT NULL, actor TEXT NOT NULL
);
CREATE INDEX receipt_transfer ON receipt (transfer_id);
-- What people and clients asked for and did not find. `state`: open, sent, filled.
CREATE TABLE want (
  id BIGINT PRIMARY KEY, site TEXT NOT NULL, format TEXT NOT NULL, package TEXT NOT NULL, version TEXT NOT NULL, asked BIGINT NOT NULL,
  note TEXT NOT NULL, actor TEXT NOT NULL, state TEXT NOT NULL, first_at BIGINT NOT NULL, last_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX want_what ON want (site, format, package, version);
-- Media by serial number: which volumes they carry, who has them, and their fate.
CREATE TABLE medium (
  serial TEXT PRIMARY KEY, transfer_id BIGINT NOT NULL, label TEXT NOT NULL, files TEXT NOT NULL, holder TEXT NOT NULL,
  state TEXT NOT NULL, at BIGINT NOT NULL, actor TEXT NOT NULL
);

-- The Merkle log: entries in order, and the hash of every complete subtree (level 0 is the leaves).
CREATE TABLE audit_entry (
  idx BIGINT PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
  target TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX audit_entry_target ON audit_entry (target, idx);
CREATE TABLE audit_node (level BIGINT NOT NULL, idx BIGINT NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (level, idx));
CREATE TABLE audit_checkpoint (size BIGINT PRIMARY KEY, root TEXT NOT NULL, note TEXT NOT NULL, at BIGINT NOT NULL);

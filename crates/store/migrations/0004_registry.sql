CREATE TABLE blob (
  sha256 TEXT PRIMARY KEY, size BIGINT NOT NULL, sha512 TEXT NOT NULL, sha1 TEXT NOT NULL, md5 TEXT NOT NULL,
  blake2b_256 TEXT NOT NULL, created BIGINT NOT NULL
);
CREATE TABLE repository (
  id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, format TEXT NOT NULL, kind TEXT NOT NULL, generation BIGINT NOT NULL,
  root TEXT NOT NULL, created BIGINT NOT NULL
);
CREATE TABLE repository_member (
  group_id BIGINT NOT NULL, member_id BIGINT NOT NULL, position BIGINT NOT NULL, PRIMARY KEY (group_id, member_id)
);
CREATE INDEX repository_member_member ON repository_member (member_id);
-- Every commit makes one: numbered, with a root digest chained to the one before.
CREATE TABLE generation (
  repository_id BIGINT NOT NULL, n BIGINT NOT NULL, root TEXT NOT NULL, changes TEXT NOT NULL, cause TEXT NOT NULL,
  actor TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (repository_id, n)
);
CREATE TABLE package (
  id BIGINT PRIMARY KEY, repository_id BIGINT NOT NULL, key TEXT NOT NULL, display TEXT NOT NULL
);
CREATE UNIQUE INDEX package_key ON package (repository_id, key);
CREATE INDEX package_by_key ON package (key);
-- Rows of these three carry the generations that added and removed them; nothing is updated but
-- `removed`, so that what the site served in any generation is a query.
CREATE TABLE release (
  id BIGINT PRIMARY KEY, package_id BIGINT NOT NULL, repository_id BIGINT NOT NULL, version TEXT NOT NULL,
  state TEXT NOT NULL, yank_reason TEXT NOT NULL, meta TEXT NOT NULL, published BIGINT NOT NULL, purl TEXT NOT NULL,
  added BIGINT NOT NULL, removed BIGINT
);
CREATE UNIQUE INDEX release_version ON release (package_id, version) WHERE removed IS NULL;
CREATE INDEX release_repository ON release (repository_id, added);
CREATE TABLE file (
  id BIGINT PRIMARY KEY, package_id BIGINT NOT NULL, repository_id BIGINT NOT NULL, version TEXT NOT NULL,
  path TEXT NOT NULL, role TEXT NOT NULL, sha256 TEXT NOT NULL, meta TEXT NOT NULL, at BIGINT NOT NULL,
  added BIGINT NOT NULL, removed BIGINT
);
CREATE UNIQUE INDEX file_path ON file (repository_id, path) WHERE removed IS NULL;
CREATE INDEX file_package ON file (package_id);
CREATE INDEX file_sha256 ON file (sha256);
CREATE TABLE pointer (
  id BIGINT PRIMARY KEY, package_id BIGINT NOT NULL, repository_id BIGINT NOT NULL, name TEXT NOT NULL,
  version TEXT NOT NULL, added BIGINT NOT NULL, removed BIGINT
);
CREATE UNIQUE INDEX pointer_name ON pointer (package_id, name) WHERE removed IS NULL;
-- Rendered indexes of the newest generation. The body is gzip-compressed.
CREATE TABLE document (
  repository_id BIGINT NOT NULL, path TEXT NOT NULL, package TEXT NOT NULL, media_type TEXT NOT NULL, sha256 TEXT NOT NULL,
  size BIGINT NOT NULL, generation BIGINT NOT NULL, body BYTES_TYPE NOT NULL, PRIMARY KEY (repository_id, path)
);
CREATE INDEX document_package ON document (repository_id, package);

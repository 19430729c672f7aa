-- The transfer that carries what is wanted: sent to the site that wants it (`packed`, then `filled` by its receipt),
-- or published here (`filled`). 0 while it is in none.
ALTER TABLE want ADD COLUMN transfer_id BIGINT NOT NULL DEFAULT 0;

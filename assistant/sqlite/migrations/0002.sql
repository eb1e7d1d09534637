ALTER TABLE message ADD COLUMN parts    TEXT;                     -- a JSON array; NULL is one text part: content
ALTER TABLE message ADD COLUMN provider TEXT NOT NULL DEFAULT '';
ALTER TABLE message ADD COLUMN model    TEXT NOT NULL DEFAULT '';
ALTER TABLE message ADD COLUMN reason   TEXT NOT NULL DEFAULT '';

-- A chunk is text or reasoning. It lies between two offsets of the answer, which count the bytes of both;
-- chunks of version 1 have none, and lie in the order of seq.
ALTER TABLE chunk ADD COLUMN kind  TEXT NOT NULL DEFAULT 'text';
ALTER TABLE chunk ADD COLUMN start INTEGER;
ALTER TABLE chunk ADD COLUMN stop  INTEGER;

DROP INDEX chunk_of_message;
CREATE UNIQUE INDEX chunk_in_order ON chunk (message_seq, start);

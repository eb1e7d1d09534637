-- A node of version 1 that is running goes on beside this one: what it does not know has a default.

-- The JSON array of parts is text. jsonb would reorder and drop members of a tool's arguments, rewrite
-- their numbers and refuse \u0000, and json bounds the depth; what a model sent must not keep an answer
-- from its end.
ALTER TABLE message
	ADD COLUMN parts    text,                     -- NULL is one text part: content
	ADD COLUMN provider text NOT NULL DEFAULT '',
	ADD COLUMN model    text NOT NULL DEFAULT '',
	ADD COLUMN reason   text NOT NULL DEFAULT '';

-- A chunk is text or reasoning. It lies between two offsets of the answer, which count the bytes of both;
-- chunks of version 1 have none, and lie in the order of seq.
ALTER TABLE chunk
	ADD COLUMN kind  text NOT NULL DEFAULT 'text',
	ADD COLUMN start bigint,
	ADD COLUMN stop  bigint;

DROP INDEX chunk_of_message;
CREATE UNIQUE INDEX chunk_in_order ON chunk (message_seq, start);

-- What an older program has left streaming is interrupted, with its text: neighbouring chunks of one kind become one part.
-- Chunks lie in the order of start and seq; those of version 1 have no start.
WITH
	ordered AS (SELECT message_seq, kind, text, row_number() OVER (PARTITION BY message_seq ORDER BY start, seq) AS place FROM chunk),
	stretch AS (SELECT *, place - row_number() OVER (PARTITION BY message_seq, kind ORDER BY place) AS number FROM ordered),
	part AS (SELECT message_seq, kind, min(place) AS place, group_concat(text, '' ORDER BY place) AS text FROM stretch GROUP BY message_seq, kind, number),
	answer AS (SELECT message_seq,
		coalesce(group_concat(text, '' ORDER BY place) FILTER (WHERE kind = 'text'), '') AS content,
		CASE WHEN count(*) > 1 OR min(kind) <> 'text' THEN json_group_array(json_object('type', kind, 'text', text) ORDER BY place) END AS parts
		FROM part GROUP BY message_seq)
UPDATE message SET content = answer.content, parts = answer.parts FROM answer WHERE message_seq = seq AND status = 'streaming';

UPDATE message SET status = 'interrupted', finish_reason = 'interrupted' WHERE status = 'streaming';

-- One answer streams in a conversation.
DROP INDEX message_streaming;
CREATE UNIQUE INDEX message_streaming ON message (conversation_id) WHERE status = 'streaming';

-- What a message consists of while it streams: a row for each call of Extend, with the numbers of its first and last event.
DROP TABLE chunk;
CREATE TABLE chunk (
	seq         INTEGER NOT NULL PRIMARY KEY,
	message_seq INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
	first       INTEGER NOT NULL,
	last        INTEGER NOT NULL,
	parts       TEXT    NOT NULL -- a JSON array
) STRICT;

CREATE UNIQUE INDEX chunk_in_order ON chunk (message_seq, first);

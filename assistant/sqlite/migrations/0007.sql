-- What messages refer to. A file goes with its message.
CREATE TABLE file (
	id          TEXT    NOT NULL PRIMARY KEY,
	owner       TEXT    NOT NULL,                              -- '' is everybody who is anonymous
	network     TEXT    NOT NULL,                              -- whose quota it counts for where the owner is ''
	message_seq INTEGER REFERENCES message ON DELETE CASCADE, -- NULL is no message yet
	media_type  TEXT    NOT NULL,
	name        TEXT    NOT NULL,
	size        INTEGER NOT NULL,
	width       INTEGER NOT NULL,
	height      INTEGER NOT NULL,
	pages       INTEGER NOT NULL,
	created_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX file_of_owner ON file (owner, network);
CREATE INDEX file_of_message ON file (message_seq);
CREATE INDEX file_unused ON file (created_at) WHERE message_seq IS NULL;

-- Its bytes, 256 KiB in each row but the last.
CREATE TABLE file_piece (
	file_id TEXT    NOT NULL REFERENCES file ON DELETE CASCADE,
	n       INTEGER NOT NULL, -- from 0 on
	data    BLOB    NOT NULL,
	UNIQUE (file_id, n)
) STRICT;

-- Times are milliseconds since 1970 in UTC.

CREATE TABLE conversation (
	id         TEXT    NOT NULL PRIMARY KEY,
	owner      TEXT    NOT NULL, -- '' is everybody who is anonymous
	title      TEXT    NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX conversation_by_owner ON conversation (owner, updated_at, id);
CREATE INDEX conversation_by_age ON conversation (updated_at);

CREATE TABLE message (
	seq             INTEGER NOT NULL PRIMARY KEY, -- the order in which messages were stored
	conversation_id TEXT    NOT NULL REFERENCES conversation ON DELETE CASCADE,
	id              TEXT    NOT NULL,
	role            TEXT    NOT NULL,
	content         TEXT    NOT NULL,
	status          TEXT    NOT NULL,
	finish_reason   TEXT    NOT NULL,
	usage           TEXT,                         -- a JSON object
	client_id       TEXT    NOT NULL,             -- '' is none
	created_at      INTEGER NOT NULL,
	UNIQUE (conversation_id, id)
) STRICT;

CREATE INDEX message_in_order ON message (conversation_id, seq);
CREATE UNIQUE INDEX message_by_client_id ON message (conversation_id, client_id) WHERE client_id <> '';
CREATE INDEX message_streaming ON message (conversation_id) WHERE status = 'streaming';

-- What a streaming message's content is followed by.
CREATE TABLE chunk (
	seq         INTEGER NOT NULL PRIMARY KEY,
	message_seq INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
	text        TEXT    NOT NULL
) STRICT;

CREATE INDEX chunk_of_message ON chunk (message_seq, seq);

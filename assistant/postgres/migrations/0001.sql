CREATE TABLE conversation (
	id         text        COLLATE "C" NOT NULL PRIMARY KEY,
	owner      text        COLLATE "C" NOT NULL, -- '' is everybody who is anonymous
	title      text        NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL
);

CREATE INDEX conversation_by_owner ON conversation (owner, updated_at, id);
CREATE INDEX conversation_by_age ON conversation (updated_at);

CREATE TABLE message (
	seq             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the order in which messages were stored
	conversation_id text        COLLATE "C" NOT NULL REFERENCES conversation ON DELETE CASCADE,
	id              text        COLLATE "C" NOT NULL,
	role            text        NOT NULL,
	content         text        NOT NULL,
	status          text        NOT NULL,
	finish_reason   text        NOT NULL,
	usage           jsonb,
	client_id       text        COLLATE "C" NOT NULL, -- '' is none
	created_at      timestamptz NOT NULL,
	node            bigint      NOT NULL,             -- whose process stored it: the key of its advisory lock
	UNIQUE (conversation_id, id)
);

CREATE INDEX message_in_order ON message (conversation_id, seq);
CREATE UNIQUE INDEX message_by_client_id ON message (conversation_id, client_id) WHERE client_id <> '';
CREATE INDEX message_streaming ON message (conversation_id, node) WHERE status = 'streaming';

-- What a streaming message's content is followed by.
CREATE TABLE chunk (
	seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	message_seq bigint NOT NULL REFERENCES message ON DELETE CASCADE,
	text        text   NOT NULL
);

CREATE INDEX chunk_of_message ON chunk (message_seq, seq);

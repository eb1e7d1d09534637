-- From here on many nodes share the tables: each write names the claim that allows it. No program of an older version may
-- run beside, and none does: it is looked for before this is run, and what it has left streaming is interrupted.

-- The one clock of all leases. A test may put another in its place.
CREATE FUNCTION clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT pg_catalog.clock_timestamp()';

-- The open stores that live. One whose lease has run out is buried by another: its row is deleted.
CREATE TABLE node (
	id         bigint      PRIMARY KEY, -- random and positive; new for each opening, and after each burial
	name       text        NOT NULL,    -- its host's, for people
	joined_at  timestamptz NOT NULL DEFAULT clock(),
	expires_at timestamptz NOT NULL,
	draining   boolean     NOT NULL
);

-- A claim is (holder, fence). No foreign key: the row of a dead holder is gone before its claims are.
ALTER TABLE conversation
	ADD COLUMN holder bigint,                    -- NULL is nobody
	ADD COLUMN fence  bigint NOT NULL DEFAULT 0, -- grows with each claim and each burial
	ADD COLUMN epoch  text COLLATE "C" NOT NULL DEFAULT md5(random()::text || clock_timestamp()::text)::uuid::text, -- names the log's numbering
	ADD COLUMN seq    bigint NOT NULL DEFAULT 0; -- the log's last number when the claim was last given back

ALTER TABLE conversation ALTER COLUMN epoch DROP DEFAULT;
CREATE INDEX conversation_held ON conversation (holder) WHERE holder IS NOT NULL;

-- The tail of the logs, in batches of events. The text of an answer that is streaming is in those from first_event on.
CREATE TABLE event (
	conversation_id text        COLLATE "C" NOT NULL REFERENCES conversation ON DELETE CASCADE,
	epoch           text        COLLATE "C" NOT NULL,
	first           bigint      NOT NULL, -- the numbers of its first and last event
	last            bigint      NOT NULL,
	data            text        NOT NULL, -- not json, for the reasons of message.parts
	reasoning_live  boolean     NOT NULL, -- reasoning is no part of the message
	at              timestamptz NOT NULL DEFAULT clock(),
	PRIMARY KEY (conversation_id, epoch, first)
);

CREATE INDEX event_by_age ON event (at);

ALTER TABLE message
	DROP COLUMN node, -- and its index
	ADD COLUMN first_event bigint; -- of an answer: the number of the first event that shows it

CREATE UNIQUE INDEX message_streaming ON message (conversation_id) WHERE status = 'streaming';
DROP TABLE chunk;

-- What nodes ask of each other where nothing faster carries it.
CREATE TABLE command (
	id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	from_node bigint      NOT NULL,
	to_node   bigint      NOT NULL,
	call      uuid        NOT NULL,
	is_reply  boolean     NOT NULL,
	body      bytea, -- NULL of a reply: the node has failed
	at        timestamptz NOT NULL DEFAULT clock()
);

CREATE INDEX command_inbox ON command (to_node, id);

-- What a payer has used of its limits. States are JSON, of the package limits; they are compared as text. There is no index
-- on used_at: with one, no change could stay in its page.
CREATE TABLE account (
	payer   text        COLLATE "C" PRIMARY KEY,
	state   text        NOT NULL,
	used_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- A name for the database, by which nodes find each other elsewhere.
CREATE TABLE cluster (id text NOT NULL);
INSERT INTO cluster VALUES (md5(random()::text || clock_timestamp()::text));

-- What messages refer to. A file goes with its message. A node of version 5 that is running goes on beside this one.
CREATE TABLE file (
	id          text        COLLATE "C" PRIMARY KEY,
	owner       text        COLLATE "C" NOT NULL,             -- '' is everybody who is anonymous
	network     text        COLLATE "C" NOT NULL,             -- whose quota it counts for where the owner is ''
	message_seq bigint      REFERENCES message ON DELETE CASCADE, -- NULL is no message yet
	media_type  text        NOT NULL,
	name        text        NOT NULL,
	size        bigint      NOT NULL,
	width       integer     NOT NULL,
	height      integer     NOT NULL,
	pages       integer     NOT NULL,
	created_at  timestamptz NOT NULL
);

CREATE INDEX file_of_owner ON file (owner, network);
CREATE INDEX file_of_message ON file (message_seq);
CREATE INDEX file_unused ON file (created_at) WHERE message_seq IS NULL;

-- Its bytes, 256 KiB in each row but the last.
CREATE TABLE file_piece (
	file_id text    COLLATE "C" NOT NULL REFERENCES file ON DELETE CASCADE,
	n       integer NOT NULL, -- from 0 on
	data    bytea   NOT NULL,
	PRIMARY KEY (file_id, n)
);

ALTER TABLE file_piece ALTER COLUMN data SET STORAGE EXTERNAL; -- images do not shrink

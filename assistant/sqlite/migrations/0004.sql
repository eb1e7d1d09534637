-- What a payer has used of its limits. States are JSON, of the package limits.
CREATE TABLE account (
	payer   TEXT    NOT NULL PRIMARY KEY,
	state   TEXT    NOT NULL,
	used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

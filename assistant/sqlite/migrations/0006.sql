-- What no client gets, as JSON: approvals that are remembered, and what calls of tools need to go on.
ALTER TABLE conversation ADD COLUMN private TEXT;

-- Answers that wait for a person.
CREATE INDEX message_waiting ON message (conversation_id) WHERE status = 'waiting';

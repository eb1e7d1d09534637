package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// quotaLock is the first key of the advisory locks under which one file after the other is counted for a quota: "CAfi". The
// second one is a hash of whose it is.
const quotaLock = 0x43416669

// AddFile implements [assistant.Files].
func (s *Store) AddFile(ctx context.Context, owner string, u assistant.Upload) error {
	b := s.transaction()
	if u.Quota > 0 {
		b.queue(`SELECT pg_advisory_xact_lock($1::integer, hashtext($2::text || ' ' || $3::text))`, quotaLock, owner, u.Network)
	}
	b.must(assistant.ErrQuota, `INSERT INTO assistant.file (id, owner, network, media_type, name, size, width, height, pages, created_at)
		SELECT $1, $2, $3, $4, $5, $6::bigint, $7, $8, $9, $10
		WHERE $11::bigint = 0 OR $6::bigint + (SELECT coalesce(sum(size), 0) FROM assistant.file WHERE owner = $2 AND network = $3) <= $11::bigint`,
		u.ID, owner, u.Network, u.MediaType, clean(u.Name), u.Size, u.Width, u.Height, u.Pages, u.CreatedAt, u.Quota)
	n := 0
	for piece := range slices.Chunk(u.Data, assistant.FilePiece) {
		b.queue(`INSERT INTO assistant.file_piece (file_id, n, data) VALUES ($1, $2, $3)`, u.ID, n, piece)
		n++
	}
	return s.atomically(ctx, b)
}

// File implements [assistant.Files].
func (s *Store) File(ctx context.Context, owner, id string) (assistant.File, error) {
	f, err := one(ctx, s, pgx.RowToStructByPos[assistant.File], `SELECT id, media_type, name, size, width, height, pages, created_at
		FROM assistant.file WHERE id = $1 AND owner = $2`, id, owner)
	f.CreatedAt = f.CreatedAt.UTC()
	return f, err
}

// FilePiece implements [assistant.Files].
func (s *Store) FilePiece(ctx context.Context, owner, id string, n int) ([]byte, error) {
	return one(ctx, s, pgx.RowTo[[]byte], `SELECT data FROM assistant.file LEFT JOIN assistant.file_piece ON file_id = id AND n = $3
		WHERE id = $1 AND owner = $2`, id, owner, n)
}

// DeleteFile implements [assistant.Files].
func (s *Store) DeleteFile(ctx context.Context, owner, id string) error {
	n, err := s.exec(ctx, `DELETE FROM assistant.file WHERE id = $1 AND owner = $2 AND message_seq IS NULL`, id, owner)
	if err != nil || n == 1 {
		return err
	}
	if _, err := s.File(ctx, owner, id); err != nil {
		return err
	}
	return assistant.ErrFileInUse
}

// DeleteUnused implements [assistant.Files]. A file that another call holds just then is passed over.
func (s *Store) DeleteUnused(ctx context.Context, owner string, t time.Time, limit int) (int, error) {
	n, err := s.exec(ctx, `WITH doomed AS MATERIALIZED (
			SELECT id FROM assistant.file WHERE message_seq IS NULL AND created_at < $1 AND ($2 = '' OR owner = $2)
			LIMIT $3 FOR UPDATE SKIP LOCKED)
		DELETE FROM assistant.file WHERE id IN (SELECT id FROM doomed)`, t, owner, max(limit, 0))
	return int(n), err
}

// release queues that files are made unused which messages use from that one on, which are about to be dropped.
func (b *batch) release(c assistant.Claim, next assistant.Beginning) {
	if len(next.Files) == 0 || next.DropFrom == "" {
		return
	}
	b.queue(`UPDATE assistant.file SET message_seq = NULL WHERE id = ANY($1) AND owner = $2 AND message_seq IN (
		SELECT seq FROM assistant.message WHERE conversation_id = $3
		AND seq >= (SELECT seq FROM assistant.message WHERE conversation_id = $3 AND id = $4))`, next.Files, c.Owner, c.ID, next.DropFrom)
}

// use queues that unused files are made those of the question.
func (b *batch) use(c assistant.Claim, next assistant.Beginning) {
	if next.Question == nil {
		return
	}
	for _, id := range next.Files {
		b.must(assistant.ErrFileGone, `UPDATE assistant.file SET message_seq = (SELECT seq FROM assistant.message WHERE conversation_id = $3 AND id = $4)
			WHERE id = $1 AND owner = $2 AND message_seq IS NULL`, id, c.Owner, c.ID, next.Question.ID)
	}
}

var _ assistant.Files = (*Store)(nil)

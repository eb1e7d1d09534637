package sqlite

import (
	"context"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// AddFile implements [assistant.Files]. Other writes wait for it: some 10 ms for each MiB.
func (s *Store) AddFile(ctx context.Context, owner string, u assistant.Upload) error {
	return s.writer.write(ctx, func(tx tx) error {
		n, err := tx.exec(`INSERT INTO file (id, owner, network, media_type, name, size, width, height, pages, created_at)
			SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
			WHERE ?11 = 0 OR ?6 + (SELECT coalesce(sum(size), 0) FROM file WHERE owner = ?2 AND network = ?3) <= ?11`,
			u.ID, owner, u.Network, u.MediaType, u.Name, u.Size, u.Width, u.Height, u.Pages, u.CreatedAt.UnixMilli(), u.Quota)
		if err == nil && n == 0 {
			err = assistant.ErrQuota
		}
		i := 0
		for piece := range slices.Chunk(u.Data, assistant.FilePiece) {
			if err == nil {
				_, err = tx.exec(`INSERT INTO file_piece (file_id, n, data) VALUES (?, ?, ?)`, u.ID, i, piece)
			}
			i++
		}
		return err
	})
}

// File implements [assistant.Files].
func (s *Store) File(ctx context.Context, owner, id string) (assistant.File, error) {
	f := assistant.File{ID: id}
	var created int64
	err := s.reader.QueryRowContext(ctx, `SELECT media_type, name, size, width, height, pages, created_at FROM file WHERE id = ? AND owner = ?`, id, owner).
		Scan(&f.MediaType, &f.Name, &f.Size, &f.Width, &f.Height, &f.Pages, &created)
	if err != nil {
		return assistant.File{}, translate(ctx, err)
	}
	f.CreatedAt = fromMillis(created)
	return f, nil
}

// FilePiece implements [assistant.Files].
func (s *Store) FilePiece(ctx context.Context, owner, id string, n int) (data []byte, err error) {
	err = s.reader.QueryRowContext(ctx, `SELECT data FROM file LEFT JOIN file_piece ON file_id = id AND n = ? WHERE id = ? AND owner = ?`, n, id, owner).Scan(&data)
	return data, translate(ctx, err)
}

// DeleteFile implements [assistant.Files].
func (s *Store) DeleteFile(ctx context.Context, owner, id string) error {
	return s.writer.write(ctx, func(tx tx) error {
		n, err := tx.exec(`DELETE FROM file WHERE id = ? AND owner = ? AND message_seq IS NULL`, id, owner)
		if err != nil || n == 1 {
			return err
		}
		row, err := tx.row(`SELECT message_seq FROM file WHERE id = ? AND owner = ?`, id, owner)
		if err != nil {
			return err
		}
		var message int64
		if err := row.Scan(&message); err != nil {
			return err // sql.ErrNoRows is not found
		}
		return assistant.ErrFileInUse
	})
}

// DeleteUnused implements [assistant.Files].
func (s *Store) DeleteUnused(ctx context.Context, owner string, t time.Time, limit int) (int, error) {
	return writeFor(ctx, s.writer, func(tx tx) (int, error) {
		n, err := tx.exec(`DELETE FROM file WHERE id IN (SELECT id FROM file WHERE message_seq IS NULL AND created_at < ?1 AND (?2 = '' OR owner = ?2) LIMIT ?3)`,
			t.UnixMilli(), owner, max(limit, 0))
		return int(n), err
	})
}

// release makes files unused that messages from stop on use, which are about to be dropped.
func release(tx tx, c assistant.Claim, files []string, stop int64) error {
	for _, id := range files {
		if _, err := tx.exec(`UPDATE file SET message_seq = NULL WHERE id = ?1 AND owner = ?2
			AND message_seq IN (SELECT seq FROM message WHERE conversation_id = ?3 AND seq >= ?4)`, id, c.Owner, c.ID, stop); err != nil {
			return err
		}
	}
	return nil
}

// use makes unused files those of a message.
func use(tx tx, c assistant.Claim, files []string, message string) error {
	for _, id := range files {
		n, err := tx.exec(`UPDATE file SET message_seq = (SELECT seq FROM message WHERE conversation_id = ?3 AND id = ?4)
			WHERE id = ?1 AND owner = ?2 AND message_seq IS NULL`, id, c.Owner, c.ID, message)
		if err == nil && n == 0 {
			err = assistant.ErrFileGone
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var _ assistant.Files = (*Store)(nil)

package guard

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// filed makes one call of the store as [assistant.Files]: [assistant.ErrNoFiles] where it is none, which is not timed.
func filed[T any](s *Guarded, ctx context.Context, name string, f func(context.Context, assistant.Files) (T, error)) (result T, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	store, err := s.opened(ctx)
	if err != nil {
		s.observer().Stored(name, time.Since(began), err)
		return result, err
	}
	files, ok := store.(assistant.Files)
	if !ok {
		return result, assistant.ErrNoFiles
	}
	return call(s, ctx, name, func(ctx context.Context) (T, error) { return f(ctx, files) })
}

// AddFile implements [assistant.Files], as do the methods below.
func (s *Guarded) AddFile(ctx context.Context, owner string, u assistant.Upload) error {
	_, err := filed(s, ctx, "add_file", func(ctx context.Context, files assistant.Files) (struct{}, error) {
		return struct{}{}, files.AddFile(ctx, owner, u)
	})
	return err
}

// File returns what is known of a file.
func (s *Guarded) File(ctx context.Context, owner, id string) (assistant.File, error) {
	return filed(s, ctx, "file", func(ctx context.Context, files assistant.Files) (assistant.File, error) {
		return files.File(ctx, owner, id)
	})
}

// FilePiece returns a piece of a file.
func (s *Guarded) FilePiece(ctx context.Context, owner, id string, n int) ([]byte, error) {
	return filed(s, ctx, "file_piece", func(ctx context.Context, files assistant.Files) ([]byte, error) {
		return files.FilePiece(ctx, owner, id, n)
	})
}

// DeleteFile removes a file that is not used.
func (s *Guarded) DeleteFile(ctx context.Context, owner, id string) error {
	_, err := filed(s, ctx, "delete_file", func(ctx context.Context, files assistant.Files) (struct{}, error) {
		return struct{}{}, files.DeleteFile(ctx, owner, id)
	})
	return err
}

// DeleteUnused removes files that are not used. A store that keeps none has none.
func (s *Guarded) DeleteUnused(ctx context.Context, owner string, t time.Time, limit int) (int, error) {
	n, err := filed(s, ctx, "delete_unused", func(ctx context.Context, files assistant.Files) (int, error) {
		return files.DeleteUnused(ctx, owner, t, limit)
	})
	if errors.Is(err, assistant.ErrNoFiles) {
		err = nil
	}
	return n, err
}

var _ assistant.Files = (*Guarded)(nil)

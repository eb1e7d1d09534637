package memory

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// fileBytes is what a file costs in memory besides its bytes and texts, roughly.
const fileBytes = 300

// unusedPart is the part of the room that unused files may take together.
const unusedPart = 4

// file is a stored file.
type file struct {
	assistant.Upload

	owner string
	key   shareKey
	used  bool // by a message, which has it
}

func (f *file) size() int {
	return fileBytes + len(f.ID) + len(f.Name) + len(f.MediaType) + len(f.Data)
}

// findFile returns a file of the owner's.
func (s *Store) findFile(ctx context.Context, owner, id string) (*file, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	f := s.files[id]
	if f == nil || f.owner != owner {
		return nil, assistant.ErrNotFound
	}
	return f, nil
}

// AddFile implements [assistant.Files]. Files that no message uses take a quarter of the room at most: the oldest of the
// owner go, who has most of them. Where even that is not enough, it is [assistant.ErrFull].
func (s *Store) AddFile(ctx context.Context, owner string, u assistant.Upload) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if s.files[u.ID] != nil {
		return errors.New("file exists")
	}
	u.CreatedAt, u.Data = stamp(u.CreatedAt), slices.Clone(u.Data)
	f := &file{Upload: u, owner: owner, key: keyOf(owner, u.Network)}
	if u.Quota > 0 && s.quotas[f.key]+u.Size > u.Quota {
		return assistant.ErrQuota
	}
	room := s.config.MaxBytes / unusedPart
	if f.size() > room {
		return assistant.ErrFull
	}
	for s.unusedBytes()+f.size() > room {
		s.removeFile(s.oldestUnused())
	}
	if err := s.makeRoom(&conversation{owner: owner, key: f.key}, 0, f.size()); err != nil {
		return err
	}
	s.files[f.ID] = f
	s.unused = append(s.unused, f)
	s.quotas[f.key] += f.Size
	return nil
}

func (s *Store) unusedBytes() (n int) {
	for _, f := range s.unused {
		n += f.size()
	}
	return n
}

// oldestUnused returns the oldest unused file of who has most of them.
func (s *Store) oldestUnused() *file {
	taken := make(map[shareKey]int)
	most := s.unused[0].key
	for _, f := range s.unused {
		if taken[f.key] += f.size(); taken[f.key] > taken[most] {
			most = f.key
		}
	}
	return s.unused[slices.IndexFunc(s.unused, func(f *file) bool { return f.key == most })]
}

// removeFile removes a file. What a used one takes is its conversation's to count.
func (s *Store) removeFile(f *file) {
	delete(s.files, f.ID)
	if s.quotas[f.key] -= f.Size; s.quotas[f.key] == 0 {
		delete(s.quotas, f.key)
	}
	if !f.used {
		s.bytes -= f.size()
		s.unused = slices.DeleteFunc(s.unused, func(other *file) bool { return other == f })
	}
}

// removeFiles removes those of messages.
func (s *Store) removeFiles(messages []*message) {
	for _, m := range messages {
		for _, f := range m.files {
			s.removeFile(f)
		}
	}
}

// filesOf returns the files that a question uses, which are unused or those of messages that are dropped.
func (s *Store) filesOf(owner string, ids []string, dropped []*message) ([]*file, error) {
	files := make([]*file, len(ids))
	for i, id := range ids {
		f := s.files[id]
		isDropped := slices.ContainsFunc(dropped, func(m *message) bool { return slices.Contains(m.files, f) })
		if f == nil || f.owner != owner || f.used && !isDropped {
			return nil, assistant.ErrFileGone
		}
		files[i] = f
	}
	return files, nil
}

// makeRoomWith is makeRoom for a conversation that grows by files, too: those that are unused take room already.
func (s *Store) makeRoomWith(c *conversation, grow int, files []*file) error {
	unused := 0
	for _, f := range files {
		if !f.used {
			unused += f.size()
		}
	}
	s.bytes -= unused
	err := s.makeRoom(c, 0, grow)
	if err != nil {
		s.bytes += unused
	}
	return err
}

// use makes files those of a message, and removes the others of messages that are dropped.
func (s *Store) use(files []*file, dropped []*message) {
	for _, f := range files {
		f.used = true
	}
	s.unused = slices.DeleteFunc(s.unused, func(f *file) bool { return f.used })
	for _, m := range dropped {
		for _, f := range m.files {
			if !slices.Contains(files, f) {
				s.removeFile(f)
			}
		}
	}
}

// File implements [assistant.Files].
func (s *Store) File(ctx context.Context, owner, id string) (assistant.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.findFile(ctx, owner, id)
	if err != nil {
		return assistant.File{}, err
	}
	return f.File, nil
}

// FilePiece implements [assistant.Files].
func (s *Store) FilePiece(ctx context.Context, owner, id string, n int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.findFile(ctx, owner, id)
	if err != nil {
		return nil, err
	}
	from := min(n*assistant.FilePiece, len(f.Data))
	return slices.Clone(f.Data[from:min(from+assistant.FilePiece, len(f.Data))]), nil
}

// DeleteFile implements [assistant.Files].
func (s *Store) DeleteFile(ctx context.Context, owner, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.findFile(ctx, owner, id)
	switch {
	case err != nil:
		return err
	case f.used:
		return assistant.ErrFileInUse
	}
	s.removeFile(f)
	return nil
}

// DeleteUnused implements [assistant.Files].
func (s *Store) DeleteUnused(ctx context.Context, owner string, t time.Time, limit int) (deleted int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	for _, f := range slices.Clone(s.unused) {
		if deleted < limit && f.CreatedAt.Before(t) && (owner == "" || f.owner == owner) {
			s.removeFile(f)
			deleted++
		}
	}
	return deleted, nil
}

var _ assistant.Files = (*Store)(nil)

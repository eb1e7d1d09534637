package conversation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"github.com/caddy-assistant/caddy-assistant/assistant/media"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
	"go.uber.org/zap"
)

// Files says which files questions may have. Zero values mean the defaults.
type Files struct {
	// On lets questions have files.
	On bool
	// Anonymous lets those of anonymous clients have some, too.
	Anonymous bool
	// Config says which files are taken.
	media.Config
	// MaxSize is the size of one as it comes, in bytes. Default: 10 MiB.
	MaxSize int64
	// MaxPerMessage is how many a question may have. Default: 5.
	MaxPerMessage int
	// Quota is how many bytes all files of a user may have, or of a network of anonymous clients. Default: no limit.
	Quota int64
	// Rate limits uploads. Default: no limit.
	Rate limits.Rate
	// Window is how long a file is kept that no message uses. Default: 1 h.
	Window time.Duration
	// InMemory is how many bytes the files of a connection's own conversation may have, which are in no store: the newest
	// stay. Default: 1 MiB.
	InMemory int64
}

func (f *Files) setDefaults() {
	f.MaxSize = cmp.Or(f.MaxSize, 10<<20)
	f.MaxPerMessage = cmp.Or(f.MaxPerMessage, 5)
	f.Window = cmp.Or(f.Window, time.Hour)
	f.InMemory = cmp.Or(f.InMemory, 1<<20)
}

// MayUpload refuses a client whose questions may have no files: content_unsupported or unauthorized.
func (a *Assistant) MayUpload(peer assistant.Peer) error {
	switch {
	case !a.Files.On:
		return assistant.Refuse(assistant.ReasonContentUnsupported)
	case peer.User == "" && !a.Files.Anonymous:
		return assistant.Refuse(assistant.ReasonUnauthorized)
	}
	return nil
}

// CountUpload counts a file that the client is about to send, or refuses it: rate_limited.
func (a *Assistant) CountUpload(peer assistant.Peer) error {
	return a.hub.accounts.CountUpload(a.Client(peer), a.Files.Rate)
}

// Take checks a file and makes it what is kept, without storing it.
func (a *Assistant) Take(ctx context.Context, peer assistant.Peer, name string, data []byte) (u assistant.Upload, err error) {
	if !assistant.IsFileName(name) {
		return u, assistant.Refuse(assistant.ReasonNameInvalid)
	}
	if int64(len(data)) > a.Files.MaxSize {
		return u, assistant.Refuse(assistant.ReasonFileTooLarge)
	}
	taken, err := a.Files.Take(ctx, name, data)
	switch {
	case errors.Is(err, media.ErrType):
		return u, assistant.Refuse(assistant.ReasonFileType)
	case errors.Is(err, media.ErrInvalid):
		return u, assistant.Refuse(assistant.ReasonFileInvalid)
	case err != nil:
		return u, err
	}
	u = assistant.Upload{Data: taken.Data, Quota: a.Files.Quota, File: assistant.File{
		ID: assistant.NewID(), MediaType: taken.MediaType, Name: name, Size: int64(len(taken.Data)),
		Width: taken.Width, Height: taken.Height, Pages: taken.Pages, CreatedAt: now(),
	}}
	if peer.User == "" {
		u.Network = a.Client(peer).Payer.String()
	}
	return u, nil
}

// AddFile stores what Take has returned. Until a question uses it, it is kept for Files.Window.
func (a *Assistant) AddFile(ctx context.Context, peer assistant.Peer, u assistant.Upload) error {
	return ofFiles(a.hub.store.AddFile(ctx, peer.User, u))
}

// Upload is Take and AddFile, for a file that comes by itself. It writes one line to the log, without the file's name.
func (a *Assistant) Upload(ctx context.Context, peer assistant.Peer, name string, data []byte) (assistant.File, error) {
	start := time.Now()
	u, err := a.Take(ctx, peer, name, data)
	if err == nil {
		err = a.AddFile(ctx, peer, u)
	}
	a.Uploaded(peer, u.File, len(data), time.Since(start), err)
	return u.File, err
}

// Uploaded reports what became of a file to the observer and the log. f is what is known of it.
func (a *Assistant) Uploaded(peer assistant.Peer, f assistant.File, received int, took time.Duration, err error) {
	fields := []zap.Field{zap.String("user", peer.User), zap.Int("bytes", received), zap.Duration("duration", took)}
	if err == nil {
		a.Observer.Uploaded("", received)
		a.Logger.Info("file uploaded", append(fields, zap.String("file_id", f.ID), zap.String("media_type", f.MediaType), zap.Int64("size", f.Size))...)
		return
	}
	reason := assistant.Describe(err).Reason
	a.Observer.Uploaded(reason, received)
	fields = append(fields, zap.String("reason", string(reason)))
	if assistant.IsRefusal(err) {
		a.Logger.Info("file refused", fields...)
		return
	}
	a.Logger.Error("file not stored", append(fields, assistant.FaultFields(err)...)...)
}

// ofFiles is [assistant.OfStore] for calls about files.
func ofFiles(err error) error {
	switch {
	case err == nil, assistant.IsRefusal(err):
		return err
	case errors.Is(err, assistant.ErrNotFound):
		return assistant.Refuse(assistant.ReasonFileUnknown)
	case errors.Is(err, assistant.ErrNoFiles):
		return assistant.Refuse(assistant.ReasonContentUnsupported)
	}
	return assistant.OfStore(err)
}

// File returns what is known of a file of the owner's. One that is missing, or another's, is a refusal: file_unknown.
func (h *Hub) File(ctx context.Context, owner, id string) (assistant.File, error) {
	f, err := h.store.File(ctx, owner, id)
	return f, ofFiles(err)
}

// OpenFile is File with a reader of the bytes, which ends with ctx.
func (h *Hub) OpenFile(ctx context.Context, owner, id string) (assistant.File, io.ReadSeeker, error) {
	f, r, err := assistant.OpenFile(ctx, h.store, owner, id)
	return f, r, ofFiles(err)
}

// DeleteFile removes a file of the owner's that no message uses. One that is used is a refusal: file_in_use.
func (h *Hub) DeleteFile(ctx context.Context, owner, id string) error {
	return ofFiles(h.store.DeleteFile(ctx, owner, id))
}

// SweepFiles begins to delete files that no message has used within the settings' Files.Window, at once and then every
// minute, or more often where that is shorter, until ctx is done or the Hub is closed.
func (h *Hub) SweepFiles(ctx context.Context) {
	h.inBackground(ctx, func(ctx context.Context) {
		for ctx.Err() == nil {
			pause := time.Minute
			if a := h.Using(); a != nil {
				h.sweepFiles(ctx, now().Add(-a.Files.Window))
				pause = max(min(pause, a.Files.Window), time.Second)
			}
			recorder.Pause(ctx, pause)
		}
	})
}

// filesPage is how many files one call deletes: they may be large.
const filesPage = 20

func (h *Hub) sweepFiles(ctx context.Context, t time.Time) {
	deleted := 0
	for {
		n, err := h.store.DeleteUnused(ctx, "", t, filesPage)
		if err != nil && ctx.Err() == nil {
			h.log.Error("delete unused files", zap.Error(err))
		}
		if deleted += n; err != nil || n < filesPage {
			break
		}
	}
	if deleted > 0 {
		h.log.Info("deleted unused files", zap.Int("files", deleted))
	}
}

// eraseUnused deletes the files of a user that no message uses.
func (h *Hub) eraseUnused(ctx context.Context, user string) error {
	for {
		n, err := h.store.DeleteUnused(ctx, user, now().Add(time.Hour), filesPage)
		if err != nil || n < filesPage {
			return err
		}
	}
}

// WholeFile is a file with its bytes, which JSON has in base64.
type WholeFile struct {
	ID             string    `json:"file_id"`
	ConversationID string    `json:"conversation_id"`
	MediaType      string    `json:"media_type"`
	Name           string    `json:"name,omitempty"`
	Size           int64     `json:"size"`
	CreatedAt      time.Time `json:"created_at"`
	Data           []byte    `json:"data"`
}

// MarshalJSON writes a conversation or a file.
func (w Whole) MarshalJSON() ([]byte, error) {
	if w.File != nil {
		return json.Marshal(w.File)
	}
	type whole Whole
	return json.Marshal(whole(w))
}

// exportFiles yields the files of messages. One that was deleted meanwhile is left out.
func (h *Hub) exportFiles(ctx context.Context, user, conversation string, messages []assistant.Message, yield func(Whole, error) bool) bool {
	for _, m := range messages {
		for _, id := range m.Parts.FileIDs() {
			f, data, err := h.readFile(ctx, user, id)
			if errors.Is(err, assistant.ErrNotFound) {
				continue
			}
			whole := Whole{File: &WholeFile{f.ID, conversation, f.MediaType, f.Name, f.Size, f.CreatedAt, data}}
			if !yield(whole, err) || err != nil {
				return false
			}
		}
	}
	return true
}

// readFile returns a file with its bytes.
func (h *Hub) readFile(ctx context.Context, owner, id string) (assistant.File, []byte, error) {
	f, r, err := assistant.OpenFile(ctx, h.store, owner, id)
	if err != nil {
		return f, nil, err
	}
	data := make([]byte, f.Size)
	_, err = io.ReadFull(r, data)
	return f, data, err
}

// ownFiles are the bytes of files in a connection's own conversation.
type ownFiles struct {
	data  map[string][]byte
	order []string // the oldest first
	bytes int
}

// keep takes over the files of a turn. The oldest go where there is no room for all.
func (o *ownFiles) keep(t *turn) {
	if len(t.data) == 0 {
		return
	}
	if o.data == nil {
		o.data = make(map[string][]byte)
	}
	for _, id := range t.question.Parts.FileIDs() {
		if data, ok := t.data[id]; ok {
			o.data[id] = data
			o.order, o.bytes = append(o.order, id), o.bytes+len(data)
		}
	}
	t.data = nil
	for int64(o.bytes) > t.assistant.Files.InMemory && len(o.order) > 0 {
		o.bytes -= len(o.data[o.order[0]])
		delete(o.data, o.order[0])
		o.order = o.order[1:]
	}
}

// hasRoomLocked reports whether the files of questions that wait are not more than may be in memory, with those of t.
func (c *Conversation) hasRoomLocked(t *turn) bool {
	total := 0
	for _, waiting := range append(c.unendedLocked(), t) {
		for _, data := range waiting.data {
			total += len(data)
		}
	}
	return len(t.data) == 0 || int64(total) <= t.assistant.Files.InMemory
}

// setQuestion makes the question of text and files, which come first.
func (t *turn) setQuestion(text string, files assistant.Parts) {
	if len(files) == 0 {
		t.question.Content = withoutNUL(text)
		return
	}
	parts := append(assistant.Parts(nil), files...)
	if text != "" {
		parts = append(parts, assistant.TextPart{Text: withoutNUL(text)})
	}
	t.question.SetParts(parts)
}

// acceptable refuses a question that no provider takes.
func (t *turn) acceptable() error {
	if !assistant.Accepts(t.assistant.Provider, t.question.Parts) {
		return assistant.Refuse(assistant.ReasonContentUnsupported)
	}
	return nil
}

// maxEarlier is how many bytes of files of earlier questions a model gets; of others it gets their names.
const maxEarlier = 20 << 20

// filesOf returns the bytes of the files that the model gets with a turn: those of the question, and of the newest ones
// before it.
func (c *Conversation) filesOf(t *turn) (files map[string][]byte, err error) {
	earlier := int64(maxEarlier)
	add := func(parts assistant.Parts, isEarlier bool) {
		for _, part := range parts {
			f, isFile := assistant.FileOf(part)
			if !isFile || err != nil || isEarlier && f.Size > earlier {
				continue
			}
			var data []byte
			if data, err = c.fileData(t, f.ID); data == nil {
				continue
			}
			if isEarlier {
				earlier -= int64(len(data))
			}
			if files == nil {
				files = make(map[string][]byte)
			}
			files[f.ID] = data
		}
	}
	add(t.question.Parts, false)
	for _, turn := range slices.Backward(t.history) {
		add(turn.Parts, true)
	}
	return files, err
}

// fileData returns the bytes of a file, nil where they are not there any more.
func (c *Conversation) fileData(t *turn, id string) ([]byte, error) {
	if !c.stored() {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.own.data[id], nil
	}
	_, data, err := c.hub.readFile(t.ctx, c.owner, id)
	if errors.Is(err, assistant.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, &assistant.StoreError{Err: err}
	}
	return data, nil
}

// FilesInfo is what a client has to know to send files.
type FilesInfo struct {
	MaxSize       int64    `json:"max_size" doc:"The largest file, in bytes."`
	MaxPerMessage int      `json:"max_per_message" doc:"How many files a question may have."`
	Types         []string `json:"types" doc:"The media types that are accepted."`
}

// Doc describes what a client has to know.
func (FilesInfo) Doc() string {
	return "Which images and files questions may have. Absent where they may have none."
}

// FilesInfo returns what the client has to know; nil where its questions may have no files. Types that no provider takes
// are left out.
func (a *Assistant) FilesInfo(peer assistant.Peer) *FilesInfo {
	if a.MayUpload(peer) != nil {
		return nil
	}
	info := &FilesInfo{MaxSize: a.Files.MaxSize, MaxPerMessage: a.Files.MaxPerMessage}
	for _, kind := range a.Files.Kinds() {
		var part assistant.Part = assistant.FilePart{MediaType: kind}
		if strings.HasPrefix(kind, "image/") {
			part = assistant.ImagePart{MediaType: kind}
		}
		if assistant.Accepts(a.Provider, assistant.Parts{part}) {
			info.Types = append(info.Types, kind)
		}
	}
	return info
}

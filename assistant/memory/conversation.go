package memory

import (
	"container/list"
	"context"
	"slices"
	"unsafe"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/chunk"
)

// What a conversation costs in memory besides its texts, and a message besides its Size, roughly.
const (
	conversationBytes = 400
	messageBytes      = 100
)

// conversation is a stored conversation.
type conversation struct {
	assistant.Conversation

	owner    string
	key      shareKey
	share    *share
	place    *list.Element // in the list of its share
	listed   int           // which of the lists
	taken    uint64        // the number of the last plan that took it
	bytes    int
	messages []*message
	private  assistant.Private
}

// message is a stored message. While it streams, it consists of what Extend has stored.
type message struct {
	assistant.Message

	chunks []chunk.Chunk // in order
	files  []*file       // that it uses
}

func newMessage(m assistant.Message) *message {
	m.CreatedAt, m.Usage, m.Parts = stamp(m.CreatedAt), clone(m.Usage), slices.Clip(m.Parts)
	return &message{Message: m}
}

func (c *conversation) size() int {
	return conversationBytes + len(c.ID) + len(c.owner) + len(c.Title) + c.private.Size()
}

func (m *message) size() int {
	n := messageBytes + m.Size() + sizeOf(m.chunks)
	for _, f := range m.files {
		n += f.size()
	}
	return n
}

func sizeOf(chunks []chunk.Chunk) (n int) {
	for _, c := range chunks {
		n += int(unsafe.Sizeof(c)) + c.Parts.Size()
	}
	return n
}

// place returns how many chunks stay when the next comes: all of them, or all but the last, which it replaces.
func (m *message) place(next chunk.Chunk) (n int, err error) {
	n = len(m.chunks)
	if n == 0 {
		return 0, nil
	}
	switch last := m.chunks[n-1]; {
	case next.First == last.Last+1:
		return n, nil
	case next.First == last.First && next.Last >= last.Last:
		return n - 1, nil
	default:
		return 0, chunk.ErrGap
	}
}

// read returns a copy for the caller.
func (m *message) read() assistant.Message {
	read := m.Message
	read.Usage = clone(m.Usage)
	if m.streams() {
		parts := []assistant.Parts{m.AllParts()}
		for _, c := range m.chunks {
			parts = append(parts, c.Parts)
		}
		read.SetParts(chunk.Join(parts...))
	}
	return read
}

func clone(u *assistant.Usage) *assistant.Usage {
	if u == nil {
		return nil
	}
	return new(*u)
}

func (c *conversation) streams() bool { return slices.ContainsFunc(c.messages, (*message).streams) }

func (m *message) streams() bool { return m.Status == assistant.StatusStreaming }

// index returns where the message is; ErrNotFound where it is not.
func (c *conversation) index(messageID string) (int, error) {
	i := byID(c.messages, messageID)
	if i < 0 {
		return 0, assistant.ErrNotFound
	}
	return i, nil
}

// last returns the ID of the last message; "" where there is none.
func (c *conversation) last() string {
	if len(c.messages) == 0 {
		return ""
	}
	return c.messages[len(c.messages)-1].ID
}

// byID returns where the message is; -1 where it is not.
func byID(messages []*message, id string) int {
	return slices.IndexFunc(messages, func(m *message) bool { return m.ID == id })
}

// byClientID returns where the message with that client id is; -1 where there is none.
func byClientID(messages []*message, clientID string) int {
	return slices.IndexFunc(messages, func(m *message) bool { return clientID != "" && m.ClientID == clientID })
}

func read(messages []*message) []assistant.Message {
	page := make([]assistant.Message, len(messages))
	for i, m := range messages {
		page[i] = m.read()
	}
	return page
}

// Messages implements assistant.Store.
func (s *Store) Messages(ctx context.Context, owner, id, before string, limit int) (page []assistant.Message, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, owner, id)
	if err != nil {
		return nil, false, err
	}
	end := len(c.messages)
	if before != "" {
		if end, err = c.index(before); err != nil {
			return nil, false, err
		}
	}
	start := max(0, end-max(limit, 0))
	return read(c.messages[start:end]), start > 0, nil
}

// MessageByClientID implements assistant.Store.
func (s *Store) MessageByClientID(ctx context.Context, owner, id, clientID string) ([]assistant.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, owner, id)
	if err != nil {
		return nil, err
	}
	i := byClientID(c.messages, clientID)
	if i < 0 {
		return nil, assistant.ErrNotFound
	}
	end := i + 1
	if end < len(c.messages) && c.messages[end].Role == assistant.RoleAssistant {
		end++
	}
	return read(c.messages[i:end]), nil
}

// Private implements assistant.Store.
func (s *Store) Private(ctx context.Context, owner, id string) (assistant.Private, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, owner, id)
	if err != nil {
		return assistant.Private{}, err
	}
	return c.private.Clone(), nil
}

// Begin implements assistant.Store.
func (s *Store) Begin(ctx context.Context, claim assistant.Claim, b assistant.Beginning) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, claim.Owner, claim.ID)
	if err != nil {
		return err
	}
	end, dropErr := len(c.messages), error(nil)
	if b.DropFrom != "" {
		var i int
		if i, dropErr = c.index(b.DropFrom); dropErr == nil {
			end = i
		}
	}
	switch kept := c.messages[:end]; {
	case b.Question != nil && (byClientID(kept, b.Question.ClientID) >= 0 || byID(kept, b.Question.ID) >= 0):
		return assistant.ErrDuplicate
	case b.Last != c.last():
		return assistant.ErrStale
	case dropErr != nil:
		return dropErr
	case slices.ContainsFunc(kept, (*message).streams):
		return assistant.ErrStale
	}
	return s.begin(c, end, b)
}

// begin keeps end messages and puts the new ones behind them.
func (s *Store) begin(c *conversation, end int, b assistant.Beginning) error {
	var added []*message
	if b.Question != nil {
		added = append(added, newMessage(*b.Question))
	}
	added = append(added, newMessage(b.Answer))
	if b.MaxMessages > 0 && end+len(added) > b.MaxMessages {
		return assistant.ErrConversationFull
	}
	files, err := s.filesOf(c.owner, b.Files, c.messages[end:])
	if err != nil {
		return err
	}
	if b.Question != nil {
		added[0].files = files
	}
	title := c.Title
	if title == "" {
		title = b.Title
	}
	grow := len(title) - len(c.Title)
	for _, m := range added {
		grow += m.size()
	}
	for _, m := range c.messages[end:] {
		grow -= m.size()
	}
	if err := s.makeRoomWith(c, grow, files); err != nil {
		return err
	}
	s.use(files, c.messages[end:])
	c.Title, c.messages = title, append(slices.Delete(c.messages, end, len(c.messages)), added...)
	s.updated(c, b.Answer.CreatedAt)
	return nil
}

// Extend implements assistant.Store.
func (s *Store) Extend(ctx context.Context, claim assistant.Claim, e assistant.Extension) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, claim.Owner, claim.ID)
	if err != nil {
		return err
	}
	i, err := c.index(e.MessageID)
	if err != nil {
		return err
	}
	m := c.messages[i]
	if !m.streams() {
		return assistant.ErrNotFound
	}
	next, err := chunk.Of(e)
	if err != nil {
		return err
	}
	n, err := m.place(next)
	if err != nil {
		return err
	}
	if err := s.makeRoom(c, 0, sizeOf([]chunk.Chunk{next})-sizeOf(m.chunks[n:])); err != nil {
		return err
	}
	m.chunks = append(m.chunks[:n], next)
	return nil
}

// Finish implements assistant.Store.
func (s *Store) Finish(ctx context.Context, claim assistant.Claim, e assistant.Ending) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, claim.Owner, claim.ID)
	if err != nil {
		return err
	}
	final, grow := slices.Clone(c.messages), 0
	for _, m := range e.Messages {
		i, err := c.index(m.ID)
		if err != nil {
			return err
		}
		old := final[i]
		m.Role, m.ClientID, m.CreatedAt = old.Role, old.ClientID, old.CreatedAt
		final[i] = newMessage(m)
		final[i].files = old.files
		grow += final[i].size() - old.size()
	}
	private := c.private
	if e.Private != nil {
		private = e.Private.Clone()
		grow += private.Size() - c.private.Size()
	}
	if err := s.makeRoom(c, 0, grow); err != nil {
		return err
	}
	c.messages, c.private = final, private
	s.updated(c, e.At)
	return nil
}

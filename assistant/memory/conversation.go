package memory

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"sort"
	"time"
	"unicode/utf8"

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
	bytes    int
	messages []*message
}

// message is a stored message. While it streams, it consists of what Extend has stored.
type message struct {
	assistant.Message

	chunks []chunk.Chunk // of text and reasoning, in order; offsets count their bytes
}

func newMessage(m assistant.Message) *message {
	m.CreatedAt, m.Usage, m.Parts = stamp(m.CreatedAt), clone(m.Usage), slices.Clip(m.Parts)
	return &message{Message: m}
}

func (c *conversation) size() int {
	return conversationBytes + len(c.ID) + len(c.owner) + len(c.Title)
}

func (m *message) size() int { return messageBytes + m.Size() + m.stored() }

// stored is how many bytes Extend has stored.
func (m *message) stored() int {
	if len(m.chunks) == 0 {
		return 0
	}
	return m.chunks[len(m.chunks)-1].Stop
}

// replace puts chunks in the place of everything from offset on.
func (m *message) replace(offset int, chunks []chunk.Chunk) {
	n := m.at(offset)
	if n < len(m.chunks) && m.chunks[n].Start < offset {
		cut := &m.chunks[n]
		cut.Text, cut.Stop = cut.Text[:offset-cut.Start], offset
		n++
	}
	m.chunks = append(slices.Delete(m.chunks, n, len(m.chunks)), chunks...)
}

// at returns the index of the chunk that has the byte at offset; there is none after the last.
func (m *message) at(offset int) int {
	return sort.Search(len(m.chunks), func(n int) bool { return m.chunks[n].Stop > offset })
}

// isBoundary reports whether a character starts at offset, or nothing does.
func (m *message) isBoundary(offset int) bool {
	n := m.at(offset)
	return n == len(m.chunks) || utf8.RuneStart(m.chunks[n].Text[offset-m.chunks[n].Start])
}

// read returns a copy for the caller.
func (m *message) read() assistant.Message {
	read := m.Message
	read.Usage = clone(m.Usage)
	if m.Status == assistant.StatusStreaming {
		read.SetParts(chunk.Join(m.chunks))
	}
	return read
}

func clone(u *assistant.Usage) *assistant.Usage {
	if u == nil {
		return nil
	}
	return new(*u)
}

func (c *conversation) streams() bool {
	return slices.ContainsFunc(c.messages, func(m *message) bool { return m.Status == assistant.StatusStreaming })
}

// index returns where the message is; ErrNotFound where it is not.
func (c *conversation) index(messageID string) (int, error) {
	i := slices.IndexFunc(c.messages, func(m *message) bool { return m.ID == messageID })
	if i < 0 {
		return 0, assistant.ErrNotFound
	}
	return i, nil
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

// Begin implements assistant.Store.
func (s *Store) Begin(ctx context.Context, owner, id string, b assistant.Beginning) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, owner, id)
	if err != nil {
		return err
	}
	end := len(c.messages)
	if b.DropFrom != "" {
		if end, err = c.index(b.DropFrom); err != nil {
			return err
		}
	}
	if b.Question != nil && byClientID(c.messages[:end], b.Question.ClientID) >= 0 {
		return assistant.ErrDuplicate
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
	if err := s.makeRoom(c, 0, grow); err != nil {
		return err
	}
	c.Title, c.messages = title, append(slices.Delete(c.messages, end, len(c.messages)), added...)
	s.updated(c, b.Answer.CreatedAt)
	return nil
}

// Extend implements assistant.Store.
func (s *Store) Extend(ctx context.Context, owner, id, messageID string, offset int, parts assistant.Parts) error {
	chunks, err := chunk.Split(offset, parts)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, owner, id)
	if err != nil {
		return err
	}
	i, err := c.index(messageID)
	if err != nil {
		return err
	}
	m := c.messages[i]
	switch {
	case m.Status != assistant.StatusStreaming:
		return assistant.ErrNotFound
	case offset > m.stored():
		return chunk.ErrGap
	case !m.isBoundary(offset):
		return errors.New("offset is inside a character")
	}
	grow := offset - m.stored()
	for _, c := range chunks {
		grow += len(c.Text)
	}
	if err := s.makeRoom(c, 0, grow); err != nil {
		return err
	}
	m.replace(offset, chunks)
	return nil
}

// Finish implements assistant.Store.
func (s *Store) Finish(ctx context.Context, owner, id string, at time.Time, messages ...assistant.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find(ctx, owner, id)
	if err != nil {
		return err
	}
	final, grow := slices.Clone(c.messages), 0
	for _, m := range messages {
		i, err := c.index(m.ID)
		if err != nil {
			return err
		}
		old := final[i]
		m.Role, m.ClientID, m.CreatedAt = old.Role, old.ClientID, old.CreatedAt
		final[i] = newMessage(m)
		grow += final[i].size() - old.size()
	}
	if err := s.makeRoom(c, 0, grow); err != nil {
		return err
	}
	c.messages = final
	s.updated(c, at)
	return nil
}

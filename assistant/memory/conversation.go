package memory

import (
	"container/list"
	"context"
	"errors"
	"slices"
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
	place    *list.Element
	bytes    int
	messages []*message
}

// message is a stored message. While it streams, it consists of what Extend has stored.
type message struct {
	assistant.Message

	stored []byte // text and reasoning; offsets count its bytes
	runs   []run  // in order
}

// run is a stretch of what is stored: from where the run before it stops.
type run struct {
	kind string // of a chunk
	stop int
}

func newMessage(m assistant.Message) *message {
	m.CreatedAt, m.Usage, m.Parts = stamp(m.CreatedAt), clone(m.Usage), slices.Clip(m.Parts)
	return &message{Message: m}
}

func (c *conversation) size() int {
	return conversationBytes + len(c.ID) + len(c.owner) + len(c.Title)
}

func (m *message) size() int { return messageBytes + m.Size() + len(m.stored) }

// replace puts chunks in the place of everything from offset on.
func (m *message) replace(offset int, chunks []chunk.Chunk) {
	m.stored = m.stored[:offset]
	for len(m.runs) > 0 && m.start(len(m.runs)-1) >= offset {
		m.runs = m.runs[:len(m.runs)-1]
	}
	if last := len(m.runs) - 1; last >= 0 {
		m.runs[last].stop = offset
	}
	for _, c := range chunks {
		m.stored = append(m.stored, c.Text...)
		if last := len(m.runs) - 1; last >= 0 && m.runs[last].kind == c.Kind {
			m.runs[last].stop = c.Stop
		} else {
			m.runs = append(m.runs, run{c.Kind, c.Stop})
		}
	}
}

// start returns where a run starts.
func (m *message) start(run int) int {
	if run == 0 {
		return 0
	}
	return m.runs[run-1].stop
}

// read returns a copy for the caller.
func (m *message) read() assistant.Message {
	read := m.Message
	read.Usage = clone(m.Usage)
	if m.Status == assistant.StatusStreaming {
		chunks := make([]chunk.Chunk, len(m.runs))
		for i, r := range m.runs {
			chunks[i] = chunk.Chunk{Kind: r.kind, Text: string(m.stored[m.start(i):r.stop])}
		}
		read.SetParts(chunk.Join(chunks))
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
	case offset > len(m.stored):
		return chunk.ErrGap
	case offset < len(m.stored) && !utf8.RuneStart(m.stored[offset]):
		return errors.New("offset is inside a character")
	}
	grow := offset - len(m.stored)
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

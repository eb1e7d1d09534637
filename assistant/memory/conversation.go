package memory

import (
	"container/list"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// What a conversation and a message cost in memory besides their texts, roughly.
const (
	conversationBytes = 400
	messageBytes      = 300
)

// conversation is a stored conversation.
type conversation struct {
	assistant.Conversation

	owner    string
	place    *list.Element
	bytes    int
	messages []*message
}

// message is a stored message. While it streams, its text is Content and then pieces.
type message struct {
	assistant.Message

	pieces strings.Builder
}

func newMessage(m assistant.Message) *message {
	m.CreatedAt, m.Usage = stamp(m.CreatedAt), clone(m.Usage)
	return &message{Message: m}
}

func (c *conversation) size() int {
	return conversationBytes + len(c.ID) + len(c.owner) + len(c.Title)
}

func (m *message) size() int {
	return messageBytes + len(m.ID) + len(m.Content) + m.pieces.Len() + len(m.ClientID)
}

// read is a copy for the caller.
func (m *message) read() assistant.Message {
	read := m.Message
	read.Content += m.pieces.String()
	read.Usage = clone(m.Usage)
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

// index is where the message is; ErrNotFound where it is not.
func (c *conversation) index(messageID string) (int, error) {
	i := slices.IndexFunc(c.messages, func(m *message) bool { return m.ID == messageID })
	if i < 0 {
		return 0, assistant.ErrNotFound
	}
	return i, nil
}

// byClientID is where the message with that client id is; -1 where there is none.
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
func (s *Store) Extend(ctx context.Context, owner, id, messageID, text string) error {
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
	if m.Status != assistant.StatusStreaming {
		return assistant.ErrNotFound
	}
	if err := s.makeRoom(c, 0, len(text)); err != nil {
		return err
	}
	m.pieces.WriteString(text)
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

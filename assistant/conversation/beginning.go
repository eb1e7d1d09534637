package conversation

import (
	"errors"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/window"
)

// begin decides what the turn asks and what the model receives, makes that durable and shows it.
func (c *Conversation) begin(t *turn) error {
	b, err := c.beginning(t)
	if err == nil {
		err = c.recall(t, b)
	}
	if err != nil {
		return err
	}
	if !t.counted { // it was known when it came, and has been dropped since
		err = t.count()
	}
	if err == nil {
		err = c.reserve(t, b)
	}
	if err != nil {
		return err
	}
	if c.stored() {
		err = c.hub.store.Begin(c.hub.lasting(), c.owner, c.id, b)
	}
	if errors.Is(err, assistant.ErrDuplicate) {
		return err
	}
	if err != nil {
		return assistant.OfStore(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.showStartLocked(t, b)
	return nil
}

// beginning is what the store is to do. It fills in the turn's question.
func (c *Conversation) beginning(t *turn) (assistant.Beginning, error) {
	b := assistant.Beginning{Answer: t.answer(), MaxMessages: t.assistant.MaxMessages}
	if t.regenerate {
		i := len(c.messages) - 1
		for ; i >= 0 && c.messages[i].Role != assistant.RoleUser; i-- {
			b.DropFrom = c.messages[i].ID
		}
		if i < 0 {
			return b, assistant.Refuse(assistant.ReasonNothingToRegenerate)
		}
		c.mu.Lock() // others look for their client id in it
		defer c.mu.Unlock()
		t.question = c.messages[i]
		return b, nil
	}
	c.mu.Lock()
	isKnown := c.wasAskedLocked(t.question.ClientID, t.replaces)
	c.mu.Unlock()
	if isKnown {
		return b, assistant.ErrDuplicate
	}
	if t.replaces != "" {
		if err := c.canReplace(t.replaces); err != nil {
			return b, err
		}
		b.DropFrom = t.replaces
	}
	t.question.CreatedAt = t.started
	b.Question = &t.question
	if c.stored() && c.title() == "" {
		b.Title = assistant.TitleOf(t.question.Content)
	}
	return b, nil
}

func (c *Conversation) title() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info.Title
}

// recall reads back as much of the conversation as the model may receive.
func (c *Conversation) recall(t *turn, b assistant.Beginning) error {
	messages, more, err := c.readBack(c.messages, c.more, func(m []assistant.Message) bool {
		if i := indexOf(m, b.DropFrom); i >= 0 {
			m = m[:i]
		}
		return tokensOf(m) >= t.assistant.Context
	})
	if err != nil {
		return assistant.OfStore(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages, c.more = messages, more
	return nil
}

// reserve selects what the model receives, and takes as much of the payer's budget.
func (c *Conversation) reserve(t *turn, b assistant.Beginning) error {
	earlier := c.messages
	if b.DropFrom != "" {
		earlier = c.before(b.DropFrom)
	}
	if t.regenerate {
		earlier = earlier[:len(earlier)-1] // the last is the question
	}
	input := t.need()
	t.history, t.trimmed = window.Select(earlier, input, t.assistant.Context)
	return t.meter.Open(t.hub.accounts, t.client.Payer, t.assistant.Budget, input+window.Tokens(t.history))
}

// before returns the messages before the one of that id, which is in memory.
func (c *Conversation) before(id string) []assistant.Message {
	i := indexOf(c.messages, id)
	return c.messages[:i:i]
}

// canReplace makes sure that id is a user's message, and that it is in memory with the one before it.
func (c *Conversation) canReplace(id string) error {
	messages, more, err := c.readBack(c.messages, c.more, func(m []assistant.Message) bool { return indexOf(m, id) > 0 })
	if err != nil {
		return assistant.OfStore(err)
	}
	i := indexOf(messages, id)
	if i < 0 || messages[i].Role != assistant.RoleUser {
		return assistant.Refuse(assistant.ReasonNotFound)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages, c.more = messages, more
	return nil
}

// showStartLocked appends the first events of the turn.
func (c *Conversation) showStartLocked(t *turn, b assistant.Beginning) {
	if b.DropFrom != "" {
		c.messages = c.before(b.DropFrom)
	}
	c.forgetLocked(t.assistant.Context)
	if b.DropFrom != "" && c.stored() {
		c.appendLocked(t.event(assistant.KindReplaced, assistant.Replaced{Snapshot: c.snapshotLocked()}))
	}
	if b.Question != nil {
		c.messages = append(c.messages, *b.Question)
	}
	if b.Question != nil && c.stored() {
		c.appendLocked(t.event(assistant.KindAsked, assistant.Asked{Message: *b.Question}))
	}
	if b.Title != "" {
		c.info.Title = b.Title
	}
	c.updatedLocked(t.started)
	if b.Title != "" {
		c.appendLocked(assistant.Event{Kind: assistant.KindRenamed, Body: assistant.Renamed{Conversation: c.info}})
	}
	t.shown = true
	c.appendLocked(t.event(assistant.KindStarted, assistant.Started{Source: t.source}))
	if t.trimmed {
		c.appendLocked(t.event(assistant.KindNotice, assistant.Notice{Reason: assistant.NoticeContextTrimmed}))
	}
}

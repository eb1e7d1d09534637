package assistant

import (
	"context"
	"errors"
	"time"
)

// begin decides what the turn asks and tells the model, makes that durable and shows it.
func (c *conversation) begin(t *turn) error {
	ctx, cancel := c.hub.storeContext()
	defer cancel()
	b, err := c.beginning(ctx, t)
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
		err = c.hub.store.Begin(ctx, c.owner, c.id, b)
	}
	if errors.Is(err, ErrDuplicate) {
		return err
	}
	if err != nil {
		return storeFailed(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.DropFrom != "" {
		c.messages = c.before(b.DropFrom)
	}
	if b.DropFrom != "" && c.stored() {
		c.log.Append(event{kind: eventSnapshot, turn: t, detail: c.snapshotLocked()})
	}
	if b.Question != nil {
		c.messages = append(c.messages, *b.Question)
	}
	c.showStartLocked(t, b)
	return nil
}

// beginning is what the store is to do. It fills in the turn's question.
func (c *conversation) beginning(ctx context.Context, t *turn) (Beginning, error) {
	b := Beginning{Answer: t.answer(), MaxMessages: t.assistant.MaxMessages}
	if t.regenerate {
		i := len(c.messages) - 1
		for ; i >= 0 && c.messages[i].Role != RoleUser; i-- {
			b.DropFrom = c.messages[i].ID
		}
		if i < 0 {
			return b, refusal{ReasonNothingToRegenerate}
		}
		c.mu.Lock() // others look for their client id in it
		defer c.mu.Unlock()
		t.question = c.messages[i]
		return b, nil
	}
	if c.wasAsked(t.question.ClientID, t.replaces) {
		return b, ErrDuplicate
	}
	if t.replaces != "" {
		if err := c.canReplace(ctx, t.replaces); err != nil {
			return b, err
		}
		b.DropFrom = t.replaces
	}
	t.question.CreatedAt = t.started
	b.Question = &t.question
	if c.stored() && c.title() == "" {
		b.Title = titleOf(t.question.Content)
	}
	return b, nil
}

func (c *conversation) title() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info.Title
}

// wasAsked tells whether a question with that client id is in memory, and stays there.
func (c *conversation) wasAsked(clientID, dropFrom string) bool {
	for _, m := range c.messages {
		switch {
		case dropFrom != "" && m.ID == dropFrom:
			return false
		case clientID != "" && m.ClientID == clientID:
			return true
		}
	}
	return false
}

// reserve selects what the model is told, and takes as much of the payer's budget.
func (c *conversation) reserve(t *turn, b Beginning) error {
	earlier := c.messages
	if b.DropFrom != "" {
		earlier = c.before(b.DropFrom)
	}
	if t.regenerate {
		earlier = earlier[:len(earlier)-1] // the last is the question
	}
	input := tokens(t.instructions) + tokens(t.question.Content)
	t.history, t.trimmed = window(earlier, input, t.assistant.Context)
	return t.meter.open(t, input+tokensOfTurns(t.history))
}

// before returns the messages before the one of that id, which is in memory.
func (c *conversation) before(id string) []Message {
	i := indexOf(c.messages, id)
	return c.messages[:i:i]
}

// canReplace makes sure that id is a user's message, and that it is in memory with the one before it.
func (c *conversation) canReplace(ctx context.Context, id string) error {
	messages, more := c.messages, c.more
	if c.stored() {
		var err error
		messages, more, err = c.readBack(ctx, messages, more, func(m []Message) bool { return indexOf(m, id) > 0 })
		if err != nil {
			return storeFailed(err)
		}
	}
	i := indexOf(messages, id)
	if i < 0 || messages[i].Role != RoleUser {
		return refusal{ReasonNotFound}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages, c.more = messages, more
	return nil
}

// showStartLocked appends the first events of the turn.
func (c *conversation) showStartLocked(t *turn, b Beginning) {
	c.forgetLocked(t)
	if b.Question != nil && c.stored() {
		q := b.Question
		c.log.Append(event{kind: eventUserMessage, turn: t, detail: UserMessagePayload{q.ID, q.ClientID, q.Content, q.CreatedAt}})
	}
	if b.Title != "" {
		c.info.Title = b.Title
	}
	c.info.UpdatedAt = t.started
	if b.Title != "" {
		c.log.Append(event{kind: eventUpdated, detail: c.info})
	}
	t.shown = true
	c.log.Append(event{kind: eventStarted, turn: t, detail: t.start()})
	if t.trimmed {
		c.log.Append(event{kind: eventNotice, turn: t, detail: notice(NoticeContextTrimmed)})
	}
}

// forgetLocked lets messages go that neither a snapshot nor the model needs, and events that are older
// than the resume window.
func (c *conversation) forgetLocked(t *turn) {
	for len(c.messages) > 2*pageSize && tokensOf(c.messages[pageSize:]) > t.assistant.Context {
		c.messages = append([]Message(nil), c.messages[pageSize:]...)
		c.more = c.stored()
	}
	old := time.Now().Add(-t.assistant.ResumeWindow)
	for len(c.ended) > 0 && c.ended[0].at.Before(old) {
		c.log.Trim(c.ended[0].seq)
		c.ended = c.ended[1:]
	}
}

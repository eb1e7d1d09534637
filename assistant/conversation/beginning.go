package conversation

import (
	"errors"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/recorder"
	"github.com/caddy-assistant/caddy-assistant/assistant/view"
)

// begin decides what the turn asks and what the model receives, makes that durable and shows it.
func (c *Conversation) begin(t *turn) error {
	c.writing <- struct{}{}
	defer c.written()
	if err := c.settleLate(); err != nil {
		return err
	}
	err := c.tryBegin(t)
	if errors.Is(err, assistant.ErrStale) { // something else has written to the conversation
		if err = c.reload(); err == nil {
			err = c.tryBegin(t)
		}
	}
	if errors.Is(err, assistant.ErrStale) {
		err = assistant.Refuse(assistant.ReasonBusy)
	}
	return err
}

// tryBegin is begin. It returns [assistant.ErrStale] where what is in memory is not what the store has.
func (c *Conversation) tryBegin(t *turn) error {
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
	if err := c.supersede(t, b); err != nil {
		t.meter.Drop()
		return err
	}
	events := c.opening(t, b)
	if c.stored() {
		b.Events = c.unstored(events)
		err = c.hub.store.Begin(c.hub.lasting(), c.claim, b)
	}
	switch {
	case errors.Is(err, assistant.ErrDuplicate) && t.question.ClientID == "":
		return errAnswered
	case errors.Is(err, assistant.ErrDuplicate), errors.Is(err, assistant.ErrStale), errors.Is(err, assistant.ErrLost):
		t.meter.Drop()
		return err
	case err != nil:
		err = assistant.OfStore(err)
		c.isDoubtful = c.isDoubtful || !assistant.IsRefusal(err)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.showStartLocked(t, events)
	c.own.keep(t)
	return nil
}

// unstored returns what the log has since it was stored last, and what comes next, with numbers. writing is held.
func (c *Conversation) unstored(next []assistant.Event) []assistant.Event {
	events, err := recorder.Tail(c.view.Log, c.kept)
	if err != nil {
		return nil // the log has let go of it
	}
	last := c.view.Log.Last()
	for i, e := range next {
		e.Seq = last + 1 + uint64(i)
		events = append(events, e)
	}
	return events
}

// errAnswered says that another node has answered the turn, so that its events are in the log or its messages in the
// view.
var errAnswered = errors.New("answered already")

// beginning is what the store is to do. It fills in the turn's question.
func (c *Conversation) beginning(t *turn) (assistant.Beginning, error) {
	b := assistant.Beginning{Last: c.view.LastID(), Answer: t.answer(), MaxMessages: t.assistant.MaxMessages}
	if view.IndexOf(c.view.Messages, t.id) >= 0 {
		return b, errAnswered
	}
	if t.regenerate {
		messages := c.view.Messages
		i := len(messages) - 1
		for ; i >= 0 && messages[i].Role != assistant.RoleUser; i-- {
			b.DropFrom = messages[i].ID
		}
		if i < 0 {
			return b, assistant.Refuse(assistant.ReasonNothingToRegenerate)
		}
		c.mu.Lock() // others look for their client id in it
		defer c.mu.Unlock()
		t.question = messages[i]
		return b, t.acceptable()
	}
	c.mu.Lock()
	isKnown := c.view.WasAsked(t.question.ClientID, t.replaces)
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
	b.Question, b.Files = &t.question, t.question.Parts.FileIDs()
	if c.stored() && c.title() == "" {
		b.Title = titleOf(t.question)
	}
	return b, t.acceptable()
}

func (c *Conversation) title() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.Info.Title
}

// recall reads back as much of the conversation as the model may receive.
func (c *Conversation) recall(t *turn, b assistant.Beginning) error {
	messages, more, err := c.readBack(c.view.Messages, c.view.More, func(m []assistant.Message) bool {
		if i := view.IndexOf(m, b.DropFrom); i >= 0 {
			m = m[:i]
		}
		return view.Tokens(m) >= t.assistant.Context
	})
	if err != nil {
		return assistant.OfStore(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view.Messages, c.view.More = messages, more
	return nil
}

// reserve selects what the model receives, and counts the question and as much of the payer's budget, over all nodes.
func (c *Conversation) reserve(t *turn, b assistant.Beginning) error {
	input := t.need()
	c.selectHistory(t, b)
	return t.meter.Open(t.hub.accounts, t.client, t.assistant.Rate, t.assistant.Budget, input+t.assistant.Window().Tokens(t.history))
}

// selectHistory selects what the model receives besides the question.
func (c *Conversation) selectHistory(t *turn, b assistant.Beginning) {
	earlier := c.view.Messages
	if b.DropFrom != "" {
		earlier = c.view.Before(b.DropFrom)
	}
	if t.regenerate {
		earlier = earlier[:len(earlier)-1] // the last is the question
	}
	t.history, t.trimmed = t.assistant.Window().Select(earlier, t.need())
}

// canReplace makes sure that id is a user's message, and that it is in memory with the one before it.
func (c *Conversation) canReplace(id string) error {
	messages, more, err := c.readBack(c.view.Messages, c.view.More, func(m []assistant.Message) bool { return view.IndexOf(m, id) > 0 })
	if err != nil {
		return assistant.OfStore(err)
	}
	i := view.IndexOf(messages, id)
	if i < 0 || messages[i].Role != assistant.RoleUser {
		return assistant.Refuse(assistant.ReasonNotFound)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view.Messages, c.view.More = messages, more
	return nil
}

// opening are the first events of the turn.
func (c *Conversation) opening(t *turn, b assistant.Beginning) (events []assistant.Event) {
	if b.DropFrom != "" {
		events = append(events, t.event(assistant.KindReplaced, assistant.Replaced{From: b.DropFrom}))
	}
	if b.Question != nil {
		events = append(events, t.event(assistant.KindAsked, assistant.Asked{Message: *b.Question}))
	}
	if b.Title != "" {
		info := c.view.Info
		info.Title, info.UpdatedAt = b.Title, t.started
		events = append(events, assistant.Event{Kind: assistant.KindRenamed, Body: assistant.Renamed{Conversation: info}})
	}
	events = append(events, t.event(assistant.KindStarted, assistant.Started{Source: t.source, At: t.started, ReasoningLive: t.assistant.ReasoningLive}))
	if t.trimmed {
		events = append(events, t.event(assistant.KindNotice, assistant.Notice{Reason: assistant.NoticeContextTrimmed}))
	}
	return events
}

// showStartLocked appends the first events of the turn, which are stored. The client of a connection's own conversation
// knows its question, and what it replaces.
func (c *Conversation) showStartLocked(t *turn, events []assistant.Event) {
	t.shown = true
	for _, e := range events {
		if !c.stored() && (e.Kind == assistant.KindReplaced || e.Kind == assistant.KindAsked) {
			c.view.Change(&e)
			continue
		}
		c.appendLocked(e)
	}
	c.kept = c.view.Log.Last()
	c.view.Forget(t.assistant.Context, c.stored())
	c.updatedLocked()
}

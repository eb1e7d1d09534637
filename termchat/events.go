package termchat

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// snapshot is the conversation as far as a terminal shows it.
type snapshot struct {
	Messages  []message                `json:"messages"`
	Streaming *session.StreamingAnswer `json:"streaming"`
}

// message is one whose parts may be of types that came after this program.
type message struct {
	assistant.Message
	Parts []part `json:"parts"`
}

// part is what a terminal shows of a part.
type part struct {
	Type       string               `json:"type"`
	CallID     string               `json:"call_id"`
	Name       string               `json:"name"`
	Title      string               `json:"title"`
	State      assistant.CallState  `json:"state"`
	WaitingFor assistant.WaitingFor `json:"waiting_for"`
	Arguments  json.RawMessage      `json:"arguments"`
}

func (p part) unknown() bool {
	switch p.Type {
	case assistant.TextPart{}.Type(), assistant.ReasoningPart{}.Type(), assistant.ToolCallPart{}.Type(), assistant.ToolResultPart{}.Type():
		return false
	}
	return true
}

// receive takes a frame, or the end of the connection.
func (c *chat) receive(r received) error {
	f := r.frame
	switch {
	case r.err != nil:
		return c.broken(r.err)
	case f.Topic != "" && f.Topic != c.topic(), f.Seq != 0 && f.Seq <= c.seq && f.Action != "snapshot":
		return nil // of another conversation, or seen
	case f.Seq != 0:
		c.seq = f.Seq
	}
	switch f.Action {
	case "conversation_created":
		c.Conversation = decode[assistant.Conversation](f).ID
		c.enter()
	case "subscribed":
		return c.onSubscribed(decode[session.SubscribedPayload](f))
	case "snapshot":
		return c.onSnapshot(decode[snapshot](f))
	case "user_message":
		if q := c.asked; q != nil && decode[session.UserMessagePayload](f).ClientID == q.id {
			q.accepted = true
		}
	case "streaming_start":
		c.onStart(decode[session.StreamingStartPayload](f).MessageID)
	case "streaming":
		if c.mine() {
			c.show(decode[session.StreamingPayload](f).Content)
		}
	case "tool_call":
		c.onToolCall(decode[session.ToolCallPayload](f))
	case "notice":
		if f.Ref != "" && c.asked != nil && f.Ref == c.asked.id {
			c.note("[%s]\n", decode[session.NoticePayload](f).Detail)
		}
	case "error":
		return c.onError(f)
	case "complete_streaming":
		return c.onComplete(decode[session.CompleteStreamingPayload](f))
	case "conversation_deleted":
		return errors.New("the conversation was deleted")
	}
	return nil
}

// mine tells whether the answer that is under way is the one that is waited for.
func (c *chat) mine() bool { return c.asked != nil && c.current != "" && c.asked.answer == c.current }

func (c *chat) onSubscribed(p session.SubscribedPayload) error {
	if !p.Recovered {
		c.epoch, c.seq, c.entering = p.Epoch, 0, true
		return nil // the snapshot follows
	}
	return c.entered(nil)
}

func (c *chat) onSnapshot(p snapshot) error {
	if !c.entering {
		return nil // another client has changed what was said before
	}
	c.entering = false
	return c.entered(&p)
}

// entered goes on where the connection was lost, or begins.
func (c *chat) entered(s *snapshot) error {
	again := c.ready
	if !again {
		c.note("[conversation %s]\n", c.Conversation)
	}
	c.ready, c.lost, c.tries = true, time.Time{}, 0
	switch {
	case !again && c.Question != "":
		c.ask(c.Question)
	case !again:
		for _, m := range s.Messages {
			c.recall(m)
		}
		if !c.adopt(s.Messages) {
			c.prompt()
		}
	case c.asked == nil:
		c.prompt()
	case s != nil:
		return c.catchUp(*s)
	case !c.asked.accepted:
		c.sendQuestion()
	default:
		c.stop()
		c.undecided()
	}
	return nil
}

// recall shows a message of before, and what was said of it then. Reasoning is never shown.
func (c *chat) recall(m message) {
	switch {
	case m.Role == assistant.RoleUser:
		c.note("> %s\n", m.Content)
	case m.Content != "":
		c.note("%s\n", m.Content)
	}
	for _, p := range m.Parts {
		if p.Type == (assistant.ToolCallPart{}).Type() {
			c.note("[%s: %s]\n", p.line(), p.State)
		}
	}
	if slices.ContainsFunc(m.Parts, part.unknown) {
		c.note("[there is something that a terminal cannot show]\n")
	}
	if m.Reason != "" {
		c.note("[%s]\n", m.Reason.Explain().Detail)
	}
}

// catchUp shows what is missing of the answer, by what the conversation is like now.
func (c *chat) catchUp(s snapshot) error {
	q := c.asked
	i := slices.IndexFunc(s.Messages, func(m message) bool { return m.ClientID == q.id })
	switch {
	case i < 0 && q.accepted:
		return errors.New("the question was removed from the conversation")
	case i < 0:
		c.sendQuestion()
		return nil
	}
	q.accepted = true
	if i+1 < len(s.Messages) {
		answer := s.Messages[i+1]
		c.onStart(answer.ID)
		c.showRest(answer.Content)
		c.asked.waits = answer.waits()
		if answer.Reason != "" {
			c.note("\n[%s]", answer.Reason.Explain().Detail)
		}
		return c.onComplete(session.CompleteStreamingPayload{MessageID: answer.ID, FinishReason: answer.FinishReason})
	}
	if s.Streaming != nil {
		c.onStart(s.Streaming.MessageID)
		c.showRest(s.Streaming.Content)
	}
	return nil
}

// showRest shows what the terminal does not have of the answer's text. A server that crashed may have less
// than it had shown.
func (c *chat) showRest(text string) {
	shown := c.asked.shown.String()
	rest, ok := strings.CutPrefix(text, shown)
	switch {
	case ok:
		c.show(rest)
	case !strings.HasPrefix(shown, text):
		c.show("\n" + text)
	}
}

func (c *chat) onStart(id string) {
	c.current = id
	if q := c.asked; q != nil && q.answer == id {
		q.waits = nil // or it would not go on
	}
	if q := c.asked; q != nil && q.accepted && q.answer == "" {
		q.answer = id
		c.stop()
	}
}

// onError is about the request to enter, the question, or an answer; after the latter comes its end.
func (c *chat) onError(f frame) error {
	p := decode[session.ErrorPayload](f)
	detail := p.Detail
	if detail == "" {
		detail = "the server does not understand the question"
	}
	switch {
	case f.Ref == refEnter:
		return fmt.Errorf("open the conversation: %s", Printable(detail))
	case f.Ref == refDecide && f.Seq == 0:
		c.aside("[%s]\n", detail)
		c.undecided()
	case c.mine():
		c.note("\n[%s]", detail)
	case c.asked != nil && f.Ref == c.asked.id && p.Reason != assistant.ReasonDraining: // then another connection comes
		return c.ended(errors.New(Printable(detail)))
	}
	return nil
}

// onComplete ends an answer.
func (c *chat) onComplete(p session.CompleteStreamingPayload) error {
	mine := c.asked != nil && c.asked.answer != "" && p.MessageID == c.asked.answer
	c.current = ""
	if !mine {
		return nil
	}
	if p.FinishReason == assistant.FinishWaiting {
		return c.waits()
	}
	_, _ = fmt.Fprintln(c.Out)
	c.midline = false
	switch p.FinishReason {
	case assistant.FinishStop:
		return c.ended(nil)
	case assistant.FinishLength:
		c.note("[the answer was cut: the model reached its limit of tokens]\n")
		return c.ended(nil)
	case assistant.FinishStopped:
		if c.asked.stopping {
			return c.ended(ErrInterrupted)
		}
	}
	return c.ended(fmt.Errorf("the answer is not complete: %s", Printable(string(p.FinishReason))))
}

// ended is the end of a question: that of the chat, where it was the only one.
func (c *chat) ended(err error) error {
	c.asked = nil
	switch {
	case c.Question != "":
		return cmp.Or(err, errEnd)
	case err != nil && !errors.Is(err, ErrInterrupted):
		c.note("[%v]\n", err)
	}
	c.prompt()
	return nil
}

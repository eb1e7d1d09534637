package termchat

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"
)

// refDecide is the ref of decisions.
const refDecide = "decide"

// onToolCall shows a call in one line, and its end in another one unless it is done.
func (c *chat) onToolCall(p session.ToolCallPayload) {
	q := c.asked
	if q == nil || p.MessageID != q.answer {
		return
	}
	was := q.states[p.CallID]
	if q.states == nil {
		q.states = make(map[string]assistant.CallState)
	}
	q.states[p.CallID] = p.State
	call := part{CallID: p.CallID, Name: p.Name, Title: p.Title, State: p.State, WaitingFor: p.WaitingFor, Arguments: p.Arguments}
	switch {
	case p.State == assistant.CallPreparing, p.State == was, p.State == assistant.CallDone && was != "":
	case was == "", was == assistant.CallPreparing, p.Edited:
		c.aside("[%s]\n", call.line())
	case p.State != assistant.CallRunning:
		c.aside("[%s: %s]\n", call.title(), p.State)
	}
	i := slices.IndexFunc(q.waits, func(w part) bool { return w.CallID == p.CallID })
	switch {
	case call.waits() && i < 0:
		q.waits = append(q.waits, call)
	case !call.waits() && i >= 0:
		q.waits = slices.Delete(q.waits, i, i+1)
		if i == 0 && c.current == "" { // it was being asked about
			q.decided = false
			c.askDecision()
		}
	}
}

// waits says that an answer has stopped until somebody decides about calls.
func (c *chat) waits() error {
	q := c.asked
	q.decided = false
	switch {
	case q.stopping:
		return nil // what waits is about to be denied
	case len(q.waits) == 0:
		return c.ended(errors.New("the answer waits for something that a terminal cannot give"))
	case !c.CanDecide:
		return c.ended(c.undecidedError())
	}
	c.askDecision()
	return nil
}

func (c *chat) undecidedError() error {
	return fmt.Errorf("%s waits for approval: decide on the chat page, or on a terminal with --conversation %s", c.asked.waits[0].title(), c.Conversation)
}

// deciding reports whether the next line is a decision.
func (c *chat) deciding() bool {
	q := c.asked
	return c.CanDecide && q != nil && c.current == "" && len(q.waits) > 0 && !q.decided && !q.stopping
}

// askDecision asks about the first call that waits, if there is one.
func (c *chat) askDecision() {
	if !c.deciding() {
		return
	}
	c.read()
	c.aside("%s: approve? [y/N] ", c.asked.waits[0].title())
}

// decide takes a line as the decision about the first call that waits: all but yes is no.
func (c *chat) decide(line string) {
	q := c.asked
	d := session.DecideToolCallPayload{MessageID: q.answer, CallID: q.waits[0].CallID, Decision: "deny"}
	if reply := strings.ToLower(line); reply == "y" || reply == "yes" {
		d.Decision = "approve"
	}
	if c.link == nil {
		return // it is asked again when there is one
	}
	q.decided = true
	c.link.send(request{"decide_tool_call", c.topic(), refDecide, d})
}

// undecided asks again: the decision was refused, or lost.
func (c *chat) undecided() {
	if q := c.asked; q != nil && len(q.waits) > 0 {
		q.decided = false
		c.askDecision()
	}
}

// adopt takes the last answer for one to a question that was asked here, if it waits for decisions.
func (c *chat) adopt(messages []message) bool {
	n := len(messages)
	if !c.CanDecide || n < 2 || messages[n-1].Status != assistant.StatusWaiting {
		return false
	}
	m := messages[n-1]
	c.asked = &question{id: cmp.Or(messages[n-2].ClientID, rand.Text()), accepted: true, answer: m.ID, waits: m.waits()}
	c.asked.shown.WriteString(m.Content)
	c.askDecision()
	return c.deciding()
}

// aside writes lines beside the answer.
func (c *chat) aside(format string, args ...any) {
	if c.midline {
		c.note("\n")
	}
	c.midline = false
	c.note(format, args...)
}

// waits returns the calls of a message that wait for approval.
func (m message) waits() (calls []part) {
	for _, p := range m.Parts {
		if p.waits() {
			calls = append(calls, p)
		}
	}
	return calls
}

func (p part) waits() bool {
	return p.State == assistant.CallWaiting && p.WaitingFor == assistant.WaitingForApproval
}

// title is the name of a call for people.
func (p part) title() string {
	if p.Title == "" || p.Title == p.Name {
		return escaped(p.Name)
	}
	return fmt.Sprintf("%s (%s)", escaped(p.Title), escaped(p.Name))
}

// line is a call with all of its arguments.
func (p part) line() string {
	arguments := string(p.Arguments)
	if arguments == "" || arguments == "{}" {
		return p.title()
	}
	return p.title() + " " + escaped(arguments)
}

// escaped is text in which nothing is hidden: what is not printable, or has no width, is escaped as in JSON.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) && r != '\u2800':
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

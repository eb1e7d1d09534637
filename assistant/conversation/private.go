package conversation

import (
	"encoding/json"
	"slices"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/view"
)

const (
	// maxGrants is how many tools a conversation remembers approvals of.
	maxGrants = 128
	// maxInputState is how much a tool may want back with the answers to what it asks, in bytes.
	maxInputState = 64 << 10
	// maxHidden is how much a model may want back in one answer, in bytes. What is beyond is not kept.
	maxHidden = 512 << 10
)

// private is what the conversation keeps for itself, as a turn knows it.
type private struct {
	assistant.Private
	isRead    bool
	isChanged bool
}

// readPrivate reads what the conversation keeps, once in a turn. What is kept of another answer does not matter any more.
func (c *Conversation) readPrivate(t *turn) (err error) {
	p := &t.private
	if p.isRead {
		return nil
	}
	if c.stored() {
		p.Private, err = c.hub.store.Private(c.hub.lasting(), c.owner, c.id)
	} else {
		p.Private = c.ownPrivate()
	}
	if err != nil {
		return assistant.OfStore(err)
	}
	p.isRead = true
	if p.MessageID != t.id {
		p.MessageID, p.Inputs, p.Hidden = t.id, nil, nil
	}
	if t.resumed {
		t.hidden = p.Hidden
	}
	return nil
}

// hide keeps what the model wants to get back.
func (t *turn) hide(h assistant.Hidden) {
	if t.hiddenSize += len(h.Item); t.hiddenSize <= maxHidden {
		h.Step, h.From = t.steps, t.source
		t.hidden = append(slices.Clip(t.hidden), h)
	}
}

// toKeep returns what is to be stored at the end of a leg; nil where nothing has changed. What the model wants to get back is
// kept as long as the answer may go on.
func (t *turn) toKeep() *assistant.Private {
	p := &t.private
	var hidden []assistant.Hidden
	if view.StatusOf(t.finish) != assistant.StatusComplete {
		hidden = t.hidden
	}
	if p.isRead && len(hidden) != len(p.Hidden) {
		p.Hidden, p.isChanged = hidden, true
	}
	return p.changed()
}

// ownPrivate is what the connection's own conversation keeps.
func (c *Conversation) ownPrivate() assistant.Private {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.private == nil {
		return assistant.Private{}
	}
	return c.private.Clone()
}

// keepLocked makes that p; nil changes nothing.
func (c *Conversation) keepLocked(p *assistant.Private) {
	if p != nil && !c.stored() {
		c.private = p
	}
}

// changed returns what is to be stored; nil where nothing has changed.
func (p *private) changed() *assistant.Private {
	if !p.isChanged {
		return nil
	}
	return new(p.Clone())
}

// grant remembers an approval.
func (p *private) grant(t assistant.Tool) {
	if p.isRead && !p.Has(t) && len(p.Grants) < maxGrants {
		p.Grants, p.isChanged = append(slices.Clip(p.Grants), assistant.Grant{Tool: t.Name, Hash: t.Hash()}), true
	}
}

// input returns what a call has asked for and what was answered; the zero value where it has asked nothing.
func (p *private) input(callID string) assistant.PendingInput {
	if i := p.inputIndex(callID); i >= 0 {
		return p.Inputs[i]
	}
	return assistant.PendingInput{}
}

func (p *private) inputIndex(callID string) int {
	return slices.IndexFunc(p.Inputs, func(in assistant.PendingInput) bool { return in.CallID == callID })
}

// ask keeps what a call wants back with the answers.
func (p *private) ask(callID, state string) {
	p.forget(callID)
	p.Inputs, p.isChanged = append(p.Inputs, assistant.PendingInput{CallID: callID, State: state}), true
}

// answer keeps the answers for the call.
func (p *private) answer(callID string, answers map[string]assistant.InputAnswer) error {
	data, err := json.Marshal(answers)
	if err != nil {
		return err
	}
	in := p.input(callID)
	in.CallID, in.Answers = callID, data
	p.forget(callID)
	p.Inputs, p.isChanged = append(p.Inputs, in), true
	return nil
}

// forget removes what a call needed to go on.
func (p *private) forget(callID string) {
	if i := p.inputIndex(callID); i >= 0 {
		p.Inputs, p.isChanged = slices.Delete(slices.Clone(p.Inputs), i, i+1), true
	}
}

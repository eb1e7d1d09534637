package assistant

import (
	"encoding/json"
	"slices"
	"unsafe"
)

// Private is what a conversation keeps that no client gets. Its JSON is for stores.
type Private struct {
	// Grants are the tools that a person has approved for the whole conversation.
	Grants []Grant `json:"grants,omitempty"`
	// MessageID is the answer that the rest is about: the last one; "" = there is no rest.
	MessageID string `json:"message_id,omitempty"`
	// Inputs are what calls of that answer need to go on.
	Inputs []PendingInput `json:"inputs,omitempty"`
	// Hidden is what the model wants to get back when that answer goes on.
	Hidden []Hidden `json:"hidden,omitempty"`
}

// Grant is a tool that needs no more approval, as long as it is what it was.
type Grant struct {
	Tool string `json:"tool"` // its name
	Hash string `json:"hash"` // [Tool.Hash]
}

// PendingInput is where a call is that has asked a person for input.
type PendingInput struct {
	CallID  string          `json:"call_id"`
	State   string          `json:"state,omitempty"`   // the tool's own, which comes back with the answers
	Answers json.RawMessage `json:"answers,omitempty"` // of the person; nil = there are none yet
}

// Has reports whether a tool needs no more approval.
func (p Private) Has(t Tool) bool { return slices.Contains(p.Grants, Grant{t.Name, t.Hash()}) }

// Clone returns a copy that shares nothing that changes.
func (p Private) Clone() Private {
	p.Grants, p.Inputs, p.Hidden = slices.Clone(p.Grants), slices.Clone(p.Inputs), slices.Clone(p.Hidden)
	return p
}

// Size is what it holds in memory, in bytes.
func (p Private) Size() int {
	n := int(unsafe.Sizeof(p)) + len(p.MessageID)
	for _, g := range p.Grants {
		n += int(unsafe.Sizeof(g)) + len(g.Tool) + len(g.Hash)
	}
	for _, in := range p.Inputs {
		n += int(unsafe.Sizeof(in)) + len(in.CallID) + len(in.State) + len(in.Answers)
	}
	for _, h := range p.Hidden {
		n += int(unsafe.Sizeof(h)) + len(h.From.Provider) + len(h.From.Model) + len(h.Item)
	}
	return n
}

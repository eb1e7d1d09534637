// Package history checks what the clients of several nodes were shown, what the model was asked, and what is stored in
// the end, against what the protocol promises.
//
// A [Recorder] takes everything down while it happens; [Check] looks at all of it afterwards. It knows nothing of how
// nodes do what they do, and trusts no clock but the one of the process that recorded. What it checks is in one table,
// [Invariants].
//
// [Linearizable] looks at the same history as that of one list of turns for each conversation, on which all clients
// act at once. It finds lost and doubled turns without being told where to look.
package history

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// History is everything that happened, after it has come to rest: no answer runs, and all tabs that are still open
// have been shown all.
type History struct {
	Entries []Entry
	Calls   []Call
	Stored  []Conversation
	// Accounts are the shared counters at rest; nil where nobody has read them.
	Accounts []Account
}

// Entry is something that a client sent, was sent, or whose connection it is.
type Entry struct {
	At     time.Duration // since the history began
	Client string
	User   string
	Node   string // where its socket is; behind a balancer the balancer
	Socket int    // no two sockets of a history have the same
	Kind   Kind
	Frame
}

// Kind says what an Entry is.
type Kind string

// The kinds.
const (
	Opened   Kind = "opened"   // a socket
	Sent     Kind = "sent"     // a request
	Received Kind = "received" // a frame
	Closed   Kind = "closed"   // a socket, by whomever
)

// Frame is a frame of the protocol, either way, with those members of all payloads that matter here. Which of them are
// set depends on the action.
type Frame struct {
	Action       string `json:",omitempty"`
	Conversation string `json:",omitempty"` // its id
	Ref          string `json:",omitempty"`
	Seq          uint64 `json:",omitempty"` // 0 = it is no event of the log, or a snapshot of its beginning

	ID        string    `json:",omitempty"` // of a message
	ClientID  string    `json:",omitempty"`
	Content   string    `json:",omitempty"` // of a question or piece
	Replaces  string    `json:",omitempty"` // of a question: id of an earlier one
	Finish    string    `json:",omitempty"`
	Reason    string    `json:",omitempty"` // of an error or notice
	Title     string    `json:",omitempty"`
	Epoch     string    `json:",omitempty"` // of subscribe and subscribed
	After     uint64    `json:",omitempty"` // of subscribe
	Recovered bool      `json:",omitempty"`
	Messages  []Message `json:",omitempty"` // of a snapshot or a list
	More      bool      `json:",omitempty"` // there are older messages
	Running   *Message  `json:",omitempty"` // of a snapshot
	Titles    []Titled  `json:",omitempty"` // of a list of conversations
}

// Message is a message as it is shown or stored.
type Message struct {
	ID       string `json:"message_id"`
	Role     string `json:"role"`
	Content  string `json:"content"`
	ClientID string `json:"client_id"`
	Status   string `json:"status"`
	Finish   string `json:"finish_reason"`
	Usage    *Usage `json:"usage"`
}

// Usage is what an answer has cost, in tokens.
type Usage struct {
	Total int `json:"total_tokens"`
}

// Titled is a conversation in a list.
type Titled struct {
	ID    string `json:"conversation_id"`
	Title string `json:"title"`
}

// Call is one request that the model got.
type Call struct {
	Question     string // its text, which no other question has
	Told         []Message
	Began, Ended time.Duration // Ended 0 = it was never given up
	Text         string        // what the model has sent
	Finished     bool          // it has sent all
}

// Conversation is a conversation as it is stored in the end. One that is deleted is not there.
type Conversation struct {
	ID, Owner string
	Messages  []Message
}

// Account is what a payer has used of a budget, at rest.
type Account struct {
	Payer          string
	Used, Reserved int // tokens
}

// Recorder writes a history down. It is safe for concurrent use.
type Recorder struct {
	Began time.Time // before the first entry

	mu      sync.Mutex
	entries []Entry
	sockets int
}

// Socket returns a number for a new socket.
func (r *Recorder) Socket() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sockets++
	return r.sockets
}

// Add writes an entry down as of now, and returns it.
func (r *Recorder) Add(e Entry) Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Since(r.Began)
	r.entries = append(r.entries, e)
	return e
}

// Entries returns what has been written down so far, in the order in which it happened.
func (r *Recorder) Entries() []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.entries)
}

// Now is the time of the history.
func (r *Recorder) Now() time.Duration { return time.Since(r.Began) }

// Decode reads a frame of the server.
func Decode(text []byte) (Frame, error) {
	var envelope struct {
		Action, Topic, Ref string
		Seq                uint64
		Payload            json.RawMessage
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return Frame{}, fmt.Errorf("decode frame: %w", err)
	}
	f := Frame{Action: envelope.Action, Ref: envelope.Ref, Seq: envelope.Seq, Conversation: ofTopic(envelope.Topic)}
	if err := f.decode(envelope.Payload); err != nil {
		return f, fmt.Errorf("decode %s: %w", f.Action, err)
	}
	return f, nil
}

func ofTopic(topic string) string {
	const prefix = "conversation:"
	if len(topic) > len(prefix) && topic[:len(prefix)] == prefix {
		return topic[len(prefix):]
	}
	return ""
}

// decode takes what matters of a payload.
func (f *Frame) decode(payload json.RawMessage) error {
	if f.Action == "error" && len(payload) > 0 && payload[0] == '[' { // of validation
		f.Reason = string(payload)
		return nil
	}
	var p struct {
		MessageID      string `json:"message_id"`
		ClientID       string `json:"client_id"`
		Content        string
		FinishReason   string `json:"finish_reason"`
		Reason         string
		Epoch          string
		Recovered      bool
		Title          string
		ConversationID string `json:"conversation_id"`
		Messages       []Message
		Items          json.RawMessage
		Streaming      json.RawMessage
		Conversation   Titled
		HasMore        bool `json:"has_more"`
	}
	if len(payload) > 0 {
		if err := json.Unmarshal(payload, &p); err != nil {
			return err
		}
	}
	f.ID, f.ClientID, f.Content, f.Finish, f.Reason = p.MessageID, p.ClientID, p.Content, p.FinishReason, p.Reason
	f.Epoch, f.Recovered, f.Title, f.Messages, f.More = p.Epoch, p.Recovered, p.Title, p.Messages, p.HasMore
	if f.Conversation == "" {
		f.Conversation = p.ConversationID
	}
	switch f.Action {
	case "snapshot":
		f.Title = p.Conversation.Title
		return unmarshal(p.Streaming, &f.Running)
	case "messages":
		return unmarshal(p.Items, &f.Messages)
	case "conversations":
		return unmarshal(p.Items, &f.Titles)
	}
	return nil
}

func unmarshal(data json.RawMessage, to any) error {
	if len(data) == 0 {
		return nil
	}
	return json.Unmarshal(data, to)
}

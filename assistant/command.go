package assistant

import (
	"context"
	"encoding/json"
	"net/netip"
)

// Command is something that a mouth wants of a conversation: [Ask], [Regenerate], [Decide], [SubmitResult], [SubmitInput],
// [Continue], [Stop], [Rename] or [Delete]. It is data; what comes of it are events, and its refusal is an error.
type Command interface{ command() }

// Ask asks a question. A second one with the same ClientID asks nothing: it gets the turn of the first.
type Ask struct {
	Asker
	Text     string
	Parts    Parts             // images and files, without the text
	Data     map[string][]byte // their bytes, in a connection's own conversation; elsewhere the store has them
	ClientID string            // chosen by the client; "" = none
	Replaces string            // id of an earlier question, which goes with all after it; "" = none
}

// Regenerate drops the last answer and asks its question again.
type Regenerate struct{ Asker }

// Decide decides about a call of a tool that waits for approval. After the last decision the answer goes on, for its Asker.
type Decide struct {
	Asker
	MessageID string
	CallID    string
	Approve   bool
	Arguments json.RawMessage // take the place of the model's; nil = they stay
	Remember  bool            // later calls of the tool in the conversation need no approval, if this one succeeds
	Reason    string          // why it is denied, for the model; "" = none is given
}

// SubmitResult ends a call that waits for the client, which has made it.
type SubmitResult struct {
	Asker
	MessageID string
	CallID    string
	Result    Result
}

// SubmitInput answers what a tool has asked.
type SubmitInput struct {
	Asker
	MessageID string
	CallID    string
	Answers   map[string]InputAnswer // by the ids of the inputs
}

// Continue lets an answer go on that was cut while it called tools. A call of which it is not known whether it was made is
// made again only if its tool is repeatable.
type Continue struct {
	Asker
	MessageID string
}

// Stop stops the running answer, or, where Run is set, that answer and no other. One that waits ends, too.
type Stop struct {
	From RequestKey
	Run  string
}

// Rename gives the conversation a title.
type Rename struct {
	From  RequestKey
	Title string
}

// Delete deletes the conversation with all its messages, and stops its running answer.
type Delete struct{ From RequestKey }

func (Ask) command()          {}
func (Regenerate) command()   {}
func (Decide) command()       {}
func (SubmitResult) command() {}
func (SubmitInput) command()  {}
func (Continue) command()     {}
func (Stop) command()         {}
func (Rename) command()       {}
func (Delete) command()       {}

// Asker is who asks a question, with the instructions that the model gets for that.
type Asker struct {
	From         RequestKey
	Peer         Peer
	Instructions string // the system message, with placeholders filled in; "" = none
	CanDecide    bool   // it shows calls of tools that wait, and can decide about them
	Tools        []Tool // of its own, which the model may call until the answer ends or somebody else lets it go on
}

// Receipt says what became of a command that was accepted.
type Receipt struct {
	Run    string // the answer that it began, follows or stops; "" for other commands
	Queued bool   // the question waits for an earlier one
}

// Peer is who is at the other end of a connection.
type Peer struct {
	RemoteAddr string     // for the log
	ClientIP   netip.Addr // of the client behind proxies: whom limits count where User is ""; the zero Addr where there is none
	User       string     // owner of the conversations; "" = anonymous
	// Conversation binds the connection to one stored conversation of the user's; "" does not.
	Conversation string
	// Resolve fills the placeholders of a template for this peer. nil leaves it as it is. It is safe for concurrent use.
	Resolve func(template string) string
	// Context holds what an [Observer] knows the request by, such as its trace: only its values count.
	// nil = nothing.
	Context context.Context
}

// Resolved returns the template with its placeholders filled in.
func (p Peer) Resolved(template string) string {
	if p.Resolve == nil {
		return template
	}
	return p.Resolve(template)
}

// Cursor is a place in a conversation's events: everything up to Seq has been seen. Numbers of one epoch
// mean nothing in another.
type Cursor struct {
	Epoch string
	Seq   uint64
}

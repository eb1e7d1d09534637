package assistant

import (
	"context"
	"errors"
	"strings"
	"time"
)

// What a [Store] returns besides what breaks.
var (
	// ErrNotFound says that there is no such conversation or message for this owner: missing and foreign
	// look alike.
	ErrNotFound = errors.New("not found")
	// ErrDuplicate says that the conversation already has a message with this client id, or with the question's ID.
	ErrDuplicate = errors.New("client id was used before")
	// ErrConversationFull says that the conversation has as many messages as it may have.
	ErrConversationFull = errors.New("conversation is full")
	// ErrStale says that something has changed since the caller read it; nothing was stored.
	ErrStale = errors.New("changed meanwhile")
	// ErrFull says that a bounded store has no room.
	ErrFull = errors.New("store is full")
	// ErrUnavailable says that a store cannot be opened now and may be later: its disk is full, or its server is
	// away. Only what opens stores returns it.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrNoLedger says that a store is no [Ledger]. Only what stands in for stores returns it.
	ErrNoLedger = errors.New("store is no ledger")
)

// Store keeps conversations. It is safe for concurrent use.
//
// A conversation belongs to the owner who created it; "" stands for all who are anonymous. Every method
// takes the owner, and a conversation of another owner is ErrNotFound. What a method that writes has
// returned without error is durable: it survives the end of the process and, where the store has a
// disk, of the machine. Times are UTC with a precision of a millisecond or better. Messages come back as
// they were stored, all fields of them. A call ends soon after its context does, with the context's cause.
//
// Messages of a conversation keep the order in which they were stored. When a store is opened, answers
// that were left streaming by a process that no longer lives are marked interrupted, with the finish reason
// interrupted and what Extend had stored.
//
// assistanttest/storetest.TestStore checks the whole contract for every implementation.
type Store interface {
	// Create stores a new conversation without messages. Its ID is a new random UUID; one that exists is
	// an error.
	Create(ctx context.Context, owner string, c Conversation) error
	// Conversation returns one conversation.
	Conversation(ctx context.Context, owner, id string) (Conversation, error)
	// List returns at most limit conversations of the owner, the last updated first (by UpdatedAt, then
	// ID, both descending), that come after the given one; after the zero Conversation come all. Only
	// ID and UpdatedAt of after are looked at; it need not exist. Nothing is listed for "".
	List(ctx context.Context, owner string, after Conversation, limit int) ([]Conversation, error)
	// Rename sets the title and returns the conversation. UpdatedAt stays. Where was is not nil, the title
	// is set only if it is still *was; otherwise ErrStale.
	Rename(ctx context.Context, owner, id, title string, was *string) (Conversation, error)
	// Delete removes the conversation and its messages.
	Delete(ctx context.Context, owner, id string) error

	// Messages returns at most limit messages, oldest first: the last ones, or, where before is the ID
	// of a message, the last ones before it; more reports whether older ones exist. A message that is
	// still streaming has what Extend has stored so far, neighbouring parts of one kind joined. An
	// unknown before is ErrNotFound.
	Messages(ctx context.Context, owner, id, before string, limit int) (page []Message, more bool, err error)
	// MessageByClientID returns the user's message with that client id and the message after it, which
	// is its answer; nothing but the first where there is no answer. "" finds nothing.
	MessageByClientID(ctx context.Context, owner, id, clientID string) ([]Message, error)
	// Private returns what the last Finish with a Private has stored, the zero value where there was none.
	Private(ctx context.Context, owner, id string) (Private, error)

	// Begin stores the start of a turn, all of it or nothing, and sets the conversation's UpdatedAt to
	// that of the answer. A conversation that has an answer streaming (after the drop) is ErrStale. Of several errors
	// it returns the first: that there is no such conversation, ErrDuplicate, ErrStale for Last, ErrNotFound for
	// DropFrom, ErrStale for an answer that is streaming, ErrConversationFull, ErrFileGone. So where the outcome of a call with a
	// question is unknown, it can be repeated: it is ErrDuplicate if it was stored.
	Begin(ctx context.Context, c Claim, b Beginning) error
	// Extend stores more of an answer that is streaming; any other is ErrNotFound. The first event has the number
	// after the last one that was stored of the answer, whichever that is at its first call. Where the outcome of
	// a call is unknown, the next one begins with the same event, has at least as many, and replaces it. Calls for one
	// answer come one after the other.
	Extend(ctx context.Context, c Claim, e Extension) error
	// Finish gives messages that are stored their final form, all or nothing: ID, Role, ClientID and
	// CreatedAt stay, the rest is replaced, and what Extend has stored is dropped. They are an answer that was begun and, where
	// its status changes too, its question. An answer with the status streaming goes on: Extend adds to it. The conversation's UpdatedAt becomes that of the ending. Where a call whose
	// outcome was unknown has stored other events of the same numbers, a [Cluster] begins the log anew with the last
	// of these, and returns [ErrLost].
	Finish(ctx context.Context, c Claim, e Ending) error

	// Waiting returns at most limit conversations, of any owner, that were last updated before t and whose answer has the
	// status waiting.
	Waiting(ctx context.Context, t time.Time, limit int) ([]Owned, error)
	// DeleteBefore removes at most limit conversations, of any owner, that were last updated before t and
	// have no answer streaming. It returns them: fewer than limit once none is left.
	DeleteBefore(ctx context.Context, t time.Time, limit int) (deleted []Owned, err error)
	// Close waits for what is being written and frees everything.
	Close() error
}

// Bounded is a Store that removes conversations by itself to make room for others. Both functions are called with locks
// of the store held, so they must not call it.
type Bounded interface {
	Store
	// Watch sets what the store asks before it removes a conversation, and what it tells of each that it has removed.
	Watch(inUse func(id string) bool, removed func(Owned))
}

// networkKey is the key of a context's network.
type networkKey struct{}

// WithNetwork returns a context for [Store.Create] that carries the network of the client who creates. A bounded store
// shares its room among the networks of anonymous clients by it; others ignore it.
func WithNetwork(ctx context.Context, network string) context.Context {
	return context.WithValue(ctx, networkKey{}, network)
}

// NetworkOf returns the network that [WithNetwork] has put into the context, "" where it has none.
func NetworkOf(ctx context.Context) string {
	network, _ := ctx.Value(networkKey{}).(string)
	return network
}

// Owned names a conversation and its owner.
type Owned struct{ Owner, ID string }

// Beginning is what [Store.Begin] stores.
type Beginning struct {
	// Last is the ID of the last message that the caller knows of; "" = there is none. Where the conversation's last
	// message is another, nothing is stored: ErrStale.
	Last string
	// DropFrom is the ID of a message that is removed with all after it; "" drops nothing.
	DropFrom string
	// Question is the user's new message; nil when an old one is answered again. Where it has an ID or a ClientID
	// that the conversation already has (after the drop), nothing is stored: ErrDuplicate.
	Question *Message
	// Files are the ids of the files that the question uses, none twice. Each must be the owner's, and unused or used by a
	// message that is dropped; otherwise nothing is stored: ErrFileGone. Only a [Files] store looks at them.
	Files []string
	// Answer is the message to be streamed: empty, status streaming.
	Answer Message
	// Title is given to a conversation that has none.
	Title string
	// MaxMessages is how many messages the conversation may have then; 0 is no limit. Where it would have
	// more, nothing is stored: ErrConversationFull, unless the question is an ErrDuplicate.
	MaxMessages int
	// Events are those that show all this, with their numbers. Only a [Cluster] looks at them.
	Events []Event
}

// Extension is what [Store.Extend] stores.
type Extension struct {
	// MessageID is the answer's.
	MessageID string
	// Events are the next ones of the log, with their numbers.
	Events []Event
	// ReasoningLive leaves the model's reasoning out of the message.
	ReasoningLive bool
}

// Parts returns what of the events belongs to the message, neighbours of one kind joined. A call of a tool may come
// several times: the last one counts.
func (e Extension) Parts() (parts Parts) {
	for rest := e.Events; len(rest) > 0; {
		first, n := rest[0], 1
		for n < len(rest) && rest[n].Continues(first) {
			n++
		}
		var text strings.Builder
		for _, piece := range rest[:n] {
			text.WriteString(piece.Text)
		}
		switch rest = rest[n:]; {
		case first.Kind == KindPiece:
			parts = append(parts, TextPart{text.String()})
		case first.Kind == KindReasoning && !e.ReasoningLive:
			parts = append(parts, ReasoningPart{text.String()})
		case first.Kind == KindToolCall:
			if call := first.Body.(ToolCall).Call; call.State != CallPreparing {
				parts = append(parts, call)
			}
		case first.Kind == KindToolResult:
			parts = append(parts, first.Body.(ToolResult).Result)
		case first.Kind == KindPart:
			parts = append(parts, first.Body.(Added).Part)
		}
	}
	return parts
}

// Ending is what [Store.Finish] stores.
type Ending struct {
	// At is the conversation's new UpdatedAt.
	At time.Time
	// Messages are those that get their final form.
	Messages []Message
	// Private takes the place of what the conversation keeps; nil = that stays.
	Private *Private
	// Events are what the log has since it was stored last, up to the answer's end, with their numbers. Only a
	// [Cluster] looks at them.
	Events []Event
}

// Ledger is a Store that keeps what limits count, beyond the end of a process, and for all who share it.
//
// assistanttest/storetest.TestLedger checks the whole contract for every implementation.
type Ledger interface {
	Store
	// Account changes what is kept of a payer. change gets what is there, nil at first, and the time by the one clock of
	// all who share the store. It returns what is to be there from now on, nil to remove it: UTF-8 without a NUL. Where it
	// returns an error, nothing is changed, and Account returns that error.
	//
	// Changes of one payer come one after the other. change must be quick and must not call the store. It may be called
	// several times, also after the context has ended; one of its results counts, once, if Account returns nil. No change
	// waits for a disk of its own: the last ones may be lost when the machine breaks down.
	Account(ctx context.Context, payer string, change func(state []byte, now time.Time) ([]byte, error)) error
	// ForgetAccounts removes at most limit payers that were not changed for so long. It returns how many there were.
	ForgetAccounts(ctx context.Context, idle time.Duration, limit int) (int, error)
}

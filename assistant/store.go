package assistant

import (
	"context"
	"errors"
	"time"
)

// What a [Store] answers besides what breaks.
var (
	// ErrNotFound says that there is no such conversation or message for this owner: missing and foreign
	// look alike.
	ErrNotFound = errors.New("not found")
	// ErrDuplicate says that the conversation already has a message with this client id.
	ErrDuplicate = errors.New("client id was used before")
	// ErrConversationFull says that the conversation has as many messages as it may have.
	ErrConversationFull = errors.New("conversation is full")
	// ErrFull says that a bounded store has no room.
	ErrFull = errors.New("store is full")
)

// Store keeps conversations. It is safe for concurrent use.
//
// A conversation belongs to the owner who created it; "" is everybody who is anonymous. Every method
// takes the owner, and a conversation of another owner is ErrNotFound. What a method that writes has
// returned without error is durable: it survives the end of the process and, where the store has a
// disk, of the machine. Times are UTC with a precision of a millisecond or better.
//
// Messages of a conversation keep the order in which they were stored. When a store is opened, answers
// that a process left streaming which lives no more are marked interrupted, with the finish reason
// interrupted and the text that Extend had stored.
//
// assistanttest.TestStore checks the whole contract for every implementation.
type Store interface {
	// Create stores a new conversation without messages. Its ID is a new random UUID; one that exists is
	// an error.
	Create(ctx context.Context, owner string, c Conversation) error
	// Conversation returns one conversation.
	Conversation(ctx context.Context, owner, id string) (Conversation, error)
	// List returns at most limit conversations of the owner, the last updated first (by UpdatedAt, then
	// ID, both descending), that come after the given one; after the zero Conversation come all. Only
	// ID and UpdatedAt of after are looked at; it need not exist any more. Nothing is listed for "".
	List(ctx context.Context, owner string, after Conversation, limit int) ([]Conversation, error)
	// Rename sets the title and returns the conversation. UpdatedAt stays.
	Rename(ctx context.Context, owner, id, title string) (Conversation, error)
	// Delete removes the conversation and its messages.
	Delete(ctx context.Context, owner, id string) error

	// Messages returns at most limit messages, oldest first: the last ones, or, where before is the ID
	// of a message, the last ones before it; more tells whether older ones exist. The text of a message
	// that is still streaming is what Extend has stored so far. An unknown before is ErrNotFound.
	Messages(ctx context.Context, owner, id, before string, limit int) (page []Message, more bool, err error)
	// MessageByClientID returns the user's message with that client id and the message after it, which
	// is its answer; nothing but the first where there is no answer. "" is nobody's.
	MessageByClientID(ctx context.Context, owner, id, clientID string) ([]Message, error)

	// Begin stores the start of a turn, all of it or nothing, and sets the conversation's UpdatedAt to
	// that of the answer.
	Begin(ctx context.Context, owner, id string, b Beginning) error
	// Extend adds text to the end of an answer that is streaming; any other is ErrNotFound. Calls for one
	// answer come one after the other. After an error the text is stored whole or not at all, and
	// Messages tells which.
	Extend(ctx context.Context, owner, id, messageID, text string) error
	// Finish gives messages that are stored their final form, all or nothing: Content, Status,
	// FinishReason and Usage are replaced, the rest stays. They are an answer that was begun and, where
	// its status changes too, its question. The conversation's UpdatedAt becomes at.
	Finish(ctx context.Context, owner, id string, at time.Time, messages ...Message) error

	// DeleteBefore removes all conversations, of whatever owner, that were last updated before t and
	// have no answer streaming. It returns how many.
	DeleteBefore(ctx context.Context, t time.Time) (int, error)
	// Close waits for what is being written and frees everything.
	Close() error
}

// Beginning is what [Store.Begin] stores.
type Beginning struct {
	// DropFrom is the ID of a message that is removed with all after it; "" drops nothing.
	DropFrom string
	// Question is the user's new message; nil when an old one is answered again. Where it has a ClientID
	// that the conversation already has (after the drop), nothing is stored: ErrDuplicate.
	Question *Message
	// Answer is the message to be streamed: empty, status streaming.
	Answer Message
	// Title is given to a conversation that has none.
	Title string
	// MaxMessages is how many messages the conversation may have then; 0 is no limit. Where it would have
	// more, nothing is stored: ErrConversationFull, unless the question is an ErrDuplicate.
	MaxMessages int
}

// Conversation is a stored conversation.
type Conversation struct {
	ID        string    `json:"conversation_id" format:"uuid" doc:"Random id. Its topic is conversation: and this id."`
	Title     string    `json:"title" doc:"For people; empty until it is named or the first question is asked."`
	CreatedAt time.Time `json:"created_at" doc:"UTC."`
	UpdatedAt time.Time `json:"updated_at" doc:"UTC; when the last message was stored."`
}

// Message is one side's message in a conversation.
type Message struct {
	ID           string       `json:"message_id" format:"uuid" doc:"Random id."`
	Role         Role         `json:"role"`
	Content      string       `json:"content" doc:"The text; of a running answer, as much as has been stored."`
	Status       Status       `json:"status"`
	FinishReason FinishReason `json:"finish_reason,omitempty"`
	Usage        *Usage       `json:"usage,omitempty"`
	ClientID     string       `json:"client_id,omitempty" doc:"The id that the client chose when it sent the message."`
	CreatedAt    time.Time    `json:"created_at" doc:"UTC."`
}

// Status tells how far a message is.
type Status string

// The statuses. A user's message is complete, or failed when its answer failed before any text.
const (
	StatusComplete    Status = "complete"
	StatusStreaming   Status = "streaming"
	StatusStopped     Status = "stopped"
	StatusFailed      Status = "failed"
	StatusInterrupted Status = "interrupted" // the server died or was shut down in the middle
)

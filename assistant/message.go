package assistant

import (
	"time"
	"unsafe"
)

// Conversation is a stored conversation.
type Conversation struct {
	ID        string    `json:"conversation_id" format:"uuid" doc:"Random id. Its topic is conversation: and this id."`
	Title     string    `json:"title" doc:"For people; empty until it is named or the first question is asked."`
	CreatedAt time.Time `json:"created_at" doc:"UTC."`
	UpdatedAt time.Time `json:"updated_at" doc:"UTC; when the last message was stored."`
}

// Message is one side's message in a conversation. Its JSON is the message object of the protocol.
type Message struct {
	ID   string `json:"message_id" format:"uuid" doc:"Random id."`
	Role Role   `json:"role"`
	// Content is the text of all text parts, joined.
	Content string `json:"content" doc:"The text; of a running answer, as much as has been stored."`
	// Parts is all that the message consists of, in order; nil where that is one text part, which then is
	// Content. [Message.SetParts] keeps both in agreement.
	Parts        Parts        `json:"parts,omitempty" doc:"What the message consists of; absent where that is one text part, which is content. Skip parts of a type that you do not know."`
	Provider     string       `json:"-"` // who answered, as the configuration names it; for operators
	Model        string       `json:"model,omitempty" doc:"The model that answered."`
	Status       Status       `json:"status"`
	FinishReason FinishReason `json:"finish_reason,omitempty"`
	Reason       Reason       `json:"reason,omitempty"`
	Usage        *Usage       `json:"usage,omitempty"`
	ClientID     string       `json:"client_id,omitempty" doc:"The id that the client chose when it sent the message."`
	CreatedAt    time.Time    `json:"created_at" doc:"UTC."`
}

// SetParts sets Parts and Content.
func (m *Message) SetParts(parts Parts) {
	m.Content, m.Parts = parts.Text(), parts
	if len(parts) == 0 {
		m.Parts = nil
	} else if _, isText := parts[0].(TextPart); isText && len(parts) == 1 {
		m.Parts = nil
	}
}

// AllParts returns what the message consists of, also where that is a single text part.
func (m Message) AllParts() Parts {
	if m.Parts == nil && m.Content != "" {
		return Parts{TextPart{m.Content}}
	}
	return m.Parts
}

// Size is what the message holds in memory, in bytes.
func (m Message) Size() int {
	n := int(unsafe.Sizeof(m)) + len(m.ID) + len(m.Content) + m.Parts.Size() + len(m.Model) + len(m.Provider) + len(m.ClientID)
	if m.Usage != nil {
		n += int(unsafe.Sizeof(*m.Usage))
	}
	return n
}

// Role names who wrote a message.
type Role string

// The roles of messages. Instructions are not a message and have no role.
const (
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
)

// Status says how far a message is.
type Status string

// The statuses. A user's message is complete, or failed when its answer failed before any text.
const (
	StatusComplete    Status = "complete"
	StatusStreaming   Status = "streaming"
	StatusStopped     Status = "stopped"
	StatusFailed      Status = "failed"
	StatusInterrupted Status = "interrupted" // the server died or was shut down in the middle
	StatusWaiting     Status = "waiting"     // a person has to decide about its calls of tools
)

// FinishReason says how an answer ended.
type FinishReason string

// The finish reasons of the protocol. A Provider yields only the first three, and FinishToolCalls, which no client sees.
const (
	FinishStop          FinishReason = "stop"           // the model was done
	FinishLength        FinishReason = "length"         // the model reached its token limit
	FinishContentFilter FinishReason = "content_filter" // the model's filter cut the answer
	FinishStopped       FinishReason = "stopped"        // a client asked, or no client was left
	FinishBudget        FinishReason = "budget"         // the user's budget of tokens was used up
	FinishError         FinishReason = "error"
	FinishInterrupted   FinishReason = "interrupted" // the server died or was shut down
	FinishWaiting       FinishReason = "waiting"     // a person has to decide; then the answer goes on
	FinishToolCalls     FinishReason = "tool_calls"  // the model waits for what tools return
)

// Usage counts the tokens of one answer.
type Usage struct {
	InputTokens  int  `json:"input_tokens" doc:"Tokens of the instructions, the history and the question."`
	OutputTokens int  `json:"output_tokens" doc:"Tokens of the answer, reasoning included."`
	TotalTokens  int  `json:"total_tokens" doc:"Sum of both."`
	Estimated    bool `json:"estimated" doc:"True when the model did not report usage and the server estimated it from the length of the text."`
}

// Plus returns the sum.
func (u Usage) Plus(v Usage) Usage {
	return Usage{u.InputTokens + v.InputTokens, u.OutputTokens + v.OutputTokens, u.TotalTokens + v.TotalTokens, u.Estimated || v.Estimated}
}

// Snapshot is a conversation as it is after a certain event.
type Snapshot struct {
	Conversation Conversation
	Messages     []Message // the last page, oldest first, without the running answer
	HasMore      bool      // older messages exist
	Running      *Running  // nil when no answer runs
}

// Running is an answer under way.
type Running struct {
	ID        string
	Content   string
	Reasoning string
	Parts     Parts // what the answer consists of so far; nil where that is text and reasoning
}

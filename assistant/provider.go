package assistant

import (
	"context"
	"iter"
)

// Provider is a language model.
//
// A Provider is safe for concurrent use. The contract of Stream, which the suite in
// assistanttest.TestProvider checks for every implementation:
//
//   - Nothing starts until the sequence is ranged over; everything is freed when the loop ends, for
//     whatever reason.
//   - The first error is the last value. It is a [*ProviderError] wherever the fault is known, and the
//     context's cause when ctx is done.
//   - An answer is complete only when a [Delta] with a FinishReason has been yielded. A stream that just
//     ends is an error (reason [ReasonProviderUnavailable]), never a success.
//   - When ctx is done the loop ends without delay and the model's own work is cancelled.
type Provider interface {
	// Source is who answers, as long as no [Fallback] says otherwise. It never changes.
	Source() Source
	// Stream answers req, one Delta for each piece that the model sends.
	Stream(ctx context.Context, req Request) iter.Seq2[Delta, error]
}

// Source names who answers.
type Source struct {
	Provider string // in the configuration, such as openai; for operators
	Model    string // at the provider, such as gpt-4o; clients see it
}

// Request is what a [Provider] answers: the whole conversation so far.
type Request struct {
	// Instructions is the system message; empty means none.
	Instructions string
	// Turns are the earlier questions and answers and, last, the question to answer.
	Turns []Turn
}

// Turn is one side's message in a [Request].
type Turn struct {
	Role    Role // RoleUser or RoleAssistant
	Content string
}

// Role tells who wrote a message.
type Role string

// The roles of stored messages. Instructions are not a message and have no role.
const (
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
)

// Delta is one step of an answer. Any of its fields may be empty, also all of them: keep-alives and
// chunks that only carry bookkeeping are allowed.
type Delta struct {
	Text         string       // the next piece of the answer, valid UTF-8
	Reasoning    string       // the next piece of the model's reasoning, valid UTF-8
	FinishReason FinishReason // set once, when the model says that the answer is complete
	Usage        *Usage       // set at most once, at or after the finish reason
	Fallback     *Fallback    // set alone and before any text: somebody else answers
}

// Fallback tells that a provider failed before it sent any text, and who is asked instead.
type Fallback struct {
	Failed Source
	Err    error // why; for the operator
	Next   Source
}

// FinishReason tells how an answer ended.
type FinishReason string

// The finish reasons of the protocol. A Provider yields only the first three.
const (
	FinishStop          FinishReason = "stop"           // the model was done
	FinishLength        FinishReason = "length"         // the model reached its token limit
	FinishContentFilter FinishReason = "content_filter" // the model's filter cut the answer
	FinishStopped       FinishReason = "stopped"        // a client asked, or no client was left
	FinishBudget        FinishReason = "budget"         // the user's budget of tokens was used up
	FinishError         FinishReason = "error"
	FinishInterrupted   FinishReason = "interrupted" // the server died or was shut down
)

// Usage counts the tokens of one answer.
type Usage struct {
	InputTokens  int  `json:"input_tokens" doc:"Tokens of the instructions, the history and the question."`
	OutputTokens int  `json:"output_tokens" doc:"Tokens of the answer, reasoning included."`
	TotalTokens  int  `json:"total_tokens" doc:"Sum of both."`
	Estimated    bool `json:"estimated" doc:"True when the model did not report usage and the server estimated it from the length of the text."`
}

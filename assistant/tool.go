package assistant

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Tools is where tools come from. It is safe for concurrent use.
//
// assistanttest/tooltest.TestTools checks the contract for every implementation.
type Tools interface {
	// Tools returns what the model may call for p now. It answers within a second, from what it knows where its server
	// does not. With an error the list is what is known all the same; the error is for the operator.
	Tools(ctx context.Context, p Peer) ([]Tool, error)
	// Call makes one call of a tool that Tools has returned. It ends soon after ctx does. A fault of the tool is a
	// Result with IsError. An error says that it is not known whether the call was made, unless it is ErrNotCalled.
	Call(ctx context.Context, c Call) (Result, error)
}

// ErrNotCalled says that a call of a tool was not made and had no effect.
var ErrNotCalled = errors.New("the tool was not called")

// ErrToolsRequired says that a list lacks tools that the model must not answer without.
var ErrToolsRequired = errors.New("tools are required")

// Tool is something that a model may call.
type Tool struct {
	// Name is what the model calls it: 1 to 64 ASCII letters, digits, underscores and hyphens.
	Name string
	// Title is its name for people; "" = Name.
	Title string
	// Description tells the model what it does and when to call it.
	Description string
	// Parameters is the JSON Schema (2020-12) of an object: the arguments.
	Parameters json.RawMessage
	// Where it runs.
	Where Where
	// Approve says whether a person must agree to each call.
	Approve bool
	// Repeatable says that a call of which it is not known whether it was made may be made again: the tool only reads, or
	// the operator says so.
	Repeatable bool
	// Untrusted says that what it returns may be written by strangers.
	Untrusted bool
	// Server names where the tool comes from, such as the label of an MCP server. Tools of one server have one name.
	Server string
}

// ToolName returns text as a name of a tool, or as an id of a call, as services take it: its first 64 bytes, with an
// underscore for each that is no ASCII letter, digit, underscore or hyphen.
func ToolName(text string) string {
	name := []byte(text[:min(len(text), 64)])
	for i, c := range name {
		isLetter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '-'
		if !isLetter {
			name[i] = '_'
		}
	}
	return string(name)
}

// IsToolName reports whether text can be the name of a tool.
func IsToolName(text string) bool { return text != "" && ToolName(text) == text }

// Hash returns a hash of what a person who approves the tool goes by: its description and its parameters.
func (t Tool) Hash() string {
	hash := sha256.Sum256([]byte(t.Description + "\x00" + string(t.Parameters)))
	return hex.EncodeToString(hash[:])
}

// Where says where a tool runs.
type Where string

// The places.
const (
	WhereServer   Where = "server"   // in this process, or at a server that it asks
	WhereClient   Where = "client"   // in the page
	WhereProvider Where = "provider" // at the model's service
)

// Call is one call of a tool.
type Call struct {
	// ID is the call's own, and of no other call in the world: a service can recognize by it a call that comes twice.
	ID string
	// Name is the tool's.
	Name string
	// Arguments are an object within the tool's schema.
	Arguments json.RawMessage
	// Peer is for whom the call is made.
	Peer           Peer
	ConversationID string // "" = the connection's own
	MessageID      string // the answer's
	// Answers and State answer the Needs of an earlier result of this call; nil and "" at first.
	Answers json.RawMessage
	State   string
	// Progress may be called until the call has returned, as often as there is something to tell, also at once by several
	// goroutines. nil = nobody wants to know.
	Progress func(Progress)
}

// Progress is how far a call is that is being made.
type Progress struct {
	Done  float64 `json:"done" doc:"How much is done."`
	Total float64 `json:"total,omitzero" doc:"How much there is to do; absent = that is not known."`
	Text  string  `json:"text,omitempty" doc:"What is being done."`
}

// Result is what a tool returned.
type Result struct {
	// Text is what the model gets.
	Text string
	// Structured is the result as JSON; nil = there is none.
	Structured json.RawMessage
	// Sources are where it comes from.
	Sources []SourcePart
	// IsError says that the tool failed; Text says why.
	IsError bool
	// Needs says that the call cannot end before a person has answered; nil = it has ended.
	Needs *Needs
}

// Needs is what a call needs to know before it can end.
type Needs struct {
	Inputs []Input
	State  string // comes back with the answers
}

// Input is one thing that a tool asks a person.
type Input struct {
	ID      string          `json:"id" doc:"The id of the question within the call."`
	Message string          `json:"message" doc:"What the tool asks, as text."`
	Schema  json.RawMessage `json:"schema,omitempty" jsonType:"object" doc:"The JSON Schema of the answer: a flat object of strings, numbers, booleans and choices."`
	URL     string          `json:"url,omitempty" doc:"A page that the person is asked to open instead. It is never opened by itself."`
}

// InputAnswer is what a person says to an [Input].
type InputAnswer struct {
	Action  InputAction     `json:"action"`
	Content json.RawMessage `json:"content,omitempty" jsonType:"object" doc:"The answer, for accept: an object within the schema."`
}

// InputAction is how a person takes an [Input].
type InputAction string

// The actions, by their names in the Model Context Protocol.
const (
	InputAccept  InputAction = "accept"
	InputDecline InputAction = "decline"
	InputCancel  InputAction = "cancel" // decided nothing
)

// maxForModel is how much of a result a model gets, in bytes.
const maxForModel = 32 << 10

// ForModel returns the result as a model gets it: its middle is left out where it is long.
func (p ToolResultPart) ForModel() string {
	text := p.Content
	if len(text) <= maxForModel {
		return text
	}
	head, tail := strings.ToValidUTF8(text[:maxForModel/2], ""), strings.ToValidUTF8(text[len(text)-maxForModel/2:], "")
	return fmt.Sprintf("%s\n[… %d bytes left out …]\n%s", head, len(text)-len(head)-len(tail), tail)
}

// OutcomeUnknown is what a model is told of a call of which nobody knows whether it was made.
const OutcomeUnknown = "It is not known whether this was done."

// ArgumentsError says what is wrong with the arguments of a call.
type ArgumentsError struct {
	Path    []string // to what is wrong, from the arguments on
	Problem string
}

func (e *ArgumentsError) Error() string {
	if len(e.Path) == 0 {
		return e.Problem
	}
	return strings.Join(e.Path, ".") + " " + e.Problem
}

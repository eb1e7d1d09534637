package assistant

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// Event is something that happened in a conversation: a plain value, which can be kept, copied and sent to
// another process. It refers to nothing that lives.
type Event struct {
	// Seq numbers the events of a log from 1 on, without gaps. 0 marks an event that is not in the log and
	// is for one mouth alone, the one that From names.
	Seq uint64
	// Kind says what happened, and which Body or Text there is.
	Kind Kind
	// Run is the id of the answer that the event is about; "" where it is about the conversation.
	Run string
	// From is whose command the event answers; the zero key where it answers none, or where Run says whose.
	From RequestKey
	// Text is a piece of the answer or of the model's reasoning: of KindPiece and KindReasoning.
	Text string
	// Body is what else there is to say; nil for pieces.
	Body Body
}

// RequestKey names a command and the mouth that gave it. A mouth knows its own.
type RequestKey struct {
	Mouth uint64 // random, so that it differs between processes
	N     uint64 // counts the mouth's commands from 1 on
}

// String returns the key as text, "" for the zero key.
func (k RequestKey) String() string {
	if k == (RequestKey{}) {
		return ""
	}
	return strconv.FormatUint(k.Mouth, 16) + "-" + strconv.FormatUint(k.N, 16)
}

// MarshalText implements [encoding.TextMarshaler].
func (k RequestKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (k *RequestKey) UnmarshalText(text []byte) (err error) {
	*k = RequestKey{}
	if len(text) == 0 {
		return nil
	}
	mouth, n, _ := strings.Cut(string(text), "-")
	if k.Mouth, err = strconv.ParseUint(mouth, 16, 64); err == nil {
		k.N, err = strconv.ParseUint(n, 16, 64)
	}
	return err
}

// Kind says what happened.
type Kind uint8

// The kinds of events, each with its Body.
const (
	KindAsked      Kind = iota + 1 // Asked: a question was stored
	KindStarted                    // Started: its answer begins
	KindFellBack                   // Source: another model answers from now on
	KindReasoning                  // Text
	KindPiece                      // Text
	KindNotice                     // Notice
	KindFailed                     // Failed: the answer, or what was asked for, failed
	KindCompleted                  // Completed: the answer's end, once for each KindStarted
	KindRenamed                    // Renamed: the conversation's title changed
	KindReplaced                   // Replaced: what came before no longer holds
	KindDeleted                    // Deleted: the conversation is gone
	KindJoined                     // no Body, for one mouth alone: what it asked is being answered already, as Run
	KindToolCall                   // ToolCall: what is known of a call of a tool
	KindToolArgs                   // ToolArgs: a piece of the arguments of one that is being prepared
	KindToolResult                 // ToolResult: the end of a call
	KindPart                       // Added: a part of the answer that is none of the above, such as a source
)

// Body is what an [Event] says besides its text: [Asked], [Started], [Source], [Notice], [Failed],
// [Completed], [Renamed], [Replaced], [Deleted], [ToolCall], [ToolArgs], [ToolResult] or [Added].
type Body interface {
	// size is what the body holds in memory, in bytes.
	size() int
}

// Asked is the question of a turn.
type Asked struct {
	Message Message `json:"message"`
}

// Started says who answers.
type Started struct {
	Source Source    `json:"source"`
	At     time.Time `json:"at,omitzero"` // when the question and its answer were stored
	// ReasoningLive says that the model's reasoning is shown and not stored.
	ReasoningLive bool `json:"reasoning_live,omitzero"`
	// Resumed says that the answer has ended before, and goes on.
	Resumed bool `json:"resumed,omitzero"`
}

// ToolCall is what is known of a call of a tool. It replaces what was known of it.
type ToolCall struct {
	Call ToolCallPart `json:"call"`
	// GoesOn says that it was the last one to be decided: the answer goes on.
	GoesOn bool `json:"goes_on,omitzero"`
}

// ToolArgs is the next piece of the arguments of a call, which is JSON once it is whole.
type ToolArgs struct {
	CallID string `json:"call_id"`
	Piece  string `json:"piece"`
}

// ToolResult is what a tool returned, and how long that took.
type ToolResult struct {
	Result   ToolResultPart `json:"result"`
	Duration time.Duration  `json:"duration,omitzero"`
	// GoesOn is as in ToolCall, of a call that is denied.
	GoesOn bool `json:"goes_on,omitzero"`
}

// Added is a whole part of an answer, such as a source.
type Added struct {
	Part Part `json:"part"`
}

// UnmarshalJSON implements [json.Unmarshaler].
func (b *Added) UnmarshalJSON(data []byte) error {
	var raw struct{ Part json.RawMessage }
	err := json.Unmarshal(data, &raw)
	if err == nil {
		b.Part, err = decodePart(raw.Part)
	}
	return err
}

// Notice is worth knowing and needs no reaction.
type Notice struct {
	Reason NoticeReason `json:"reason"`
}

// NoticeReason is the stable code of a notice.
type NoticeReason string

// The reasons of notices.
const (
	NoticeQueued           NoticeReason = "queued"            // the question waits for an earlier one
	NoticeContextTrimmed   NoticeReason = "context_trimmed"   // the oldest turns were left out
	NoticeProviderFallback NoticeReason = "provider_fallback" // another model answers
	NoticeDraining         NoticeReason = "draining"          // the server stops: reconnect soon
	NoticeSuperseded       NoticeReason = "superseded"        // a later request with the same client_id gets the rest
	NoticeNothingToStop    NoticeReason = "nothing_to_stop"   // no such answer was running
	NoticeToolsUnavailable NoticeReason = "tools_unavailable" // some tools are missing: their server does not answer
	NoticeToolSteps        NoticeReason = "tool_steps"        // the answer may call no more tools
)

// Failed says why an answer, or a command, failed.
type Failed struct {
	Reason     Reason        `json:"reason"`
	RetryAfter time.Duration `json:"retry_after,omitzero"` // 0 = nothing is known
}

// Completed is how an answer ended.
type Completed struct {
	FinishReason FinishReason `json:"finish_reason"`
	Usage        *Usage       `json:"usage,omitempty"`
	At           time.Time    `json:"at,omitzero"`
}

// Renamed is the conversation with its new title.
type Renamed struct {
	Conversation Conversation `json:"conversation"`
}

// Replaced is the conversation after messages of it were dropped: From, the id of the first of them, and what is left.
type Replaced struct {
	From     string   `json:"from,omitempty"`
	Snapshot Snapshot `json:"snapshot,omitzero"`
}

// Deleted names the conversation that is gone.
type Deleted struct {
	ID string `json:"conversation_id"`
}

func (b Asked) size() int   { return b.Message.Size() }
func (b Started) size() int { return int(unsafe.Sizeof(b)-unsafe.Sizeof(b.Source)) + b.Source.size() }
func (b Notice) size() int  { return int(unsafe.Sizeof(b)) }
func (b Failed) size() int  { return int(unsafe.Sizeof(b)) }
func (b Renamed) size() int { return b.Conversation.size() }
func (b Deleted) size() int { return int(unsafe.Sizeof(b)) + len(b.ID) }
func (b ToolCall) size() int {
	return int(unsafe.Sizeof(b)-unsafe.Sizeof(b.Call)) + b.Call.size()
}
func (b ToolArgs) size() int { return int(unsafe.Sizeof(b)) + len(b.CallID) + len(b.Piece) }
func (b ToolResult) size() int {
	return int(unsafe.Sizeof(b)-unsafe.Sizeof(b.Result)) + b.Result.size()
}
func (b Added) size() int  { return int(unsafe.Sizeof(b)) + b.Part.size() }
func (s Source) size() int { return int(unsafe.Sizeof(s)) + len(s.Provider) + len(s.Model) }
func (b Completed) size() int {
	if b.Usage == nil {
		return int(unsafe.Sizeof(b))
	}
	return int(unsafe.Sizeof(b) + unsafe.Sizeof(*b.Usage))
}

func (b Replaced) size() int {
	s := b.Snapshot
	n := int(unsafe.Sizeof(b)) + len(b.From) + len(s.Conversation.ID) + len(s.Conversation.Title)
	for _, m := range s.Messages {
		n += m.Size()
	}
	if s.Running != nil {
		n += int(unsafe.Sizeof(*s.Running)) + len(s.Running.ID) + len(s.Running.Content) + len(s.Running.Reasoning) + s.Running.Parts.Size()
	}
	return n
}

func (c Conversation) size() int { return int(unsafe.Sizeof(c)) + len(c.ID) + len(c.Title) }

// Size is what the event holds in memory, in bytes: itself, its texts and its body. Texts that it shares,
// such as an answer's id, count for each event.
func (e Event) Size() int {
	n := int(unsafe.Sizeof(e)) + len(e.Run) + len(e.Text)
	if e.Body != nil {
		n += e.Body.size()
	}
	return n
}

// Continues reports whether e is more text of the same kind and answer as previous, so that one event can
// carry both.
func (e Event) Continues(previous Event) bool {
	return e.Kind == previous.Kind && e.Run == previous.Run && (e.Kind == KindPiece || e.Kind == KindReasoning)
}

// kindNames are the kinds in JSON.
var kindNames = [...]string{KindAsked: "asked", KindStarted: "started", KindFellBack: "fell_back", KindReasoning: "reasoning", KindPiece: "piece",
	KindNotice: "notice", KindFailed: "failed", KindCompleted: "completed", KindRenamed: "renamed", KindReplaced: "replaced", KindDeleted: "deleted", KindJoined: "joined",
	KindToolCall: "tool_call", KindToolArgs: "tool_args", KindToolResult: "tool_result", KindPart: "part"}

// String returns the kind's name in JSON.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// eventJSON is an event on its way to another process.
type eventJSON struct {
	Seq  uint64          `json:"seq,omitzero"`
	Kind string          `json:"kind"`
	Run  string          `json:"run,omitempty"`
	From RequestKey      `json:"from,omitzero"`
	Text string          `json:"text,omitempty"`
	Cuts []int           `json:"cuts,omitempty"` // of several pieces in a Batch
	Body json.RawMessage `json:"body,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (e Event) MarshalJSON() (data []byte, err error) { return e.marshal(nil) }

func (e Event) marshal(cuts []int) (data []byte, err error) {
	j := eventJSON{Seq: e.Seq, Kind: e.Kind.String(), Run: e.Run, From: e.From, Text: e.Text, Cuts: cuts}
	if e.Body != nil {
		if j.Body, err = json.Marshal(e.Body); err != nil {
			return nil, err
		}
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements [json.Unmarshaler]. An unknown kind is an error.
func (e *Event) UnmarshalJSON(data []byte) error {
	_, err := e.unmarshal(data)
	return err
}

func (e *Event) unmarshal(data []byte) (cuts []int, err error) {
	var j eventJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, err
	}
	*e = Event{Seq: j.Seq, Run: j.Run, From: j.From, Text: j.Text}
	for kind, name := range kindNames {
		if name != "" && name == j.Kind {
			e.Kind = Kind(kind)
		}
	}
	switch e.Kind {
	case KindReasoning, KindPiece, KindJoined:
	case KindAsked:
		e.Body, err = decodeBody[Asked](j.Body)
	case KindStarted:
		e.Body, err = decodeBody[Started](j.Body)
	case KindFellBack:
		e.Body, err = decodeBody[Source](j.Body)
	case KindNotice:
		e.Body, err = decodeBody[Notice](j.Body)
	case KindFailed:
		e.Body, err = decodeBody[Failed](j.Body)
	case KindCompleted:
		e.Body, err = decodeBody[Completed](j.Body)
	case KindRenamed:
		e.Body, err = decodeBody[Renamed](j.Body)
	case KindToolCall:
		e.Body, err = decodeBody[ToolCall](j.Body)
	case KindToolArgs:
		e.Body, err = decodeBody[ToolArgs](j.Body)
	case KindToolResult:
		e.Body, err = decodeBody[ToolResult](j.Body)
	case KindPart:
		e.Body, err = decodeBody[Added](j.Body)
	case KindReplaced:
		e.Body, err = decodeBody[Replaced](j.Body)
	case KindDeleted:
		e.Body, err = decodeBody[Deleted](j.Body)
	default:
		return nil, fmt.Errorf("unknown kind of event %q", j.Kind)
	}
	return j.Cuts, err
}

func decodeBody[B Body](data []byte) (Body, error) {
	var b B
	err := json.Unmarshal(data, &b)
	return b, err
}

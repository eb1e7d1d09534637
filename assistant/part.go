package assistant

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// Part is one piece of what a [Message] consists of. The set is closed: [TextPart], [ReasoningPart],
// [ImagePart], [FilePart], [SourcePart], [ToolCallPart] and [ToolResultPart]. Parts are values; nothing
// changes one that a message holds.
type Part interface {
	// Type is the part's name on the wire and in stores, such as "text".
	Type() string
	// size is what the part holds in memory, in bytes.
	size() int
}

// TextPart is text that is shown.
type TextPart struct {
	Text string `json:"text" doc:"The text."`
}

// ReasoningPart is what a model said to itself.
type ReasoningPart struct {
	Text string `json:"text" doc:"The model's reasoning."`
}

// ImagePart refers to a stored image.
type ImagePart struct {
	FileID    string `json:"file_id" format:"uuid" doc:"Id of the stored file."`
	MediaType string `json:"media_type" doc:"The image's media type, such as image/png."`
	Name      string `json:"name,omitempty" doc:"The file's name."`
	Size      int64  `json:"size" doc:"Size in bytes."`
	Width     int    `json:"width" doc:"Width in pixels."`
	Height    int    `json:"height" doc:"Height in pixels."`
}

// FilePart refers to a stored file that is no image.
type FilePart struct {
	FileID    string `json:"file_id" format:"uuid" doc:"Id of the stored file."`
	MediaType string `json:"media_type" doc:"The file's media type, such as application/pdf."`
	Name      string `json:"name" doc:"The file's name."`
	Size      int64  `json:"size" doc:"Size in bytes."`
	Pages     int    `json:"pages,omitzero" doc:"Pages of a PDF, counted roughly."`
}

// SourcePart is a citation: where a passage of the text comes from.
type SourcePart struct {
	SourceID string `json:"source_id" doc:"The citation's id within the message."`
	URL      string `json:"url,omitempty" doc:"The cited page."`
	FileID   string `json:"file_id,omitempty" doc:"The cited file."`
	Title    string `json:"title,omitempty" doc:"The title of what is cited."`
	Start    int    `json:"start,omitzero" doc:"Where the passage begins in content, in code points."`
	End      int    `json:"end,omitzero" doc:"Where the passage ends in content, in code points."`
}

// ToolCallPart is a model's call of a tool.
type ToolCallPart struct {
	CallID     string          `json:"call_id" doc:"The call's id."`
	Name       string          `json:"name" doc:"The tool's name."`
	Title      string          `json:"title,omitempty" doc:"The tool's name for people."`
	Arguments  json.RawMessage `json:"arguments" jsonType:"object" doc:"The tool's arguments."`
	Where      Where           `json:"where"`
	State      CallState       `json:"state"`
	WaitingFor WaitingFor      `json:"waiting_for,omitempty"`
	ExpiresAt  time.Time       `json:"expires_at,omitzero" doc:"UTC; when a call that waits is denied."`
	// MayRemember says that the approval may be for the whole conversation.
	MayRemember bool    `json:"may_remember,omitzero" doc:"True when the approval of a call that waits may be for the whole conversation."`
	Inputs      []Input `json:"inputs,omitempty" doc:"What a call that waits for input asks."`
	// Progress is how far a call is that is being made, as far as its tool tells.
	Progress *Progress `json:"progress,omitempty"`
	Edited   bool      `json:"edited,omitzero" doc:"True when a person has changed the arguments."`
	Remember bool      `json:"remember,omitzero" doc:"True when a person has approved the tool for the whole conversation."`
}

// Settled returns the call in a state in which it does not wait.
func (p ToolCallPart) Settled(state CallState) ToolCallPart {
	p.State, p.WaitingFor, p.ExpiresAt, p.MayRemember, p.Inputs, p.Progress = state, "", time.Time{}, false, nil, nil
	return p
}

// WaitingFor says what a call waits for; "" = it does not wait.
type WaitingFor string

// What calls wait for.
const (
	WaitingForApproval WaitingFor = "approval"
	WaitingForClient   WaitingFor = "client" // a tool of the page returns
	WaitingForInput    WaitingFor = "input"  // a person answers what the tool asks
)

// CallState says how far a call of a tool is.
type CallState string

// The states of calls. In a store, CallRunning is what came after it was decided that the call is made, and before its
// end was known.
const (
	CallPreparing CallState = "preparing" // the model still writes the arguments; never stored
	CallWaiting   CallState = "waiting"   // for a person
	CallRunning   CallState = "running"
	CallDone      CallState = "done"
	CallFailed    CallState = "failed"
	CallDenied    CallState = "denied"
	CallUnknown   CallState = "unknown" // it is not known whether the call was made
)

// ToolResultPart is what a tool returned.
type ToolResultPart struct {
	CallID     string          `json:"call_id" doc:"The call's id."`
	Content    string          `json:"content" doc:"The result as text."`
	Structured json.RawMessage `json:"structured,omitempty" doc:"The result as JSON."`
	IsError    bool            `json:"is_error" doc:"True when the tool failed."`
	Truncated  bool            `json:"truncated,omitzero" doc:"True when the result was too long to be kept whole."`
	Files      FileParts       `json:"files,omitempty" doc:"Images and files that the tool made."`
}

// Type returns "text".
func (TextPart) Type() string { return "text" }

// Type returns "reasoning".
func (ReasoningPart) Type() string { return "reasoning" }

// Type returns "image".
func (ImagePart) Type() string { return "image" }

// Type returns "file".
func (FilePart) Type() string { return "file" }

// Type returns "source".
func (SourcePart) Type() string { return "source" }

// Type returns "tool_call".
func (ToolCallPart) Type() string { return "tool_call" }

// Type returns "tool_result".
func (ToolResultPart) Type() string { return "tool_result" }

func (p TextPart) size() int      { return int(unsafe.Sizeof(p)) + len(p.Text) }
func (p ReasoningPart) size() int { return int(unsafe.Sizeof(p)) + len(p.Text) }
func (p ImagePart) size() int {
	return int(unsafe.Sizeof(p)) + len(p.FileID) + len(p.MediaType) + len(p.Name)
}

func (p FilePart) size() int {
	return int(unsafe.Sizeof(p)) + len(p.FileID) + len(p.MediaType) + len(p.Name)
}

func (p SourcePart) size() int {
	return int(unsafe.Sizeof(p)) + len(p.SourceID) + len(p.URL) + len(p.FileID) + len(p.Title)
}

func (p ToolCallPart) size() int {
	return int(unsafe.Sizeof(p)) + len(p.CallID) + len(p.Name) + len(p.Title) + len(p.Arguments) + len(p.Where) + len(p.State) + len(p.WaitingFor) + sizeOfInputs(p.Inputs) + p.Progress.size()
}

func (p *Progress) size() int {
	if p == nil {
		return 0
	}
	return int(unsafe.Sizeof(*p)) + len(p.Text)
}

func sizeOfInputs(inputs []Input) (n int) {
	for _, in := range inputs {
		n += int(unsafe.Sizeof(in)) + len(in.ID) + len(in.Message) + len(in.Schema) + len(in.URL)
	}
	return n
}

func (p ToolResultPart) size() int {
	return int(unsafe.Sizeof(p)) + len(p.CallID) + len(p.Content) + len(p.Structured) + Parts(p.Files).Size()
}

// MarshalJSON writes the type first.
func (p TextPart) MarshalJSON() ([]byte, error) {
	type fields TextPart
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{p.Type(), fields(p)})
}

// MarshalJSON writes the type first.
func (p ReasoningPart) MarshalJSON() ([]byte, error) {
	type fields ReasoningPart
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{p.Type(), fields(p)})
}

// MarshalJSON writes the type first.
func (p ImagePart) MarshalJSON() ([]byte, error) {
	type fields ImagePart
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{p.Type(), fields(p)})
}

// MarshalJSON writes the type first.
func (p FilePart) MarshalJSON() ([]byte, error) {
	type fields FilePart
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{p.Type(), fields(p)})
}

// MarshalJSON writes the type first.
func (p SourcePart) MarshalJSON() ([]byte, error) {
	type fields SourcePart
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{p.Type(), fields(p)})
}

// MarshalJSON writes the type first.
func (p ToolCallPart) MarshalJSON() ([]byte, error) {
	type fields ToolCallPart
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{p.Type(), fields(p)})
}

// MarshalJSON writes the type first.
func (p ToolResultPart) MarshalJSON() ([]byte, error) {
	type fields ToolResultPart
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{p.Type(), fields(p)})
}

// Parts is a list of parts. Its JSON is an array of objects, each with its type first.
type Parts []Part

// Text joins the text parts.
func (ps Parts) Text() string {
	return ps.join(func(p Part) (text string, ok bool) { t, ok := p.(TextPart); return t.Text, ok })
}

// Reasoning joins the reasoning parts.
func (ps Parts) Reasoning() string {
	return ps.join(func(p Part) (text string, ok bool) { r, ok := p.(ReasoningPart); return r.Text, ok })
}

// join concatenates what of returns. The text of a single part is not copied.
func (ps Parts) join(of func(Part) (string, bool)) string {
	var texts []string
	for _, p := range ps {
		if text, ok := of(p); ok {
			texts = append(texts, text)
		}
	}
	if len(texts) == 1 {
		return texts[0]
	}
	return strings.Join(texts, "")
}

// With returns the parts with one more. A call, or a result, takes the place of what was known of it.
func (ps Parts) With(p Part) Parts {
	if i := slices.IndexFunc(ps, func(was Part) bool { return Replaces(p, was) }); i >= 0 {
		ps = slices.Clone(ps)
		ps[i] = p
		return ps
	}
	return append(slices.Clip(ps), p)
}

// Replaces reports whether a part says anew what another one has said: of the same call, or of its result.
func Replaces(p, was Part) bool {
	switch p := p.(type) {
	case ToolCallPart:
		was, ok := was.(ToolCallPart)
		return ok && was.CallID == p.CallID
	case ToolResultPart:
		was, ok := was.(ToolResultPart)
		return ok && was.CallID == p.CallID
	}
	return false
}

// Preparing returns where a call is being prepared that a part says more of, -1 where none is.
func (ps Parts) Preparing(p Part) int {
	call, ok := p.(ToolCallPart)
	if !ok || call.State == CallPreparing {
		return -1
	}
	return slices.IndexFunc(ps, func(was Part) bool {
		c, ok := was.(ToolCallPart)
		return ok && c.CallID == call.CallID && c.State == CallPreparing
	})
}

// CallIndex returns where the call of that id is, -1 when it is not there.
func (ps Parts) CallIndex(id string) int {
	return slices.IndexFunc(ps, func(p Part) bool { c, ok := p.(ToolCallPart); return ok && c.CallID == id })
}

// Files returns the images and files, without those that tools have made.
func (ps Parts) Files() (files Parts) {
	for _, p := range ps {
		if _, isFile := FileOf(p); isFile {
			files = append(files, p)
		}
	}
	return files
}

// FileIDs returns the ids of Files.
func (ps Parts) FileIDs() (ids []string) {
	for _, p := range ps {
		if f, isFile := FileOf(p); isFile {
			ids = append(ids, f.ID)
		}
	}
	return ids
}

// IsText reports whether the file is text, which models get as such.
func (p FilePart) IsText() bool {
	return strings.HasPrefix(p.MediaType, "text/") || p.MediaType == "application/json"
}

// Mention is what a model gets of an image or a file whose bytes it does not get, "" of any other part.
func Mention(p Part) string {
	switch f, isFile := FileOf(p); {
	case !isFile:
		return ""
	case f.Name == "":
		return "[" + p.Type() + "]"
	default:
		return "[" + p.Type() + ": " + f.Name + "]"
	}
}

// Content is a kind of what models take.
type Content string

// The kinds. Every model takes text.
const (
	ContentText  Content = "text"
	ContentImage Content = "image"
	ContentPDF   Content = "pdf"
)

// ContentOf returns what a model must take to get the part.
func ContentOf(p Part) Content {
	switch p := p.(type) {
	case ImagePart:
		return ContentImage
	case FilePart:
		if !p.IsText() {
			return ContentPDF
		}
	}
	return ContentText
}

// Calls returns the calls in a state.
func (ps Parts) Calls(state CallState) (calls []ToolCallPart) {
	for _, p := range ps {
		if c, ok := p.(ToolCallPart); ok && c.State == state {
			calls = append(calls, c)
		}
	}
	return calls
}

// Result returns the result of the call of that id; ok is false where there is none.
func (ps Parts) Result(id string) (r ToolResultPart, ok bool) {
	for _, p := range ps {
		if r, ok = p.(ToolResultPart); ok && r.CallID == id {
			return r, true
		}
	}
	return r, false
}

// HasCalls reports whether the parts are more than text and reasoning.
func (ps Parts) HasCalls() bool {
	return slices.ContainsFunc(ps, func(p Part) bool { _, ok := p.(ToolCallPart); return ok })
}

// Undecided is what a model is told of a call that waited for a person when its answer was cut.
const Undecided = "This was not called: the answer ended before anybody had decided."

// Cut returns the parts of an answer that has ended: a call that was being prepared is none, of one that was running it is
// not known whether it was made, and one that waited is denied.
func (ps Parts) Cut() (cut Parts) {
	if !ps.HasCalls() {
		return ps
	}
	var undecided Parts
	for _, p := range ps {
		if c, ok := p.(ToolCallPart); ok {
			if c.State == CallPreparing {
				continue
			}
			switch c.State {
			case CallRunning:
				c = c.Settled(CallUnknown)
			case CallWaiting:
				c = c.Settled(CallDenied)
				undecided = append(undecided, ToolResultPart{CallID: c.CallID, Content: Undecided, IsError: true})
			}
			p = c
		}
		cut = append(cut, p)
	}
	return append(cut, undecided...)
}

// Size is what the parts hold in memory, in bytes.
func (ps Parts) Size() (n int) {
	for _, p := range ps {
		n += int(unsafe.Sizeof(p)) + p.size()
	}
	return n
}

// Variants lists the types of parts and the JSON member that names them, for documents and decoders.
func (Parts) Variants() (tag string, variants []any) {
	return "type", []any{TextPart{}, ReasoningPart{}, ImagePart{}, FilePart{}, SourcePart{}, ToolCallPart{}, ToolResultPart{}}
}

// UnmarshalJSON implements [json.Unmarshaler]. An unknown type is an error.
func (ps *Parts) UnmarshalJSON(data []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	*ps = nil
	for _, r := range raw {
		p, err := decodePart(r)
		if err != nil {
			return err
		}
		*ps = append(*ps, p)
	}
	return nil
}

// FileParts is a list of parts that are an [ImagePart] or a [FilePart].
type FileParts []Part

// Variants lists the types of parts, as [Parts.Variants] does.
func (FileParts) Variants() (tag string, variants []any) {
	return "type", []any{ImagePart{}, FilePart{}}
}

// UnmarshalJSON implements [json.Unmarshaler].
func (ps *FileParts) UnmarshalJSON(data []byte) error { return (*Parts)(ps).UnmarshalJSON(data) }

func decodePart(data []byte) (Part, error) {
	var tag struct{ Type string }
	if err := json.Unmarshal(data, &tag); err != nil {
		return nil, err
	}
	switch tag.Type {
	case "text":
		return decodeAs[TextPart](data)
	case "reasoning":
		return decodeAs[ReasoningPart](data)
	case "image":
		return decodeAs[ImagePart](data)
	case "file":
		return decodeAs[FilePart](data)
	case "source":
		return decodeAs[SourcePart](data)
	case "tool_call":
		return decodeAs[ToolCallPart](data)
	case "tool_result":
		return decodeAs[ToolResultPart](data)
	default:
		return nil, fmt.Errorf("unknown part type %q", tag.Type)
	}
}

func decodeAs[P Part](data []byte) (Part, error) {
	var p P
	err := json.Unmarshal(data, &p)
	return p, err
}

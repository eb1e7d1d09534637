package answer

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/sse"
)

// chunk is a chunk of chat completions, with the fields that are used here; also a whole completion.
type chunk struct {
	Choices list[choice] `json:"choices"`
	Usage   member       `json:"usage"`
	Groq    object[struct {
		Usage member `json:"usage"`
		Error member `json:"error"`
	}] `json:"x_groq"`
	Error member `json:"error"`
}

type choice struct {
	Index        number          `json:"index"`
	Delta        object[message] `json:"delta"`
	Message      object[message] `json:"message"` // of a whole completion, also as the last chunk
	Text         member          `json:"text"`    // of completions that are no chat
	FinishReason member          `json:"finish_reason"`
	Usage        member          `json:"usage"` // Moonshot
	Error        member          `json:"error"` // OpenRouter
}

type message struct {
	Content          member `json:"content"`
	Refusal          member `json:"refusal"`
	ReasoningContent member `json:"reasoning_content"` // DeepSeek, llama.cpp, vLLM
	Reasoning        member `json:"reasoning"`         // Ollama, OpenRouter, newer vLLM
	ToolCalls        member `json:"tool_calls"`
	FunctionCall     member `json:"function_call"`
	Usage            member `json:"usage"`
}

// chat is the translator of chat completions. The finish reason and the usage come in any order.
type chat struct {
	progress
	chunk chunk            // the last one that was decoded; its memory is reused
	usual choice           // the last one that was scanned
	open  map[int]openCall // calls, by the index that the service gives
	begun int              // calls so far
}

// Chat returns a translator of chat completions. With thinkTags, what stands between <think> and </think> at the
// start of the text is reasoning. tools says that the model may call some.
func Chat(thinkTags, tools bool) Translator { return &chat{progress: newProgress(thinkTags, tools)} }

func (t *chat) Translate(e sse.Event) (assistant.Delta, error) {
	if t.done {
		return assistant.Delta{}, nil
	}
	if isEndMarker(e.Data) {
		t.done = true
		return assistant.Delta{}, nil
	}
	if t.usual.scan(e.Data) && string(e.Name) != "error" {
		return t.choice(&t.usual)
	}
	return t.decode(e)
}

// decode translates any event.
func (t *chat) decode(e sse.Event) (assistant.Delta, error) {
	t.chunk = chunk{Choices: t.chunk.Choices[:0], Usage: t.chunk.Usage, Error: t.chunk.Error}
	t.chunk.Usage.Value, t.chunk.Error.Value = t.chunk.Usage.Value[:0], t.chunk.Error.Value[:0]
	if err := json.Unmarshal(asObject(e.Data), &t.chunk, lenient); err != nil {
		return assistant.Delta{}, t.undecoded(e, "chunk", err)
	}
	t.count(t.chunk.Usage.Value, t.chunk.Groq.V.Usage.Value)
	if err := t.fault(e); err != nil {
		return assistant.Delta{}, err
	}
	var delta assistant.Delta
	for i := range t.chunk.Choices {
		if c := &t.chunk.Choices[i].V; c.Index == 0 {
			d, err := t.choice(c)
			if err != nil {
				return assistant.Delta{}, err
			}
			delta.Text, delta.Reasoning, delta.Calls = delta.Text+d.Text, delta.Reasoning+d.Reasoning, d.Calls
		}
	}
	return delta, nil
}

// fault returns the error that an event reports, if it is one.
func (t *chat) fault(e sse.Event) error {
	if f := faultOf(t.chunk.Error.Value); f != nil {
		return faultIn(string(e.Name), e.Data) // which also reads what stands around it
	}
	if f := faultOf(t.chunk.Groq.V.Error.Value); f != nil {
		return f
	}
	if len(t.chunk.Choices) > 0 && string(e.Name) != "error" {
		return nil
	}
	if f := faultIn(string(e.Name), e.Data); f != nil {
		return f
	}
	if !given(t.chunk.Usage.Value) {
		t.ignore(e.Data)
	}
	return nil
}

func (t *chat) choice(c *choice) (assistant.Delta, error) {
	if f := faultOf(c.Error.Value); f != nil {
		return assistant.Delta{}, f
	}
	t.count(c.Usage.Value, c.Delta.V.Usage.Value, c.Message.V.Usage.Value)
	text, reasoning := t.message(&c.Delta.V)
	whole := false
	if text == "" && reasoning == "" && t.pieces == 0 {
		text, reasoning = t.message(&c.Message.V)
		whole = text != ""
	}
	if text == "" {
		text = t.textOf(c.Text.Value)
	}
	before := t.pieces
	delta, err := t.add(text, reasoning)
	pieces := t.pieces - before
	reason := ""
	if c.FinishReason.Kind() == '"' {
		reason = plain(c.FinishReason.Value)
	}
	if whole { // nothing follows
		pieces = 0
		if endingOf(reason) == endNone {
			reason = "stop"
		}
	}
	t.finish(reason, pieces)
	if err == nil && t.tools {
		calls := append(t.callPieces(c.Delta.V.ToolCalls.Value), t.callPieces(c.Message.V.ToolCalls.Value)...)
		err = t.addCalls(&delta, calls)
	}
	return delta, err
}

// toolCall is a piece of a call, or a whole one.
type toolCall struct {
	Index    number `json:"index"`
	ID       member `json:"id"`
	Function object[struct {
		Name      member `json:"name"`
		Arguments member `json:"arguments"`
	}] `json:"function"`
}

// callPieces reads the pieces of calls in a message. Where they have no index, each is a call of its own.
func (t *chat) callPieces(calls jsontext.Value) (pieces []assistant.CallPiece) {
	if !given(calls) {
		return nil
	}
	var list list[toolCall]
	if err := json.Unmarshal(calls, &list, lenient); err != nil {
		return nil
	}
	for i := range list {
		c := &list[i].V
		p := assistant.CallPiece{Index: int(c.Index), ID: strings.Clone(plain(c.ID.Value)), Name: strings.Clone(plain(c.Function.V.Name.Value))}
		switch arguments := c.Function.V.Arguments.Value; {
		case arguments.Kind() == '"':
			p.Arguments = strings.Clone(plain(arguments))
		case given(arguments): // an object, of some servers
			p.Arguments = string(arguments)
		}
		pieces = append(pieces, t.place(p))
	}
	return pieces
}

// place gives a piece the index of its call. Some servers give each call the index 0, with another id or at least a name.
func (t *chat) place(p assistant.CallPiece) assistant.CallPiece {
	at, isOpen := t.open[p.Index]
	if !isOpen || p.Name != "" && (p.ID == "" || p.ID != at.id) {
		if t.open == nil {
			t.open = make(map[int]openCall)
		}
		at = openCall{t.begun, p.ID}
		t.begun++
		t.open[p.Index] = at
	} else {
		p.Name = ""
	}
	p.Index = at.index
	return p
}

// openCall is a call whose pieces come.
type openCall struct {
	index int
	id    string
}

// message returns the text and the reasoning of a message or of a piece of one.
func (t *chat) message(m *message) (text, reasoning string) {
	t.called = t.called || given(m.ToolCalls.Value) || given(m.FunctionCall.Value)
	text, reasoning = t.content(m.Content.Value)
	refusal := t.textOf(m.Refusal.Value)
	t.refused = t.refused || refusal != ""
	if given(m.ReasoningContent.Value) || len(m.Reasoning.Value) == 0 { // some send the same under both names
		m.Reasoning = m.ReasoningContent
	}
	if thought := t.reasoningOf(m.Reasoning.Value); thought != "" {
		reasoning = thought
	}
	return text + refusal, reasoning
}

// undecoded returns the error for an event whose data is no JSON object; of an error it is the message. JSON of another
// kind is no part of an answer, and passed over.
func (p *progress) undecoded(e sse.Event, what string, err error) error {
	switch f := faultIn(string(e.Name), e.Data); {
	case f != nil:
		return f
	case jsontext.Value(e.Data).IsValid(lenient):
		p.ignore(e.Data)
		return nil
	default:
		return fmt.Errorf("decode %s: %w", what, err)
	}
}

// isEndMarker reports whether data is [DONE].
func isEndMarker(data []byte) bool { return len(data) < 10 && bytes.EqualFold(data, []byte("[DONE]")) }

// asObject returns the object in a list of one, as Google writes errors, and any other data as it is.
func asObject(data []byte) []byte {
	if len(data) > 1 && data[0] == '[' && data[len(data)-1] == ']' {
		if inside := bytes.TrimSpace(data[1 : len(data)-1]); len(inside) > 0 && inside[0] == '{' {
			return inside
		}
	}
	return data
}

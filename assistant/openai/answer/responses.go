package answer

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/sse"
)

// event is an event of the Responses API, with the fields that are used here.
type event struct {
	Type     member           `json:"type"`
	Object   member           `json:"object"` // of a response that is no event
	Delta    member           `json:"delta"`
	Error    member           `json:"error"`
	Item     object[item]     `json:"item"`
	Note     object[note]     `json:"annotation"`
	Response object[response] `json:"response"`
}

type response struct {
	Status     jsontext.Value `json:"status"`
	Error      jsontext.Value `json:"error"`
	Incomplete object[struct {
		Reason jsontext.Value `json:"reason"`
	}] `json:"incomplete_details"`
	Output list[item]     `json:"output"`
	Usage  jsontext.Value `json:"usage"`
}

// item is an item of a response's output: a message, reasoning, or a call.
type item struct {
	Type    jsontext.Value `json:"type"`
	Content jsontext.Value `json:"content"`
	Summary jsontext.Value `json:"summary"`

	// of a call
	CallID    jsontext.Value `json:"call_id"`
	Name      jsontext.Value `json:"name"`
	Arguments jsontext.Value `json:"arguments"`

	// of a call that the service makes itself
	Status  jsontext.Value `json:"status"`
	Action  jsontext.Value `json:"action"`
	Queries jsontext.Value `json:"queries"`
	Code    jsontext.Value `json:"code"`
	Runs    jsontext.Value `json:"container_id"`
	Outputs list[struct {
		Logs jsontext.Value `json:"logs"`
	}] `json:"outputs"`

	// of reasoning
	ID        jsontext.Value `json:"id"`
	Encrypted jsontext.Value `json:"encrypted_content"`
}

// isCall reports whether the item is a call that somebody has to answer; a web_search_call is the service's own.
func (i item) isCall() bool {
	kind := plain(i.Type)
	return kind == "function_call" || kind == "custom_tool_call"
}

// responses is the translator of the Responses API. Only a whole response completes an answer. Events after it are
// ignored.
type responses struct {
	progress
	event event           // the last one
	parts int             // of the reasoning's summary
	begun map[string]bool // ids of calls
	hosted
}

// Responses returns a translator of the Responses API. With thinkTags, what stands between <think> and </think> at the
// start of the text is reasoning. tools says that the model may call some, and ofService that the service has tools of its own.
func Responses(thinkTags, tools, ofService bool) Translator {
	return &responses{progress: newProgress(thinkTags, tools), hosted: hosted{isHosted: ofService}}
}

func (t *responses) Translate(e sse.Event) (assistant.Delta, error) {
	if t.done || isEndMarker(e.Data) { // which some servers send out of habit
		return assistant.Delta{}, nil
	}
	if kind, delta := scanDelta(e.Data); delta != nil && kind != nil {
		switch string(kind) {
		case `"response.output_text.delta"`:
			return t.addText(delta)
		case `"response.reasoning_summary_text.delta"`, `"response.reasoning_text.delta"`:
			return t.add("", t.reasoningOf(delta))
		}
	}
	return t.decode(e)
}

// decode translates any event.
func (t *responses) decode(e sse.Event) (assistant.Delta, error) {
	t.event = event{Type: t.event.Type, Delta: t.event.Delta}
	t.event.Type.Value, t.event.Delta.Value = t.event.Type.Value[:0], t.event.Delta.Value[:0]
	if err := json.Unmarshal(asObject(e.Data), &t.event, lenient); err != nil {
		return assistant.Delta{}, t.undecoded(e, "event", err)
	}
	switch kind := plain(t.event.Type.Value); kind {
	case "response.output_text.delta":
		return t.addText(t.event.Delta.Value)
	case "response.content_part.added":
		t.base = t.runes
		return assistant.Delta{}, nil
	case "response.output_text.annotation.added":
		return t.source(&t.event.Note.V), nil
	case "response.refusal.delta":
		t.refused = true
		return t.add(t.textOf(t.event.Delta.Value), "")
	case "response.reasoning_summary_text.delta", "response.reasoning_text.delta":
		return t.add("", t.reasoningOf(t.event.Delta.Value))
	case "response.reasoning_summary_part.added":
		return t.nextPart()
	case "response.output_item.added":
		t.called = t.called || t.event.Item.V.isCall()
		return t.serviceCall(&t.event.Item.V, false), nil
	case "response.output_item.done":
		t.called = t.called || t.event.Item.V.isCall()
		if h := t.hidden(&t.event.Item.V); h != nil {
			return assistant.Delta{Hidden: h}, nil
		}
		if d := t.serviceCall(&t.event.Item.V, true); d.Parts != nil {
			return d, nil
		}
		return t.whole(&t.event.Item.V)
	case "response.completed", "response.done", "response.incomplete", "response.failed", "response.cancelled":
		return t.end(&t.event.Response.V, strings.TrimPrefix(kind, "response."))
	default:
		return t.other(e, kind)
	}
}

// other reads an event that is none of the above: a response that is no event, an error in any shape, or nothing.
func (t *responses) other(e sse.Event, kind string) (assistant.Delta, error) {
	if kind == "" && plain(t.event.Object.Value) == "response" {
		var r response
		if err := json.Unmarshal(asObject(e.Data), &r, lenient); err != nil {
			return assistant.Delta{}, fmt.Errorf("decode response: %w", err)
		}
		return t.end(&r, "")
	}
	if f := faultIn(string(e.Name), e.Data); f != nil {
		return assistant.Delta{}, f
	}
	if !strings.HasPrefix(kind, "response.") {
		t.ignore(e.Data)
	}
	return assistant.Delta{}, nil
}

// maxHidden is the longest reasoning that is sent back, in bytes.
const maxHidden = 256 << 10

// hidden returns reasoning that the model wants to get back when it goes on after calls; nil where the item is none.
func (t *responses) hidden(it *item) *assistant.Hidden {
	if !t.tools || plain(it.Type) != "reasoning" || it.Encrypted.Kind() != '"' || len(it.Encrypted)+len(it.Summary) > maxHidden {
		return nil
	}
	summary := it.Summary
	if summary.Kind() != '[' {
		summary = jsontext.Value("[]")
	}
	back, err := json.Marshal(struct {
		Type      string         `json:"type"`
		ID        string         `json:"id"`
		Summary   jsontext.Value `json:"summary"`
		Encrypted jsontext.Value `json:"encrypted_content"`
	}{"reasoning", plain(it.ID), summary, it.Encrypted})
	if err != nil {
		return nil
	}
	return &assistant.Hidden{Item: back}
}

// whole returns a call that is whole, once.
func (t *responses) whole(it *item) (d assistant.Delta, err error) {
	id := strings.Clone(plain(it.CallID))
	if !it.isCall() || plain(it.Type) != "function_call" || t.begun[id] {
		return d, nil
	}
	if t.begun == nil {
		t.begun = make(map[string]bool)
	}
	t.begun[id] = true
	err = t.addCalls(&d, []assistant.CallPiece{{Index: len(t.begun), ID: id, Name: strings.Clone(plain(it.Name)), Arguments: strings.Clone(plain(it.Arguments))}})
	return d, err
}

// nextPart separates the parts of the reasoning's summary. Each part is one or more paragraphs.
func (t *responses) nextPart() (assistant.Delta, error) {
	if t.parts++; t.parts == 1 {
		return assistant.Delta{}, nil
	}
	return t.add("", "\n\n")
}

// end takes the whole response. Its status says how the answer ended, whatever the event's name is; told stands for
// a status that is absent.
func (t *responses) end(r *response, told string) (delta assistant.Delta, err error) {
	t.count(r.Usage)
	switch status := cmp.Or(firstOf(r.Status), told); status {
	case "failed", "cancelled", "canceled":
		return delta, t.failed(r, status)
	case "incomplete":
		reason := firstOf(r.Incomplete.V.Reason)
		switch e := endingOf(reason); e {
		case endLength, endFilter:
			t.ending = e
		case endNone: // not told; a filter says so
			t.ending = endLength
		default:
			return delta, fmt.Errorf("incomplete for reason %q", cut(reason))
		}
	default:
		if f := faultOf(r.Error); f != nil {
			return delta, f
		}
		t.ending = endStop
	}
	delta, err = t.output(r)
	t.done = err == nil
	return delta, err
}

func (t *responses) failed(r *response, status string) error {
	for _, value := range []jsontext.Value{r.Error, t.event.Error.Value} {
		if f := faultOf(value); f != nil {
			return f
		}
	}
	return fmt.Errorf("response %s without an error", cut(status))
}

// output returns what a response contains, if nothing of it has come before: some servers send no pieces.
func (t *responses) output(r *response) (assistant.Delta, error) {
	before := t.pieces
	var text, reasoning string
	var calls []assistant.CallPiece
	for i := range r.Output {
		it := &r.Output[i].V
		t.called = t.called || it.isCall()
		if d, err := t.whole(it); err != nil {
			return d, err
		} else if d.Calls != nil {
			calls = append(calls, *d.Calls...)
		}
		switch kind := plain(it.Type); {
		case before > 0:
		case kind == "message", kind == "":
			said, thought := t.content(it.Content)
			text, reasoning = text+said, reasoning+thought
		case kind == "reasoning":
			reasoning += t.reasoningOf(it.Summary) + t.reasoningOf(it.Content)
		}
	}
	delta, err := t.add(text, reasoning)
	if calls != nil {
		delta.Calls = &calls
	}
	return delta, err
}

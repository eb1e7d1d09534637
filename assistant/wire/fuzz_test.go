package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// canary stands for whatever a client sends and must not find in what others read.
const canary = "s3cr3t-canary-0123456789"

// FuzzDispatch puts the canary between two halves of a frame. Whatever the frame:
//   - a handler is called once, or the error says what is wrong; never both, never a panic
//   - the error repeats nothing but the first 64 characters of the action and of the types of parts
//   - encoding/json, which is more lenient, accepts whatever is accepted and reads the same in it
func FuzzDispatch(f *testing.F) {
	for _, frame := range frames {
		f.Add([]byte(frame.frame), []byte{}, false)
		if before, after, ok := strings.Cut(frame.frame, `:"`); ok {
			f.Add([]byte(before+`:"`), []byte(after), true) // within the first text
		}
		if i := strings.LastIndexByte(frame.frame, '"'); i >= 0 {
			f.Add([]byte(frame.frame[:i]), []byte(frame.frame[i:]), true) // within the last
		}
	}
	for _, frame := range mailFrames {
		before, after, _ := strings.Cut(mailFrame(frame.payload), `"f"`)
		f.Add([]byte(before), []byte(after), false)
		f.Add([]byte(before), []byte(`"f"`+after), false)
		f.Add([]byte(before+`"`), []byte(`"`+after), true)
	}
	f.Add([]byte(mailFrame(`{"parts":[{"type":"`)), []byte(`"}]}`), true)
	protocol := newProtocol()
	f.Fuzz(func(t *testing.T, before, after []byte, planted bool) {
		frame := append(slices.Clip(before), after...)
		if planted {
			frame = append(append(slices.Clip(before), canary...), after...)
		}
		r := &recorder{}
		e, err := protocol.Dispatch(t.Context(), r, frame)
		if err == nil {
			accepted(t, r, e, frame)
			return
		}
		invalid, ok := errors.AsType[*wire.ValidationError](err)
		if !ok || len(invalid.Items) == 0 || len(r.calls) > 0 {
			t.Fatalf("%q: %d calls and %T with %d items", frame, len(r.calls), err, len(invalid.Items))
		}
		text := err.Error()
		for _, item := range invalid.Items {
			if item.Type == "" || item.Msg == "" || item.Loc == nil {
				t.Errorf("%q: empty parts in %+v", frame, item)
			}
			text += strings.Join(item.Loc, " ") + item.Type + unshown(t, item)
		}
		if strings.Contains(text, canary) {
			t.Errorf("%q: repeated in %q", frame, text)
		}
	})
}

func accepted(t *testing.T, r *recorder, e wire.Envelope, frame []byte) {
	t.Helper()
	if len(r.calls) != 1 || len(r.admitted) != 1 {
		t.Fatalf("%q: %d calls, admitted %d times", frame, len(r.calls), len(r.admitted))
	}
	var lenient struct {
		Action, Topic, Ref string
	}
	if err := json.Unmarshal(exactKeys(t, frame), &lenient); err != nil {
		t.Fatalf("%q is accepted, but not by encoding/json: %v", frame, err)
	}
	if e != (wire.Envelope{Action: lenient.Action, Topic: lenient.Topic, Ref: lenient.Ref}) {
		t.Errorf("%q: read as %+v, by encoding/json as %+v", frame, e, lenient)
	}
	if !utf8.Valid(frame) {
		t.Errorf("%q is accepted", frame)
	}
}

// exactKeys drops the members that encoding/json would take for others because it ignores case.
func exactKeys(t *testing.T, frame []byte) []byte {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(frame, &members); err != nil {
		t.Fatalf("%q is accepted, but not by encoding/json: %v", frame, err)
	}
	for key := range members {
		if key != "action" && key != "topic" && key != "ref" {
			delete(members, key)
		}
	}
	exact, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return exact
}

// unshown is the item's message without the tag that it may repeat.
func unshown(t *testing.T, item wire.Item) string {
	t.Helper()
	if item.Type != "union_tag_invalid" {
		return item.Msg
	}
	before, after, _ := strings.Cut(item.Msg, "'")
	i := strings.LastIndex(after, "' found using '")
	if tag := after[:i]; utf8.RuneCountInString(strings.TrimSuffix(tag, "…")) > 64 {
		t.Errorf("more than 64 characters of a tag in %q", item.Msg)
	}
	return before + after[i:]
}

// BenchmarkDispatch reads what clients send most, and the worst that the default limit lets through.
func BenchmarkDispatch(b *testing.B) {
	var many strings.Builder
	for i := range 100_000 {
		many.WriteString(`,"`)
		many.WriteString(strings.Repeat("k", i%3+1))
		many.WriteString(asJSON(i))
		many.WriteString(`":0`)
	}
	protocol := wire.New(func(*recorder, context.Context, wire.Envelope, any) error { return nil },
		wire.On("ping", handles[wire.Null]), wire.On("say", handles[string]), wire.On("ask", handles[Question]))
	for _, frame := range []struct{ name, text string }{
		{"ping", `{"action":"ping"}`},
		{"question", `{"action":"say","payload":"What is Python, and why should I care about it?","ref":"q-17"}`},
		{"object", `{"action":"ask","payload":{"content":"Why?","client_id":"17","place":{"room":"r","floor":3}},"topic":"t"}`},
		{"text_1MiB", `{"action":"say","payload":"` + strings.Repeat("x", 1<<20-30) + `"}`},
		{"unknown_keys_1MiB", `{"action":"ping"` + many.String() + `}`},
		{"brackets_1MiB", strings.Repeat("[", 1<<20)},
	} {
		b.Run(frame.name, func(b *testing.B) {
			data := []byte(frame.text)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = protocol.Dispatch(b.Context(), nil, data)
			}
		})
	}
}

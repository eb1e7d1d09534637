package wire_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// The payloads of the described table.
type (
	Color  string
	Banner struct {
		Color   Color     `json:"color"`
		Shown   time.Time `json:"shown,omitzero" doc:"When it was first seen."`
		Rows    []Row     `json:"rows"`
		Primary *Row      `json:"primary,omitempty"`
		ID      string    `json:"id" format:"uuid"`
	}
	Row struct {
		Width int `json:"width" minimum:"1" maximum:"80" doc:"In characters."`
	}
	RefusalError struct {
		Reason string `json:"reason" minLength:"1" maxLength:"64"`
	}
)

func (Color) Doc() string { return "A color." }

func (Color) Values() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) { _ = yield("red", "warm") && yield("green", "not") }
}

var (
	banner  = wire.Sends("banner", "Something to show.", Banner{Color: "red"})
	refusal = wire.Sends("error", "", RefusalError{"busy"})
	many    = wire.Sends("error", "", []RefusalError{{"busy"}})
	ready   = wire.Sends("ready", "It goes on.", wire.Null{})
	readyAt = wire.Sends("ready", "", &Row{80})
	late    = wire.Sends("late", "It comes by itself.", wire.Null{}).About("room:1")
)

func describedTable() wire.Description {
	return wire.New((*recorder).admit,
		wire.On("ping", (*recorder).onPing).
			Doc("Handle pings", "For connectivity.").Takes("A ping.", nil).Tags("connection").
			Answers(pong, items),
		wire.On("assistant_message", (*recorder).onSay).
			Takes("A question.", "What is it?").Tags("chat", "text").
			Answers(ready, banner, refusal, items, many, readyAt),
		wire.On("stop", (*recorder).onStop).
			Takes("Stop.", &Options{"m"}).About("room:2").
			Answers(refusal, pong),
	).Pushes("Tell", "Of banners.", banner, late).Describe()
}

func TestDescribeOperations(t *testing.T) {
	want := []wire.OperationDescription{
		{
			Name: "handle_ping", Action: "ping", Summary: "Handle pings", Description: "For connectivity.",
			Message: "ping_message", Replies: []string{"pong_message", "error_message"}, Tags: []string{"connection"},
		},
		{
			Name: "handle_assistant_message", Action: "assistant_message", Message: "assistant_message",
			Replies: []string{"ready_message", "banner_message", "error_message"}, Tags: []string{"chat", "text"},
		},
		{Name: "handle_stop", Action: "stop", Message: "stop_message", Replies: []string{"error_message", "pong_message"}},
	}
	for i, got := range describedTable().Operations {
		if asJSON(got) != asJSON(want[i]) {
			t.Errorf("operation %d\ngot  %s\nwant %s", i, asJSON(got), asJSON(want[i]))
		}
	}
}

func TestDescribePushed(t *testing.T) {
	want := &wire.OperationDescription{Name: "push", Summary: "Tell", Description: "Of banners.", Replies: []string{"banner_message", "late_message"}}
	if got := describedTable().Pushed; asJSON(got) != asJSON(want) {
		t.Errorf("got  %s\nwant %s", asJSON(got), asJSON(want))
	}
}

func TestDescribeMessages(t *testing.T) {
	// Each line: key, title, action, direction, tags, payload (? = may be null), example, topic.
	want := []string{
		`ping_message PingMessage ping client [connection] null null`,
		`assistant_message AssistantMessage assistant_message client [chat text] string "What is it?"`,
		`stop_message StopMessage stop client [] Options? {"message_id":"m"} room:2`,
		`pong_message PongMessage pong server [connection] null null`,
		// Three declarations of one action; one that repeats adds nothing.
		`error_message ErrorMessage error server [connection] [Item] | RefusalError | [RefusalError] [{"type":"missing","loc":["ask"],"msg":"Field required"}]`,
		// null or a row
		`ready_message ReadyMessage ready server [chat text] Row? {"width":80}`,
		`banner_message BannerMessage banner server [chat text] Banner {"color":"red","rows":null,"id":""}`,
		// pushed only
		`late_message LateMessage late server [] null null room:1`,
	}
	var got []string
	for _, m := range describedTable().Messages {
		payload := brief(m.Payload)
		if m.PayloadOptional {
			payload += "?"
		}
		line := fmt.Sprint(m.Key, " ", m.Title, " ", m.Action, " ", m.Direction, " ", m.Tags, " ", payload, " ", asJSON(m.Example), " ", m.Topic)
		got = append(got, strings.TrimSpace(line))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDescribeSchemas(t *testing.T) {
	want := []string{
		// inner ones first, each once
		`Options{message_id?: string maxLength=4}`,
		`Item{type: string "What kind of problem it is, for programs.", loc: [string] "Where it is: the action, then payload, then the fields.", msg: string "What is wrong, for people."}`,
		`Color = red | green`,
		`Row{width: integer "In characters." minimum=1 maximum=80}`,
		`Banner{color: Color, shown?: string "When it was first seen." format=date-time, rows: [Row], primary?: Row, id: string format=uuid}`,
		`RefusalError{reason: string minLength=1 maxLength=64}`,
	}
	var got []string
	for _, s := range describedTable().Schemas {
		got = append(got, definition(s))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestDescribeTypes shows where the descriptions of named schemas come from: the type, or else the
// messages that it is the payload of.
func TestDescribeTypes(t *testing.T) {
	want := map[string]string{
		"Options":      "The payload of `stop`.",
		"Item":         "One reason why a frame was refused.",
		"Color":        "A color.\n\n- `red`: warm\n- `green`: not",
		"Row":          "The payload of `ready`.",
		"Banner":       "The payload of `banner`.",
		"RefusalError": "The payload of `error`.",
	}
	for _, s := range describedTable().Schemas {
		if s.Description != want[s.Title] {
			t.Errorf("%s: %q, want %q", s.Title, s.Description, want[s.Title])
		}
	}
}

// TestDescribeReferences shows that nothing stands beside a reference, which draft-07 would ignore, and
// that every reference has its schema.
func TestDescribeReferences(t *testing.T) {
	d := describedTable()
	var check func(s *wire.Schema)
	check = func(s *wire.Schema) {
		if s == nil {
			return
		}
		if s.Ref != "" {
			if asJSON(s) != asJSON(&wire.Schema{Ref: s.Ref}) {
				t.Errorf("beside a reference: %s", asJSON(s))
			}
			if !slices.ContainsFunc(d.Schemas, func(known *wire.Schema) bool { return known.Title == s.Ref }) {
				t.Errorf("no schema for %s", s.Ref)
			}
		}
		check(s.Items)
		for _, alternative := range s.AnyOf {
			check(alternative)
		}
		for _, p := range s.Properties {
			check(p.Schema)
		}
	}
	for _, m := range d.Messages {
		check(m.Payload)
	}
	for _, s := range d.Schemas {
		check(s)
	}
}

// TestDescribeExamples shows that what the document gives as an example of a client's message is accepted.
func TestDescribeExamples(t *testing.T) {
	protocol := newProtocol()
	frame := fmt.Sprintf(`{"action":"stop","payload":%s}`, asJSON(describedTable().Messages[2].Example))
	if _, err := protocol.Dispatch(t.Context(), &recorder{}, []byte(frame)); err != nil {
		t.Error(err)
	}
}

func brief(s *wire.Schema) string {
	switch {
	case s == nil:
		return "null"
	case s.Ref != "":
		return s.Ref
	case s.Items != nil:
		return "[" + brief(s.Items) + "]"
	case s.AnyOf != nil:
		var all []string
		for _, alternative := range s.AnyOf {
			all = append(all, brief(alternative))
		}
		return strings.Join(all, " | ")
	case s.Type == "":
		return "any"
	}
	return s.Type
}

func definition(s *wire.Schema) string {
	if s.Enum != nil {
		return s.Title + " = " + strings.Join(s.Enum, " | ")
	}
	var properties []string
	for _, p := range s.Properties {
		optional := ""
		if !p.Required {
			optional = "?"
		}
		properties = append(properties, p.Name+optional+": "+brief(p.Schema)+keywords(p.Schema))
	}
	return s.Title + "{" + strings.Join(properties, ", ") + "}"
}

func keywords(s *wire.Schema) string {
	var b strings.Builder
	if s.Description != "" {
		fmt.Fprintf(&b, " %q", s.Description)
	}
	if s.Format != "" {
		fmt.Fprintf(&b, " format=%s", s.Format)
	}
	if s.Const != "" {
		fmt.Fprintf(&b, " const=%s", s.Const)
	}
	for _, limit := range []struct {
		key   string
		value any
	}{{"minLength", s.MinLength}, {"maxLength", s.MaxLength}, {"minimum", s.Minimum}, {"maximum", s.Maximum}, {"minItems", s.MinItems}, {"maxItems", s.MaxItems}} {
		if text := asJSON(limit.value); text != "null" {
			fmt.Fprintf(&b, " %s=%s", limit.key, text)
		}
	}
	return b.String()
}

// TestBadTables holds that mistakes in a table show when it is built or described, not when a frame comes.
func TestBadTables(t *testing.T) {
	type (
		Embeds struct{ Row }
		Times  struct {
			At time.Time `json:"at"`
		}
		Limits struct {
			N int `json:"n" maximum:"many"`
		}
		Floats struct {
			F float64 `json:"f"`
		}
	)
	describe := func(outs ...wire.Sendable) {
		wire.New((*recorder).admit, wire.On("ping", (*recorder).onPing).Answers(outs...)).Describe()
	}
	for name, build := range map[string]func(){
		"two rows for ping": func() {
			wire.New((*recorder).admit, wire.On("ping", (*recorder).onPing), wire.On("ping", (*recorder).onSay))
		},
		"the example of say is a int":         func() { wire.On("say", (*recorder).onSay).Takes("", 7) },
		"the example of say is a <nil>":       func() { wire.On("say", (*recorder).onSay).Takes("", nil) },
		"the example of stop is a wire_test":  func() { wire.On("stop", (*recorder).onStop).Takes("", Options{}) },
		"map[string]string cannot be part":    func() { wire.On("x", handles[map[string]string]) },
		"has a part that clients cannot send": func() { wire.On("x", handles[Floats]) },
		"is no number":                        func() { wire.On("x", handles[Limits]) },
		"embeds wire_test.Row":                func() { wire.On("x", handles[Embeds]) },
		"Times has a part":                    func() { wire.On("x", handles[Times]) },
		"two payload types are named Row": func() {
			type Row struct {
				Height int `json:"height"`
			}
			describe(readyAt, wire.Sends("other", "", Row{}))
		},
		"two messages are named ping_message": func() { describe(wire.Sends("ping", "", wire.Null{})) },
		"two messages are named pong_message": func() { describe(pong, wire.Sends("pong_message", "", wire.Null{})) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, name) {
					t.Errorf("panic %q, want one with %q", got, name)
				}
			}()
			build()
		})
	}
}

func handles[In any](*recorder, context.Context, In) error { return nil }

// TestDescribeSameTypeTwice shows that one type may be the payload of several messages.
func TestDescribeSameTypeTwice(t *testing.T) {
	d := wire.New((*recorder).admit, wire.On("ping", (*recorder).onPing).
		Answers(readyAt, wire.Sends("row", "", Row{80}), wire.Sends("rows", "", []Row{{80}}))).Describe()
	if len(d.Schemas) != 1 || d.Schemas[0].Title != "Row" {
		t.Errorf("got %s", asJSON(d.Schemas))
	}
	if _, err := json.Marshal(d); err != nil {
		t.Errorf("a description is plain data: %v", err)
	}
}

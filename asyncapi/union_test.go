package asyncapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"github.com/caddy-assistant/caddy-assistant/asyncapi"
	"github.com/caddy-assistant/caddy-assistant/asyncapi/asyncapitest"
	"go.yaml.in/yaml/v3"
)

// A payload with lists, unions, enumerations and free JSON.
type (
	mail struct {
		Parts   parts           `json:"parts" minItems:"1" maxItems:"3" doc:"What it holds."`
		Urgency urgency         `json:"urgency,omitempty"`
		Extra   json.RawMessage `json:"extra,omitzero" doc:"Anything."`
	}
	parts   []any
	picture struct {
		FileID string `json:"file_id" doc:"Which."`
	}
	call struct {
		Arguments json.RawMessage `json:"arguments" jsonType:"object" doc:"By name."`
	}
	urgency string
)

func (mail) Doc() string    { return "A mail." }
func (picture) Doc() string { return "A picture." }
func (call) Doc() string    { return "A call." }
func (urgency) Doc() string { return "How soon." }

func (parts) Variants() (tag string, variants []any) { return "type", []any{picture{}, call{}} }

func (p picture) MarshalJSON() ([]byte, error) {
	type fields picture
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{"picture", fields(p)})
}

func (c call) MarshalJSON() ([]byte, error) {
	type fields call
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{"call", fields(c)})
}

func (urgency) Values() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) { _ = yield("low", "some day") && yield("high", "now") }
}

func mailProtocol() *wire.Protocol[int] {
	example := mail{parts{picture{"f1"}, call{json.RawMessage(`{"q":[1]}`)}}, "low", json.RawMessage(`null`)}
	return wire.New(func(int, context.Context, wire.Envelope, any) error { return nil },
		wire.On("mail", func(int, context.Context, mail) error { return nil }).
			Doc("Handle mails", "Send a mail.").Takes("A mail to send.", example).
			Answers(wire.Sends("mailed", "The mail.", example)))
}

func buildMail(t *testing.T, view asyncapi.View) asyncapi.Document {
	t.Helper()
	document, err := asyncapi.Build(asyncapi.API{
		Server: asyncapi.Server{Host: "localhost"}, Protocol: mailProtocol().Describe(), Channels: []asyncapi.Channel{assistants},
	}, view)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// TestUnionValid checks that documents with unions conform to the specification, and are equal as JSON and as
// YAML.
func TestUnionValid(t *testing.T) {
	for _, view := range []asyncapi.View{asyncapi.ServerView, asyncapi.ClientView} {
		document := buildMail(t, view)
		if err := asyncapitest.Check(document.JSON()); err != nil {
			t.Errorf("%s view: %v", view, err)
		}
		asYAML, err := document.YAML()
		if err != nil {
			t.Fatal(err)
		}
		var fromJSON, fromYAML any
		if json.Unmarshal(document.JSON(), &fromJSON) != nil || yaml.Unmarshal(asYAML, &fromYAML) != nil {
			t.Fatalf("%s view cannot be read", view)
		}
		if again, err := json.Marshal(fromYAML); err != nil || !sameJSON(t, again, fromJSON) {
			t.Errorf("%s view: other values as YAML (%v)", view, err)
		}
	}
}

// TestUnionSchemas checks that a union is an anyOf of references to objects with a constant, a form that
// generators accept.
func TestUnionSchemas(t *testing.T) {
	var document struct {
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal(buildMail(t, asyncapi.ServerView).JSON(), &document); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"mail": `{"title":"mail","description":"A mail.","type":"object","required":["parts"],"properties":{` +
			`"parts":{"description":"What it holds.","type":"array","minItems":1,"maxItems":3,"items":{"anyOf":[` +
			`{"$ref":"#/components/schemas/picture"},{"$ref":"#/components/schemas/call"}]}},` +
			`"urgency":{"$ref":"#/components/schemas/urgency"},` +
			`"extra":{"description":"Anything."}}}`,
		"picture": `{"title":"picture","description":"A picture.","type":"object","required":["type","file_id"],"properties":{` +
			`"type":{"description":"Selects this kind.","type":"string","const":"picture"},` +
			`"file_id":{"description":"Which.","type":"string"}}}`,
		"call": `{"title":"call","description":"A call.","type":"object","required":["type","arguments"],"properties":{` +
			`"type":{"description":"Selects this kind.","type":"string","const":"call"},` +
			`"arguments":{"description":"By name.","type":"object"}}}`,
	} {
		var got bytes.Buffer
		if err := json.Compact(&got, document.Components.Schemas[name]); err != nil || got.String() != want {
			t.Errorf("%s (%v)\ngot  %s\nwant %s", name, err, got.String(), want)
		}
	}
}

// TestUnionFrames checks that the document and the dispatcher accept the same frames.
func TestUnionFrames(t *testing.T) {
	validate, err := asyncapitest.Frames(buildMail(t, asyncapi.ServerView).JSON())
	if err != nil {
		t.Fatal(err)
	}
	protocol := mailProtocol()
	const ok = `{"type":"picture","file_id":"f"}`
	for payload, valid := range map[string]bool{
		`{"parts":[` + ok + `]}`:                                     true,
		`{"parts":[{"type":"call","arguments":{"x":1}},` + ok + `]}`: true,
		`{"parts":[` + ok + `],"urgency":"high","extra":[null]}`:     true,
		`{"parts":[]}`: false,
		`{"parts":[` + ok + `,` + ok + `,` + ok + `]}`:      true,
		`{"parts":[1,2,3,4]}`:                               false,
		`{"parts":{}}`:                                      false,
		`{"parts":[7]}`:                                     false,
		`{"parts":[{}]}`:                                    false,
		`{"parts":[{"type":"film"}]}`:                       false,
		`{"parts":[{"type":null}]}`:                         false,
		`{"parts":[{"type":"picture"}]}`:                    false,
		`{"parts":[{"type":"call","file_id":"f"}]}`:         false,
		`{"parts":[{"type":"call","arguments":[]}]}`:        false,
		`{"parts":[` + ok + `],"urgency":"now"}`:            false,
		`{"parts":[` + ok + `],"extra":{"type":"picture"}}`: true,
	} {
		frame := []byte(`{"action":"mail","payload":` + payload + `}`)
		if err := validate(frame); (err == nil) != valid {
			t.Errorf("%s by the document: %v", payload, err)
		}
		if _, err := protocol.Dispatch(t.Context(), 0, frame); (err == nil) != valid {
			t.Errorf("%s by the dispatcher: %v", payload, err)
		}
	}
	if err := validate([]byte(`{"action":"mailed","payload":{"parts":[{"file_id":"f"}]}}`)); err == nil {
		t.Error("a part without its type is valid")
	}
}

package webchat

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/session"
	"github.com/caddy-assistant/caddy-assistant/asyncapi"
)

var update = flag.Bool("update", false, "rewrite client/protocol.d.ts with what the AsyncAPI document makes")

// TestProtocolTypes: the client's types of the frames are those of the AsyncAPI document, which is made of the
// rows that dispatch and validate.
func TestProtocolTypes(t *testing.T) {
	const file = "client/protocol.d.ts"
	document, err := asyncapi.Build(asyncapi.API{
		Server:   asyncapi.Server{Host: "localhost"},
		Protocol: session.Protocol(),
		Channels: []asyncapi.Channel{{Name: "assistants", Address: "/ws/assistants/"}},
	}, asyncapi.ClientView)
	if err != nil {
		t.Fatal(err)
	}
	want, err := typesOf(document.JSON())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is not what the document makes (%v): go test ./webchat -run TestProtocolTypes -update", file, err)
	}
}

// schema is what the document uses of JSON Schema to say what a value is; its limits have no types.
type schema struct {
	Description string            `json:"description"`
	Ref         string            `json:"$ref"`
	Type        string            `json:"type"`
	Const       *string           `json:"const"`
	Enum        []string          `json:"enum"`
	AnyOf       []schema          `json:"anyOf"`
	Items       *schema           `json:"items"`
	Required    []string          `json:"required"`
	Properties  map[string]schema `json:"properties"`
}

// message is a message of the document: a frame.
type message struct {
	Payload schema `json:"payload"`
}

// typesOf is a TypeScript file with a type for each schema of an AsyncAPI document of the client's view, and one
// for the frames of each direction.
func typesOf(document []byte) (string, error) {
	var api struct {
		Operations map[string]struct {
			Action   string   `json:"action"`
			Messages []schema `json:"messages"`
		} `json:"operations"`
		Components struct {
			Messages map[string]message `json:"messages"`
			Schemas  map[string]schema  `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(document, &api); err != nil {
		return "", err
	}
	frames := map[string][]string{} // by who sends them
	for _, operation := range api.Operations {
		for _, m := range operation.Messages {
			frames[operation.Action] = append(frames[operation.Action], named(api.Components.Messages[named(m.Ref)].Payload.Ref))
		}
	}
	for action, names := range frames {
		slices.Sort(names)
		for _, name := range names {
			api.Components.Schemas[name] = api.Components.Schemas[name].frame(action == "receive")
		}
	}
	var b strings.Builder
	b.WriteString("// The types of the frames, made from the AsyncAPI document: go test ./webchat -run TestProtocolTypes -update\n")
	fmt.Fprintf(&b, "\n/** What a client sends. */\nexport type ClientFrame =\n  | %s;\n", strings.Join(frames["send"], "\n  | "))
	fmt.Fprintf(&b, "\n/** What a client receives. */\nexport type ServerFrame =\n  | %s;\n", strings.Join(frames["receive"], "\n  | "))
	for _, name := range slices.Sorted(maps.Keys(api.Components.Schemas)) {
		s := api.Components.Schemas[name]
		b.WriteString("\n" + comment("", s.Description))
		if s.Properties == nil {
			fmt.Fprintf(&b, "export type %s = %s;\n", name, s.typed())
			continue
		}
		fmt.Fprintf(&b, "export interface %s {\n", name)
		for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
			optional := "?"
			if slices.Contains(s.Required, key) {
				optional = ""
			}
			fmt.Fprintf(&b, "%s  %s%s: %s;\n", comment("  ", s.Properties[key].Description), key, optional, s.Properties[key].typed())
		}
		b.WriteString("}\n")
	}
	return b.String(), nil
}

// frame adds what the document leaves out for the sake of other generators: a payload of null, which a server
// always sends, and which a client may send where it may leave the payload out.
func (s schema) frame(received bool) schema {
	null := schema{Type: "null"}
	payload, ok := s.Properties["payload"]
	switch {
	case !ok:
		payload = null
	case !slices.Contains(s.Required, "payload"):
		payload = schema{Description: payload.Description, AnyOf: []schema{payload, null}}
	}
	s.Properties = maps.Clone(s.Properties)
	s.Properties["payload"] = payload
	if received {
		s.Required = append(slices.Clone(s.Required), "payload")
	}
	return s
}

// typed is the TypeScript type of a value.
func (s schema) typed() string {
	switch {
	case s.Ref != "":
		return named(s.Ref)
	case s.Const != nil:
		return strconv.Quote(*s.Const)
	case s.Enum != nil:
		types := make([]string, len(s.Enum))
		for i, value := range s.Enum {
			types[i] = strconv.Quote(value)
		}
		return strings.Join(types, " | ")
	case s.AnyOf != nil:
		types := make([]string, len(s.AnyOf))
		for i, member := range s.AnyOf {
			types[i] = member.typed()
		}
		return strings.Join(types, " | ")
	case s.Items != nil:
		item := s.Items.typed()
		if strings.Contains(item, " | ") {
			item = "(" + item + ")"
		}
		return item + "[]"
	}
	switch s.Type {
	case "integer", "number":
		return "number"
	case "object":
		return "Record<string, unknown>"
	case "":
		return "unknown"
	}
	return s.Type
}

// named is the last part of a reference.
func named(ref string) string {
	return ref[strings.LastIndex(ref, "/")+1:]
}

func comment(indent, text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%s/** %s */\n", indent, strings.ReplaceAll(text, "*/", "* /"))
}

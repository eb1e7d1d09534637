package asyncapitest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is the part of an AsyncAPI document that the checks need.
type document struct {
	Info       struct{ Tags []tag }
	Servers    map[string]server
	Channels   map[string]channel
	Operations map[string]operation
	Components struct {
		Messages map[string]message
		Schemas  map[string]schema
	}

	value    any // the same as plain JSON
	compiled map[string]*jsonschema.Schema
}

type tag struct{ Name, Description string }

type server struct {
	Host, Pathname string
	Variables      map[string]any
}

type channel struct {
	Address    string
	Title      string
	Servers    []reference
	Messages   map[string]reference
	Parameters map[string]any
	Bindings   struct {
		WS struct{ Query, Headers schema }
	}
}

type operation struct {
	Action      string
	Summary     string
	Description string
	Channel     reference
	Messages    []reference
	Reply       *struct {
		Channel  reference
		Messages []reference
	}
}

type message struct {
	Name          string
	Payload       reference
	CorrelationID struct{ Location string }
	Examples      []struct{ Payload json.RawMessage }
}

type reference struct {
	Ref string `json:"$ref"`
}

// name returns the last part of the reference.
func (r reference) name() string { return r.Ref[strings.LastIndexByte(r.Ref, '/')+1:] }

const location = "https://document.test/asyncapi.json"

func parse(text []byte) (*document, error) {
	d := &document{compiled: map[string]*jsonschema.Schema{}}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, err
	}
	var err error
	if d.value, err = jsonschema.UnmarshalJSON(bytes.NewReader(text)); err != nil {
		return nil, err
	}
	if err := specification().Validate(d.value); err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	compiler.AssertFormat()
	if err := compiler.AddResource(location, d.value); err != nil {
		return nil, err
	}
	for name := range d.Components.Schemas {
		if d.compiled[name], err = compiler.Compile(location + "#/components/schemas/" + name); err != nil {
			return nil, fmt.Errorf("compile schema: %w", err)
		}
	}
	return d, nil
}

//go:embed specification.json
var specificationJSON []byte

// specification is the JSON Schema of AsyncAPI 3.0.0.
var specification = sync.OnceValue(func() *jsonschema.Schema {
	const id = "http://asyncapi.com/definitions/3.0.0/asyncapi.json"
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(specificationJSON))
	if err != nil {
		panic(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(id, value); err != nil {
		panic(err)
	}
	return compiler.MustCompile(id)
})

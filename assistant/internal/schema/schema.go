// Package schema reads the JSON Schemas that describe the arguments of tools. They may come from strangers, so nothing
// that they refer to is ever loaded.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// location is where a schema pretends to be. Only references within it can be resolved.
const location = "tool:parameters"

// Compile compiles the schema of an object. It is of draft 2020-12 unless its $schema says otherwise.
func Compile(text json.RawMessage) (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("expected JSON, found something else")
	}
	if object, ok := document.(map[string]any); !ok || object["type"] != "object" {
		return nil, errors.New(`expected the JSON Schema of an object, with "type": "object"`)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(nothing{})
	if err := compiler.AddResource(location, document); err != nil {
		return nil, fmt.Errorf("expected a JSON Schema: %w", err)
	}
	compiled, err := compiler.Compile(location)
	if err != nil {
		return nil, fmt.Errorf("expected a JSON Schema: %w", err)
	}
	return compiled, nil
}

// nothing loads no schema: jsonschema's own loader reads local files.
type nothing struct{}

func (nothing) Load(string) (any, error) {
	return nil, errors.New("references to other documents are not followed")
}

package schema

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestCompile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "schema.json")
	if err := os.WriteFile(file, []byte(`{"type":"object"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text string
		good       bool
	}{
		{"least", `{"type":"object"}`, true},
		{"properties", `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`, true},
		{"draft 7", `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`, true},
		{"own reference", `{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"type":"string"}}}`, true},
		{"nothing", ``, false},
		{"no JSON", `{`, false},
		{"no object", `{"type":"string"}`, false},
		{"no type", `{}`, false},
		{"list", `[]`, false},
		{"broken", `{"type":"object","properties":3}`, false},
		{"file", `{"type":"object","$ref":"file://` + file + `"}`, false},
		{"other", `{"type":"object","$ref":"https://example.org/schema"}`, false},
		{"other draft", `{"$schema":"https://example.org/schema","type":"object"}`, false},
	} {
		if _, err := Compile(json.RawMessage(test.text)); err == nil != test.good {
			t.Errorf("%s: error %v", test.name, err)
		}
	}
}

func TestValidate(t *testing.T) {
	compiled, err := Compile(json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(map[string]any{"n": json.Number("1")}); err != nil {
		t.Error(err)
	}
	if err := compiled.Validate(map[string]any{"n": "one"}); err == nil {
		t.Error("a text was taken for an integer")
	}
}

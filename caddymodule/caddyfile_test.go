package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"testing"

	_ "github.com/caddy-assistant/caddy-assistant/caddymodule"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// TestCaddyfiles holds every golden pair of testdata: a Caddyfile and, below a line, its JSON or its error.
// What adapts must also provision and validate.
func TestCaddyfiles(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-canary")
	t.Setenv("OPENAI_ORG", "")
	caddytest.ExpectGoldens(t, "sk-canary", load)
}

// load adapts a Caddyfile and validates the result. It returns the JSON, or "error: " and the error.
func load(_ *testing.T, caddyfile string) string {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var parsed caddy.Config
	if err := json.Unmarshal(config, &parsed); err != nil {
		return "error: " + err.Error() + "\n"
	}
	if err := caddy.Validate(&parsed); err != nil {
		return "error: " + err.Error() + "\n"
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, config, "", "\t"); err != nil {
		return "error: " + err.Error() + "\n"
	}
	return indented.String() + "\n"
}

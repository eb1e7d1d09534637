package tools

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/tools/testdata/dice" // as the manual has it
)

const canary = "canary-5f8e2a90"

// TestCaddyfiles holds every golden pair of testdata: what follows "tools" in a Caddyfile and, below a line, its JSON
// or its error. What adapts must also provision.
func TestCaddyfiles(t *testing.T) {
	t.Setenv("SHOP_TOKEN", canary)
	t.Setenv("SHOP_HOST", "shop.example.org")
	t.Setenv("EMPTY", "")
	caddytest.ExpectGoldens(t, canary, load)
}

// TestManual holds that the source of tools in the manual is the one that the test above loads.
func TestManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/tools.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("testdata/dice/dice.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(manual), "```go\n"+string(source)+"```\n") {
		t.Error("docs/tools.md does not have testdata/dice/dice.go as it is")
	}
}

// load returns the JSON, or "error: " and the error.
func load(t *testing.T, input string) string {
	t.Helper()
	name, _, _ := strings.Cut(strings.TrimSpace(input), " ")
	id := "http.assistant.tools." + name
	d := caddyfile.NewTestDispenser(input)
	d.Next()
	module, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	raw := caddyconfig.JSON(module, nil)
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil || fields["name"] != nil {
		t.Errorf("the field name is the module's: %s, error %v", raw, err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	loaded, err := ctx.LoadModuleByID(id, raw)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	if source, ok := loaded.(interface{ Tools() assistant.Tools }); ok == (name == "client") || ok && source.Tools() == nil {
		t.Error("there are no tools")
	}
	indented, err := json.MarshalIndent(raw, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return string(indented) + "\n"
}

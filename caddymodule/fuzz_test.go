package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// FuzzCaddyfile adapts any Caddyfile. It is refused with a reason; or each of our modules in the JSON that
// comes out is one that a strict decoder reads and that means the same when it is written again; and the
// assistant is valid: what is wrong with it is said while the line is still known.
func FuzzCaddyfile(f *testing.F) {
	for _, g := range caddytest.Goldens(f) {
		f.Add(g.Input)
	}
	adapter := caddyconfig.GetAdapter("caddyfile")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "import") || strings.Contains(text, "{$") {
			return // reads files and the environment
		}
		config, _, err := adapter.Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
		switch {
		case err != nil && err.Error() == "":
			t.Error("refused without a reason")
		case err == nil:
			checkModules(t, config)
		}
	})
}

// checkModules looks at our modules wherever they are in a configuration.
func checkModules(t *testing.T, config []byte) {
	var members map[string]json.RawMessage
	var elements []json.RawMessage
	switch {
	case json.Unmarshal(config, &members) == nil:
		for _, handler := range []string{"assistant", "assistant_chat", "asyncapi"} {
			if string(members["handler"]) == `"`+handler+`"` {
				checkModule(t, "http.handlers."+handler, "handler", config)
			}
		}
		for _, value := range members {
			checkModules(t, value)
		}
	case json.Unmarshal(config, &elements) == nil:
		for _, value := range elements {
			checkModules(t, value)
		}
	}
}

// checkModule decodes a module as Caddy does, and looks at its guests.
func checkModule(t *testing.T, id, inlineKey string, config json.RawMessage) {
	var members map[string]any
	if err := json.Unmarshal(config, &members); err != nil {
		t.Fatal(err)
	}
	delete(members, inlineKey)
	want, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	info, err := caddy.GetModule(id)
	if err != nil {
		t.Fatal(err)
	}
	module := info.New()
	if err := caddy.StrictUnmarshalJSON(want, &module); err != nil {
		t.Fatalf("%s does not read its own configuration: %v\n%s", id, err, want)
	}
	again, err := json.Marshal(module)
	if err == nil {
		var values map[string]any
		if err = json.Unmarshal(again, &values); err == nil {
			again, err = json.Marshal(values) // sorted as want is
		}
	}
	if err != nil || !bytes.Equal(again, want) {
		t.Fatalf("%s reads\n%s\nand writes (%v)\n%s", id, want, err, again)
	}
	if h, ok := module.(*endpoint.Handler); ok {
		if err := h.Validate(); err != nil {
			t.Fatalf("an accepted Caddyfile is not valid: %v\n%s", err, want)
		}
		for _, provider := range h.ProvidersRaw {
			checkGuest(t, "http.assistant.providers.", provider)
		}
		checkGuest(t, "http.assistant.stores.", h.StoreRaw)
	}
}

func checkGuest(t *testing.T, namespace string, config json.RawMessage) {
	if config == nil {
		return
	}
	var inline struct{ Name string }
	if err := json.Unmarshal(config, &inline); err != nil || inline.Name == "" {
		t.Fatalf("no name in %s: %v", config, err)
	}
	checkModule(t, namespace+inline.Name, "name", config)
}

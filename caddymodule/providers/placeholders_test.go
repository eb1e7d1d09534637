package providers

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/openai"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestPlaceholders fills the placeholders of all settings, and leaves other braces alone.
func TestPlaceholders(t *testing.T) {
	t.Setenv("TIDE_KEY", "key-0123456789")
	t.Setenv("TIDE_NAME", `o"3`)
	o := &OpenAI{Config: openai.Config{
		APIKey: "{env.TIDE_KEY}", BaseURL: "https://{env.TIDE_NAME}.test", Model: "m-{env.TIDE_NAME}", ReasoningEffort: "{env.TIDE_NAME}",
		Proxy: "http://{env.TIDE_NAME}", Stop: []string{"{env.TIDE_NAME}", "{}", "{x}"},
		Header: map[string]string{"a": "Bearer {env.TIDE_KEY}", "b": `{"retry": {"n": 2}}`}, Query: map[string]string{"c": "{env.TIDE_NAME}"},
		TLS:   &openai.TLS{CA: "{env.TIDE_NAME}.pem", ClientCert: []string{"{env.TIDE_NAME}", "k"}},
		Extra: map[string]json.RawMessage{"user": json.RawMessage(`"{env.TIDE_NAME}"`), "n": json.RawMessage(`[12345678901234567890, "{env.TIDE_NAME}"]`), "plain": json.RawMessage(`{ "a": 1 }`)},
	}}
	before, _ := json.Marshal(o)
	c, err := o.config(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	c.Logger = nil
	want := openai.Config{
		APIKey: "key-0123456789", BaseURL: `https://o"3.test`, Model: `m-o"3`, ReasoningEffort: `o"3`, Proxy: `http://o"3`, Stop: []string{`o"3`, "{}", "{x}"},
		Header: map[string]string{"a": "Bearer key-0123456789", "b": `{"retry": {"n": 2}}`}, Query: map[string]string{"c": `o"3`},
		TLS:   &openai.TLS{CA: `o"3.pem`, ClientCert: []string{`o"3`, "k"}},
		Extra: map[string]json.RawMessage{"user": json.RawMessage(`"o\"3"`), "n": json.RawMessage(`[12345678901234567890,"o\"3"]`), "plain": json.RawMessage(`{ "a": 1 }`)},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	if after, _ := json.Marshal(o); string(after) != string(before) {
		t.Errorf("the configuration itself became %s", after)
	}
}

// TestUnset holds that a placeholder which stands for nothing is named: as an error, or for a key that another server
// may not need, in the log.
func TestUnset(t *testing.T) {
	const unset = "{env.NO_SUCH_VARIABLE}"
	for name, config := range map[string]openai.Config{
		"api_key":          {APIKey: unset},
		"base_url":         {APIKey: "k", BaseURL: unset},
		"model":            {APIKey: "k", Model: unset},
		"reasoning_effort": {APIKey: "k", ReasoningEffort: unset},
		"stop":             {APIKey: "k", Stop: []string{"a", unset}},
		"proxy":            {APIKey: "k", Proxy: unset},
		"header x":         {APIKey: "k", Header: map[string]string{"x": "Bearer " + unset}},
		"query x":          {APIKey: "k", Query: map[string]string{"x": unset}},
		"tls: ca":          {APIKey: "k", TLS: &openai.TLS{CA: unset}},
		"tls: client_cert": {APIKey: "k", TLS: &openai.TLS{ClientCert: []string{"c", unset}}},
		"extra user":       {APIKey: "k", Extra: map[string]json.RawMessage{"user": json.RawMessage(`{"a":["` + unset + `"]}`)}},
	} {
		_, err := (&OpenAI{Config: config}).config(zap.NewNop())
		if err == nil || !strings.HasPrefix(err.Error(), name+": expected ") || !strings.Contains(err.Error(), unset) {
			t.Errorf("%s: %v", name, err)
		}
	}

	core, logs := observer.New(zap.InfoLevel)
	o := &OpenAI{Config: openai.Config{Label: "local", APIKey: unset, BaseURL: "http://localhost:1/v1"}}
	if c, err := o.config(zap.New(core)); err != nil || c.APIKey != "" {
		t.Errorf("the key is %q, %v", c.APIKey, err)
	}
	if lines := logs.All(); len(lines) != 1 || lines[0].Level != zap.WarnLevel || lines[0].ContextMap()["placeholder"] != unset || lines[0].ContextMap()["provider"] != "local" {
		t.Errorf("the log has %+v", lines)
	}
}

// TestTypo holds that a placeholder which nothing could fill is not sent to a service.
func TestTypo(t *testing.T) {
	repl := caddy.NewReplacer()
	for text, ok := range map[string]bool{
		"gpt-4o": true, "{http.request.host}": false, "a{vars.model}b": false, "{not.one}": true, "{}": true, "{env.HOME}": true,
	} {
		t.Setenv("HOME", "home")
		if got, err := filled(repl, "model", text); (err == nil) != ok {
			t.Errorf("%s became %q, %v", text, got, err)
		}
	}
}

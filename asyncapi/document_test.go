package asyncapi_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"github.com/caddy-assistant/caddy-assistant/asyncapi"
	"github.com/caddy-assistant/caddy-assistant/asyncapi/asyncapitest"
	"go.yaml.in/yaml/v3"
)

// outline is the part of a document that tests look at.
type outline struct {
	ID       string
	Info     map[string]any
	Servers  map[string]struct{ Host, Protocol, Pathname string }
	Channels map[string]struct {
		Address  string
		Servers  []ref
		Messages map[string]any
		Bindings map[string]any
	}
	Operations map[string]struct {
		Action   string
		Messages []ref
		Reply    struct{ Messages []ref }
	}
	Components struct {
		Messages map[string]struct{ Payload ref }
		Schemas  map[string]struct {
			Discriminator string
			Required      []string
			Properties    map[string]struct{ Const string }
		}
	}
}

type ref struct {
	To string `json:"$ref"`
}

func outlineOf(t *testing.T, document asyncapi.Document) outline {
	t.Helper()
	var o outline
	if err := json.Unmarshal(document.JSON(), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestValid checks every kind of document against the specification, and for rules that no official tool
// checks.
func TestValid(t *testing.T) {
	for name, document := range map[string]asyncapi.Document{
		"one channel":               build(t, asyncapi.ServerView, assistants),
		"two channels":              build(t, asyncapi.ServerView, assistants, support),
		"one channel, client view":  build(t, asyncapi.ClientView, support),
		"two channels, client view": build(t, asyncapi.ClientView, assistants, support),
		"two sites":                 build(t, asyncapi.ServerView, assistants, elsewhere),
		"two sites, client view":    build(t, asyncapi.ClientView, assistants, elsewhere),
		"another site's":            build(t, asyncapi.ServerView, elsewhere),
	} {
		if err := asyncapitest.Check(document.JSON()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCheckFinds checks that each fault in a document is found, which gives TestValid its meaning.
func TestCheckFinds(t *testing.T) {
	document := string(build(t, asyncapi.ServerView, assistants, support, elsewhere).JSON())
	for _, test := range []struct{ old, new, problem string }{
		{`"asyncapi": "3.0.0"`, `"asyncapi": "2.6.0"`, "3.0.0"},
		{`"address": "/ws/support/"`, `"path": "/ws/support/"`, "'path' not allowed"},
		{`"bindingVersion": "0.1.0"`, `"bindingVersion": "9"`, "bindingVersion"},
		{`"location": "$message.payload#/ref"`, `"location": "payload.ref"`, "location"},
		{`"address": "/ws/support/"`, `"address": "/ws/assistants/"`, "have the same address"},
		{`"address": "/ws/support/"`, `"address": "ws/support/"`, "no leading slash"},
		{`"address": "/ws/support/"`, `"address": "/ws/{id}/"`, `the address has the parameters ["id"], declared are []`},
		{`"$ref": "#/servers/elsewhere_server"`, `"$ref": "#/servers/production"`, "have the same address"},
		{`"$ref": "#/servers/elsewhere_server"`, `"$ref": "#/servers/nowhere"`, "channel elsewhere: its server #/servers/nowhere is none of the document's"},
		{`"host": "chat.example.com"`, `"host": "{domain}"`, `server production: the host and path have the variables ["domain"], declared are []`},
		{`"title": "support"`, `"title": "Support"`, `channel support: title is "Support"`},
		{`"pong_message": {
          "$ref": "#/components/messages/pong_message"`, `"pong": {
          "$ref": "#/components/messages/pong_message"`, "message pong is #/components/messages/pong_message"},
		{`"$ref": "#/components/messages/pong_message"`, `"$ref": "#/components/messages/none"`, "leads nowhere"},
		{`"$ref": "#/components/schemas/Usage"`, `"$ref": "#/components/schemas/None"`, "not found"},
		{`"$ref": "#/components/schemas/Usage"`, `"type": "object", "description": "x"`, "schema Usage is not used"},
		{`"$ref": "#/components/schemas/Usage"`, `"$ref": "#/components/schemas/Usage", "description": "x"`, "$ref has siblings"},
		{`"$ref": "#/channels/support/messages/ping_message"`, `"$ref": "#/channels/assistants/messages/ping_message"`, "is not of #/channels/support"},
		{`"const": "pong"`, `"const": "ping"`, "message pong_message: the name is"},
		{`"name": "pong"`, `"name": "ping"`, "message pong_message: the name is"},
		{`"location": "$message.payload#/ref"`, `"location": "$message.payload#/reference"`, "nothing at the correlation ID"},
		{`"content": "Python is"`, `"content": 1`, "as streaming_message"},
		{`"title": "Usage"`, `"title": "Used"`, "schema Usage: title"},
		{`"maximum": 1099511627776`, `"exclusiveMaximum": 1099511627776`, "keyword exclusiveMaximum"},
		{`"description": "Sum.",`, ``, "schema Usage.tokens: no description"},
		{`"description": "What to resume.",`, ``, "schema support query.conversation: no description"},
		{`"description": "The page's origin.",`, ``, "schema support headers.Origin: no description"},
		{`"description": "What Usage holds.",`, ``, "schema Usage: no description"},
		{`"required": [
          "tokens"`, `"required": [
          "token"`, "token is required but not described"},
		{`"summary": "Handle ping requests"`, `"summary": ""`, "no summary"},
		{`"description": "Upkeep of the connection."`, `"description": ""`, "tag connection: no description"},
	} {
		mutated := strings.Replace(document, test.old, test.new, 1)
		if mutated == document {
			t.Errorf("the document has no %s", test.old)
			continue
		}
		if err := asyncapitest.Check([]byte(mutated)); err == nil || !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s for %s: %v, want %s", test.new, test.old, err, test.problem)
		}
	}
}

// TestTutorialNames checks that the names from which clients of the tutorial were generated are present.
func TestTutorialNames(t *testing.T) {
	file, err := os.ReadFile("testdata/chanx.json")
	if err != nil {
		t.Fatal(err)
	}
	var tutorial outline
	if err := json.Unmarshal(file, &tutorial); err != nil {
		t.Fatal(err)
	}
	ours := outlineOf(t, build(t, asyncapi.ServerView, assistants))

	for name, channel := range tutorial.Channels {
		if got := ours.Channels[name].Address; got != "/"+channel.Address {
			t.Errorf("channel %s is at %q, want /%s", name, got, channel.Address)
		}
		for message := range channel.Messages {
			if ours.Channels[name].Messages[message] == nil {
				t.Errorf("channel %s has no message %s", name, message)
			}
		}
	}
	for name, operation := range tutorial.Operations {
		got := ours.Operations[name]
		if got.Action != operation.Action || !slices.Equal(got.Messages, operation.Messages) {
			t.Errorf("operation %s is %v, want %v", name, got, operation)
		}
		for _, reply := range operation.Reply.Messages {
			if !slices.Contains(got.Reply.Messages, reply) {
				t.Errorf("operation %s is not answered by %s", name, reply.To)
			}
		}
	}
	for name, message := range tutorial.Components.Messages {
		if got := ours.Components.Messages[name].Payload; got != message.Payload {
			t.Errorf("message %s has the payload %v, want %v", name, got, message.Payload)
		}
	}
	for name, schema := range tutorial.Components.Schemas {
		got, ok := ours.Components.Schemas[name]
		if !ok {
			t.Errorf("no schema %s", name)
		}
		for property, want := range schema.Properties {
			// A payload that is always null is left out.
			if _, ok := got.Properties[property]; !ok && property != "payload" || got.Properties[property].Const != want.Const {
				t.Errorf("schema %s: property %s is %v, want %v", name, property, got.Properties[property], want)
			}
		}
	}
}

// TestGenerators checks that documents lack constructs that are correct but fail in client generators (Chanx
// and AsyncAPI's own).
func TestGenerators(t *testing.T) {
	document := build(t, asyncapi.ServerView, assistants, support).JSON()
	for _, key := range []string{"security", "traits", "discriminator", "additionalProperties", "$defs"} {
		if bytes.Contains(document, []byte(`"`+key+`"`)) {
			t.Errorf("the document has %s", key)
		}
	}
	if n := bytes.Count(document, []byte(`"servers"`)); n != 1 {
		t.Errorf("%d members servers, want that of the document only", n)
	}
}

func TestRequired(t *testing.T) {
	schemas := outlineOf(t, build(t, asyncapi.ServerView, assistants)).Components.Schemas
	for name, want := range map[string][]string{
		"PingMessage":          {"action"},
		"AssistantMessage":     {"action", "payload"},
		"StopStreamingMessage": {"action"},
		"CompletePayload":      {"content"},
	} {
		if got := schemas[name].Required; !slices.Equal(got, want) {
			t.Errorf("%s: required = %q, want %q", name, got, want)
		}
	}
}

// TestFrames checks that frames which the server writes or accepts match the document, and others do not.
func TestFrames(t *testing.T) {
	document := build(t, asyncapi.ServerView, assistants).JSON()
	validate, err := asyncapitest.Frames(document)
	if err != nil {
		t.Fatal(err)
	}
	for frame, valid := range map[string]bool{
		`{"action":"ping"}`: true,
		`{"action":"ping","version":1,"topic":"conversation:1","ref":"r","future":{}}`:   true,
		`{"action":"ping","ref":"` + strings.Repeat("x", wire.MaxRef+1) + `"}`:           false,
		`{"action":"assistant_message","payload":"hello"}`:                               true,
		`{"action":"assistant_message","payload":""}`:                                    false,
		`{"action":"assistant_message"}`:                                                 false,
		`{"action":"stop_streaming"}`:                                                    true,
		`{"action":"pong","payload":null,"version":1,"ref":"r","seq":1}`:                 true,
		`{"action":"pong","payload":null,"seq":0}`:                                       false,
		`{"action":"notice","payload":null}`:                                             true,
		`{"action":"notice","payload":{"detail":"d","after":null}}`:                      true,
		`{"action":"notice","payload":{"detail":"d","after":"m"}}`:                       true,
		`{"action":"notice","payload":{"detail":"d","after":1}}`:                         false,
		`{"action":"error","payload":[{"loc":["payload"]}]}`:                             true,
		`{"action":"error","payload":[{"loc":["payload"],"seen":"now"}]}`:                false,
		`{"action":"error","payload":{"detail":"d","reason":"busy"}}`:                    true,
		`{"action":"error","payload":{"detail":"d","reason":"tired"}}`:                   false,
		`{"action":"complete_streaming","payload":{"content":"","usage":{"tokens":-1}}}`: false,
		`{"action":"unknown"}`:                                                           false,
	} {
		if err := validate([]byte(frame)); (err == nil) != valid {
			t.Errorf("%.100s: %v", frame, err)
		}
	}
}

// TestClientURL checks that clients of generators which read only the server connect to the right path.
func TestClientURL(t *testing.T) {
	for _, test := range []struct {
		view              asyncapi.View
		channels          []asyncapi.Channel
		pathname, address string
	}{
		{asyncapi.ServerView, []asyncapi.Channel{assistants}, "", "/ws/assistants/"},
		{asyncapi.ClientView, []asyncapi.Channel{assistants}, "/ws/assistants/", "/"},
		{asyncapi.ClientView, []asyncapi.Channel{assistants, support}, "", "/ws/assistants/"},
	} {
		o := outlineOf(t, build(t, test.view, test.channels...))
		if pathname, address := o.Servers["production"].Pathname, o.Channels["assistants"].Address; pathname != test.pathname || address != test.address {
			t.Errorf("%s view of %d channels: pathname %q and address %q, want %q and %q",
				test.view, len(test.channels), pathname, address, test.pathname, test.address)
		}
	}
}

// TestSecondChannel checks that the operations of a second channel are prefixed with its name, and that
// messages and schemas are shared.
func TestSecondChannel(t *testing.T) {
	one, two := outlineOf(t, build(t, asyncapi.ServerView, assistants)), outlineOf(t, build(t, asyncapi.ServerView, assistants, support))
	want := []string{
		"handle_assistant_message", "handle_ping", "handle_stop_streaming", "push",
		"support_handle_assistant_message", "support_handle_ping", "support_handle_stop_streaming", "support_push",
	}
	if got := slices.Sorted(maps.Keys(two.Operations)); !slices.Equal(got, want) {
		t.Errorf("operations = %q, want %q", got, want)
	}
	if got := two.Operations["support_handle_ping"].Messages[0].To; got != "#/channels/support/messages/ping_message" {
		t.Errorf("support_handle_ping has %s", got)
	}
	if !reflect.DeepEqual(one.Components, two.Components) {
		t.Error("the second channel changes messages or schemas")
	}
}

func TestServer(t *testing.T) {
	for _, test := range []struct {
		server               asyncapi.Server
		name, host, protocol string
	}{
		{asyncapi.Server{Host: "chat.example.com", TLS: true}, "production", "chat.example.com", "wss"},
		{asyncapi.Server{Host: "chat.example.com:8080"}, "production", "chat.example.com:8080", "ws"},
		{asyncapi.Server{Host: "localhost"}, "development", "localhost", "ws"},
		{asyncapi.Server{Host: "LOCALHOST:8443", TLS: true}, "development", "LOCALHOST:8443", "wss"},
		{asyncapi.Server{Host: "chat.localhost:80"}, "development", "chat.localhost:80", "ws"},
		{asyncapi.Server{Host: "127.0.0.1:18081"}, "development", "127.0.0.1:18081", "ws"},
		{asyncapi.Server{Host: "0.0.0.0"}, "development", "0.0.0.0", "ws"},
		{asyncapi.Server{Host: "[::1]:80"}, "development", "[::1]:80", "ws"},
		{asyncapi.Server{Host: "[2001:db8::1]"}, "production", "[2001:db8::1]", "ws"},
		{asyncapi.Server{Host: "localhost.example.com"}, "production", "localhost.example.com", "ws"},
		// Hosts that no browser sends.
		{asyncapi.Server{}, "development", "localhost", "ws"},
		{asyncapi.Server{Host: `"><script>`}, "development", "localhost", "ws"},
		{asyncapi.Server{Host: "{env}.example.com"}, "development", "localhost", "ws"},
		{asyncapi.Server{Host: "example.com/path"}, "development", "localhost", "ws"},
		{asyncapi.Server{Host: "user@example.com"}, "development", "localhost", "ws"},
		{asyncapi.Server{Host: "example.com:port"}, "development", "localhost", "ws"},
		{asyncapi.Server{Host: "example.com\n"}, "development", "localhost", "ws"},
		{asyncapi.Server{Host: strings.Repeat("x", 300)}, "development", "localhost", "ws"},
	} {
		document, err := asyncapi.Build(asyncapi.API{Server: test.server}, asyncapi.ServerView)
		if err != nil {
			t.Fatal(err)
		}
		servers := outlineOf(t, document).Servers
		if got := servers[test.name]; len(servers) != 1 || got.Host != test.host || got.Protocol != test.protocol {
			t.Errorf("%v: servers = %v, want %s at %s by %s", test.server, servers, test.name, test.host, test.protocol)
		}
	}
}

// TestServersOfChannels: a channel of another site names its server, and so do the others then; where all are on one
// server, none does, since some generators fail on it.
func TestServersOfChannels(t *testing.T) {
	second := support
	second.Server = elsewhere.Server
	type at map[string][]ref
	for name, test := range map[string]struct {
		channels []asyncapi.Channel
		servers  string
		want     at
	}{
		"own":       {[]asyncapi.Channel{assistants, support}, "production wss://chat.example.com", at{"assistants": nil, "support": nil}},
		"two sites": {[]asyncapi.Channel{assistants, elsewhere, second}, "elsewhere_server ws://localhost:8080, production wss://chat.example.com", at{"assistants": {{"#/servers/production"}}, "elsewhere": {{"#/servers/elsewhere_server"}}, "support": {{"#/servers/elsewhere_server"}}}},
		"another's": {[]asyncapi.Channel{elsewhere}, "elsewhere_server ws://localhost:8080", at{"elsewhere": nil}},
	} {
		o := outlineOf(t, build(t, asyncapi.ServerView, test.channels...))
		var servers []string
		for name, s := range o.Servers {
			servers = append(servers, name+" "+s.Protocol+"://"+s.Host)
		}
		slices.Sort(servers)
		if got := strings.Join(servers, ", "); got != test.servers {
			t.Errorf("%s: servers are %s, want %s", name, got, test.servers)
		}
		got := at{}
		for name, c := range o.Channels {
			got[name] = c.Servers
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: channels are at %v, want %v", name, got, test.want)
		}
	}
}

func TestInfo(t *testing.T) {
	api := asyncapi.API{Protocol: protocol, Channels: []asyncapi.Channel{assistants, support}}
	defaults, err := asyncapi.Build(api, asyncapi.ServerView)
	if err != nil {
		t.Fatal(err)
	}
	info := outlineOf(t, defaults).Info
	if info["title"] != "Assistant API" || info["version"] != "1.0.0" || info["description"] == "" || info["contact"] != nil || info["license"] != nil {
		t.Errorf("defaults = %v", info)
	}
	var tags []string
	for _, tag := range info["tags"].([]any) {
		tags = append(tags, tag.(map[string]any)["name"].(string))
	}
	if want := []string{"ai", "chat", "connection", "help"}; !slices.Equal(tags, want) {
		t.Errorf("tags = %q, want %q", tags, want)
	}

	api.Info = asyncapi.Info{
		Title: "Chat", Version: "2.1", Description: "Ours.",
		Contact: &asyncapi.Contact{Email: "ops@example.com"}, License: &asyncapi.License{Name: "MIT", URL: "https://example.com/licence"},
	}
	set, err := asyncapi.Build(api, asyncapi.ServerView)
	if err != nil {
		t.Fatal(err)
	}
	info = outlineOf(t, set).Info
	delete(info, "tags")
	want := map[string]any{
		"title": "Chat", "version": "2.1", "description": "Ours.",
		"contact": map[string]any{"email": "ops@example.com"},
		"license": map[string]any{"name": "MIT", "url": "https://example.com/licence"},
	}
	if !reflect.DeepEqual(info, want) {
		t.Errorf("info = %v, want %v", info, want)
	}
	if err := asyncapitest.Check(set.JSON()); err != nil {
		t.Error(err)
	}
}

func TestInfoValidate(t *testing.T) {
	for _, test := range []struct {
		info asyncapi.Info
		err  string
	}{
		{asyncapi.Info{}, ""},
		{asyncapi.Info{Contact: &asyncapi.Contact{Name: "Ops", URL: "https://example.com/", Email: "ops@example.com"}}, ""},
		{asyncapi.Info{License: &asyncapi.License{Name: "MIT"}}, ""},
		{asyncapi.Info{License: &asyncapi.License{}}, "license: expected a name, found nothing"},
		{asyncapi.Info{License: &asyncapi.License{Name: "MIT", URL: "MIT"}}, `license: expected a URL like https://example.com/, found "MIT"`},
		{asyncapi.Info{Contact: &asyncapi.Contact{URL: "javascript://example.com/%0aalert(1)"}}, `contact: expected a URL like https://example.com/, found "javascript://example.com/%0aalert(1)"`},
		{asyncapi.Info{Contact: &asyncapi.Contact{Email: "Ops <ops@example.com>"}}, `contact: expected an e-mail address, found "Ops <ops@example.com>"`},
	} {
		got := ""
		if err := test.info.Validate(); err != nil {
			got = err.Error()
		}
		if got != test.err {
			t.Errorf("%+v: %q, want %q", test.info, got, test.err)
		}
	}
}

// TestStable checks that equal arguments give equal bytes; otherwise caches would never hit.
func TestStable(t *testing.T) {
	first := build(t, asyncapi.ServerView, assistants, support)
	firstYAML, err := first.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again := build(t, asyncapi.ServerView, assistants, support)
		againYAML, err := again.YAML()
		if err != nil || !bytes.Equal(first.JSON(), again.JSON()) || !bytes.Equal(firstYAML, againYAML) {
			t.Fatalf("another document (%v)", err)
		}
	}
}

// TestPlain checks that text is written without escapes.
func TestPlain(t *testing.T) {
	if document := build(t, asyncapi.ServerView, assistants).JSON(); !bytes.Contains(document, []byte("What is <Python> & Co?")) {
		t.Errorf("the example is not in\n%s", document)
	}
}

func TestUnwritableExample(t *testing.T) {
	message := protocol.Messages[1]
	message.Example = math.Inf(1)
	_, err := asyncapi.Build(asyncapi.API{Protocol: wire.Description{Messages: []wire.MessageDescription{message}}}, asyncapi.ServerView)
	if err == nil || !strings.HasPrefix(err.Error(), "write document: ") {
		t.Errorf("err = %v", err)
	}
}

// FuzzYAML checks that the document is equal as JSON and as YAML, whatever a site writes into its texts.
func FuzzYAML(f *testing.F) {
	for _, text := range []string{
		"", "yes", "null", "~", "1.0", "0x1F", "1:30", "2026-11-24", "- a", "a: b", "# no", "'", `"`, "{", "|", ">", "&a", "*a", "!a", "%", "@", "`",
		" leading", "trailing ", "two\nlines", "ends\n", "\n\n", "tab\t", "\r\n", "\x00\x1b\x7f\u0085\u2028\ufeff", "\xff\xfe", "日本語 🙂", "---", "...",
		"</script><script>alert(1)</script>", "  two\n leading", "a\n\tb",
	} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, title, description string) {
		document, err := asyncapi.Build(asyncapi.API{
			Info:     asyncapi.Info{Title: title, Description: description},
			Channels: []asyncapi.Channel{{Name: "assistants", Address: "/", Description: description, Tags: []string{title, description}}},
		}, asyncapi.ServerView)
		if err != nil {
			t.Fatal(err)
		}
		asYAML, err := document.YAML()
		if err != nil {
			t.Fatal(err)
		}
		var fromJSON, fromYAML any
		if err := json.Unmarshal(document.JSON(), &fromJSON); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(asYAML, &fromYAML); err != nil {
			t.Fatalf("%v\n%s", err, asYAML)
		}
		// As JSON again, since YAML distinguishes integers from floats.
		if again, err := json.Marshal(fromYAML); err != nil || !sameJSON(t, again, fromJSON) {
			t.Errorf("other values (%v):\n%s", err, asYAML)
		}
	})
}

func sameJSON(t *testing.T, text []byte, want any) bool {
	t.Helper()
	var got any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(got, want)
}

func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		build(b, asyncapi.ServerView, assistants)
	}
}

func BenchmarkYAML(b *testing.B) {
	document := build(b, asyncapi.ServerView, assistants)
	for b.Loop() {
		if _, err := document.YAML(); err != nil {
			b.Fatal(err)
		}
	}
}

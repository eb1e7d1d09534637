package docs

import (
	"fmt"
	"testing"

	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/brokers"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/providers"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/stores"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// TestPlaces finds where clients reach a site by its configuration alone.
func TestPlaces(t *testing.T) {
	const chat = "{\n handle_path /x/* {\n assistant /ws/* {\n provider openai\n }\n }\n}\n"
	for _, test := range []struct{ caddyfile, site, url string }{
		{"chat.example.com " + chat, "chat.example.com true", "wss://chat.example.com/ws/"},
		{"http://chat.example.com " + chat, "chat.example.com false", "ws://chat.example.com/ws/"},
		{"chat.example.com:8443 " + chat, "chat.example.com:8443 true", "wss://chat.example.com:8443/ws/"},
		{"http://localhost:8080, http://127.0.0.1:8080 " + chat, "localhost:8080 false", "ws://localhost:8080/ws/"},
		{"localhost " + chat, "localhost true", "wss://localhost/ws/"},
		{"*.example.com, chat.example.org " + chat, "chat.example.org true", "wss://chat.example.org/ws/"},
		{"http://[::1]:8080 " + chat, "[::1]:8080 false", "ws://[::1]:8080/ws/"},
		{":8080 " + chat, " false", "ws://localhost:8080/ws/"},
		{"http:// " + chat, " false", "ws://localhost/ws/"},
		{":8080 {\n bind 127.0.0.2\n assistant /ws/* {\n provider demo\n }\n}\n", " false", "ws://127.0.0.2:8080/ws/"},
		{"&(chat) {\n assistant /ws/* {\n provider demo\n }\n}\n:8080 {\n invoke chat\n}\n", " false", "ws://localhost:8080/ws/"},
		{"http://chat.example.com {\n bind unix//run/chat.sock\n assistant /ws/* {\n provider demo\n }\n}\n", " false", ""},
		{"{\n auto_https off\n}\nchat.example.com:8080 " + chat, "chat.example.com:8080 true", "wss://chat.example.com:8080/ws/"},
		{"{\n http_port 8081\n https_port 8444\n}\nchat.example.com " + chat, "chat.example.com:8444 true", "wss://chat.example.com:8444/ws/"},
	} {
		config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(test.caddyfile), nil)
		if err != nil {
			t.Fatal(err)
		}
		found, err := FindMounted(config)
		if err != nil || len(found.assistants) != 1 {
			t.Errorf("%s: %v, found %v", test.caddyfile, err, found)
			continue
		}
		m := found.assistants[0]
		if got := fmt.Sprint(m.site.Host, " ", m.site.TLS); got != test.site || m.site.url(m.handler.Address) != test.url {
			t.Errorf("%s: the site is %q at %s, want %q at %s", test.caddyfile, got, m.site.url(m.handler.Address), test.site, test.url)
		}
	}
}

// TestNotMounted tells what is wrong with a configuration.
func TestNotMounted(t *testing.T) {
	for _, config := range []string{
		`{`, `{}`, `{"apps":{"http":{"servers":{"a":{"routes":[{"handle":[{"handler":"vars"}]}]}}}}}`,
		`{"apps":{"http":{"servers":{"a":{"routes":[{"handle":[{"handler":"assistant","nme":"x"}]}]}}}}}`,
		`{"apps":{"http":{"servers":{"a":{"routes":[{"handle":[{"handler":"assistant","name":"not a name"}]}]}}}}}`,
		`{"apps":{"http":{"servers":{"a":{"routes":[{"handle":[{"handler":"assistant"},{"handler":"asyncapi","license":{"name":""}}]}]}}}}}`,
	} {
		if found, err := FindMounted([]byte(config)); err == nil {
			t.Errorf("%s: found %v", config, found)
		}
	}
}

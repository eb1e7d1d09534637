package endpoint

import (
	"encoding/json"
	"testing"
)

// TestJSONMistakes holds that JSON has the Caddyfile's ranges and words.
func TestJSONMistakes(t *testing.T) {
	for config, want := range map[string]string{
		`{}`: "",
		`{"max_pending":1,"context":100,"retention":"0","on_disconnect":{"policy":"finish"},"max_messages":2}`: "",

		`{"name":"two words"}`:                               `name: expected letters, digits and underscores, found "two words"`,
		`{"address":"ws/"}`:                                  `address: expected a path with a leading slash, found "ws/"`,
		`{"context":50}`:                                     `context: expected a whole number from 100 to 2147483647, found "50"`,
		`{"max_pending":-1}`:                                 `max_pending: expected a whole number from 1 to 2147483647, found "-1"`,
		`{"max_messages":1}`:                                 `max_messages: expected a whole number from 2 to 2147483647, found "1"`,
		`{"max_message_size":2000000000}`:                    `max_message_size: expected a size like 64KiB or 1MiB, at most 1GiB, found "2000000000"`,
		`{"ping_interval":"-90s"}`:                           `ping_interval: expected a duration like 30s, above 0, found "-1m30s"`,
		`{"retention":-3600000000000}`:                       `retention: expected 0 or a duration like 30s, found "-1h"`,
		`{"titles":"always"}`:                                `titles: expected question or model, found "always"`,
		`{"reasoning":"off"}`:                                `reasoning: expected keep or live, found "off"`,
		`{"origins":["https://a.example","b.example"]}`:      `origins: expected * or origins like https://example.com, found "b.example"`,
		`{"on_disconnect":{"policy":"wait"}}`:                `on_disconnect: expected finish, finish and a duration like 5m, or cancel, found "wait"`,
		`{"on_disconnect":{"policy":"cancel","max":"5m"}}`:   `on_disconnect: expected finish, finish and a duration like 5m, or cancel, found "cancel 5m"`,
		`{"rate":{"per":"1m"}}`:                              `rate: expected questions per duration like 20/1m, and perhaps a burst like 5, found "0/1m"`,
		`{"rate":{"questions":20,"per":"1m","burst":-1}}`:    `rate: expected questions per duration like 20/1m, and perhaps a burst like 5, found "20/1m -1"`,
		`{"budget":{"tokens":1,"per":-1}}`:                   `budget: expected tokens per duration like 100000/24h, found "1/-1ns"`,
		`{"max_connections":{"total":-1}}`:                   `max_connections: expected a whole number (0 is no limit), and perhaps per_user and a number from 1, found "-1 per_user 0"`,
		`{"name":"a b","durability":"paranoid","context":1}`: "name: expected letters, digits and underscores, found \"a b\"\ncontext: expected a whole number from 100 to 2147483647, found \"1\"\ndurability: expected default or strict, found \"paranoid\"",
	} {
		var h Handler
		if err := json.Unmarshal([]byte(config), &h); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := h.Validate(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", config, got, want)
		}
	}
}

// TestDefaults holds that the table's defaults are there when nothing is configured, and valid.
func TestDefaults(t *testing.T) {
	h := &Handler{OnDisconnect: &OnDisconnect{Policy: "finish"}, MaxPending: 2}
	for range 2 { // the second changes nothing
		if err := h.SetDefaults(); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(h)
		const want = `{"name":"assistants","description":"AI Assistant WebSocket API","tags":["ai","chat"],"address":"/ws/assistants/",` +
			`"context":16000,"context_images":4,"image_tokens":1000,"titles":"question","reasoning":"keep","tools_for":"users","max_steps":8,"max_parallel":4,"tool_timeout":30000000000,"approval_timeout":86400000000000,"store":{"name":"memory"},"durability":"default",` +
			`"on_disconnect":{"policy":"finish","max":300000000000},"user":"{http.auth.user.id}","max_message_size":1048576,` +
			`"max_pending":2,"ping_interval":25000000000,"write_timeout":10000000000,"drain_timeout":4000000000,"resume_window":600000000000,` +
			`"write_rate":{"writes":60,"per":60000000000,"burst":20},"ipv6_prefix":{"bits":64,"wider":48,"times":16},"max_answer":200000}`
		if err != nil || string(got) != want {
			t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
		}
		if err := h.Validate(); err != nil {
			t.Error(err)
		}
	}
}

package e2e

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestStartWithoutStore: a store that is away when Caddy starts keeps nobody from the site, nor from a conversation
// of the connection's own. What needs the store is refused until it is back.
func TestStartWithoutStore(t *testing.T) {
	for name, test := range map[string]struct {
		store string
		begin func(o *outage)
		heal  func(o *outage)
	}{
		"SQLite on a full disk": {"sqlite {$HOME}/disk/chat.db", func(o *outage) {
			o.onSmallDiskThat(`head -c 16m /dev/zero > "$HOME/disk/filler" 2>/dev/null; `)
		}, (*outage).emptyDisk},
		"PostgreSQL": {"postgres {env.DSN}", func(o *outage) {
			o.postgres = harness.StartPostgres(t)
			o.postgres.Stop(t)
			o.env = []string{"DSN=" + o.postgres.DSN}
			o.start()
		}, func(o *outage) { o.postgres.Start(t) }},
	} {
		t.Run(name, func(t *testing.T) {
			o := &outage{hostileStore: hostileStore{store: test.store}, t: t}
			test.begin(o)
			o.WaitLog(t, func(e harness.Entry) bool { return e["msg"] == "store cannot be opened; trying again" })
			response, err := http.Get("http://" + o.Addr + "/page")
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			o.chat()
			c := harness.Dial(t, o.Caddy)
			c.Send(`{"action":"create_conversation","ref":"early"}`)
			if f := c.Until("error"); !strings.Contains(f[len(f)-1].Text, "storage_unavailable") {
				t.Errorf("without a store: %s", f[len(f)-1].Text)
			}
			test.heal(o)
			o.WaitLog(t, func(e harness.Entry) bool { return e["msg"] == "store is open now" })
			c.Send(`{"action":"create_conversation","ref":"late"}`)
			c.Until("conversation_created")
		})
	}
}

// TestDamagedStore: damaged pages are told in the log, and what can be read is served.
func TestDamagedStore(t *testing.T) {
	home := t.TempDir()
	file := home + "/chat.db"
	site := harness.Site("assistant /ws/assistants/* {\n provider demo {\n delay 1ms\n}\n user {query.user}\n write_rate 1000/1s\n store sqlite " + file + "\n}")
	c := harness.Start(t, site)
	client := harness.Dial(t, c)
	for range 200 {
		client.Send(`{"action":"create_conversation","payload":{"title":"` + strings.Repeat("t", 190) + `"}}`)
		client.Until("conversation_created")
	}
	c.Stop(t)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[len(data)/2:], strings.Repeat("\xa5", 3*4096))
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	c = harness.Start(t, site)
	c.WaitLog(t, func(e harness.Entry) bool {
		return e["level"] == "error" && strings.HasPrefix(e["msg"].(string), "store is damaged")
	})
	harness.Dial(t, c).Ask("Are you there?")
}

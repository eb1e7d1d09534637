package endpoint

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	"github.com/caddyserver/caddy/v2"
)

// TestOneHandler: a block with two addresses, which Caddy makes two servers of, and one that two sites import, is one
// assistant. What is stored through one address is there at the other, and connections are counted together.
func TestOneHandler(t *testing.T) {
	for name, form := range map[string]string{
		"two addresses":     "%s, %s {\n%s}\n",
		"imported by sites": "%[1]s {\n import chat\n}\n%[2]s {\n import chat\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			s, other := caddytest.NewSite(t), caddytest.NewSite(t)
			handler := caddytest.Handler("pieces 1", "name "+caddytest.Fresh()+"\n store sqlite "+t.TempDir()+"/chat.db\n max_connections 2")
			a, b := fmt.Sprintf("http://127.0.0.1:%d", s.Port), fmt.Sprintf("http://127.0.0.1:%d", other.Port)
			if strings.Contains(form, "import") {
				form = "(chat) {\n" + handler + "}\n" + fmt.Sprintf(form, a, b)
			} else {
				form = fmt.Sprintf(form, a, b, handler)
			}
			if err := s.LoadCaddyfile(form); err != nil {
				t.Fatal(err)
			}
			if n := len(Running()); n != 1 {
				t.Errorf("%d handlers run, want 1", n)
			}
			topic := s.Dial("user=ann").CreateConversation()
			c := other.Dial("user=ann")
			c.Send(`{"action":"list_conversations"}`)
			if f := c.Until("conversations"); !strings.Contains(string(f.Payload), strings.TrimPrefix(topic, "conversation:")) {
				t.Errorf("the other address has %s", f.Payload)
			}
			if _, status, _ := other.TryDial("user=bob", nil); status != 503 {
				t.Errorf("the third connection got %d, want 503", status)
			}
		})
	}
}

// TestRename gives a handler another name while it answers: its conversations, its sockets and the answer stay, and so
// they do when a second rename is refused.
func TestRename(t *testing.T) {
	s, before, after := caddytest.NewSite(t), caddytest.Fresh(), caddytest.Fresh()
	store := "store sqlite " + t.TempDir() + "/chat.db\n"
	load := func(name, model, more string) error {
		return s.Load(caddytest.Handler("model "+model+"\n pieces 200", "name "+name+"\n"+store) + "metrics /metrics\n" + more)
	}
	if err := load(before, "old", ""); err != nil {
		t.Fatal(err)
	}
	c := s.Dial("user=ann")
	topic := c.CreateConversation()
	c.AskIn(topic, "count")
	c.Until("streaming_start")
	hub := Running()[0].Hub()
	if err := load(after, "young", ""); err != nil {
		t.Fatal(err)
	}
	if err := load(caddytest.Fresh(), "refused", "}\nhttp://127.0.0.2:1 {\n bind 192.0.2.1\n"); err == nil {
		t.Fatal("a configuration with an address that is not ours was loaded")
	}
	if h := Running(); len(h) != 1 || h[0].Name != after || h[0].Hub() != hub {
		t.Errorf("running are %v", h)
	}
	_, text, _, err := c.Answer()
	if want := (&caddytest.Counting{Name: "old", Pieces: 200}).Want(""); err != nil || text != want {
		t.Errorf("the running answer: %v, text %q, want %q", err, text, want)
	}
	c.AskIn(topic, "again")
	if model, _, _, err := c.Answer(); err != nil || model != "young" {
		t.Errorf("the next answer is of %q, %v", model, err)
	}
	found := s.Scrape()
	for series, want := range map[string]string{
		fmt.Sprintf(`caddy_assistant_providers_healthy{handler=%q,model="young",provider="counting"}`, after): "1",
		fmt.Sprintf(`caddy_assistant_providers_healthy{handler=%q,model="old",provider="counting"}`, before):  "",
		fmt.Sprintf(`caddy_assistant_open_sockets{handler=%q}`, before):                                       "1",
	} {
		if found[series] != want {
			t.Errorf("%s = %q, want %q", series, found[series], want)
		}
	}
	d := s.Dial("user=ann")
	d.Send(`{"action":"list_conversations"}`)
	if f := d.Until("conversations"); !strings.Contains(string(f.Payload), strings.TrimPrefix(topic, "conversation:")) {
		t.Errorf("after the rename: %s", f.Payload)
	}
}

// TestRenameWithoutPath renames a handler whose file is called after it: the same reload names the file.
func TestRenameWithoutPath(t *testing.T) {
	s, before := caddytest.NewSite(t), caddytest.Fresh()
	s.MustLoad(caddytest.Handler("pieces 1", "name "+before+"\n store sqlite"))
	hub := Running()[0].Hub()
	file := filepath.Join(caddy.AppDataDir(), "assistant", before+".db")
	s.MustLoad(caddytest.Handler("pieces 1", "name "+caddytest.Fresh()+"\n store sqlite "+file))
	if Running()[0].Hub() != hub {
		t.Error("the store is another one")
	}
}

package endpoint

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
)

// TestProvidersHealthy shows a provider that fails, and the one that answers instead, over a reload.
func TestProvidersHealthy(t *testing.T) {
	s, name := caddytest.NewSite(t), caddytest.Fresh()
	config := "assistant /ws/* {\n name " + name + "\n provider openai down {\n base_url http://127.0.0.1:1/v1\n model m\n max_retries 0\n }\n provider counting {\n model spare\n pieces 1\n }\n}\nmetrics /metrics\n"
	s.MustLoad(config)
	series := func(provider, model string) string {
		return s.Scrape()[fmt.Sprintf(`caddy_assistant_providers_healthy{handler=%q,model=%q,provider=%q}`, name, model, provider)]
	}
	if got := series("down", "m"); got != "1" {
		t.Errorf("at first %q, want 1", got)
	}
	c := s.Dial("")
	for range 5 { // the fourth and the fifth do not ask it
		c.Send(`{"action":"assistant_message","payload":"x","ref":"1"}`)
		if _, _, _, err := c.Answer(); err != nil {
			t.Fatal(err)
		}
	}
	if down, spare := series("down", "m"), series("counting", "spare"); down != "0" || spare != "1" {
		t.Errorf("after five questions %q and %q, want 0 and 1", down, spare)
	}
	found := s.Scrape()
	for metric, want := range map[string]string{
		`provider_errors_total{handler=NAME,model="m",provider="down",reason="provider_unavailable"}`: "3",
		`fallbacks_total{handler=NAME,model="spare",provider="counting"}`:                             "5",
	} {
		if got := found[strings.Replace("caddy_assistant_"+metric, "NAME", strconv.Quote(name), 1)]; got != want {
			t.Errorf("%s = %q, want %s", metric, got, want)
		}
	}
	if s.Load("assistant /ws/* {\n name "+name+"\n store sqlite /proc/none/chat.db\n provider demo\n}\n") == nil {
		t.Error("a store that cannot be opened was taken")
	}
	if got := series("down", "m"); got != "0" {
		t.Errorf("after a configuration that was refused %q, want 0", got)
	}
	v, _ := hubs.LoadOrStore(hubKey{handler: name, store: "memory of " + name}, nil)
	hub := v.(*pooledHub)
	hub.release()
	s.MustLoad("metrics /metrics\n")
	<-hub.gone
	if got := series("down", "m"); got != "" {
		t.Errorf("the handler is gone, and its provider is %q", got)
	}
}

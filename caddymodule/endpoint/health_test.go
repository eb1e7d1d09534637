package endpoint

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	"github.com/gorilla/websocket"
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
	v, _ := hubs.LoadOrStore(hubKey{store: "memory of " + name}, nil)
	hub := v.(*pooledHub)
	hub.release()
	s.MustLoad("metrics /metrics\n")
	<-hub.gone
	if got := series("down", "m"); got != "" {
		t.Errorf("the handler is gone, and its provider is %q", got)
	}
}

// askHealth returns the status and the body of a health path.
func askHealth(t *testing.T, s *caddytest.Site, method string) (int, Health) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d/ready", s.Port), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var health Health
	body, _ := io.ReadAll(response.Body)
	if method == http.MethodGet && json.Unmarshal(body, &health) != nil {
		t.Errorf("the health is %q", body)
	}
	if text := string(body); strings.Contains(text, "secret") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("the health tells too much: %s", text)
	}
	return response.StatusCode, health
}

// TestHealth asks at the path that a Caddyfile adds to the matcher: while all is well, while the only provider is
// passed over, during a drain and after it.
func TestHealth(t *testing.T) {
	s, name := caddytest.NewSite(t), caddytest.Fresh()
	s.MustLoad("assistant /ws/* {\n name " + name + "\n health /ready\n store sqlite " + t.TempDir() + "/secret.db\n provider openai down {\n api_key sk-secret\n base_url http://127.0.0.1:1/v1\n model m\n max_retries 0\n }\n}\nrespond site\n")
	expect := func(when string, code int, status Status, state chain.CircuitState) {
		t.Helper()
		want := Health{name, status, StoreHealth{"sqlite", StatusOK}, []ProviderHealth{{"down", "m", state}}, status == StatusDraining}
		if got, health := askHealth(t, s, http.MethodGet); got != code || !reflect.DeepEqual(health, want) {
			t.Errorf("%s: got %d %+v, want %d %+v", when, got, health, code, want)
		}
	}
	expect("at first", 200, StatusOK, chain.CircuitClosed)
	c := s.Dial("")
	for range 3 {
		c.Send(`{"action":"assistant_message","payload":"x","ref":"1"}`)
		c.Until("complete_streaming")
	}
	expect("without a provider", 200, StatusDegraded, chain.CircuitOpen)
	hub := Running()[0].Hub()
	hub.Drain(t.Context())
	expect("during a drain", 503, StatusDraining, chain.CircuitOpen)
	hub.Resume()
	expect("after it", 200, StatusDegraded, chain.CircuitOpen)
	for method, want := range map[string]int{http.MethodHead: 200, http.MethodPost: 405} {
		if got, _ := askHealth(t, s, method); got != want {
			t.Errorf("%s: got %d, want %d", method, got, want)
		}
	}
}

// TestHealthWithoutStore starts without a server of the database.
func TestHealthWithoutStore(t *testing.T) {
	s, name := caddytest.NewSite(t), caddytest.Fresh()
	s.MustLoad(caddytest.Handler("pieces 1", "name "+name+"\n health /ready\n store postgres postgres://ann:secret@127.0.0.1:1/chat"))
	if code, health := askHealth(t, s, http.MethodGet); code != 503 || health.Status != StatusUnavailable || health.Store != (StoreHealth{"postgres", StatusUnavailable}) {
		t.Errorf("got %d %+v", code, health)
	}
	c := s.Dial("user=ann")
	c.Send(`{"action":"assistant_message","payload":"x","ref":"1"}`)
	if _, _, _, err := c.Answer(); err != nil {
		t.Errorf("a conversation that needs no store: %v", err)
	}
	c.Send(`{"action":"list_conversations"}`)
	if f := c.Until("error"); !strings.Contains(string(f.Payload), "storage_unavailable") {
		t.Errorf("got %s", f.Payload)
	}
	_, response, err := websocket.DefaultDialer.Dial(fmt.Sprintf("ws://127.0.0.1:%d/ws/?user=ann&conversation=00000000-0000-4000-8000-000000000000", s.Port), nil)
	if err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("a bound socket: got %v, %v", response, err)
	}
}

// TestHealthIsNoSocket holds that no spelling of the health path, which stands outside of a site's sign-in, opens a
// socket.
func TestHealthIsNoSocket(t *testing.T) {
	s := caddytest.NewSite(t)
	s.MustLoad("basic_auth /ws/* {\n ann $2a$14$tFvlLOM4KD35Fo.9KzpdSOaTjw9KY/SMi/aZslSfJ/u0NZkTfgWs.\n}\nassistant /ws/* {\n name " + caddytest.Fresh() + "\n health /ready\n provider demo\n}\n")
	for path, want := range map[string]int{"/ws/": 401, "/ready": 200, "/READY": 200, "/./ready": 200, "//ready": 200, "/x/../ready": 200} {
		conn, response, err := websocket.DefaultDialer.Dial(fmt.Sprintf("ws://127.0.0.1:%d%s", s.Port, path), nil)
		if conn != nil {
			_ = conn.Close()
		}
		if err == nil || response == nil || response.StatusCode != want {
			t.Errorf("%s: %v, %v", path, response, err)
		}
	}
}

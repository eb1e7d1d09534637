package endpoint

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	"github.com/gorilla/websocket"
)

// inquire asks the socket's address for JSON.
func inquire(t *testing.T, s *caddytest.Site, query string, header http.Header) (res *http.Response, limits map[string]int64) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/ws/?%s", s.Port, query), nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Accept", "text/plain;q=0.1, Application/JSON;q=1")
	if res, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var body struct{ Limits map[string]int64 }
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(&body); err != nil || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("the body is no JSON: %v, %v", err, res.Header)
		}
	}
	return res, body.Limits
}

// TestInquiry: it is answered as a handshake would be, only pages that may connect can read the answer, and it takes
// no place among the connections.
func TestInquiry(t *testing.T) {
	const friend, stranger, own = "https://friend.example", "https://stranger.example", "own"
	for _, test := range []struct {
		name, settings, query string
		header                http.Header
		status                int
		refusal, allowed      string
	}{
		{"no page", "", "", nil, 200, "", ""},
		{"own page", "", "", http.Header{"Referer": {own}}, 200, "", ""},
		{"own page, with its origin", "", "", http.Header{"Origin": {own}}, 200, "", own},
		{"foreign page", "", "", http.Header{"Origin": {stranger}}, 403, "foreign_origin", ""},
		{"allowed page", "origins " + friend, "", http.Header{"Origin": {friend}}, 200, "", friend},
		{"page that is not allowed", "origins " + friend, "", http.Header{"Origin": {stranger}}, 403, "foreign_origin", ""},
		{"own page that is not allowed", "origins " + friend, "", http.Header{"Referer": {own}}, 403, "foreign_origin", ""},
		{"any page", "origins *", "", http.Header{"Origin": {stranger}}, 200, "", stranger},
		{"foreign conversation", "origins *", "user=ann&conversation=x", http.Header{"Origin": {friend}}, 404, "not_found", friend},
		{"name that is none", "", "user=%00", nil, 400, "400", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := caddytest.NewSite(t) // at a port of its own: after a reload, a connection may still reach the old settings
			here := fmt.Sprintf("http://127.0.0.1:%d", s.Port)
			header := http.Header{}
			for key, values := range test.header {
				header.Set(key, strings.Replace(values[0], own, here, 1))
			}
			allowed := strings.Replace(test.allowed, own, here, 1)
			s.MustLoad(caddytest.Handler("pieces 1", test.settings+"\nmax_question_length 12\nmax_connections 1"))
			for range 2 { // the first leaves nothing behind
				res, limits := inquire(t, s, test.query, header)
				if res.StatusCode != test.status || res.Header.Get("Assistant-Refusal") != test.refusal {
					t.Errorf("%d %q, want %d %q", res.StatusCode, res.Header.Get("Assistant-Refusal"), test.status, test.refusal)
				}
				if got := res.Header.Get("Access-Control-Allow-Origin"); got != allowed || (got != "") != (res.Header.Get("Access-Control-Allow-Credentials") == "true") {
					t.Errorf("%v, want readable by %q", res.Header, allowed)
				}
				if got := limits["max_question_length"]; test.status == 200 && got != 12 {
					t.Errorf("the limits are %v", limits)
				}
			}
		})
	}

	s, handler := caddytest.NewSite(t), caddytest.Fresh()
	s.MustLoad(caddytest.Handler("pieces 1", "name "+handler+"\nmax_connections 1") + "\nmetrics /metrics")
	s.Dial("user=ann")
	res, _ := inquire(t, s, "user=bob", http.Header{"Origin": {fmt.Sprintf("http://127.0.0.1:%d", s.Port)}})
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "1" || res.Header.Get("Assistant-Refusal") != "max_connections" {
		t.Errorf("full: %d %v", res.StatusCode, res.Header)
	}
	conn, response, err := websocket.DefaultDialer.Dial(fmt.Sprintf("ws://127.0.0.1:%d/ws/", s.Port), nil)
	if err == nil {
		_ = conn.Close()
		t.Fatal("a second socket was opened")
	}
	if got := response.Header.Get("Assistant-Refusal"); got != "max_connections" {
		t.Errorf("the handshake is refused as %q", got)
	}
	if got := s.Scrape()[fmt.Sprintf(`caddy_assistant_refused_upgrades_total{handler=%q,reason="max_connections"}`, handler)]; got != "1" {
		t.Errorf("%q refused sockets are counted, want the handshake and no inquiry", got)
	}
}

package endpoint

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	"github.com/gorilla/websocket"
)

// warnings has a site write its handlers' warnings to a file, and returns how to read them.
func warnings(t *testing.T, s *caddytest.Site) func() []map[string]any {
	file := t.TempDir() + "/log"
	s.Options = "log warnings {\n output file " + file + "\n level WARN\n include http.handlers.assistant\n}\n"
	return func() (lines []map[string]any) {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fields)
		}
		return lines
	}
}

// TestForeignOrigin: a page that may not connect is told so in a sentence, and the log has one line a minute with both
// names and what to do.
func TestForeignOrigin(t *testing.T) {
	const origin = "https://www.example.com"
	for name, test := range map[string]struct{ settings, hint, listed string }{
		"own site":   {"", "proxy_set_header Host $http_host", ""},
		"other list": {"origins https://friend.example", "add its origin to origins", "[https://friend.example]"},
	} {
		t.Run(name, func(t *testing.T) {
			s, handler := caddytest.NewSite(t), caddytest.Fresh()
			logged := warnings(t, s)
			s.MustLoad(caddytest.Handler("pieces 1", test.settings+"\nname "+handler) + "metrics /metrics\n")
			for range 5 {
				_, res, err := websocket.DefaultDialer.Dial(fmt.Sprintf("ws://127.0.0.1:%d/ws/", s.Port), http.Header{"Origin": {origin}})
				if err == nil || res.StatusCode != http.StatusForbidden {
					t.Fatalf("got %v, %v, want 403", res, err)
				}
				body, _ := io.ReadAll(res.Body)
				if text := string(body); !strings.HasPrefix(text, "Pages of this origin may not connect") || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
					t.Errorf("the body is %q, %v", text, res.Header)
				}
				if got := res.Header.Get(refusalHeader); got != "foreign_origin" {
					t.Errorf("it is refused as %q", got)
				}
			}
			lines := logged()
			if len(lines) != 1 {
				t.Fatalf("%d lines for five refusals: %v", len(lines), lines)
			}
			line := lines[0]
			if line["origin"] != origin || line["host"] != fmt.Sprintf("127.0.0.1:%d", s.Port) || line["handler"] != handler || !strings.Contains(fmt.Sprint(line["hint"]), test.hint) {
				t.Errorf("logged is %v", line)
			}
			if got := line["origins"]; test.listed == "" && got != nil || test.listed != "" && fmt.Sprint(got) != test.listed {
				t.Errorf("the origins in the log are %v", got)
			}
			if got := s.Scrape()[fmt.Sprintf(`caddy_assistant_refused_upgrades_total{handler=%q,reason="foreign_origin"}`, handler)]; got != "5" {
				t.Errorf("%q refusals are counted, want 5", got)
			}
		})
	}
}

// TestRefusalByErrorRoutes: what a site's handle_errors answers is the site's.
func TestRefusalByErrorRoutes(t *testing.T) {
	s := caddytest.NewSite(t)
	s.MustLoad(caddytest.Handler("pieces 1", "") + "handle_errors {\n respond \"custom {err.status_code}\" 403\n}")
	for header, want := range map[string]int{"": http.StatusUpgradeRequired, "https://evil.example": http.StatusForbidden} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/ws/", s.Port), nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			req.Header = http.Header{"Origin": {header}, "Accept": {"application/json"}}
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if text := string(body); text != fmt.Sprintf("custom %d", want) {
			t.Errorf("%q: %d %q", header, res.StatusCode, text)
		}
	}
}

// TestCountedAsOne warns once where a limit cannot tell clients apart.
func TestCountedAsOne(t *testing.T) {
	for settings, want := range map[string]int{"": 0, "rate 10/1m": 1} {
		s, socket := caddytest.NewSite(t), t.TempDir()+"/chat.sock"
		logged := warnings(t, s)
		s.MustLoad("bind unix/" + socket + "\n" + caddytest.Handler("pieces 1", settings+"\nname "+caddytest.Fresh()))
		dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return net.Dial("unix", socket) }}
		for range 2 {
			conn, _, err := dialer.Dial(fmt.Sprintf("ws://127.0.0.1:%d/ws/", s.Port), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
		lines := logged()
		if len(lines) != want || want == 1 && !strings.Contains(fmt.Sprint(lines[0]["msg"]), "trusted_proxies_unix") {
			t.Errorf("%q: logged is %v, want %d lines", settings, lines, want)
		}
	}
}

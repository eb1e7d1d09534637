package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestRefusedUpgrades: requests that get no socket get an HTTP status, which handle_errors can render.
func TestRefusedUpgrades(t *testing.T) {
	const page = `
		handle_errors {
			respond "our own page for {err.status_code}"
		}
	`
	for name, rendered := range map[string]bool{"default": false, "handle_errors": true} {
		t.Run(name, func(t *testing.T) {
			directives := demo
			if rendered {
				directives += page
			}
			c := harness.Start(t, harness.Site(directives))
			for _, refusal := range []struct {
				name   string
				header http.Header
				status int
			}{
				{"plain GET", nil, http.StatusUpgradeRequired},
				{"foreign origin", harness.Upgrade("https://evil.example"), http.StatusForbidden},
				{"other port", harness.Upgrade("http://127.0.0.1:1"), http.StatusForbidden},
				{"opaque origin", harness.Upgrade("null"), http.StatusForbidden},
			} {
				t.Run(refusal.name, func(t *testing.T) {
					response, body := harness.Fetch(t, c.URL(harness.AssistantPath), refusal.header)
					if response.StatusCode != refusal.status {
						t.Errorf("status = %s, want %d", response.Status, refusal.status)
					}
					// RFC 9110, 15.5.22: a 426 names the protocol to upgrade to.
					if refusal.status == http.StatusUpgradeRequired && response.Header.Get("Upgrade") != "websocket" {
						t.Errorf("Upgrade = %q, want websocket", response.Header.Get("Upgrade"))
					}
					if got := strings.HasPrefix(body, "our own page for "); got != rendered {
						t.Errorf("rendered by handle_errors: %t, want %t; body: %q", got, rendered, body)
					}
				})
			}
		})
	}
}

// TestOrigins: who is let in, by configuration.
func TestOrigins(t *testing.T) {
	for _, test := range []struct {
		name, setting, origin string
		status                int
	}{
		{"same host", "", "http://{site}", http.StatusSwitchingProtocols},
		{"listed", "origins https://app.example", "https://app.example", http.StatusSwitchingProtocols},
		{"not listed", "origins https://app.example", "https://app.example.evil.example", http.StatusForbidden},
		{"any", "origins *", "https://evil.example", http.StatusSwitchingProtocols},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := harness.Start(t, harness.Site("assistant /ws/assistants/* {\n provider demo\n "+test.setting+"\n}"))
			origin := strings.ReplaceAll(test.origin, "{site}", c.Addr)
			if status := harness.Handshake(t, c, origin); status != test.status {
				t.Errorf("status = %d, want %d", status, test.status)
			}
		})
	}
}

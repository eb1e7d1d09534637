package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// freeze opens a stored conversation and asks for more of it than any window on the way holds, and reads none of it.
func freeze(t *testing.T, c *harness.Caddy, protocol string) {
	t.Helper()
	client := harness.DialBy(t, c, protocol)
	v := open(t, client, client.Create())
	v.send("send_message", fmt.Sprintf(`{"content":%q}`, strings.Repeat("x", 900_000)))
	v.Until("complete_streaming")
	for range 15 {
		client.Send(`{"action":"list_messages","payload":{"conversation_id":"` + v.id + `"}}`)
	}
}

const hold = "assistant /ws/assistants/* {\n provider demo {\n delay 1ms\n}\n context 1000000\n drain_timeout 1s\n %s}\n"

// TestFrozenClient: a client that does not read is dropped within write_timeout and the half second of a goodbye,
// by each version of HTTP.
func TestFrozenClient(t *testing.T) {
	for _, protocol := range harness.Protocols {
		t.Run(protocol, func(t *testing.T) {
			c := harness.StartSecure(t, fmt.Sprintf(hold, "write_timeout 2s\n"))
			began := time.Now()
			freeze(t, c, protocol)
			// By HTTP/2 the deadline resets the stream, which the reader may see first.
			c.WaitLog(t, func(e harness.Entry) bool {
				return e["msg"] == "session ended" && (e["cause"] == "timeout" || protocol == "HTTP/2")
			})
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("dropped after %v", took)
			}
		})
	}
}

// TestExitWithFrozenClients: an exit waits for no client that does not read, by whatever version of HTTP; neither for
// one that has nothing to read.
func TestExitWithFrozenClients(t *testing.T) {
	for _, protocol := range harness.Protocols {
		t.Run(protocol, func(t *testing.T) {
			c := harness.StartSecure(t, fmt.Sprintf(hold, ""))
			freeze(t, c, protocol)
			harness.DialBy(t, c, protocol).Send(`{"action":"ping"}`)
			began := time.Now()
			c.Signal(t, syscall.SIGTERM)
			c.Ended(t)
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("ended after %v", took)
			}
		})
	}
}

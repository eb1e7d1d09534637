package e2e

import (
	"syscall"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/coder/websocket"
)

// TestStopEndsSockets: a server that is told to stop says so to its clients and ends cleanly, also in the
// middle of an answer.
func TestStopEndsSockets(t *testing.T) {
	c := harness.Start(t, harness.Site(`
		assistant /ws/assistants/* {
			provider demo {
				delay 1h
			}
		}
	`))
	idle, busy := harness.Dial(t, c), harness.Dial(t, c)
	busy.Ask("Will you ever answer?")
	busy.Until("streaming_start")
	c.Signal(t, syscall.SIGTERM)
	for name, client := range map[string]*harness.Client{"idle": idle, "busy": busy} {
		if got, _ := client.CloseStatus(); got != websocket.StatusServiceRestart {
			t.Errorf("the %s socket was closed with %d, want %d", name, got, websocket.StatusServiceRestart)
		}
	}
	c.Ended(t)
}

// TestReloadKeepsSockets: a new configuration does not touch the sockets of the old one.
func TestReloadKeepsSockets(t *testing.T) {
	const changed = "header X-Generation two\n"
	c := harness.Start(t, harness.Site(slowDemo))
	client := harness.Dial(t, c)
	client.Ask("Do you survive?")
	client.Until("streaming")
	c.Reload(t, harness.Site(changed+slowDemo))
	if response, _ := c.Get(t, "/"); response.Header.Get("X-Generation") != "two" {
		t.Error("the new configuration is not in force")
	}
	client.Until("complete_streaming")
	client.Ask("And now?")
	client.Until("complete_streaming")
}

// TestForceQuit: a second signal ends the process at once, whichever it is, though answers are under way that could go
// on for long.
func TestForceQuit(t *testing.T) {
	for name, signals := range map[string][2]syscall.Signal{
		"SIGTERM twice":        {syscall.SIGTERM, syscall.SIGTERM},
		"SIGINT, then TERM":    {syscall.SIGINT, syscall.SIGTERM},
		"SIGTERM, then Ctrl-C": {syscall.SIGTERM, syscall.SIGINT},
	} {
		t.Run(name, func(t *testing.T) {
			c := harness.Start(t, harness.Site(`
				assistant /ws/assistants/* {
					drain_timeout 1h
					provider demo {
						delay 1h
					}
				}
			`))
			client := harness.Dial(t, c)
			client.Send(`{"action":"assistant_message","payload":"Will you ever answer?","ref":"1"}`)
			client.Until("streaming_start")
			c.Signal(t, signals[0])
			client.Until("notice") // that the server drains
			c.Signal(t, signals[1])
			if code := c.Exited(t); code != 2 {
				t.Errorf("caddy ended with %d, want 2", code)
			}
		})
	}
}

package e2e

import (
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

const slowDemo = `
	assistant /ws/assistants/* {
		provider demo {
			delay 10ms
		}
	}
`

// TestAnswersAtOnce: sockets do not wait for each other.
func TestAnswersAtOnce(t *testing.T) {
	const sockets, factor = 10, 2.5 // one after the other they would take a factor of 10
	c := harness.Start(t, harness.Site(slowDemo))
	alone := answerTime(t, c, 1)
	together := answerTime(t, c, sockets)
	t.Logf("one answer takes %s, %d at once take %s", alone, sockets, together)
	if limit := time.Duration(factor * float64(alone)); together > limit {
		t.Errorf("%d answers at once took %s, more than %s", sockets, together, limit)
	}
}

// answerTime is how long the demo takes to answer n sockets that ask at the same time.
func answerTime(t *testing.T, c *harness.Caddy, n int) time.Duration {
	t.Helper()
	clients := make([]*harness.Client, n)
	for i := range clients {
		clients[i] = harness.Dial(t, c)
	}
	start := time.Now()
	for _, client := range clients {
		client.Ask("How long?")
	}
	for _, client := range clients { // what the others are sent meanwhile waits in their sockets
		client.Until("complete_streaming")
	}
	return time.Since(start)
}

// TestPingDuringAnswer: a ping does not wait for the end of an answer.
func TestPingDuringAnswer(t *testing.T) {
	c := harness.Start(t, harness.Site(slowDemo))
	client := harness.Dial(t, c)
	client.Ask("Tell me much.")
	client.Until("streaming")
	sent := time.Now()
	client.Send(`{"action":"ping"}`)
	var pong time.Duration
	for _, frame := range client.Until("complete_streaming") {
		if frame.Action == "pong" {
			pong = frame.At.Sub(sent)
		}
	}
	t.Logf("the pong came after %s, the answer ended after %s", pong, time.Since(sent))
	if pong == 0 {
		t.Error("the pong came after the answer")
	}
}

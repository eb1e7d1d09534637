package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/coder/websocket"
)

// TestLimitsOfServers: servers that share a database count together, and go on counting after a restart.
func TestLimitsOfServers(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("These are about ten tokens of text here.")
		call.Finish()
	})
	cluster := harness.StartCluster(t, harness.ClusterConfig{Nodes: 2, Assistants: []harness.Assistant{
		{Name: "rated", Path: "/ws/rated/", Upstream: upstream.URL, Settings: "rate 2/1h"},
		{Name: "paid", Path: "/ws/paid/", Upstream: upstream.URL, Settings: "budget 8/1h"},
		{Name: "single", Path: "/ws/single/", Upstream: upstream.URL, Settings: "max_connections 0 per_user 1"},
	}})
	one, two := cluster.Nodes[0].Caddy, cluster.Nodes[1].Caddy
	for _, c := range []*harness.Caddy{one, two} {
		client := harness.DialPath(t, c, "/ws/rated/?user=ann")
		client.Ask("Hi")
		client.Until("complete_streaming")
		client.Vanish()
	}
	client := harness.DialPath(t, one, "/ws/paid/?user=ann")
	client.Ask("Hi")
	client.Until("complete_streaming")
	one.Stop(t)
	one.Again(t)
	for _, c := range []*harness.Caddy{one, two} {
		expectRefused(t, harness.DialPath(t, c, "/ws/rated/?user=ann"), "rate_limited")
		expectRefused(t, harness.DialPath(t, c, "/ws/paid/?user=ann"), "budget_exceeded")
		other := harness.DialPath(t, c, "/ws/rated/?user=bob")
		other.Ask("Hi")
		other.Until("complete_streaming")
	}
	if n := len(upstream.Calls); n != 5 {
		t.Errorf("the model was asked %d times", n)
	}
}

// TestConnectionsOfServers: a user's connections count over all servers; those of a server that is gone do not.
func TestConnectionsOfServers(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) { call.Finish() })
	cluster := harness.StartCluster(t, harness.ClusterConfig{Nodes: 2, Assistants: []harness.Assistant{
		{Name: "single", Path: "/ws/single/", Upstream: upstream.URL, Settings: "max_connections 0 per_user 1"},
	}})
	one, two := cluster.Nodes[0].Caddy, cluster.Nodes[1].Caddy
	// connect returns a connection; nil where it is refused.
	connect := func(c *harness.Caddy) *websocket.Conn {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
		defer cancel()
		conn, response, err := websocket.Dial(ctx, c.URL("/ws/single/?user=ann"), nil)
		if err != nil && (response == nil || response.StatusCode != http.StatusServiceUnavailable) {
			t.Fatalf("open socket: %v", err)
		}
		return conn
	}
	admitted := func(step string, c *harness.Caddy) (conn *websocket.Conn) {
		t.Helper()
		for deadline := time.Now().Add(harness.Patience); conn == nil; conn = connect(c) {
			if time.Sleep(100 * time.Millisecond); time.Now().After(deadline) {
				t.Fatalf("%s: still refused", step)
			}
		}
		return conn
	}
	first := admitted("at first", one)
	if connect(one) != nil || connect(two) != nil {
		t.Error("a second connection was let through")
	}
	first.CloseNow()
	admitted("after the first is closed", two).CloseNow()
	admitted("and once more", one)
	one.Crash(t)
	admitted("after its server has died", two)
	one.Again(t)
	if connect(one) != nil {
		t.Error("a second connection was let through after a crash")
	}
}

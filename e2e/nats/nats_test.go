// Package nats tests the broker over NATS with a server in the process, whose network fails.
package nats

import (
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/brokertest"
	"github.com/caddy-assistant/caddy-assistant/assistant/nats"
	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

// newBroker returns a broker that reaches the server at an address.
func newBroker(t testing.TB, url string) assistant.Broker {
	t.Helper()
	b, err := nats.New(nats.Config{URLs: []string{url}, Prefix: "test.prefix"}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cluster is nodes that reach a server directly.
func cluster(t testing.TB) brokertest.Cluster {
	t.Helper()
	server := harness.StartNats(t)
	return brokertest.Cluster{Broker: func() assistant.Broker { return newBroker(t, server.URL(server.Addr)) }}
}

func TestBroker(t *testing.T) {
	brokertest.TestBroker(t, brokertest.Options{}, func(t *testing.T) brokertest.Cluster { return cluster(t) })
}

// TestBrokerFar: each node is 20 ms away from the server, and the network is uneven.
func TestBrokerFar(t *testing.T) {
	proxies := goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*Proxy).freeBlocker")
	brokertest.TestBroker(t, brokertest.Options{Ignore: []goleak.Option{proxies}}, func(t *testing.T) brokertest.Cluster {
		server := harness.StartNats(t)
		links := make([]*harness.Link, 4) // no test has more nodes, and those that open again keep theirs
		for i := range links {
			links[i] = harness.NewLink(t, server.Addr)
			links[i].Slow(t, 10*time.Millisecond, 5*time.Millisecond)
		}
		next := 0
		return brokertest.Cluster{Broker: func() assistant.Broker {
			next++
			return newBroker(t, server.URL(links[next%len(links)].Addr))
		}}
	})
}

func BenchmarkBroker(b *testing.B) {
	brokertest.BenchmarkBroker(b, brokertest.Options{}, func(b *testing.B) brokertest.Cluster { return cluster(b) })
}

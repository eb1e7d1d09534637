// Package postgres tests the broker over PostgreSQL through a network that is slow and fails.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/brokertest"
	"github.com/caddy-assistant/caddy-assistant/assistant/postgres"
	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// far is a store whose server is behind a link.
type far struct {
	*postgres.Store
	*harness.Link
}

// openFar opens a store in a schema.
func openFar(t *testing.T, server *harness.Postgres, schema string) far {
	t.Helper()
	_, after, _ := strings.Cut(server.DSN, "@")
	addr, _, _ := strings.Cut(after, "/")
	link := harness.NewLink(t, addr)
	s, err := postgres.Open(t.Context(), postgres.Config{DSN: strings.Replace(server.DSN, addr, link.Addr, 1) + "?search_path=" + schema}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return far{s, link}
}

// broker returns a store's broker.
func (f far) broker(t *testing.T) *postgres.Broker {
	t.Helper()
	b, err := f.Store.Broker("", nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBroker: each node is 10 ms away from the server, more or less.
func TestBroker(t *testing.T) {
	server := harness.StartPostgres(t)
	ours := []goleak.Option{ // what belongs to links and to stores
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*Proxy).freeBlocker"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"), goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).write"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgconn/internal/bgreader.(*BGReader).bgRead"),
	}
	schema := 0
	brokertest.TestBroker(t, brokertest.Options{NoLogs: true, Bound: 5 * time.Second, Ignore: ours}, func(t *testing.T) brokertest.Cluster {
		schema++
		name := fmt.Sprintf("far_%d", schema)
		stores := []far{openFar(t, server, name), openFar(t, server, name)}
		for _, s := range stores {
			s.Slow(t, 10*time.Millisecond, 5*time.Millisecond)
		}
		conn, err := pgx.Connect(t.Context(), server.DSN)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		next := 0
		return brokertest.Cluster{
			Broker: func() assistant.Broker { next++; return stores[next%2].broker(t) },
			ID: func() assistant.NodeID {
				id := rand.Int64() | 1
				if _, err := conn.Exec(context.Background(), `INSERT INTO `+name+`.node (id, name, expires_at, draining) VALUES ($1, 'test', now() + interval '1h', false)`, id); err != nil {
					t.Fatal(err)
				}
				return assistant.NodeID(id)
			},
		}
	})
}

// TestCut: a node that hears nothing from the server, or is refused, is not up, is not reachable for others, and finds
// out that it missed something when the network is back.
func TestCut(t *testing.T) {
	server := harness.StartPostgres(t)
	for name, cut := range map[string]func(*testing.T, *harness.Link){
		"silent":  func(t *testing.T, l *harness.Link) { l.Cut(t) },
		"refused": func(_ *testing.T, l *harness.Link) { l.Refuse() },
	} {
		t.Run(name, func(t *testing.T) {
			stores := []far{openFar(t, server, name), openFar(t, server, name)}
			a := brokertest.OpenNode(t, stores[0].broker(t), stores[0].Node())
			b := brokertest.OpenNode(t, stores[1].broker(t), stores[1].Node())
			for _, n := range []*brokertest.Node{a, b} {
				brokertest.Eventually(t, "the broker listens", func() bool { return n.Broker.(*postgres.Broker).Mode() == "listen" })
			}
			if _, err := a.Call(t.Context(), b.ID, []byte("x")); err != nil {
				t.Fatal(err)
			}
			_, lost := b.Last("")
			cut(t, stores[1].Link)
			brokertest.Eventually(t, "it cannot be reached", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
				defer cancel()
				_, err := a.Call(ctx, b.ID, []byte("x"))
				return errors.Is(err, assistant.ErrNoNode)
			})
			brokertest.Eventually(t, "it is not up", func() bool { return !b.Up() })
			stores[1].Mend(t)
			brokertest.Eventually(t, "it learns that it missed something", func() bool { _, now := b.Last(""); return now > lost && b.Up() })
			s := assistant.Standing{Owned: assistant.Owned{ID: "after"}}
			brokertest.Eventually(t, "it hears again", func() bool {
				a.Announce(s)
				_, before := b.Last("")
				h, now := b.Last("after")
				return h.Standing == s || now > before
			})
		})
	}
}

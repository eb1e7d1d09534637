package postgres

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
)

// nodes are those of one schema.
type nodes struct {
	dsn string
	ttl time.Duration
}

func (n nodes) Open(t *testing.T) assistant.Cluster {
	t.Helper()
	return openAt(t, n.dsn, n.ttl)
}

func (n nodes) TTL() time.Duration { return n.ttl }

func (n nodes) Stop(node assistant.Cluster) (goOn func()) {
	s := node.(*Store)
	s.lease.stop()
	s.sweeper.stop()
	return func() {
		s.lease.start()
		s.sweeper.start()
	}
}

func (n nodes) Outage(t *testing.T, f func()) {
	t.Helper()
	must(t, database.stop())
	f()
	must(t, database.start())
}

func TestCluster(t *testing.T) {
	storetest.TestCluster(t, func(*testing.T) storetest.Nodes { return nodes{emptySchema(), 1500 * time.Millisecond} })
}

func openAt(t *testing.T, dsn string, ttl time.Duration) *Store {
	t.Helper()
	s, err := open(t.Context(), Config{DSN: dsn}, nil, ttl)
	must(t, err)
	return s
}

// BenchmarkTurns measures Claim, Begin, Finish and Release, by 40 callers at once.
func BenchmarkTurns(b *testing.B) {
	s := openHere(b, emptySchema())
	defer s.Close()
	var left atomic.Int64
	left.Store(int64(b.N))
	var callers sync.WaitGroup
	for range 40 {
		c := head()
		must(b, s.Create(b.Context(), "alice", c))
		callers.Go(func() {
			for last := ""; left.Add(-1) >= 0; {
				claim, cursor, err := s.Claim(b.Context(), "alice", c.ID)
				must(b, err)
				next := asked("")
				id := next.Answer.ID
				next.Last, last = last, id
				next.Events = []assistant.Event{
					{Seq: cursor.Seq + 1, Kind: assistant.KindAsked, Body: assistant.Asked{Message: *next.Question}},
					{Seq: cursor.Seq + 2, Kind: assistant.KindStarted, Run: id, Body: assistant.Started{}},
				}
				must(b, s.Begin(b.Context(), claim, next))
				must(b, s.Finish(b.Context(), claim, assistant.Ending{
					At: time.Now(), Messages: []assistant.Message{{ID: id, Content: "Hello", Status: assistant.StatusComplete}},
					Events: []assistant.Event{
						{Seq: cursor.Seq + 3, Kind: assistant.KindPiece, Run: id, Text: "Hello"},
						{Seq: cursor.Seq + 4, Kind: assistant.KindCompleted, Run: id, Body: assistant.Completed{}},
					},
				}))
				must(b, s.Release(b.Context(), claim, cursor.Seq+4, nil))
			}
		})
	}
	callers.Wait()
}

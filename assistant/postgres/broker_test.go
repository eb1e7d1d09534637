package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/brokertest"
)

// brokersOf is a cluster whose brokers share two stores. Its nodes have no store of their own, so they live for an hour.
func brokersOf(t testing.TB, dsn, direct string, log *zap.Logger) brokertest.Cluster {
	t.Helper()
	var stores []*Store
	for range 2 {
		s, err := open(context.Background(), Config{DSN: dsn}, nil, leaseTTL)
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		stores = append(stores, s)
	}
	next := 0
	return brokertest.Cluster{
		Broker: func() assistant.Broker {
			next++
			b, err := stores[next%2].Broker(direct, log)
			must(t, err)
			b.poll /= 10
			return b
		},
		ID: func() assistant.NodeID {
			id := newNode()
			_, err := stores[0].exec(context.Background(), `INSERT INTO assistant.node (id, name, expires_at, draining)
				VALUES ($1, 'test', assistant.clock() + interval '1h', false)`, id)
			must(t, err)
			return id
		},
	}
}

var carriesNoLogs = brokertest.Options{NoLogs: true, Bound: 4 * time.Second, Ignore: []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgconn/internal/bgreader.(*BGReader).bgRead"), // a connection of the store's
}}

// What the contract asks of a broker, with notifications and behind poolers.
func TestBroker(t *testing.T) {
	for name, dsn := range map[string]func(t *testing.T) string{
		"direct": func(*testing.T) string { return emptySchema() },
		"pooler": func(t *testing.T) string {
			return through(emptySchema("default_query_exec_mode=exec"), pooler(t, "transaction"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			brokertest.TestBroker(t, carriesNoLogs, func(t *testing.T) brokertest.Cluster { return brokersOf(t, dsn(t), "", nil) })
		})
	}
}

func BenchmarkBroker(b *testing.B) {
	brokertest.BenchmarkBroker(b, carriesNoLogs, func(b *testing.B) brokertest.Cluster { return brokersOf(b, emptySchema(), "", nil) })
}

// openBroker opens a node until the test ends.
func openBroker(t *testing.T, c brokertest.Cluster) (*brokertest.Node, *Broker) {
	t.Helper()
	n := brokertest.OpenNode(t, c.Broker(), c.ID())
	brokertest.Eventually(t, "the broker is up", n.Up)
	return n, n.Broker.(*Broker)
}

// mode waits until a broker hears, or does not.
func mode(t *testing.T, b *Broker, want string) {
	t.Helper()
	brokertest.Eventually(t, "the mode is "+want, func() bool { return b.Mode() == want })
}

// Where notifications do not arrive, a broker says so, and a DSN that leads past the pooler helps.
func TestBrokerMode(t *testing.T) {
	pooled := through(emptySchema(), pooler(t, "transaction"))
	core, logs := observer.New(zap.InfoLevel)
	n, deaf := openBroker(t, brokersOf(t, pooled, "", zap.New(core)))
	brokertest.Eventually(t, "the log says so", func() bool { return logs.FilterMessageSnippet("notifications do not arrive").Len() == 1 })
	if deaf.Mode() != "poll" {
		t.Errorf("mode is %s", deaf.Mode())
	}
	brokertest.Eventually(t, "the store is looked at again and again", func() bool { _, lost := n.Last(""); return lost > 5 })
	_, hears := openBroker(t, brokersOf(t, pooled, emptySchema(), nil))
	mode(t, hears, "listen")
	if _, err := deaf.store.Broker("nonsense "+password, nil); !errors.Is(err, errDSN) {
		t.Errorf("got error %v", err)
	}
}

// A connection that listens and is lost comes back, and the node learns that it may have missed something.
func TestBrokerListensAgain(t *testing.T) {
	c := brokersOf(t, emptySchema("application_name=listener test"), "", nil)
	n, b := openBroker(t, c)
	other, _ := openBroker(t, c)
	for range 3 {
		mode(t, b, "listen")
		_, lost := n.Last("")
		_, err := b.store.pool.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name = 'listener test' AND query ILIKE 'listen %'`)
		must(t, err)
		brokertest.Eventually(t, "the node learns it", func() bool { _, now := n.Last(""); return now > lost })
		mode(t, b, "listen")
		_, err = other.Call(t.Context(), n.ID, []byte("x"))
		must(t, err)
	}
}

// A server that is away is no reason to give up, and is logged once.
func TestBrokerOutage(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	c := brokersOf(t, emptySchema(), "", zap.New(core))
	n, b := openBroker(t, c)
	other, _ := openBroker(t, c)
	mode(t, b, "listen")
	must(t, database.stop())
	brokertest.Eventually(t, "the broker is not up", func() bool {
		other.Announce(assistant.Standing{Owned: assistant.Owned{ID: "1"}})
		_, err := other.Call(t.Context(), n.ID, nil)
		return err != nil && !other.Up()
	})
	must(t, database.start())
	brokertest.Eventually(t, "a call succeeds", func() bool {
		_, err := other.Call(t.Context(), n.ID, []byte("x"))
		return err == nil && other.Up()
	})
	mode(t, b, "listen")
	if n := logs.FilterMessage("nodes cannot be reached by the database").Len(); n < 1 || n > 2 {
		t.Errorf("it was logged %d times by two brokers", n)
	}
	for _, entry := range logs.All() {
		if strings.Contains(fmt.Sprint(entry.ContextMap()), password) {
			t.Errorf("the log has the password: %v", entry)
		}
	}
}

// A notification holds less than 8,000 bytes. What does not fit into some becomes one that says that everything is to be
// looked at.
func TestNotices(t *testing.T) {
	standing := func(i int, owner string) assistant.Standing {
		return assistant.Standing{Owned: assistant.Owned{Owner: owner, ID: fmt.Sprint(i)}}
	}
	s := &session{me: 7, waiting: map[string]assistant.Standing{}}
	all := notice{From: 7}.text()
	for name, test := range map[string]struct {
		many      int
		owner     string
		low, high int // notifications
	}{
		"none": {0, "", 0, 0}, "one": {1, "ann", 1, 1}, "some": {300, "ann", 3, 10}, "odd": {5, strings.Repeat("\"\x00", 500), 2, 5},
		"many": {5000, "ann", 1, 1}, "long": {1, strings.Repeat("x", 8000), 1, 1},
	} {
		for i := range test.many {
			s.waiting[fmt.Sprint(i)] = standing(i, test.owner)
		}
		texts := s.notices()
		if len(texts) < test.low || len(texts) > test.high || (len(texts) == 1 && test.many > 1) != (test.many == 5000) {
			t.Errorf("%s: %d notifications", name, len(texts))
		}
		for _, text := range texts {
			if len(text) > maxNotice || (name == "many" || name == "long") != (text == all) {
				t.Errorf("%s: a notification of %d bytes %.100s", name, len(text), text)
			}
		}
	}
	s.missed = true
	if texts := s.notices(); len(texts) != 1 || texts[0] != all {
		t.Errorf("after a failure: %v", texts)
	}
	s.news = make(chan struct{}, 1)
	b := &Broker{session: s}
	for i := range 2 * maxWaiting {
		b.Announce(standing(i, ""))
	}
	if len(s.waiting) > maxWaiting || !s.missed {
		t.Errorf("%d wait", len(s.waiting))
	}
}

// What is no notification of ours is not taken for one.
func TestForeignNotices(t *testing.T) {
	c := brokersOf(t, emptySchema(), "", nil)
	n, b := openBroker(t, c)
	other, _ := openBroker(t, c)
	mode(t, b, "listen")
	for _, payload := range []string{"", "nonsense", "[]"} {
		_, err := b.store.exec(t.Context(), `SELECT pg_notify($1, $2)`, b.store.channel(), payload)
		must(t, err)
	}
	s := assistant.Standing{Owned: assistant.Owned{ID: "after"}}
	other.Announce(s)
	brokertest.Eventually(t, "the next one is heard", func() bool { h, _ := n.Last("after"); return h.Standing == s })
	if b.Mode() != "listen" {
		t.Error("the connection was given up")
	}
}

// A call that its node does not take is taken back, and what nobody takes at all is removed.
func TestCommandsAreRemoved(t *testing.T) {
	c := brokersOf(t, emptySchema(), "", nil)
	n, b := openBroker(t, c)
	if _, err := n.Call(t.Context(), c.ID(), []byte("x")); !errors.Is(err, assistant.ErrNoNode) {
		t.Errorf("a node that takes nothing: %v", err)
	}
	wantRows(t, b.store, "command", 0)
	must2 := func(_ pgconn.CommandTag, err error) { must(t, err) }
	for _, age := range []string{"50 s", "70 s"} {
		must2(b.store.pool.Exec(t.Context(), b.store.in(`INSERT INTO assistant.command (from_node, to_node, call, is_reply, body, at)
			VALUES (1, 2, '00000000-0000-4000-8000-000000000000', true, '', assistant.clock() - $1::interval)`), age))
	}
	b.session.sweep()
	wantRows(t, b.store, "command", 1)
}

// A node whose lease has run out is not called, and one that is buried while it serves is not waited for.
func TestCallTheDead(t *testing.T) {
	c := brokersOf(t, emptySchema(), "", nil)
	n, b := openBroker(t, c)
	other, _ := openBroker(t, c)
	entered := make(chan struct{})
	other.Reply = func(ctx context.Context, _ assistant.NodeID, _ []byte) []byte {
		close(entered)
		<-ctx.Done()
		return nil
	}
	ended := make(chan error, 1)
	go func() {
		_, err := n.Call(t.Context(), other.ID, nil)
		ended <- err
	}()
	<-entered
	_, err := b.store.exec(t.Context(), `UPDATE assistant.node SET expires_at = assistant.clock() - interval '1s' WHERE id = $1`, other.ID)
	must(t, err)
	if err := <-ended; err == nil || errors.Is(err, assistant.ErrNoNode) {
		t.Errorf("a call that was taken: %v, want that its outcome is unknown", err)
	}
	start := time.Now()
	if _, err := n.Call(t.Context(), other.ID, nil); !errors.Is(err, assistant.ErrNoNode) || time.Since(start) > time.Second {
		t.Errorf("a node without a lease: %v after %v", err, time.Since(start))
	}
}

// One call more than can be served at once is refused.
func TestBrokerBusy(t *testing.T) {
	c := brokersOf(t, emptySchema(), "", nil)
	n, b := openBroker(t, c)
	other, _ := openBroker(t, c)
	for range maxServed {
		b.session.slots <- struct{}{}
	}
	if _, err := other.Call(t.Context(), n.ID, nil); !errors.Is(err, assistant.ErrNoNode) {
		t.Errorf("got error %v", err)
	}
	<-b.session.slots
	reply, err := other.Call(t.Context(), n.ID, []byte("x"))
	if must(t, err); !bytes.HasSuffix(reply, []byte(" x")) {
		t.Errorf("got %q", reply)
	}
}

// A call that the broker takes while it is being closed is refused: it is neither lost nor served.
func TestCloseWhileTaking(t *testing.T) {
	c := brokersOf(t, emptySchema(), "", nil)
	n, _ := openBroker(t, c)
	other, b := openBroker(t, c)
	other.Reply = func(context.Context, assistant.NodeID, []byte) []byte {
		t.Error("the call was served")
		return nil
	}
	// Taking waits for a lock that this test has.
	lock, err := b.store.pool.Begin(t.Context())
	must(t, err)
	_, err = lock.Exec(t.Context(), `SELECT pg_advisory_xact_lock(1)`)
	must(t, err)
	for _, statement := range []string{
		`CREATE FUNCTION assistant.slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN OLD; END $$`,
		`CREATE TRIGGER slowly BEFORE DELETE ON assistant.command FOR EACH ROW EXECUTE FUNCTION assistant.slowly()`,
	} {
		_, err := b.store.exec(t.Context(), statement)
		must(t, err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := n.Call(t.Context(), other.ID, nil)
		ended <- err
	}()
	brokertest.Eventually(t, "the call is being taken", func() (waits bool) {
		must(t, b.store.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)`).Scan(&waits))
		return waits
	})
	closed := make(chan error, 1)
	session := b.session
	go func() { closed <- other.Close() }()
	<-session.ctx.Done()
	must(t, lock.Commit(t.Context()))
	must(t, <-closed)
	if err := <-ended; !errors.Is(err, assistant.ErrNoNode) || !strings.Contains(err.Error(), "busy") {
		t.Errorf("got error %v", err)
	}
}

package postgres

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// pooler starts a PgBouncer in front of the server, and returns where it listens. Its database "lax" has sessions that do not
// wait for the disk.
func pooler(t *testing.T, mode string) (addr string) {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // where Debian keeps it, off PATH
	}
	port, err := freePort()
	must(t, err)
	to := fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres user=tester password='%s'", database.port, password)
	config := filepath.Join(database.folder, "pooler-"+mode+".ini")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `[databases]
postgres = %s
lax = %s connect_query='SET synchronous_commit = off'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = %d
`, to, to, port, mode, map[string]int{"session": 60}[mode]+5), 0o644))
	line := append(append([]string{}, database.as...), program, "-q", config)
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	var said strings.Builder
	cmd.Stderr = &said
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			must(t, c.Close())
			return addr
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("PgBouncer does not answer: %v\n%s", err, said.String())
		}
	}
}

// through returns a DSN that leads through a pooler.
func through(dsn, addr string) string {
	return strings.Replace(dsn, net.JoinHostPort("127.0.0.1", strconv.Itoa(database.port)), addr, 1)
}

// Behind a pooler, also one that gives each transaction another session, everything works.
func TestPooler(t *testing.T) {
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			dsn := through(emptySchema(), pooler(t, mode))
			stores := []*Store{openAt(t, dsn, 2*time.Second), openAt(t, dsn, 2*time.Second)}
			if got := stores[0].pool.Config().ConnConfig.DefaultQueryExecMode; got != pgx.QueryExecModeCacheDescribe {
				t.Errorf("mode is %v", got)
			}
			var wg sync.WaitGroup
			for i := range 10 {
				wg.Go(func() { exercise(t, stores[i%2], stores[(i+1)%2]) })
			}
			wg.Wait()

			left := begin(t, stores[0])
			stores[0].lease.stop()
			until(func() bool { return stores[1].holderOf(t, left.claim.ID) == 0 })
			left.Store = stores[1]
			left.want(t, assistant.StatusInterrupted, "Hello")
			must(t, stores[0].Close())
			must(t, stores[1].Close())
		})
	}
}

// exercise makes each kind of call, some of which are read at another node.
func exercise(t *testing.T, s, other *Store) {
	a := begin(t, s)
	for range 5 {
		must(t, a.extend(t, "!"))
		must(t, a.rewrite(t.Context(), a.claim, assistant.Extension{MessageID: a.answer, Events: a.pieces("?", "?")}))
		must(t, s.Extend(t.Context(), a.claim, assistant.Extension{MessageID: a.answer, Events: a.pieces("?", "!")}))
		a.seq += 2
		state, err := other.State(t.Context(), "alice", a.claim.ID, 5)
		must(t, err)
		if state.Cursor.Seq != a.seq || state.Running == nil || state.Holder != s.Node() {
			t.Errorf("state is %+v, want event %d", state, a.seq)
		}
	}
	must(t, a.finish(t, "Done."))
	_, err := s.Rename(t.Context(), "alice", a.claim.ID, "Title", new(""))
	must(t, err)
	must(t, s.Release(t.Context(), a.claim, a.seq+1, []assistant.Event{{Seq: a.seq + 1, Kind: assistant.KindNotice, Body: assistant.Notice{}}}))
	batches, err := other.Events(t.Context(), "alice", a.claim.ID, assistant.Cursor{Epoch: "none"}, 5)
	if !errors.Is(err, assistant.ErrGone) {
		t.Errorf("got %v, error %v", batches, err)
	}
	_, err = s.List(t.Context(), "alice", assistant.Conversation{}, 5)
	must(t, err)
	_, err = s.Trim(t.Context(), time.Now(), 5)
	must(t, err)
	_, err = s.Nodes(t.Context())
	must(t, err)
	must(t, other.Delete(t.Context(), "alice", a.claim.ID))
}

// A pooler with which something would break is refused, in words.
func TestPoolerRefused(t *testing.T) {
	transaction := pooler(t, "transaction")
	for name, test := range map[string]struct{ dsn, want string }{
		"statement mode": {through(emptySchema(), pooler(t, "statement")), "mode must be session or transaction"},
		"lax":            {through(strings.Replace(emptySchema(), "/postgres?", "/lax?", 1), transaction), "ALTER ROLE … SET synchronous_commit = on"},
		"prepared":       {through(emptySchema("default_query_exec_mode=cache_statement"), transaction), "leave default_query_exec_mode=cache_statement out"},
	} {
		s, err := Open(t.Context(), Config{DSN: test.dsn}, nil)
		if err == nil {
			must(t, s.Close())
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, assistant.ErrUnavailable) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	for _, mode := range []string{"exec", "cache_describe", "simple_protocol"} {
		dsn := through(emptySchema("default_query_exec_mode="+mode), transaction)
		s, other := openAt(t, dsn, still), openAt(t, dsn, still)
		exercise(t, s, other)
		must(t, s.Close())
		must(t, other.Close())
	}
	s := openAt(t, through(emptySchema("default_query_exec_mode=cache_statement"), pooler(t, "session")), still)
	must(t, s.Close())
}

package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// still is a pace at which a node does nothing by itself, so that a test may do it.
const still = time.Hour

func openAt(t *testing.T, dsn string, pace time.Duration) *Store {
	t.Helper()
	s, err := open(t.Context(), Config{DSN: dsn}, nil, pace)
	must(t, err)
	return s
}

// streaming is an answer that a store has begun.
type streaming struct {
	*Store

	conversation, answer string

	stored int // bytes
}

// begin begins an answer with some text.
func begin(t *testing.T, s *Store) *streaming {
	t.Helper()
	c, b := head(), asked("")
	must(t, s.Create(t.Context(), "alice", c))
	must(t, s.Begin(t.Context(), "alice", c.ID, b))
	a := &streaming{s, c.ID, b.Answer.ID, 0}
	must(t, a.extend(t, "Hel"))
	must(t, a.extend(t, "lo"))
	return a
}

func (a *streaming) extend(t *testing.T, text string) error {
	t.Helper()
	start := a.stored
	a.stored += len(text)
	return a.Extend(t.Context(), "alice", a.conversation, a.answer, start, assistant.Parts{assistant.TextPart{Text: text}})
}

func (a *streaming) want(t *testing.T, status assistant.Status, content string) {
	t.Helper()
	page, _, err := a.Messages(t.Context(), "alice", a.conversation, "", 1)
	must(t, err)
	if page[0].Status != status || page[0].Content != content {
		t.Fatalf("answer is %s with %q, want %s with %q", page[0].Status, page[0].Content, status, content)
	}
}

// cut ends the session that holds a node's lock, from the server's side, and returns when it is gone.
func cut(t *testing.T, s, by *Store) {
	t.Helper()
	var gone bool
	must(t, by.pool.QueryRow(t.Context(), `SELECT pg_terminate_backend($1, 10000)`, s.node.conn.PgConn().PID()).Scan(&gone))
	if !gone {
		t.Fatal("session was not ended")
	}
}

// A node that lives keeps its answers; one that has left does not.
func TestSweep(t *testing.T) {
	dsn := emptySchema()
	a, b := openAt(t, dsn, still), openAt(t, dsn, still)
	first, second := begin(t, a), begin(t, b)
	must(t, a.node.sweep(t.Context()))
	must(t, b.node.sweep(t.Context()))
	c := openAt(t, dsn, still)
	first.want(t, assistant.StatusStreaming, "Hello")
	second.want(t, assistant.StatusStreaming, "Hello")

	must(t, a.Close())
	first.Store = b
	first.want(t, assistant.StatusStreaming, "Hello") // until another node looks
	must(t, c.node.sweep(t.Context()))
	first.want(t, assistant.StatusInterrupted, "Hello")
	must(t, second.extend(t, "!"))
	second.want(t, assistant.StatusStreaming, "Hello!")
	var chunks int
	must(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM chunk`).Scan(&chunks))
	if chunks != 3 {
		t.Errorf("%d chunks, want those of the streaming answer only", chunks)
	}
	must(t, b.Close())
	must(t, c.Close())
}

// A node whose lock is lost takes it again, and nothing happens where no other has looked meanwhile.
func TestLostLock(t *testing.T) {
	dsn := emptySchema()
	a, b := openAt(t, dsn, still), openAt(t, dsn, still)
	answer := begin(t, a)
	if a.node.look(t.Context()) {
		t.Error("lock was lost")
	}
	cut(t, a, b)
	if !a.node.look(t.Context()) {
		t.Error("loss of the lock was not noticed")
	}
	must(t, b.node.sweep(t.Context()))
	must(t, answer.extend(t, "!"))
	answer.want(t, assistant.StatusStreaming, "Hello!")

	// Where another was quicker, the answer ends for all to see, and its end still repairs it.
	cut(t, a, b)
	must(t, b.node.sweep(t.Context()))
	answer.want(t, assistant.StatusInterrupted, "Hello!")
	if err := answer.extend(t, " More."); !errors.Is(err, assistant.ErrNotFound) {
		t.Errorf("got error %v", err)
	}
	a.node.look(t.Context())
	must(t, a.Finish(t.Context(), "alice", answer.conversation, time.Now(), assistant.Message{
		ID: answer.answer, Content: "Hello! More.", Status: assistant.StatusComplete,
	}))
	answer.want(t, assistant.StatusComplete, "Hello! More.")
	must(t, a.Close())
	must(t, b.Close())
}

// A running node does all of this by itself, even after the server has restarted.
func TestRun(t *testing.T) {
	dsn := emptySchema()
	s := openAt(t, dsn, 5*time.Millisecond)
	for range 2 {
		dead := openAt(t, dsn, still)
		answer := begin(t, dead)
		must(t, dead.Close())
		answer.Store = s
		for interrupted := false; !interrupted; { // the test's deadline ends this
			page, _, err := s.Messages(t.Context(), "alice", answer.conversation, "", 1)
			must(t, err)
			interrupted = page[0].Status == assistant.StatusInterrupted
		}
		answer.want(t, assistant.StatusInterrupted, "Hello")

		must(t, database.stop())
		must(t, database.start())
		for range defaultConns { // each connection of the pool may fail once
			if err := s.Create(t.Context(), "alice", head()); err == nil {
				break
			}
		}
		must(t, s.Create(t.Context(), "alice", head()))
		for held := false; !held; {
			must(t, s.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted
				AND (classid::bigint << 32 | objid::bigint) = $1)`, s.node.id).Scan(&held))
		}
	}
	must(t, s.Close())
}

// childDSN makes the test binary another server, on that database.
const childDSN = "POSTGRES_TEST_DSN"

// childMain begins an answer, says which, and waits to be killed.
func childMain(dsn string) {
	ctx := context.Background()
	s, err := Open(ctx, Config{DSN: dsn}, nil)
	c, b := head(), asked("")
	if err == nil {
		err = s.Create(ctx, "alice", c)
	}
	if err == nil {
		err = s.Begin(ctx, "alice", c.ID, b)
	}
	if err == nil {
		err = s.Extend(ctx, "alice", c.ID, b.Answer.ID, 0, assistant.Parts{assistant.TextPart{Text: "Hello"}})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.node.id, c.ID, b.Answer.ID)
	select {}
}

// What a process has left that was killed is interrupted by the next that starts.
func TestKill(t *testing.T) {
	dsn := emptySchema()
	for range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childDSN+"="+dsn)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		must(t, err)
		var node int64
		var answer streaming
		if _, err := fmt.Sscan(line, &node, &answer.conversation, &answer.answer); err != nil {
			t.Fatalf("child says %q", line)
		}
		answer.Store = openAt(t, dsn, still)
		answer.want(t, assistant.StatusStreaming, "Hello")
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed

		// The server frees the lock when it notices.
		_, err = answer.exec(t.Context(), `SELECT pg_advisory_lock($1), pg_advisory_unlock($1)`, node)
		must(t, err)
		must(t, openAt(t, dsn, still).Close())
		answer.want(t, assistant.StatusInterrupted, "Hello")
		must(t, answer.Close())
	}
}

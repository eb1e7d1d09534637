package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// What sessions are like where the DSN does not say otherwise.
func TestSessions(t *testing.T) {
	dsn := emptySchema()
	s := openAt(t, dsn, still)
	for setting, want := range map[string]string{
		"idle_in_transaction_session_timeout": "1min", "application_name": "caddy-assistant", "synchronous_commit": "on",
	} {
		wantSetting(t, s, setting, want)
	}
	for setting, want := range map[string]string{"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"} {
		var got string
		must(t, s.node.conn.QueryRow(t.Context(), `SHOW `+setting).Scan(&got))
		if got != want {
			t.Errorf("%s of the lock's connection is %s, want %s", setting, got, want)
		}
	}
	if s.pool.Config().MaxConns != 16 || s.pool.Config().ConnConfig.ConnectTimeout != 10*time.Second || s.timeout != 10*time.Second {
		t.Errorf("%d connections, timeouts of %v and %v", s.pool.Config().MaxConns, s.pool.Config().ConnConfig.ConnectTimeout, s.timeout)
	}
	if pace*sweepEvery != time.Minute {
		t.Errorf("others are looked after every %v", pace*sweepEvery)
	}
	must(t, s.Close())

	s = openAt(t, dsn+"&pool_max_conns=3&connect_timeout=4&application_name=chat&idle_in_transaction_session_timeout=5s", still)
	wantSetting(t, s, "application_name", "chat")
	wantSetting(t, s, "idle_in_transaction_session_timeout", "5s")
	if s.pool.Config().MaxConns != 3 || s.pool.Config().ConnConfig.ConnectTimeout != 4*time.Second {
		t.Errorf("%d connections, timeout of %v", s.pool.Config().MaxConns, s.pool.Config().ConnConfig.ConnectTimeout)
	}
	must(t, s.Close())
}

func wantSetting(t *testing.T, s *Store, setting, want string) {
	t.Helper()
	var got string
	must(t, s.pool.QueryRow(t.Context(), `SHOW `+setting).Scan(&got))
	if got != want {
		t.Errorf("%s is %s, want %s", setting, got, want)
	}
}

// Schemas that were released hold what these have made: they stay as they are, to the byte.
func TestReleasedMigrations(t *testing.T) {
	for name, want := range map[string]string{"0001.sql": "31faf342745629b5a20ccef318b956804fe62550990496903702b687a9073552"} {
		text, err := migrations.ReadFile("migrations/" + name)
		must(t, err)
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s has changed: %x", name, sum)
		}
	}
}

// However an answer ends, its chunks go; however a conversation goes, its messages do.
func TestNothingIsLeft(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	for name, ends := range map[string]func(a *streaming) error{
		"finish": func(a *streaming) error {
			return s.Finish(t.Context(), "alice", a.conversation, time.Now(), assistant.Message{ID: a.answer, Status: assistant.StatusComplete})
		},
		"drop": func(a *streaming) error {
			return s.Begin(t.Context(), "alice", a.conversation, assistant.Beginning{DropFrom: a.answer, Answer: asked("").Answer})
		},
		"delete": func(a *streaming) error { return s.Delete(t.Context(), "alice", a.conversation) },
		"cut":    func(a *streaming) error { return s.Extend(t.Context(), "alice", a.conversation, a.answer, 0, nil) },
		"delete before": func(a *streaming) error {
			err := s.Finish(t.Context(), "alice", a.conversation, time.Unix(1, 0), assistant.Message{ID: a.answer, Status: assistant.StatusComplete})
			if err != nil {
				return err
			}
			deleted, err := s.DeleteBefore(t.Context(), time.Unix(2, 0), 10)
			if !slices.Equal(deleted, []assistant.Owned{{Owner: "alice", ID: a.conversation}}) {
				t.Errorf("deleted %v", deleted)
			}
			return err
		},
	} {
		a := begin(t, s)
		wantRows(t, s, "chunk", 2)
		if err := ends(a); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantRows(t, s, "chunk", 0)
		if err := s.Delete(t.Context(), "alice", a.conversation); err != nil && !errors.Is(err, assistant.ErrNotFound) {
			t.Fatal(err)
		}
		wantRows(t, s, "message", 0)
	}
	must(t, s.Close())
}

// A call that was given up may still be under way when it is made again: what it stores is stored once.
func TestExtendTwiceAtOnce(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	a := begin(t, s)
	want := "Hello"
	for n := range 20 {
		first, more := fmt.Sprintf(" first %d", n), fmt.Sprintf(" more %d", n)
		calls := []assistant.Parts{{assistant.TextPart{Text: first}}, {assistant.TextPart{Text: first}, assistant.ReasoningPart{Text: "Hm"}, assistant.TextPart{Text: more}}}
		start, errs := a.stored, make([]error, 6)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = s.Extend(t.Context(), "alice", a.conversation, a.answer, start, calls[i%2]) })
		}
		wg.Wait()
		must(t, errors.Join(errs...))
		must(t, s.Extend(t.Context(), "alice", a.conversation, a.answer, start, calls[1])) // the last to call has the last word
		want += first + more
		a.stored += len(first) + len("Hm") + len(more)
		a.want(t, assistant.StatusStreaming, want)
	}
	must(t, s.Close())
}

// A call that waits, for a lock or for a connection, waits no longer than its context.
func TestWaitCancelled(t *testing.T) {
	dsn := emptySchema("pool_max_conns=1")
	s, other := openAt(t, dsn, still), openAt(t, dsn, still)
	a := begin(t, s)
	tx, err := other.pool.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE conversation, message, chunk`)
	must(t, err)
	errGone := errors.New("caller has gone")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errGone)
	defer cancel()
	start := time.Now()
	var wg sync.WaitGroup
	for range 3 { // one waits for the lock, the others for its connection
		wg.Go(func() {
			if err := s.Extend(ctx, "alice", a.conversation, a.answer, a.stored, assistant.Parts{assistant.TextPart{Text: "!"}}); !errors.Is(err, errGone) {
				t.Errorf("Extend: got error %v", err)
			}
			if _, err := s.DeleteBefore(ctx, time.Now(), 1); !errors.Is(err, errGone) {
				t.Errorf("DeleteBefore: got error %v", err)
			}
			if _, _, err := s.Messages(ctx, "alice", a.conversation, "", 1); !errors.Is(err, errGone) {
				t.Errorf("Messages: got error %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	must(t, tx.Rollback(t.Context()))
	must(t, a.extend(t, " again"))
	a.want(t, assistant.StatusStreaming, "Hello again")
	must(t, s.Close())
	must(t, other.Close())
}

// A text that was stored with U+FFFD for a NUL keeps the offsets of its caller, but cannot be cut.
func TestExtendAfterNUL(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	a := begin(t, s)
	must(t, a.extend(t, "\x00\xff"))
	must(t, a.extend(t, "!"))
	a.want(t, assistant.StatusStreaming, "Hello\uFFFD\uFFFD!")
	if err := s.Extend(t.Context(), "alice", a.conversation, a.answer, 6, nil); err == nil || errors.Is(err, assistant.ErrNotFound) {
		t.Errorf("got error %v", err)
	}
	must(t, s.Extend(t.Context(), "alice", a.conversation, a.answer, 5, assistant.Parts{assistant.TextPart{Text: "."}}))
	a.want(t, assistant.StatusStreaming, "Hello.")
	must(t, s.Close())
}

// A conversation in which a turn is just being begun is passed over, without waiting for it.
func TestDeleteBeforePassesOver(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	busy, idle := head(), head()
	must(t, s.Create(t.Context(), "alice", busy))
	must(t, s.Create(t.Context(), "alice", idle))
	tx, err := s.pool.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), `UPDATE conversation SET updated_at = now() + interval '1 hour' WHERE id = $1`, busy.ID)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	deleted, err := s.DeleteBefore(ctx, time.Now().Add(time.Minute), 10)
	must(t, err)
	if !slices.Equal(deleted, []assistant.Owned{{Owner: "alice", ID: idle.ID}}) {
		t.Errorf("deleted %v, want %s", deleted, idle.ID)
	}
	must(t, tx.Commit(t.Context()))
	_, err = s.Conversation(t.Context(), "alice", busy.ID)
	must(t, err)
	must(t, s.Close())
}

// What a node that is taken for dead is storing just then is part of its answer.
func TestSweepWaitsForExtend(t *testing.T) {
	dsn := emptySchema()
	s, other := openAt(t, dsn, still), openAt(t, dsn, still)
	a := begin(t, s)
	cut(t, s, other)
	tx, err := s.pool.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), `INSERT INTO chunk (message_seq, text, start, stop) SELECT seq, '!', 5, 6 FROM message WHERE id = $1 FOR SHARE`, a.answer)
	must(t, err)
	swept := make(chan error)
	go func() { swept <- other.node.sweep(t.Context()) }()
	for waits := false; !waits; { // the test's deadline ends this
		must(t, s.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND query ~ 'message' AND datname = current_database())`).Scan(&waits))
	}
	must(t, tx.Commit(t.Context()))
	must(t, <-swept)
	a.Store = other
	a.want(t, assistant.StatusInterrupted, "Hello!")
	wantRows(t, other, "chunk", 0)
	must(t, s.Close())
	must(t, other.Close())
}

// What a model sends as the arguments of a tool never keeps an answer from its end.
func TestOddArguments(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	a := begin(t, s)
	for _, arguments := range []string{"\"\xff\"", `"\u0000"`, `"\ud800"`, `1e999999`, `{"a":1,"a":2}`} {
		m := assistant.Message{ID: a.answer, Status: assistant.StatusComplete}
		m.SetParts(assistant.Parts{assistant.ToolCallPart{Arguments: []byte(arguments)}})
		if err := s.Finish(t.Context(), "alice", a.conversation, time.Now(), m); err != nil {
			t.Errorf("%q: %v", arguments, err)
		}
		page, _, err := s.Messages(t.Context(), "alice", a.conversation, "", 1)
		must(t, err)
		got := string(page[0].Parts[0].(assistant.ToolCallPart).Arguments)
		if want := strings.ToValidUTF8(arguments, "\uFFFD"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	must(t, s.Close())
}

// No call reads a whole table: with sequential scans forbidden, none is left in what the server does for the
// statements that it was sent.
func TestStatements(t *testing.T) {
	s := openAt(t, emptySchema("pool_max_conns=1"), still)
	a := begin(t, s)
	must(t, s.Extend(t.Context(), "alice", a.conversation, a.answer, 3, assistant.Parts{assistant.TextPart{Text: "p"}}))
	_, _, err := s.Messages(t.Context(), "alice", a.conversation, a.answer, 1)
	must(t, err)
	_, _ = s.MessageByClientID(t.Context(), "alice", a.conversation, "client-1")
	_, err = s.List(t.Context(), "alice", assistant.Conversation{}, 1)
	must(t, err)
	_, _ = s.Rename(t.Context(), "alice", a.conversation, "Title", new("another"))
	next := assistant.Beginning{DropFrom: a.answer, Answer: asked("").Answer, MaxMessages: 9}
	must(t, s.Begin(t.Context(), "alice", a.conversation, next))
	must(t, s.Finish(t.Context(), "alice", a.conversation, time.Now(), next.Answer))
	_, err = s.DeleteBefore(t.Context(), time.Unix(1, 0), 1)
	must(t, err)
	must(t, s.Delete(t.Context(), "alice", a.conversation))

	plans := explain(t, s)
	if len(plans) < 15 {
		t.Errorf("only %d statements", len(plans))
	}
	for statement, plan := range plans {
		if strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s\n%s", statement, plan)
		}
	}
	must(t, s.Close())
}

// explain returns how the server runs each statement on our tables that the pool's connection has prepared.
func explain(t *testing.T, s *Store) map[string]string {
	t.Helper()
	conn, err := s.pool.Acquire(t.Context())
	must(t, err)
	defer conn.Release()
	prepared, err := conn.Query(t.Context(), `SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements
		WHERE cardinality(parameter_types) > 0 AND statement ~ '(conversation|message|chunk)'`)
	must(t, err)
	type statement struct {
		name, text string
		parameters int
	}
	var all []statement
	for prepared.Next() {
		var next statement
		must(t, prepared.Scan(&next.name, &next.text, &next.parameters))
		all = append(all, next)
	}
	must(t, prepared.Err())
	_, err = conn.Exec(t.Context(), `SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan`)
	must(t, err)
	plans := make(map[string]string)
	for _, next := range all {
		args := strings.TrimSuffix(strings.Repeat("NULL, ", next.parameters), ", ")
		results, err := conn.Conn().PgConn().Exec(t.Context(), fmt.Sprintf(`EXPLAIN EXECUTE %s (%s)`, next.name, args)).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", next.text, err)
		}
		for _, line := range results[0].Rows {
			plans[next.text] += string(line[0]) + "\n"
		}
	}
	return plans
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// What sessions are like where the DSN does not say otherwise.
func TestSessions(t *testing.T) {
	dsn := emptySchema()
	s := openAt(t, dsn, still)
	for setting, want := range map[string]string{idleTimeout: "3s", "application_name": "caddy-assistant", "synchronous_commit": "on", "plan_cache_mode": "force_generic_plan"} {
		wantSetting(t, s, setting, want)
	}
	config := s.pool.Config()
	if config.MaxConns != 16 || config.ConnConfig.ConnectTimeout != 10*time.Second || s.timeout != 10*time.Second ||
		config.ConnConfig.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		t.Errorf("%d connections, timeouts of %v and %v, mode %v", config.MaxConns, config.ConnConfig.ConnectTimeout, s.timeout, config.ConnConfig.DefaultQueryExecMode)
	}
	if leaseTTL != 6*time.Second {
		t.Errorf("a lease lasts for %v", leaseTTL)
	}
	must(t, s.Close())

	s = openAt(t, dsn+"&pool_max_conns=3&connect_timeout=4&application_name=chat&idle_in_transaction_session_timeout=5s&default_query_exec_mode=exec", still)
	wantSetting(t, s, "application_name", "chat")
	wantSetting(t, s, idleTimeout, "5s")
	config = s.pool.Config()
	if config.MaxConns != 3 || config.ConnConfig.ConnectTimeout != 4*time.Second || config.ConnConfig.DefaultQueryExecMode != pgx.QueryExecModeExec {
		t.Errorf("%d connections, timeout of %v, mode %v", config.MaxConns, config.ConnConfig.ConnectTimeout, config.ConnConfig.DefaultQueryExecMode)
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

// However a conversation goes, its messages and events do.
func TestNothingIsLeft(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	for name, ends := range map[string]func(a *streaming) error{
		"delete": func(a *streaming) error { return s.Delete(t.Context(), "alice", a.claim.ID) },
		"delete before": func(a *streaming) error {
			err := errors.Join(a.finish(t, "Hello."), s.Release(t.Context(), a.claim, a.seq, nil))
			if err != nil {
				return err
			}
			deleted, err := s.DeleteBefore(t.Context(), time.Now().Add(time.Hour), 10)
			if !slices.Equal(deleted, []assistant.Owned{a.claim.Owned}) {
				t.Errorf("deleted %v", deleted)
			}
			return err
		},
	} {
		a := begin(t, s)
		wantRows(t, s, "event", 3)
		if err := ends(a); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantRows(t, s, "event", 0)
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
		texts := []string{fmt.Sprintf(" first %d", n), fmt.Sprintf(" more %d", n)}
		calls := []assistant.Extension{{MessageID: a.answer, Events: a.pieces(texts[:1]...)}, {MessageID: a.answer, Events: a.pieces(texts...)}}
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if err := s.Extend(t.Context(), a.claim, calls[i%2]); err != nil && (i%2 == 1 || !errors.Is(err, errGap)) {
					t.Error(err) // the shorter one must not take the place of the longer
				}
			})
		}
		wg.Wait()
		must(t, s.Extend(t.Context(), a.claim, calls[1])) // the last to call has the last word
		want += texts[0] + texts[1]
		a.seq += 2
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
	_, err = tx.Exec(t.Context(), s.in(`LOCK TABLE assistant.conversation, assistant.message, assistant.event`))
	must(t, err)
	errGone := errors.New("caller has gone")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errGone)
	defer cancel()
	start := time.Now()
	var wg sync.WaitGroup
	for range 3 { // one waits for the lock, the others for its connection
		wg.Go(func() {
			errs := map[string]error{
				"Extend":  s.Extend(ctx, a.claim, assistant.Extension{MessageID: a.answer, Events: a.pieces("!")}),
				"Release": s.Release(ctx, a.claim, a.seq, nil),
			}
			_, errs["DeleteBefore"] = s.DeleteBefore(ctx, time.Now(), 1)
			_, _, errs["Messages"] = s.Messages(ctx, "alice", a.claim.ID, "", 1)
			_, errs["State"] = s.State(ctx, "alice", a.claim.ID, 1)
			_, _, errs["Claim"] = s.Claim(ctx, "alice", a.claim.ID)
			for call, err := range errs {
				if !errors.Is(err, errGone) {
					t.Errorf("%s: got error %v", call, err)
				}
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

// A conversation that a transaction holds just then is passed over, without waiting for it.
func TestDeleteBeforePassesOver(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	busy, idle := head(), head()
	must(t, s.Create(t.Context(), "alice", busy))
	must(t, s.Create(t.Context(), "alice", idle))
	tx, err := s.pool.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), s.in(`UPDATE assistant.conversation SET updated_at = now() + interval '1 hour' WHERE id = $1`), busy.ID)
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

// What a model sends as the arguments of a tool never keeps an answer from its end.
func TestOddArguments(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	a := begin(t, s)
	for _, arguments := range []string{"\"\xff\"", `"\u0000"`, `"\ud800"`, `1e999999`, `{"a":1,"a":2}`} {
		m := assistant.Message{ID: a.answer, Status: assistant.StatusComplete}
		m.SetParts(assistant.Parts{assistant.ToolCallPart{Arguments: []byte(arguments)}})
		shown := assistant.Event{Seq: a.seq + 1, Kind: assistant.KindAsked, Body: assistant.Asked{Message: m}}
		if err := s.Finish(t.Context(), a.claim, assistant.Ending{At: time.Now(), Messages: []assistant.Message{m}, Events: []assistant.Event{shown}}); err != nil {
			t.Errorf("%q: %v", arguments, err)
		}
		a.seq++
		page, _, err := s.Messages(t.Context(), "alice", a.claim.ID, "", 1)
		must(t, err)
		got := string(page[0].Parts[0].(assistant.ToolCallPart).Arguments)
		if want := strings.ToValidUTF8(arguments, "\uFFFD"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	must(t, s.Close())
}

// What cannot be read of an answer does not keep it, and those that are freed with it, from their end.
func TestFreeUnreadable(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	broken, whole := begin(t, s), begin(t, s)
	_, err := s.exec(t.Context(), `UPDATE assistant.event SET data = '[{"kind":"hologram"}]' WHERE conversation_id = $1 AND last = $2`, broken.claim.ID, broken.seq)
	must(t, err)
	_, err = s.exec(t.Context(), `DELETE FROM assistant.node`)
	must(t, err)
	_, err = s.free(t.Context(), s.pool)
	must(t, err)
	broken.want(t, assistant.StatusInterrupted, "Hel")
	whole.want(t, assistant.StatusInterrupted, "Hello")
	must(t, s.Close())
}

// No call reads a whole table: with sequential scans forbidden, none is left in what the server does for the
// statements that it was sent. No write with a claim looks into the index of all that is held.
func TestStatements(t *testing.T) {
	s := openAt(t, emptySchema("pool_max_conns=1"), still)
	a := begin(t, s)
	must(t, a.rewrite(t.Context(), a.claim, assistant.Extension{MessageID: a.answer, Events: a.pieces("!")}))
	_, _, err := s.Messages(t.Context(), "alice", a.claim.ID, a.answer, 1)
	must(t, err)
	_, _ = s.MessageByClientID(t.Context(), "alice", a.claim.ID, "client-1")
	_, err = s.List(t.Context(), "alice", assistant.Conversation{}, 1)
	must(t, err)
	_, _ = s.Rename(t.Context(), "alice", a.claim.ID, "Title", new("another"))
	_, err = s.State(t.Context(), "alice", a.claim.ID, 1)
	must(t, err)
	_, _ = s.Events(t.Context(), "alice", a.claim.ID, assistant.Cursor{Seq: 1}, 1)
	_, err = s.Standings(t.Context(), []string{a.claim.ID})
	must(t, err)
	_, _, _ = s.Claim(t.Context(), "alice", a.claim.ID)
	a.seq++
	must(t, a.finish(t, "Hello!"))
	next := assistant.Beginning{Last: a.answer, DropFrom: a.answer, Answer: asked("").Answer, MaxMessages: 9}
	must(t, s.Begin(t.Context(), a.claim, next))
	if err := s.Release(t.Context(), a.claim, a.seq, nil); !errors.Is(err, assistant.ErrLost) { // it streams
		t.Errorf("got error %v", err)
	}
	_ = s.disown(t.Context(), a.claim.ID, 7)
	must(t, s.strays(t.Context()))
	must(t, s.bury(t.Context()))
	_, err = s.Trim(t.Context(), time.Now(), 1)
	must(t, err)
	_, err = s.DeleteBefore(t.Context(), time.Unix(1, 0), 1)
	must(t, err)
	b := begin(t, s)
	_, err = s.exec(t.Context(), `UPDATE assistant.conversation c SET holder = 1 WHERE id = $1`, b.claim.ID)
	must(t, err)
	_, err = s.free(t.Context(), s.pool)
	must(t, err)
	must(t, s.Delete(t.Context(), "alice", b.claim.ID))

	plans := explain(t, s)
	if len(plans) < 35 {
		t.Errorf("only %d statements", len(plans))
	}
	for statement, plan := range plans {
		if strings.Contains(plan, "Seq Scan") || strings.Contains(statement, "DISTINCT FROM") && strings.Contains(plan, "conversation_held") {
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
		WHERE statement ~ '(conversation|message|event)'`)
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
	_, err = conn.Exec(t.Context(), `SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; DISCARD PLANS`)
	must(t, err)
	plans := make(map[string]string)
	for _, next := range all {
		args := ""
		if next.parameters > 0 {
			args = " (" + strings.TrimSuffix(strings.Repeat("NULL, ", next.parameters), ", ") + ")"
		}
		results, err := conn.Conn().PgConn().Exec(t.Context(), fmt.Sprintf(`EXPLAIN EXECUTE %s%s`, next.name, args)).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", next.text, err)
		}
		for _, line := range results[0].Rows {
			plans[next.text] += string(line[0]) + "\n"
		}
	}
	return plans
}

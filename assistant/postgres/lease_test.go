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

	"github.com/jackc/pgx/v5"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// still is a TTL with which a node does nothing by itself, so that a test may do it.
const still = time.Hour

// streaming is an answer that a store has begun.
type streaming struct {
	*Store

	claim  assistant.Claim
	seq    uint64
	answer string
}

// begin begins an answer with some text.
func begin(t *testing.T, s *Store) *streaming {
	t.Helper()
	c := head()
	must(t, s.Create(t.Context(), "alice", c))
	a := &streaming{Store: s}
	must(t, a.begin(t.Context(), c.ID))
	must(t, a.extend(t, "Hel"))
	must(t, a.extend(t, "lo"))
	return a
}

func (a *streaming) begin(ctx context.Context, id string) error {
	claim, cursor, err := a.Claim(ctx, "alice", id)
	if err != nil {
		return err
	}
	b := asked("")
	b.Events = []assistant.Event{{Seq: cursor.Seq + 1, Kind: assistant.KindStarted, Run: b.Answer.ID, Body: assistant.Started{}}}
	a.claim, a.seq, a.answer = claim, cursor.Seq+1, b.Answer.ID
	return a.Begin(ctx, claim, b)
}

// pieces returns one event for each text, with the next numbers.
func (a *streaming) pieces(texts ...string) (events []assistant.Event) {
	for i, text := range texts {
		events = append(events, assistant.Event{Seq: a.seq + 1 + uint64(i), Kind: assistant.KindPiece, Run: a.answer, Text: text})
	}
	return events
}

func (a *streaming) extend(t *testing.T, text string) error {
	t.Helper()
	err := a.Extend(t.Context(), a.claim, assistant.Extension{MessageID: a.answer, Events: a.pieces(text)})
	a.seq++
	return err
}

func (a *streaming) finish(t *testing.T, content string) error {
	t.Helper()
	done := assistant.Message{ID: a.answer, Content: content, Status: assistant.StatusComplete}
	err := a.Finish(t.Context(), a.claim, assistant.Ending{At: time.Now(), Messages: []assistant.Message{done}, Events: a.pieces(".")})
	a.seq++
	return err
}

func (a *streaming) want(t *testing.T, status assistant.Status, content string) {
	t.Helper()
	page, _, err := a.Messages(t.Context(), "alice", a.claim.ID, "", 1)
	must(t, err)
	if page[0].Status != status || page[0].Content != content {
		t.Fatalf("answer is %s with %q, want %s with %q", page[0].Status, page[0].Content, status, content)
	}
}

// until waits for a condition; the test's deadline ends this.
func until(f func() bool) {
	for !f() {
		time.Sleep(time.Millisecond)
	}
}

func (s *Store) holderOf(t *testing.T, id string) assistant.NodeID {
	t.Helper()
	at, err := s.Standings(t.Context(), []string{id})
	must(t, err)
	return at[0].Holder
}

// A node whose own lease has run out buries nobody, whatever it believes.
func TestBuryNobody(t *testing.T) {
	dsn := emptySchema()
	a, b := openAt(t, dsn, still), openAt(t, dsn, still)
	rows := func(want int) {
		t.Helper()
		must(t, b.bury(t.Context()))
		wantRows(t, b, "node", want)
	}
	rows(2)
	_, err := b.exec(t.Context(), `UPDATE assistant.node SET expires_at = assistant.clock()`)
	must(t, err)
	rows(2)
	_, err = b.exec(t.Context(), `UPDATE assistant.node SET expires_at = assistant.clock() + '1h' WHERE id = $1`, b.Node())
	must(t, err)

	// A renewal that is under way is no reason to wait.
	tx, err := b.pool.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), b.in(`SELECT FROM assistant.node WHERE id = $1 FOR UPDATE`), a.Node())
	must(t, err)
	rows(2)
	must(t, tx.Rollback(t.Context()))
	rows(1)
	must(t, a.Close())
	must(t, b.Close())
}

// What mayBury says of nodes that have or have not renewed for long enough.
func TestMayBury(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		since, until, death int // seconds from now; 0 = never
		want                bool
	}{
		"all is well":       {-10, 5, -1, true},
		"nobody is dead":    {-10, 5, 1, false},
		"nothing is known":  {-10, 5, 0, false},
		"new":               {-5, 5, -1, false},
		"after a failure":   {0, 5, -1, false},
		"lease has run out": {-10, -1, -2, false},
	} {
		at := func(seconds int) time.Time {
			if seconds == 0 {
				return time.Time{}
			}
			return now.Add(time.Duration(seconds) * time.Second)
		}
		l := &lease{ttl: 6 * time.Second, since: at(test.since), until: at(test.until), death: at(test.death)}
		if got := l.mayBury(); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Renewals that fail, and those that come too late, begin the time anew that a node must have renewed for.
func TestRenewalsMissed(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	s.lease.stop()
	must(t, s.lease.keep(t.Context()))
	first := s.lease.since
	must(t, s.lease.keep(t.Context()))
	if s.lease.since != first {
		t.Error("a renewal in time has begun anew")
	}
	s.lease.until = time.Now()
	must(t, s.lease.keep(t.Context()))
	if s.lease.since == first {
		t.Error("a renewal that came too late has not begun anew")
	}
	_ = s.lease.conn.Close(t.Context())
	if err := s.lease.keep(t.Context()); err == nil || !s.lease.since.IsZero() {
		t.Errorf("got error %v, since %v", err, s.lease.since)
	}
	must(t, s.lease.keep(t.Context()))
	must(t, s.Close())
}

// A lease lasts from before its renewal is sent, however late the answer is.
func TestLeaseCountsFromBefore(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	s.lease.stop()
	tx, err := s.pool.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), s.in(`SELECT FROM assistant.node FOR UPDATE`))
	must(t, err)
	renewed, sent := make(chan error), time.Now()
	go func() { renewed <- s.lease.keep(t.Context()) }()
	waitsForLock(t, s, "UPDATE.*node")
	late := time.Now()
	must(t, tx.Rollback(t.Context()))
	must(t, <-renewed)
	if end, _ := s.Lease(); end.Before(sent.Add(still)) || end.After(late.Add(still)) {
		t.Errorf("lease ends %v after it was sent, %v after the lock", end.Sub(sent)-still, end.Sub(late)-still)
	}
	must(t, s.Close())
}

// A renewal that gets no answer is given up after a third of the TTL, so that another can come in time.
func TestRenewalTimesOut(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	nodes{}.Stop(s)
	s.lease.ttl = 600 * time.Millisecond
	tx, err := s.pool.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), s.in(`SELECT FROM assistant.node FOR UPDATE`))
	must(t, err)
	start := time.Now()
	if err := s.lease.keep(t.Context()); err == nil {
		t.Error("the lease was renewed")
	}
	if took := time.Since(start); took < s.lease.ttl/3 || took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	must(t, tx.Rollback(t.Context()))
	must(t, s.Close())
}

// A server that is away does not keep a store from being closed.
func TestCloseWithoutServer(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	must(t, database.stop())
	start := time.Now()
	must(t, s.Close())
	took := time.Since(start)
	must(t, database.start())
	if took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// waitsForLock returns when the server has a statement that waits for a lock.
func waitsForLock(t *testing.T, s *Store, statement string) {
	t.Helper()
	until(func() (waits bool) {
		must(t, s.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND query ~ $1 AND datname = current_database())`, statement).Scan(&waits))
		return waits
	})
}

// A clock of the database that is set back changes nothing: a node that dies then is buried in time.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	dsn := emptySchema()
	ttl := time.Second
	a, b := openAt(t, dsn, ttl), openAt(t, dsn, ttl)
	answer := begin(t, a)
	_, err := b.exec(t.Context(), `CREATE OR REPLACE FUNCTION assistant.clock() RETURNS timestamptz LANGUAGE sql AS $$SELECT clock_timestamp() - interval '1h'$$`)
	must(t, err)
	until(func() bool { // all have renewed by the new clock
		found, err := query(t.Context(), b, pgx.RowTo[bool], `SELECT max(expires_at) < clock_timestamp() - interval '59m' FROM assistant.node`)
		must(t, err)
		return found[0]
	})
	a.lease.stop()
	until(func() bool { return b.holderOf(t, answer.claim.ID) == 0 })
	answer.Store = b
	answer.want(t, assistant.StatusInterrupted, "Hello")
	must(t, a.Close())
	must(t, b.Close())
}

// A sweeper that dies between the two parts of a burial leaves the second to the others.
func TestDeadSweeper(t *testing.T) {
	t.Parallel()
	dsn := emptySchema()
	a, b := openAt(t, dsn, still), openAt(t, dsn, time.Second)
	answer := begin(t, a)
	_, err := b.exec(t.Context(), `DELETE FROM assistant.node WHERE id = $1`, a.Node())
	must(t, err)
	start := time.Now()
	until(func() bool { return b.holderOf(t, answer.claim.ID) == 0 })
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	answer.Store = b
	answer.want(t, assistant.StatusInterrupted, "Hello")
	must(t, a.Close())
	must(t, b.Close())
}

// What a node that is dead is storing just then is part of its answer: the conversation is left until it is stored.
func TestFreeLeavesLocked(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	a, other := begin(t, s), begin(t, s)
	_, err := s.exec(t.Context(), `DELETE FROM assistant.node`)
	must(t, err)
	tx, err := s.pool.Begin(t.Context())
	must(t, err)
	args, err := row(a.claim, a.pieces("!"), false)
	must(t, err)
	_, err = tx.Exec(t.Context(), s.in(extend), append(args, a.answer)...)
	must(t, err)
	left, err := s.free(t.Context(), s.pool)
	must(t, err)
	other.want(t, assistant.StatusInterrupted, "Hello")
	if !left {
		t.Error("nothing is left")
	}
	must(t, tx.Commit(t.Context()))
	a.want(t, assistant.StatusStreaming, "Hello!")
	left, err = s.free(t.Context(), s.pool)
	must(t, err)
	if left {
		t.Error("something is left")
	}
	a.want(t, assistant.StatusInterrupted, "Hello!")
	fences, err := query(t.Context(), s, pgx.RowTo[int64], `SELECT fence FROM assistant.conversation WHERE id = $1`, a.claim.ID)
	must(t, err)
	if fences[0] != a.claim.Fence+1 {
		t.Errorf("fence is %d, was %d", fences[0], a.claim.Fence)
	}
	wantRows(t, s, "event", 2) // the ends of both answers
	must(t, s.Close())
}

// A conversation that only the database says this node holds is given up, by the next look or the next Claim.
func TestStrays(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	known, stray, claimed := begin(t, s), begin(t, s), begin(t, s)
	for _, a := range []*streaming{stray, claimed} {
		s.claims.drop(a.claim)
	}
	must(t, s.strays(t.Context()))
	known.want(t, assistant.StatusStreaming, "Hello")
	stray.want(t, assistant.StatusInterrupted, "Hello")
	claimed.want(t, assistant.StatusInterrupted, "Hello")
	must(t, known.extend(t, "!"))
	if err := stray.extend(t, "!"); !errors.Is(err, assistant.ErrLost) {
		t.Errorf("got error %v", err)
	}

	again := begin(t, s)
	s.claims.drop(again.claim)
	claim, cursor, err := s.Claim(t.Context(), "alice", again.claim.ID)
	must(t, err)
	if claim.Fence <= again.claim.Fence || cursor.Seq != 1 {
		t.Errorf("claim %+v at %v follows %+v", claim, cursor, again.claim)
	}
	again.want(t, assistant.StatusInterrupted, "Hello")
	must(t, s.Close())
}

// Claims that are being made are no strays.
func TestClaimUnderWay(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	a := begin(t, s)
	s.claims.drop(a.claim)
	s.claims.ask(a.claim.ID)
	must(t, s.strays(t.Context()))
	a.want(t, assistant.StatusStreaming, "Hello")
	_, _, err := s.Claim(t.Context(), "alice", a.claim.ID)
	if held, ok := errors.AsType[*assistant.HeldError](err); !ok || held.Holder != s.Node() {
		t.Errorf("got error %v", err)
	}
	s.claims.askedFor(a.claim.ID)
	must(t, s.strays(t.Context()))
	a.want(t, assistant.StatusInterrupted, "Hello")
	must(t, s.Close())
}

// A node that drains does so under another name too.
func TestDrainingAfterBurial(t *testing.T) {
	s := openAt(t, emptySchema(), still)
	s.lease.stop() // else it may find out by itself, before the test does
	must(t, s.SetDraining(t.Context(), true))
	_, err := s.exec(t.Context(), `DELETE FROM assistant.node`)
	must(t, err)
	old := s.Node()
	c := head()
	must(t, s.Create(t.Context(), "alice", c))
	if _, _, err := s.Claim(t.Context(), "alice", c.ID); !errors.Is(err, errBuried) {
		t.Errorf("got error %v", err)
	}
	must(t, s.lease.keep(t.Context()))
	list, err := s.Nodes(t.Context())
	must(t, err)
	if len(list) != 1 || list[0].ID == old || list[0].ID != s.Node() || !list[0].Draining {
		t.Errorf("nodes are %+v, this one was %d", list, old)
	}
	must(t, s.Close())
}

// childDSN makes the test binary another server, on that database.
const childDSN = "POSTGRES_TEST_DSN"

// childMain begins an answer, says which, and waits to be killed.
func childMain(dsn string) {
	ctx := context.Background()
	s, err := Open(ctx, Config{DSN: dsn}, nil)
	a := &streaming{Store: s}
	c := head()
	if err == nil {
		err = s.Create(ctx, "alice", c)
	}
	if err == nil {
		err = a.begin(ctx, c.ID)
	}
	if err == nil {
		err = s.Extend(ctx, a.claim, assistant.Extension{MessageID: a.answer, Events: a.pieces("Hello")})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(c.ID)
	select {}
}

// What a process has left that was killed is interrupted ten seconds after the next has started, at the latest.
func TestKill(t *testing.T) {
	t.Parallel()
	dsn := emptySchema()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDSN+"="+dsn)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var id string
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	if _, err := fmt.Sscan(line, &id); err != nil || !assistant.IsID(id) {
		t.Fatalf("child says %q", line)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed
	start := time.Now()
	s := openHere(t, dsn)
	answer := streaming{Store: s, claim: assistant.Claim{Owned: assistant.Owned{Owner: "alice", ID: id}}}
	answer.want(t, assistant.StatusStreaming, "Hello")
	until(func() bool { return s.holderOf(t, id) == 0 })
	if took := time.Since(start); took > 10*time.Second || took < leaseTTL/2 {
		t.Errorf("took %v", took)
	}
	answer.want(t, assistant.StatusInterrupted, "Hello")
	must(t, s.Close())
}

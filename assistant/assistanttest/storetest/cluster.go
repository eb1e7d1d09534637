package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Nodes is a database in which stores are nodes of one [assistant.Cluster].
type Nodes interface {
	// Open opens another node, or fails the test. The suite closes it.
	Open(t *testing.T) assistant.Cluster
	// TTL is how long a lease lasts.
	TTL() time.Duration
	// Stop lets a node do nothing by itself, as if its process was stopped, until the function is called that it returns.
	Stop(node assistant.Cluster) (goOn func())
	// Outage takes the database away while f runs.
	Outage(t *testing.T, f func())
}

// TestCluster checks what [assistant.Cluster] promises beyond [assistant.Store]. Each call of empty makes a database
// without conversations and nodes. Tests in which leases run out are run at once, those with an outage after them.
func TestCluster(t *testing.T, empty func(t *testing.T) Nodes) {
	t.Helper()
	for _, test := range clusterTests {
		t.Run(test.name, func(t *testing.T) { test.run(newClusterTest(t, empty(t))) })
	}
	t.Run("Leases", func(t *testing.T) {
		for _, test := range leaseTests {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.run(newClusterTest(t, empty(t)))
			})
		}
	})
	t.Run("Outage", func(t *testing.T) { testOutage(newClusterTest(t, empty(t))) })
}

type clusterCase struct {
	name string
	run  func(clusterTest)
}

var clusterTests = []clusterCase{
	{"Claim", testClaim},
	{"ClaimAtOnce", testClaimAtOnce},
	{"ClaimAfterFailure", testClaimAfterFailure},
	{"Release", testRelease},
	{"ReleaseAfterFailure", testReleaseAfterFailure},
	{"Lost", testLost},
	{"Events", testEvents},
	{"EventsGap", testEventsGap},
	{"Trim", testTrim},
	{"State", testState},
	{"StateAnyTime", testStateAnyTime},
	{"Standings", testStandings},
	{"Nodes", testNodes},
	{"Draining", testDraining},
	{"DeleteClaimed", testDeleteClaimed},
	{"CloseHolder", testCloseHolder},
}

var leaseTests = []clusterCase{
	{"Renewed", testRenewed},
	{"Burial", testBurial},
	{"BurialOfMany", testBurialOfMany},
	{"Alone", testAlone},
}

// clusterTest is two nodes under test.
type clusterTest struct {
	*testing.T

	nodes Nodes
	a, b  assistant.Cluster
}

func newClusterTest(t *testing.T, nodes Nodes) clusterTest {
	t.Helper()
	ct := clusterTest{t, nodes, nil, nil}
	ct.a, ct.b = ct.open(), ct.open()
	return ct
}

func (t clusterTest) open() assistant.Cluster {
	t.Helper()
	node := t.nodes.Open(t.T)
	t.Cleanup(func() { t.check(node.Close()) })
	return node
}

func (t clusterTest) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t clusterTest) check(err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func (t clusterTest) want(want, err error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func (t clusterTest) same(got, want any) {
	t.Helper()
	if g, w := asJSON(got), asJSON(want); g != w {
		t.Fatalf("\n got %.2000s\nwant %.2000s", g, w)
	}
}

// within waits until f returns true; it fails the test after a time in which a machine under load has done that.
func (t clusterTest) within(what string, limit time.Duration, f func() bool) {
	t.Helper()
	for start := time.Now(); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > limit {
			t.Fatalf("%s: not after %v", what, limit)
		}
	}
}

// patience is more than any call takes.
const patience = 20 * time.Second

func (t clusterTest) create() assistant.Owned {
	t.Helper()
	c := assistant.Conversation{ID: uuid.NewString(), CreatedAt: at(1), UpdatedAt: at(1)}
	t.must(t.a.Create(t.Context(), "alice", c))
	return assistant.Owned{Owner: "alice", ID: c.ID}
}

func (t clusterTest) state(node assistant.Cluster, c assistant.Owned) assistant.State {
	t.Helper()
	s, err := node.State(t.Context(), c.Owner, c.ID, 100)
	t.must(err)
	return s
}

// isHeldBy checks that a node cannot claim a conversation, because another has it.
func (t clusterTest) isHeldBy(node assistant.Cluster, c assistant.Owned, holder assistant.NodeID) {
	t.Helper()
	_, _, err := node.Claim(t.Context(), c.Owner, c.ID)
	if held, ok := errors.AsType[*assistant.HeldError](err); !ok || held.Holder != holder {
		t.Fatalf("got error %v, want that %d holds it", err, holder)
	}
}

// holder writes to a conversation that it has claimed.
type holder struct {
	clusterTest

	node   assistant.Cluster
	claim  assistant.Claim
	cursor assistant.Cursor  // of the last event that is stored
	answer assistant.Message // the last one that was begun, with what is stored of it
}

func (t clusterTest) hold(node assistant.Cluster, c assistant.Owned) *holder {
	t.Helper()
	claim, cursor, err := node.Claim(t.Context(), c.Owner, c.ID)
	t.must(err)
	if claim.Owned != c || claim.Node != node.Node() || claim.Fence <= 0 {
		t.Fatalf("claim is %+v", claim)
	}
	h := &holder{clusterTest: t, node: node, claim: claim, cursor: cursor}
	if messages := t.state(node, c).Messages; len(messages) > 0 {
		h.answer = messages[len(messages)-1]
	}
	return h
}

// next returns events with the next numbers, which succeed counts.
func (h *holder) next(events ...assistant.Event) []assistant.Event {
	return numbered(h.cursor.Seq+1, events)
}

// succeed counts events that are stored.
func (h *holder) succeed(events []assistant.Event, err error) {
	h.Helper()
	h.must(err)
	h.cursor.Seq += uint64(len(events))
}

// beginning is a turn that follows what the holder knows.
func (h *holder) beginning() assistant.Beginning {
	b := assistant.Beginning{Last: h.answer.ID, Question: question("Hi", "", 2), Answer: answer(2)}
	b.Events = h.next(eventsOfBeginning(b)...)
	return b
}

func (h *holder) begin() {
	h.Helper()
	b := h.beginning()
	h.succeed(b.Events, h.node.Begin(h.Context(), h.claim, b))
	h.answer = b.Answer
}

// extension is n pieces, each of which says its number.
func (h *holder) extension(n int) assistant.Extension {
	e := assistant.Extension{MessageID: h.answer.ID}
	for i := range n {
		seq := h.cursor.Seq + 1 + uint64(i)
		e.Events = append(e.Events, assistant.Event{Seq: seq, Kind: assistant.KindPiece, Run: h.answer.ID, Text: saying(seq)})
	}
	return e
}

func saying(seq uint64) string { return fmt.Sprintf("%d ünd ", seq) }

func (h *holder) extend(n int) {
	h.Helper()
	e := h.extension(n)
	h.succeed(e.Events, h.node.Extend(h.Context(), h.claim, e))
	h.answer.Content += e.Parts().Text()
}

// ending ends the answer, with some text that was not stored before.
func (h *holder) ending() assistant.Ending {
	e := h.extension(2)
	done := h.answer
	done.Content, done.Status, done.FinishReason = done.Content+e.Parts().Text(), assistant.StatusComplete, assistant.FinishStop
	completed := assistant.Event{Kind: assistant.KindCompleted, Run: done.ID, Body: assistant.Completed{FinishReason: done.FinishReason, At: at(3)}}
	return assistant.Ending{At: at(3), Messages: []assistant.Message{done}, Events: h.next(append(e.Events, completed)...)}
}

func (h *holder) finish() {
	h.Helper()
	e := h.ending()
	h.succeed(e.Events, h.node.Finish(h.Context(), h.claim, e))
	h.answer = e.Messages[0]
}

// turn is a question with an answer of some batches.
func (h *holder) turn() {
	h.Helper()
	h.begin()
	h.extend(3)
	h.extend(1)
	h.finish()
}

func (h *holder) release(events ...assistant.Event) {
	h.Helper()
	events = h.next(events...)
	h.succeed(events, h.node.Release(h.Context(), h.claim, h.cursor.Seq+uint64(len(events)), events))
}

func renamed(title string) assistant.Event {
	return assistant.Event{Kind: assistant.KindRenamed, Body: assistant.Renamed{Conversation: assistant.Conversation{Title: title}}}
}

// refused checks that nothing of what a claim is for can be done with it, and that nothing is changed.
func (h *holder) refused(by assistant.Cluster, want error) {
	h.Helper()
	before, _ := by.State(h.Context(), h.claim.Owner, h.claim.ID, 100)
	b, x, e := h.beginning(), h.extension(2), h.ending()
	h.want(want, h.node.Begin(h.Context(), h.claim, b))
	h.want(want, h.node.Extend(h.Context(), h.claim, x))
	h.want(want, h.node.Finish(h.Context(), h.claim, e))
	h.want(want, h.node.Release(h.Context(), h.claim, h.cursor.Seq, nil))
	h.want(want, h.node.Release(h.Context(), h.claim, h.cursor.Seq+1, h.next(renamed("stolen"))))
	after, _ := by.State(h.Context(), h.claim.Owner, h.claim.ID, 100)
	h.same(after, before)
}

func testClaim(t clusterTest) {
	c := t.create()
	_, _, err := t.a.Claim(t.Context(), "bob", c.ID)
	t.want(assistant.ErrNotFound, err)
	_, _, err = t.a.Claim(t.Context(), "alice", uuid.NewString())
	t.want(assistant.ErrNotFound, err)

	first := t.hold(t.a, c)
	if first.cursor.Epoch == "" || first.cursor.Seq != 0 {
		t.Fatalf("a new log is at %v", first.cursor)
	}
	t.isHeldBy(t.b, c, t.a.Node())
	t.isHeldBy(t.a, c, t.a.Node()) // also for itself: one claim at a time
	first.turn()
	first.release()
	second := t.hold(t.b, c)
	t.same(second.cursor, first.cursor)
	if second.claim.Fence <= first.claim.Fence {
		t.Errorf("fence %d follows %d", second.claim.Fence, first.claim.Fence)
	}
	t.isHeldBy(t.a, c, t.b.Node())
	second.turn()
	second.release(renamed("One"), renamed("Two"))
	third := t.hold(t.a, c)
	t.same(third.cursor, second.cursor)
	third.release()
}

// testClaimAtOnce has both nodes claim the same conversation, each several times at once.
func testClaimAtOnce(t clusterTest) {
	c := t.create()
	for range 10 {
		var won atomic.Pointer[holder]
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				node := []assistant.Cluster{t.a, t.b}[i%2]
				claim, cursor, err := node.Claim(t.Context(), c.Owner, c.ID)
				_, held := errors.AsType[*assistant.HeldError](err)
				switch {
				case err == nil && won.Swap(&holder{clusterTest: t, node: node, claim: claim, cursor: cursor}) != nil:
					t.Error("two have the claim")
				case err != nil && !held:
					t.Errorf("claim: %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() == nil {
			t.Fatal("nobody has the claim")
		}
		won.Load().release()
	}
}

// testClaimAfterFailure claims again after calls whose outcome is unknown.
func testClaimAfterFailure(t clusterTest) {
	c := t.create()
	for n := range 30 {
		ctx, cancel := doomed(t.Context(), n)
		claim, cursor, err := t.a.Claim(ctx, c.Owner, c.ID)
		cancel()
		h := &holder{clusterTest: t, node: t.a, claim: claim, cursor: cursor}
		if err != nil {
			t.want(errDoomed, err)
			t.within("claim again", patience, func() bool {
				h.claim, h.cursor, err = t.a.Claim(t.Context(), c.Owner, c.ID)
				return err == nil
			})
		}
		h.answer = assistant.Message{}
		if messages := t.state(t.b, c).Messages; len(messages) > 0 {
			h.answer = messages[len(messages)-1]
		}
		h.turn()
		h.release()
		t.same(t.state(t.b, c).Cursor, h.cursor)
	}
}

func doomed(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, time.Duration(n)*20*time.Microsecond, errDoomed)
}

func testRelease(t clusterTest) {
	c := t.create()
	h := t.hold(t.a, c)
	h.turn()
	h.release(renamed("One"))
	s := t.state(t.b, c)
	t.same(s.Cursor, h.cursor)
	t.same(s.Holder, 0)
	h.refused(t.b, assistant.ErrLost)
	batches, err := t.b.Events(t.Context(), c.Owner, c.ID, assistant.Cursor{Epoch: h.cursor.Epoch, Seq: h.cursor.Seq - 1}, 10)
	t.must(err)
	t.same(len(batches), 1)
	events, err := batches[0].Events()
	t.must(err)
	t.same(events, numbered(h.cursor.Seq, []assistant.Event{renamed("One")}))

	// Numbers that follow nothing are refused, and the claim is kept.
	h = t.hold(t.a, c)
	wrong := h.cursor.Seq + 2
	if err := t.a.Release(t.Context(), h.claim, wrong, numbered(wrong, []assistant.Event{renamed("Two")})); err == nil || errors.Is(err, assistant.ErrLost) {
		t.Errorf("released at %d after %d: got error %v", wrong, h.cursor.Seq, err)
	}
	h.release()
}

// testReleaseAfterFailure gives conversations back in which calls may or may not have done what they were to do: nothing
// streams then, and the log is where the release says, or begins anew.
func testReleaseAfterFailure(t clusterTest) {
	c := t.create()
	for n := range 30 {
		h := t.hold(t.a, c)
		b := h.beginning()
		ctx, cancel := doomed(t.Context(), 2*n)
		err := t.a.Begin(ctx, h.claim, b)
		cancel()
		if err != nil {
			t.want(errDoomed, err)
		}
		var events []assistant.Event
		if n%2 == 1 {
			events = h.next(renamed("One"))
		}
		err = t.a.Release(t.Context(), h.claim, h.cursor.Seq+uint64(len(events)), events)
		s := t.state(t.b, c)
		if errors.Is(err, assistant.ErrLost) {
			if s.Cursor.Epoch == h.cursor.Epoch {
				t.Error("the claim was lost, but the log goes on")
			}
		} else {
			h.succeed(events, err)
			t.same(s.Cursor, h.cursor)
		}
		if s.Running != nil || s.Holder != 0 {
			t.Fatalf("released with %v running, held by %d", s.Running, s.Holder)
		}
	}
}

// testLost writes with claims that are not the conversation's.
func testLost(t clusterTest) {
	c, other := t.create(), t.create()
	h, foreign := t.hold(t.a, c), t.hold(t.b, other)
	h.begin()
	h.extend(2)
	for _, wrong := range []assistant.Claim{
		{Owned: c},
		{Owned: c, Node: h.claim.Node},
		{Owned: c, Node: h.claim.Node, Fence: h.claim.Fence - 1},
		{Owned: c, Node: h.claim.Node, Fence: h.claim.Fence + 1},
		{Owned: c, Node: t.b.Node(), Fence: h.claim.Fence},
		{Owned: c, Node: foreign.claim.Node, Fence: foreign.claim.Fence},
	} {
		thief := *h
		thief.claim = wrong
		thief.refused(t.a, assistant.ErrLost)
		thief.node = t.b
		thief.refused(t.b, assistant.ErrLost)
	}
	stranger := *h
	stranger.claim.Owner = "bob"
	stranger.refused(t.a, assistant.ErrNotFound)
	h.extend(1) // the claim is as good as before
	h.finish()
	t.must(t.b.Delete(t.Context(), c.Owner, c.ID))
	h.refused(t.b, assistant.ErrNotFound)
	foreign.release()
}

// log returns all events after a cursor, read in pieces of so many batches.
func (t clusterTest) log(node assistant.Cluster, c assistant.Owned, after assistant.Cursor, limit int) (events []assistant.Event) {
	t.Helper()
	for {
		batches, err := node.Events(t.Context(), c.Owner, c.ID, after, limit)
		t.must(err)
		if len(batches) == 0 {
			return events
		}
		if len(batches) > limit {
			t.Fatalf("%d batches, want %d", len(batches), limit)
		}
		for _, b := range batches {
			if b.Epoch != after.Epoch || b.First != after.Seq+1 {
				t.Fatalf("batch of %s from %d follows %v", b.Epoch, b.First, after)
			}
			more, err := b.Events()
			t.must(err)
			events, after.Seq = append(events, more...), b.Last
		}
	}
}

func testEvents(t clusterTest) {
	c := t.create()
	h := t.hold(t.a, c)
	start := h.cursor
	var want []assistant.Event
	stored := func(events []assistant.Event, err error) {
		t.Helper()
		h.succeed(events, err)
		want = append(want, events...)
	}
	for range 2 {
		b := h.beginning()
		stored(b.Events, t.a.Begin(t.Context(), h.claim, b))
		h.answer = b.Answer
		for n := range 4 {
			x := h.extension(n + 1)
			x.Events[n].Kind = assistant.KindReasoning
			stored(x.Events, t.a.Extend(t.Context(), h.claim, x))
		}
		e := h.ending()
		stored(e.Events, t.a.Finish(t.Context(), h.claim, e))
		h.answer = e.Messages[0]
	}
	check := func() {
		t.Helper()
		for after := range h.cursor.Seq + 1 {
			for _, limit := range []int{1, 2, 100} {
				t.same(listed(t.log(t.b, c, assistant.Cursor{Epoch: start.Epoch, Seq: after}, limit)), listed(want[after:]))
			}
		}
	}
	check()
	ahead := assistant.Cursor{Epoch: start.Epoch, Seq: h.cursor.Seq + 3} // as of a client who was shown what is not yet stored
	t.same(len(t.log(t.b, c, ahead, 10)), 0)
	ahead.Seq = 1<<64 - 1
	t.same(len(t.log(t.b, c, ahead, 10)), 0)
	last := h.next(renamed("One"))
	h.release(renamed("One"))
	want = append(want, last...)
	check()

	for _, epoch := range []string{"", uuid.NewString()} {
		_, err := t.b.Events(t.Context(), c.Owner, c.ID, assistant.Cursor{Epoch: epoch, Seq: 1}, 10)
		t.want(assistant.ErrGone, err)
	}
	_, err := t.b.Events(t.Context(), "bob", c.ID, start, 10)
	t.want(assistant.ErrNotFound, err)
}

// testEventsGap stores events that do not go on where the log ends.
func testEventsGap(t clusterTest) {
	h := t.hold(t.a, t.create())
	h.turn()
	bad := func(err error) {
		t.Helper()
		if err == nil || errors.Is(err, assistant.ErrLost) || errors.Is(err, assistant.ErrNotFound) {
			t.Errorf("got error %v", err)
		}
	}
	before := t.state(t.b, h.claim.Owned)
	for _, by := range []int64{-2, -1, 1} {
		b := h.beginning()
		b.Events = numbered(uint64(int64(b.Events[0].Seq)+by), b.Events)
		bad(t.a.Begin(t.Context(), h.claim, b))
		t.same(t.state(t.b, h.claim.Owned), before)
	}
	h.begin()
	h.extend(2)
	before = t.state(t.b, h.claim.Owned)
	for _, by := range []int64{-1, 1} {
		x, e := h.extension(3), h.ending()
		x.Events, e.Events = numbered(uint64(int64(x.Events[0].Seq)+by), x.Events), numbered(uint64(int64(e.Events[0].Seq)+by), e.Events)
		bad(t.a.Extend(t.Context(), h.claim, x))
		bad(t.a.Finish(t.Context(), h.claim, e))
		t.same(t.state(t.b, h.claim.Owned), before)
	}
	e := h.ending()
	h.must(t.a.Finish(t.Context(), h.claim, e))
	h.succeed(e.Events, t.a.Finish(t.Context(), h.claim, e)) // again, as after a call whose outcome is unknown
	h.answer = e.Messages[0]
	h.turn()
	h.release()
	t.same(t.state(t.b, h.claim.Owned).Cursor, h.cursor)
}

func testTrim(t clusterTest) {
	c := t.create()
	h := t.hold(t.a, c)
	start := h.cursor
	later := time.Now().Add(time.Hour)
	trim := func(limit int) int {
		t.Helper()
		n, err := t.b.Trim(t.Context(), later, limit)
		t.must(err)
		return n
	}
	h.turn()
	n, err := t.b.Trim(t.Context(), time.Now().Add(-time.Hour), 100)
	t.must(err)
	t.same(n, 0) // they are young
	done := h.cursor
	h.begin()
	h.extend(2)
	t.same(trim(2), 2)
	if n := trim(100); n == 0 || trim(100) != 0 {
		t.Errorf("trimmed %d, and more again", n)
	}
	_, err = t.b.Events(t.Context(), c.Owner, c.ID, start, 10)
	t.want(assistant.ErrGone, err)
	t.same(len(t.log(t.b, c, done, 10)), int(h.cursor.Seq-done.Seq)) // an answer that streams stays whole
	t.same(t.state(t.b, c).Running.Content, h.answer.Content)

	// Numbers go on where they were, also of a log of which nothing is left.
	h.finish()
	trim(100)
	t.same(t.state(t.b, c).Cursor, h.cursor)
	h.turn()
	h.release()
	trim(100)
	t.same(trim(100), 0)
	t.same(t.state(t.b, c).Cursor, h.cursor)
	t.same(len(t.log(t.b, c, h.cursor, 10)), 0)
	_, err = t.b.Events(t.Context(), c.Owner, c.ID, done, 10)
	t.want(assistant.ErrGone, err)
	again := t.hold(t.b, c)
	t.same(again.cursor, h.cursor)
	again.turn()
	again.release()
}

func testState(t clusterTest) {
	c := t.create()
	_, err := t.b.State(t.Context(), "bob", c.ID, 10)
	t.want(assistant.ErrNotFound, err)
	s := t.state(t.b, c)
	conversation, err := t.b.Conversation(t.Context(), c.Owner, c.ID)
	t.must(err)
	t.same(s.Conversation, conversation)
	if len(s.Messages) > 0 || s.More || s.Running != nil || s.Holder != 0 || s.Cursor.Epoch == "" || s.Cursor.Seq != 0 {
		t.Errorf("of a new conversation: %+v", s)
	}
	h := t.hold(t.a, c)
	for range 3 {
		h.turn()
	}
	all, _, err := t.b.Messages(t.Context(), c.Owner, c.ID, "", 100)
	t.must(err)
	h.begin()
	q := t.state(t.b, c).Messages[6]
	t.same(q.Role, assistant.RoleUser)
	all = append(all, q)
	x := h.extension(3)
	x.Events[0].Kind = assistant.KindReasoning
	h.succeed(x.Events, t.a.Extend(t.Context(), h.claim, x))
	h.answer.SetParts(x.Parts())
	for limit := range 9 {
		s, err := t.b.State(t.Context(), c.Owner, c.ID, limit)
		t.must(err)
		t.same(listed(s.Messages), listed(all[max(0, 7-limit):]))
		t.same(s.More, limit < 7)
		t.same(s.Running, h.answer)
		t.same(s.Cursor, h.cursor)
		t.same(s.Holder, t.a.Node())
	}
	h.finish()
	s = t.state(t.b, c)
	t.same(s.Messages, append(all, h.answer))
	if s.Running != nil {
		t.Error("the answer has ended")
	}

	// Reasoning that is only shown is in the log.
	h.begin()
	x = h.extension(2)
	x.Events[0].Kind, x.ReasoningLive = assistant.KindReasoning, true
	h.succeed(x.Events, t.a.Extend(t.Context(), h.claim, x))
	h.answer.SetParts(assistant.Parts{text(x.Events[1].Text)})
	t.same(t.state(t.b, c).Running, h.answer)
	h.finish()
	h.release()
}

// testStateAnyTime reads, at another node, while a holder writes: each state has exactly the text of its events.
func testStateAnyTime(t clusterTest) {
	c := t.create()
	h := t.hold(t.a, c)
	epoch := h.cursor.Epoch
	var done atomic.Bool
	var reader sync.WaitGroup
	reader.Go(func() {
		for last := uint64(0); !done.Load(); {
			s, err := t.b.State(t.Context(), c.Owner, c.ID, 100)
			if err != nil {
				t.Errorf("state: %v", err)
				return
			}
			if s.Cursor.Epoch != epoch || s.Cursor.Seq < last {
				t.Errorf("log is at %v after %d", s.Cursor, last)
			}
			last = s.Cursor.Seq
			t.check(consistent(s))
		}
	})
	for n := range 30 {
		h.begin()
		for i := range 5 {
			h.extend(1 + (n+i)%3)
		}
		h.finish()
		if n%5 == 4 {
			h.release()
			h = t.hold(t.a, c)
		}
	}
	done.Store(true)
	reader.Wait()
	h.release()
}

// consistent checks the turns of a holder, each of which has two events before its text and one behind it, against the
// cursor.
func consistent(s assistant.State) error {
	messages, seq := s.Messages, uint64(0)
	if s.Running != nil {
		messages = append(slices.Clone(messages), *s.Running)
	}
	if len(messages)%2 != 0 {
		return fmt.Errorf("%d messages at event %d", len(messages), s.Cursor.Seq)
	}
	for i := 1; i < len(messages); i += 2 {
		seq += 2
		for rest := messages[i].Content; rest != ""; {
			seq++
			var ok bool
			if rest, ok = strings.CutPrefix(rest, saying(seq)); !ok {
				return fmt.Errorf("message %d goes on with %q, want event %d", i, rest, seq)
			}
		}
		if messages[i].Status != assistant.StatusStreaming {
			seq++
		}
	}
	if seq != s.Cursor.Seq {
		return fmt.Errorf("messages end with event %d, the state is of %d", seq, s.Cursor.Seq)
	}
	return nil
}

func testStandings(t clusterTest) {
	free, held, gone, fresh := t.create(), t.create(), t.create(), t.create()
	h := t.hold(t.a, free)
	h.turn()
	h.release()
	run := t.hold(t.b, held)
	run.begin()
	run.extend(2)
	t.must(t.a.Delete(t.Context(), gone.Owner, gone.ID))
	unknown := uuid.NewString()
	got, err := t.a.Standings(t.Context(), []string{free.ID, held.ID, gone.ID, fresh.ID, unknown})
	t.must(err)
	want := []assistant.Standing{
		{Owned: free, Cursor: h.cursor},
		{Owned: held, Cursor: run.cursor, Holder: t.b.Node()},
		{Owned: assistant.Owned{ID: gone.ID}, Deleted: true},
		{Owned: fresh, Cursor: t.state(t.a, fresh).Cursor},
		{Owned: assistant.Owned{ID: unknown}, Deleted: true},
	}
	byID := func(a, b assistant.Standing) int { return strings.Compare(a.ID, b.ID) }
	slices.SortFunc(got, byID)
	slices.SortFunc(want, byID)
	t.same(got, want)
	got, err = t.a.Standings(t.Context(), nil)
	t.must(err)
	t.same(len(got), 0)
	run.finish()
	run.release()
}

func testNodes(t clusterTest) {
	if t.a.Node() == 0 || t.a.Node() == t.b.Node() {
		t.Errorf("nodes %d and %d", t.a.Node(), t.b.Node())
	}
	third := t.nodes.Open(t.T)
	want := []assistant.NodeID{t.a.Node(), t.b.Node(), third.Node()}
	ids := func() (ids []assistant.NodeID) {
		t.Helper()
		nodes, err := t.b.Nodes(t.Context())
		t.must(err)
		for _, n := range nodes {
			if n.Name == "" || n.Draining || n.JoinedAt.Location() != time.UTC {
				t.Errorf("node %+v", n)
			}
			ids = append(ids, n.ID)
		}
		return ids
	}
	t.same(ids(), want)
	t.must(third.Close())
	t.same(ids(), want[:2])
	t.within("one other is left", patience, func() bool {
		_, others := t.a.Lease()
		return others == 1
	})
}

func testDraining(t clusterTest) {
	c, running := t.create(), t.create()
	h := t.hold(t.a, running)
	h.begin()
	t.must(t.a.SetDraining(t.Context(), true))
	nodes, err := t.b.Nodes(t.Context())
	t.must(err)
	t.same([]bool{nodes[0].Draining, nodes[1].Draining}, []bool{true, false})
	_, _, err = t.a.Claim(t.Context(), c.Owner, c.ID)
	if _, held := errors.AsType[*assistant.HeldError](err); err == nil || held || errors.Is(err, assistant.ErrNotFound) {
		t.Errorf("claim of a node that drains: got error %v", err)
	}
	t.hold(t.b, c).release()
	h.extend(2) // what runs goes on to its end
	h.finish()
	h.release()
	t.must(t.a.SetDraining(t.Context(), false))
	t.hold(t.a, c).release()
}

func testDeleteClaimed(t clusterTest) {
	c := t.create()
	h := t.hold(t.a, c)
	deleted, err := t.b.DeleteBefore(t.Context(), at(100), 10)
	t.must(err)
	t.same(len(deleted), 0)
	h.release()
	deleted, err = t.b.DeleteBefore(t.Context(), at(100), 10)
	t.must(err)
	t.same(deleted, []assistant.Owned{c})
}

// wantInterrupted waits until a conversation was taken from a holder, and checks what is left of it.
func (h *holder) wantInterrupted(by assistant.Cluster, limit time.Duration) {
	h.Helper()
	h.within("the answer is interrupted", limit, func() bool {
		s := h.state(by, h.claim.Owned)
		return s.Running == nil && s.Holder == 0
	})
	s := h.state(by, h.claim.Owned)
	if s.Cursor.Epoch == h.cursor.Epoch || s.Cursor.Seq != 1 {
		h.Errorf("log is at %v, was at %v", s.Cursor, h.cursor)
	}
	h.wantEnd(by, assistant.Cursor{Epoch: s.Cursor.Epoch})
	want := h.answer
	want.Status, want.FinishReason = assistant.StatusInterrupted, assistant.FinishInterrupted
	h.same(s.Messages[len(s.Messages)-1], want)
	_, err := by.Events(h.Context(), h.claim.Owner, h.claim.ID, h.cursor, 10)
	h.want(assistant.ErrGone, err)
	_, err = by.Events(h.Context(), h.claim.Owner, h.claim.ID, s.Cursor, 10)
	h.must(err)
}

// wantEnd checks that the first event of an epoch is the interrupted answer's end.
func (h *holder) wantEnd(by assistant.Cluster, begin assistant.Cursor) {
	h.Helper()
	batches, err := by.Events(h.Context(), h.claim.Owner, h.claim.ID, begin, 10)
	h.must(err)
	if len(batches) != 1 {
		h.Fatalf("%d batches", len(batches))
	}
	events, err := batches[0].Events()
	h.must(err)
	end, ok := events[0].Body.(assistant.Completed)
	if !ok || len(events) != 1 || events[0].Seq != 1 || events[0].Run != h.answer.ID || end.FinishReason != assistant.FinishInterrupted {
		h.Errorf("the epoch begins with %+v", events)
	}
}

// testCloseHolder closes a node that still holds a conversation.
func testCloseHolder(t clusterTest) {
	c := t.create()
	third := t.nodes.Open(t.T)
	first := t.hold(third, c)
	first.turn()
	first.release()
	h := t.hold(third, c)
	h.begin()
	h.extend(3)
	t.must(third.Close())
	h.wantInterrupted(t.a, patience)
	next := t.hold(t.a, c)
	next.turn()
	next.release()
}

// testRenewed holds that nodes live as long as they renew.
func testRenewed(t clusterTest) {
	h := t.hold(t.a, t.create())
	h.begin()
	a, b := t.a.Node(), t.b.Node()
	first, _ := t.a.Lease()
	t.within("the lease is renewed for three times as long", patience+4*t.nodes.TTL(), func() bool {
		until, others := t.a.Lease()
		if until.After(time.Now().Add(t.nodes.TTL())) { // it counts from before the renewal
			t.Fatalf("lease lasts for %v", time.Until(until))
		}
		return others == 1 && until.After(first.Add(3*t.nodes.TTL()))
	})
	t.same([]assistant.NodeID{t.a.Node(), t.b.Node()}, []assistant.NodeID{a, b})
	h.extend(1)
	h.finish()
	h.release()
}

// testBurial stops a node for longer than its lease.
func testBurial(t clusterTest) {
	c, idle := t.create(), t.create()
	h, also := t.hold(t.a, c), t.hold(t.a, idle)
	h.turn()
	h.begin()
	h.extend(2)
	node := t.a.Node()
	goOn := t.nodes.Stop(t.a)
	until, _ := t.a.Lease()
	h.extend(2) // it does not know, and still may
	t.within("the node is buried", patience+2*t.nodes.TTL(), func() bool {
		s := t.state(t.b, c)
		if s.Holder != node && time.Now().Before(until) {
			t.Fatalf("taken over %v before the lease ends", time.Until(until))
		}
		return s.Holder != node
	})
	t.Logf("taken over %v after the end of the lease", time.Since(until))
	h.wantInterrupted(t.b, patience)
	h.refused(t.b, assistant.ErrLost)
	also.answer.ID = uuid.NewString()
	also.refused(t.b, assistant.ErrLost)
	next := t.hold(t.b, c)
	next.begin()
	h.refused(t.b, assistant.ErrLost)

	goOn()
	t.within("the node has joined again", patience, func() bool { return t.a.Node() != node })
	h.refused(t.a, assistant.ErrLost)
	next.extend(1)
	next.finish()
	next.release()
	again := t.hold(t.a, c)
	again.turn()
	again.release()
	t.hold(t.a, idle).release()
}

// testBurialOfMany buries a node that holds more than one transaction takes.
func testBurialOfMany(t clusterTest) {
	var all []*holder
	for i := range 450 {
		h := t.hold(t.a, t.create())
		if i%50 == 0 {
			h.begin()
			h.extend(1)
		}
		all = append(all, h)
	}
	defer t.nodes.Stop(t.a)()
	for i, h := range all {
		if i%50 == 0 {
			h.wantInterrupted(t.b, patience+2*t.nodes.TTL())
		}
		t.within("all are taken over", patience, func() bool { return t.state(t.b, h.claim.Owned).Holder == 0 })
	}
}

// testAlone opens a node where only a dead one was before.
func testAlone(t clusterTest) {
	h := t.hold(t.a, t.create())
	h.begin()
	h.extend(1)
	t.nodes.Stop(t.a)
	t.nodes.Stop(t.b)
	h.wantInterrupted(t.open(), patience+2*t.nodes.TTL())
}

// testOutage takes the database away for longer than all leases: everybody lives, so nobody is buried when it is back.
func testOutage(t clusterTest) {
	c := t.create()
	h := t.hold(t.a, c)
	h.begin()
	h.extend(2)
	a, b := t.a.Node(), t.b.Node()
	stopped := t.nodes.Stop(t.a) // it renews a while after the others when the database is back
	t.nodes.Outage(t.T, func() {
		for _, node := range []assistant.Cluster{t.a, t.b} {
			t.within("the lease ends", patience+t.nodes.TTL(), func() bool {
				until, _ := node.Lease()
				return time.Now().After(until)
			})
		}
	})
	t.within("the lease of the other is renewed", patience, func() bool {
		until, _ := t.b.Lease()
		return time.Now().Before(until)
	})
	back := time.Now()
	t.within("half a TTL has passed", patience, func() bool { return time.Since(back) > t.nodes.TTL()/2 })
	stopped()
	t.within("the lease is renewed", patience, func() bool {
		until, _ := t.a.Lease()
		return time.Now().Before(until)
	})
	t.same([]assistant.NodeID{t.a.Node(), t.b.Node()}, []assistant.NodeID{a, b})
	h.extend(1)
	h.finish()
	h.release()
	t.same(t.state(t.b, c).Cursor, h.cursor)
}

package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/cluster/history"
	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestRollingRestart: three nodes behind a balancer are restarted one by one under clients whose answers stream. No
// client gets an error; all they notice is that they have to connect again. Each resume is recovered, nothing is lost or
// doubled, and the checker finds every promise kept.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	clients, rounds := or(20, 200), or(2, 20)
	// Answers take two seconds, and a restart waits for them that long at most:
	r := newRig(t, setup{broker: firstBroker(), balancer: true, settings: "drain_timeout " + or("6s", "30s")})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var visitors []*visitor
	var done sync.WaitGroup
	for i := range clients {
		user := r.id("user")
		v := r.visitor("visitor", user, r.create(r.node(i+1), user, harness.AssistantPath), r.atBalancer)
		visitors = append(visitors, v)
		done.Go(func() { v.askUntil(ctx, t, v.user, 100) })
	}
	for range rounds {
		for _, n := range r.Nodes {
			answered := tally(visitors).answered
			n.Restart(t)
			r.untilAnswered(visitors, answered+clients/2) // so that all nodes have answers again
		}
	}
	stop()
	done.Wait()
	r.check()
	met := tally(visitors)
	for reason, n := range met.refused {
		if reason != "draining" { // a question that crosses the notice of it on its way
			t.Errorf("%d requests were refused: %s", n, reason)
		}
	}
	anew := 0
	for _, v := range visitors {
		anew += v.resumes.anew - 1 // the first
	}
	if anew != 0 {
		t.Errorf("%d resumes after clean restarts were not recovered", anew)
	}
	if met.opened < clients+rounds {
		t.Errorf("only %d sockets were opened: the restarts did not reach the clients", met.opened)
	}
	t.Logf("%d clients, %d restarts: %d answers, %d sockets, %d not recovered, refused %v, left a silent server %d times",
		clients, rounds*len(r.Nodes), met.answered, met.opened, anew, met.refused, met.left)
}

// untilAnswered waits until visitors have that many answers in all.
func (r *rig) untilAnswered(visitors []*visitor, want int) {
	r.t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(harness.Patience); tally(visitors).answered < want; {
		select {
		case <-poll.C:
		case <-deadline:
			r.t.Fatalf("%d answers, want %d", tally(visitors).answered, want)
		}
	}
}

// TestAtOnce: many clients ask one conversation at once, through three nodes. One is answered at a time, some wait, the
// others are refused and ask again; in the end all are answered, once, in one order for everybody.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	clients := or(30, 100)
	r := newRig(t, setup{broker: firstBroker()})
	user := r.id("user")
	id := r.create(r.node(1), user, harness.AssistantPath)
	var done sync.WaitGroup
	var visitors []*visitor
	for i := range clients {
		n := r.node(i + 1)
		v := r.visitor("asker", user, id, func() (*harness.Caddy, string) { return n.Caddy, n.Name })
		visitors = append(visitors, v)
		if err := v.ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range visitors {
		q := harness.Question{ID: r.id("q"), Pieces: 5, Pace: 5 * time.Millisecond}
		done.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
			defer cancel()
			if err := v.askWhole(ctx, q); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	r.check()
	r.oneAfterTheOther(id)
	met := tally(visitors)
	for reason, n := range met.refused {
		if reason != "busy" {
			t.Errorf("%d questions were refused: %s", n, reason)
		}
	}
	t.Logf("%d questions were answered in one order, after %d refusals", met.answered, met.refused["busy"])
}

// oneAfterTheOther holds that the model was never asked two questions at once. There is one conversation.
func (r *rig) oneAfterTheOther(string) {
	r.t.Helper()
	calls := r.teller.Tellings()
	slices.SortFunc(calls, func(a, b harness.Telling) int { return int(a.Began - b.Began) })
	for i := range len(calls) - 1 {
		if calls[i+1].Began < calls[i].Ended {
			r.t.Errorf("the model was asked %q while it answered %q", calls[i+1].Question.ID, calls[i].Question.ID)
		}
	}
}

// TestEraseUnderLoad: all that a user has is erased through one node, while answers run at all of them. Every request to
// the model ends within a second, every tab is told, and nothing is shown after that.
func TestEraseUnderLoad(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{broker: firstBroker()})
	user := r.id("user")
	type held struct {
		q    harness.Question
		tabs []*tab
	}
	var all []held
	for i := range or(12, 60) {
		id := r.create(r.node(i+1), user, harness.AssistantPath)
		h := held{q: r.long()}
		for k := range 2 { // at the node that answers, and at another
			h.tabs = append(h.tabs, r.tab("tab", user, harness.AssistantPath, id).at(r.node(i+k+1)))
		}
		h.tabs[0].do(h.tabs[0].ask(h.q))
		h.tabs[0].untilRunning(h.q)
		all = append(all, h)
		// For the checks it is a request like others, whose outcome nobody is shown.
		r.Add(history.Entry{Client: "operator", User: user, Kind: history.Sent, Frame: history.Frame{Action: "delete_conversation", Conversation: id}})
	}
	status, body := r.admin(r.node(2), http.MethodDelete, "/main/conversations?user="+user)
	erased := r.Now()
	if want := fmt.Sprintf(`{"conversations":%d}`, len(all)); status != http.StatusOK || body != want {
		t.Errorf("the erasure is answered with %d %s, want %s", status, body, want)
	}
	deadline := time.Now().Add(soon)
	var late time.Duration
	for _, h := range all {
		r.teller.Wait(time.Until(deadline), func([]harness.Telling) bool { return r.teller.Of(h.q.ID)[0].Ended != 0 })
		switch ended := r.teller.Of(h.q.ID)[0].Ended; {
		case ended == 0:
			t.Errorf("the model goes on with %s, of which all is erased", h.q.ID)
			r.teller.End(h.q.ID)
		default:
			late = max(late, ended-erased)
		}
		for _, b := range h.tabs {
			if b.wait(time.Until(deadline), func() bool { return b.view.Deleted }) != nil {
				t.Errorf("%s is not told of the erasure within %v", b.name, soon)
			}
		}
	}
	if late > time.Second {
		t.Errorf("a request to the model ended %v after the erasure", late)
	}
	t.Logf("the last request to the model ended %v after the erasure", late)
	r.check()
}

// TestNatsFaults: NATS is stopped and started, slow, silent towards one node, and forbids everything, while
// conversations are followed at other nodes than those that answer. Nobody notices: no error, no lost socket, and no
// answer but whole ones.
func TestNatsFaults(t *testing.T) {
	t.Parallel()
	for _, broker := range brokers() {
		if broker == "nats" {
			t.Run(broker, natsFaults)
		}
	}
}

func natsFaults(t *testing.T) {
	t.Parallel()
	r := newRig(t, setup{broker: "nats", links: true})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var visitors []*visitor
	var done sync.WaitGroup
	for i := range or(6, 30) {
		user := r.id("user")
		id := r.create(r.node(i+1), user, harness.AssistantPath)
		for k := range 2 {
			n := r.node(i + k + 1)
			visitors = append(visitors, r.visitor("visitor", user, id, func() (*harness.Caddy, string) { return n.Caddy, n.Name }))
		}
	}
	for i, v := range visitors {
		done.Go(func() { v.askUntil(ctx, t, fmt.Sprintf("%s-%d", v.user, i), 40) })
	}
	rounds := func() {
		wants := make([]int, len(visitors))
		for i := range visitors {
			wants[i] = tally(visitors[i:i+1]).answered + 2
		}
		for i, want := range wants {
			r.untilAnswered(visitors[i:i+1], want)
		}
	}
	for range or(1, 10) {
		for _, fault := range []struct {
			name       string
			begin, end func()
		}{
			{"NATS is stopped", r.Nats.Stop, func() { r.Nats.Start(t) }},
			{"NATS is slow", func() { r.node(1).Bus.Slow(t, 100*time.Millisecond, 50*time.Millisecond) }, func() { r.node(1).Bus.Mend(t) }},
			{"node2 is cut from NATS", func() { r.node(2).Bus.Cut(t) }, func() { r.node(2).Bus.Mend(t) }},
			{"node3 does not hear NATS", func() { r.node(3).Bus.CutReplies(t) }, func() { r.node(3).Bus.Mend(t) }},
			{"NATS forbids everything", func() { r.Nats.Forbid(t, true) }, func() { r.Nats.Forbid(t, false) }},
		} {
			began := time.Now()
			fault.begin()
			for rounds(); time.Since(began) < or(0, 20*time.Second); {
				rounds()
			}
			fault.end()
			t.Logf("%s for %v: everybody was answered twice", fault.name, time.Since(began).Round(time.Millisecond))
		}
	}
	rounds()
	stop()
	done.Wait()
	r.check()
	met := tally(visitors)
	for reason, n := range met.refused {
		if reason != "busy" {
			t.Errorf("%d requests were refused: %s", n, reason)
		}
	}
	if met.opened != len(visitors) {
		t.Errorf("%d sockets were opened by %d clients, which left a silent server %d times", met.opened, len(visitors), met.left)
	}
}

// TestQuiet: the pieces of an answer that nobody follows at another node do not go over NATS; those of others do.
func TestQuiet(t *testing.T) {
	t.Parallel()
	for _, broker := range brokers() {
		if broker != "nats" {
			continue
		}
		r := newRig(t, setup{broker: broker})
		a := r.open(1)[0]
		alone := r.messagesOf(a)
		followed := r.messagesOf(a, r.tab("other", a.user, a.prefix, a.id).at(r.node(2)))
		t.Logf("NATS got %d messages for 100 pieces that are followed at their own node only, and %d where they are followed elsewhere", alone, followed)
		if alone > 20 || followed < 50 {
			t.Error("want hardly any, and one for each piece or two")
		}
		r.check()
	}
}

// messagesOf counts the messages that NATS gets for a hundred pieces of an answer that some tabs follow.
func (r *rig) messagesOf(asker *tab, others ...*tab) int64 {
	r.t.Helper()
	q := r.long()
	asker.do(asker.ask(q))
	for _, b := range append(others, asker) {
		b.untilRunning(q)
	}
	before, first := r.Nats.Messages(r.t), asker.now().Seq
	asker.until("a hundred pieces", func(v history.View) bool { return v.Seq >= first+100 })
	n := r.Nats.Messages(r.t) - before
	r.teller.End(q.ID)
	asker.untilAnswered(q)
	return n
}

// TestPgBouncer: behind the pooler nodes work as without it, or they are refused at their start, with words: whatever
// its mode, and whether or not it drops start parameters. They never look alive when they are dead, nor put their
// tables where nobody looks for them.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	postgres := harness.StartPostgres(t)
	for _, mode := range []string{"session", "transaction"} {
		for _, ignored := range []string{"", everythingIgnored} {
			name := mode + map[bool]string{true: ", nothing ignored", false: ", start parameters ignored"}[ignored == ""]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				pooler := harness.StartPgBouncer(t, postgres, mode, ignored)
				database := strings.NewReplacer(" ", "_", ",", "").Replace(name)
				direct := postgres.Database(t, database)
				if refusal := refused(t, pooler.DSN(database)); refusal != "" {
					t.Logf("refused: %s", refusal)
					if !strings.Contains(strings.ToLower(refusal), "pool") && !strings.Contains(strings.ToLower(refusal), "pgbouncer") {
						t.Error("the refusal does not say that a pooler is the reason")
					}
					return
				}
				r := newRig(t, setup{broker: firstBroker(), postgres: postgres, dsn: pooler.DSN(database)})
				if where := postgres.QueryIn(t, direct, "SELECT schemaname FROM pg_tables WHERE tablename = 'conversation'"); where != "assistant" {
					t.Errorf("the tables are in the schema %q, want assistant", where)
				}
				r.with(t).lose(holderFaults[0], r.node(1))
			})
		}
	}
}

// everythingIgnored is what somebody configures who meets one refusal of the pooler after the other.
const everythingIgnored = "search_path,idle_in_transaction_session_timeout,tcp_keepalives_idle,tcp_keepalives_interval,tcp_keepalives_count,statement_timeout"

// refused tries to start a node with that database and returns what it says when it is refused.
func refused(t *testing.T, dsn string) string {
	t.Helper()
	c, err := harness.StartOrRefuse(t, harness.Site("assistant /ws/assistants/* {\n provider demo\n store postgres {env.DSN}\n}"), "DSN="+dsn)
	if err == nil {
		c.Stop(t)
		return ""
	}
	lines := strings.Split(strings.TrimSpace(c.Logs.String()), "\n")
	return lines[len(lines)-1]
}

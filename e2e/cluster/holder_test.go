package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/cluster/history"
	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// funeral is how long it may take until everybody knows that a holder is dead: a lease of six seconds, a sweep, and the
// way to the tabs.
const funeral = 10 * time.Second

// fault is what happens to a node, and how it ends.
type fault struct {
	name       string
	begin, end func(testing.TB, *harness.Node)
	lasts      time.Duration // 0 = until its consequences were seen
	loss       time.Duration // what was shown so long before the last piece must be stored; 0 = the checker's default
}

var holderFaults = []fault{
	{
		name:  "killed",
		begin: func(t testing.TB, n *harness.Node) { n.Crash(t) },
		end:   func(t testing.TB, n *harness.Node) { n.Again(t) },
	},
	{
		name:  "stopped and continued",
		begin: func(t testing.TB, n *harness.Node) { n.Pause(t) },
		end:   func(t testing.TB, n *harness.Node) { n.Continue(t) },
		lasts: or(0, 20*time.Second),
		loss:  25 * time.Second, // the last piece that it shows may be one that it had when it was stopped
	},
	{
		name:  "cut from PostgreSQL",
		begin: func(t testing.TB, n *harness.Node) { n.Database.Cut(t) },
		end:   func(t testing.TB, n *harness.Node) { n.Database.Mend(t) },
		loss:  8 * time.Second, // it shows what it has until its lease cannot be proven any more
	},
}

// TestHolder: the node that answers is lost. Tabs at other nodes see the beginning of the answer and its one end,
// interrupted, within ten seconds. So do tabs that were at that node, once they are elsewhere or the node is back. The
// model is asked once for each question, and the next question is answered. Who is dead is for the database to say, so
// that the quick form has one broker: the last, with which there are two ways to the others.
func TestHolder(t *testing.T) {
	t.Parallel()
	for _, broker := range or(brokers()[len(brokers())-1:], brokers()) {
		t.Run(broker, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, setup{broker: broker, links: true})
			for _, f := range holderFaults {
				t.Run(f.name, func(t *testing.T) {
					var took []time.Duration
					for i := range or(1, 50) {
						took = append(took, r.with(t).lose(f, r.node(i+1)))
					}
					slices.Sort(took)
					t.Logf("interrupted for everybody after %.1f s at the median, %.1f s at most", took[len(took)/2].Seconds(), took[len(took)-1].Seconds())
				})
			}
		})
	}
}

// lose lets a fault happen to a node that answers in several conversations, and returns after which time tabs at other
// nodes had seen the end of all answers.
func (r *rig) lose(f fault, n *harness.Node) time.Duration {
	r.t.Helper()
	r.limits.Loss = f.loss
	var held []*mourned
	for range 3 {
		held = append(held, r.mourned(n))
	}
	began := time.Now()
	f.begin(r.t, n)
	for _, m := range held {
		m.seeEnd(began)
	}
	took := time.Since(began)
	for _, m := range held {
		m.goOn()
	}
	if rest := f.lasts - time.Since(began); rest > 0 {
		time.Sleep(rest) // the fault itself
	}
	f.end(r.t, n)
	for _, m := range held {
		m.comeBack(n)
	}
	r.check()
	return took
}

// mourned is a conversation whose holder is lost.
type mourned struct {
	*rig
	asked  harness.Question
	mover  *tab   // at the holder, and then elsewhere
	stayer *tab   // at the holder
	others []*tab // at the other nodes
}

// mourned begins a long answer at a node, which is followed at all nodes.
func (r *rig) mourned(n *harness.Node) *mourned {
	r.t.Helper()
	user := r.id("user")
	id := r.create(n, user, harness.AssistantPath)
	m := &mourned{rig: r, asked: r.long()}
	m.mover, m.stayer = r.tab("mover", user, harness.AssistantPath, id).at(n), r.tab("stayer", user, harness.AssistantPath, id).at(n)
	for _, other := range r.Nodes {
		if other != n {
			m.others = append(m.others, r.tab("other", user, harness.AssistantPath, id).at(other))
		}
	}
	m.mover.do(m.mover.ask(m.asked))
	m.mover.untilRunning(m.asked)
	for _, b := range append(m.others, m.stayer) {
		if err := b.wait(soon, func() bool { return b.view.Running != "" && b.view.Text != "" }); err != nil {
			r.t.Errorf("%s gets no text of an answer of %s: %v", b.name, n.Name, err)
			break
		}
	}
	return m
}

// seeEnd holds that tabs at other nodes see the end in time, and goes to one of these with the mover.
func (m *mourned) seeEnd(began time.Time) {
	m.t.Helper()
	interrupted := func(b *tab) bool {
		answer := answerTo(b.view, m.asked)
		return answer != nil && answer.Finish == "interrupted"
	}
	for _, b := range m.others {
		if err := b.wait(funeral-time.Since(began), func() bool { return interrupted(b) }); err != nil {
			m.t.Errorf("the holder is lost, and %s has no end within %v: %v\nthe database: %s", b.name, funeral, b, m.Postgres.Query(m.t, sessions))
		}
	}
	m.mover.at(m.others[0].node())
	m.mover.until("the end of the interrupted answer", func(history.View) bool { return interrupted(m.mover) })
}

// sessions are those of the database that do something, for whoever looks for the reason.
const sessions = "SELECT pid, state, now() - state_change, wait_event, pg_blocking_pids(pid), left(query, 200) FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid()"

// goOn asks the next question, elsewhere.
func (m *mourned) goOn() {
	m.t.Helper()
	q := m.short()
	m.mover.do(m.mover.ask(q))
	for _, b := range append(m.others, m.mover) {
		if answer := b.untilAnswered(q); answer.Finish != "stop" {
			m.t.Errorf("the next answer ends with %q for %s", answer.Finish, b.name)
		}
	}
}

// comeBack holds that the node serves again: the tab that stayed there shows all, and a question there is answered.
func (m *mourned) comeBack(n *harness.Node) {
	m.t.Helper()
	if m.stayer.current() == nil {
		m.stayer.at(n)
	}
	q := m.short()
	m.stayer.until("the end of the interrupted answer", func(v history.View) bool {
		return answerTo(v, m.asked) != nil && answerTo(v, m.asked).Finish == "interrupted"
	})
	m.stayer.insist(n, q)
	for _, b := range append(m.others, m.stayer) {
		if answer := b.untilAnswered(q); answer.Finish != "stop" {
			m.t.Errorf("the answer after the fault ends with %q for %s", answer.Finish, b.name)
		}
	}
	if n := len(m.teller.Of(m.asked.ID)); n != 1 {
		m.t.Errorf("the model was asked %d times", n)
	}
}

// insist asks at a node until the question is accepted: the node may have to find its way back first.
func (b *tab) insist(n *harness.Node, q harness.Question) {
	b.rig.t.Helper()
	for deadline := time.Now().Add(soon); ; {
		if b.current() == nil {
			b.at(n)
		}
		f := b.reply(b.do(b.ask(q)))
		if f.Action != "error" {
			return
		}
		if time.Now().After(deadline) {
			b.rig.t.Fatalf("%s: %s refuses a question: %s", b.name, n.Name, f.Reason)
		}
		time.Sleep(100 * time.Millisecond) // as a client waits before it tries again
	}
}

// node is where the tab's socket is.
func (b *tab) node() *harness.Node {
	b.rig.t.Helper()
	s := b.current()
	for _, n := range b.rig.Nodes {
		if s != nil && n.Name == s.node {
			return n
		}
	}
	b.rig.t.Fatal(fmt.Sprint(b.name, " has no socket"))
	return nil
}

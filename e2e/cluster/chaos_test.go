package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/cluster/history"
	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestChaos makes random faults for $CHAOS, by default a minute, under visitors who do everything that clients can and
// go from node to node. It goes by rounds of at most a minute, each with conversations of its own. After each all
// faults end, every visitor gets one more answer, and the checks look at all that happened.
//
// The seed is printed. With the same one, $SEED, the same faults come in the same order, and the same visitors want the
// same; when exactly is up to the machine.
func TestChaos(t *testing.T) {
	t.Parallel()
	duration := time.Minute
	if text := os.Getenv("CHAOS"); text != "" {
		duration = must(time.ParseDuration(text))
	}
	seed := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		seed = must(strconv.ParseUint(text, 10, 64))
	}
	t.Logf("SEED=%d", seed)
	for i, broker := range brokers() {
		t.Run(broker, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, setup{broker: broker, links: true})
			// What is allowed is what a node may do that cannot know better: it is stopped, or cut from everything.
			r.limits = history.Limits{Deletion: 15 * time.Second, Stop: 2 * time.Second, Loss: 20 * time.Second}
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			left := duration
			for round := 1; left > 0 && !t.Failed(); round++ {
				lasts := min(left, time.Minute)
				left -= lasts
				t.Run(fmt.Sprint(round), func(t *testing.T) { r.with(t).chaos(lasts, random) })
				r.teller.Forget()
			}
		})
	}
}

// chaos is one round.
func (r *rig) chaos(lasts time.Duration, random *rand.Rand) {
	r.t.Helper()
	var visitors []*visitor
	for i := range 4 {
		user := r.id("user")
		id := r.create(r.node(i+1), user, harness.AssistantPath)
		for range 3 {
			own := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
			v := r.visitor("visitor", user, id, r.anyNode(own))
			v.random = own
			visitors = append(visitors, v)
		}
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), lasts)
	defer cancel()
	var doing, failing sync.WaitGroup
	faults := r.faults()
	for _, kind := range [][]disaster{faults.ofNodes, faults.ofAll} {
		own := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
		failing.Go(func() { r.fail(ctx, kind, own) })
	}
	for _, v := range visitors {
		doing.Go(func() { v.live(ctx) })
	}
	doing.Wait()
	failing.Wait()
	r.revive()
	r.settle(visitors)
	r.check()
	met := tally(visitors)
	r.t.Logf("%d answers, %d sockets, refused %v, left a silent server %d times", met.answered, met.opened, met.refused, met.left)
}

// settle lets every visitor have one more answer.
func (r *rig) settle(visitors []*visitor) {
	var settling sync.WaitGroup
	for _, v := range visitors {
		settling.Go(func() {
			ctx, cancel := context.WithTimeout(r.t.Context(), 2*soon)
			defer cancel()
			q := harness.Question{ID: v.id[:8] + v.name + "-last", Pieces: 3, Pace: time.Millisecond}
			answer, err := v.ask(ctx, q)
			if !errors.Is(err, errGone) && (err != nil || answer.Finish != "stop" && answer.Finish != "stopped") {
				r.t.Errorf("after all faults have ended %s gets no answer: %v, %+v\n%v", v.name, err, answer, v)
			}
		})
	}
	settling.Wait()
}

// disaster is a fault that lasts at most so long.
type disaster struct {
	name       string
	most       time.Duration
	begin, end func(n *harness.Node)
}

type disasters struct{ ofNodes, ofAll []disaster }

// faults are those that can be made here.
func (r *rig) faults() disasters {
	t, nothing := r.t, func(*harness.Node) {}
	all := disasters{ofNodes: []disaster{
		{"is killed", 8 * time.Second, func(n *harness.Node) { n.Crash(t) }, func(n *harness.Node) { n.Again(t) }},
		{"is stopped", 12 * time.Second, func(n *harness.Node) { n.Pause(t) }, func(n *harness.Node) { n.Continue(t) }},
		{"is restarted", 0, func(n *harness.Node) { n.Restart(t) }, nothing},
		{"is cut from PostgreSQL", 12 * time.Second, func(n *harness.Node) { n.Database.Cut(t) }, func(n *harness.Node) { n.Database.Mend(t) }},
		{"is refused by PostgreSQL", 12 * time.Second, func(n *harness.Node) { n.Database.Refuse() }, func(n *harness.Node) { n.Database.Mend(t) }},
		{"has a slow PostgreSQL", 8 * time.Second, func(n *harness.Node) { n.Database.Slow(t, 200*time.Millisecond, 100*time.Millisecond) }, func(n *harness.Node) { n.Database.Mend(t) }},
	}, ofAll: []disaster{
		{"PostgreSQL is restarted", 3 * time.Second, func(*harness.Node) { r.Postgres.Kill(t) }, func(*harness.Node) { r.Postgres.Start(t) }},
		{"PostgreSQL is stopped", 4 * time.Second, func(*harness.Node) { r.Postgres.Pause(t) }, func(*harness.Node) { r.Postgres.Resume(t) }},
	}}
	if r.Nats != nil {
		all.ofAll = append(all.ofAll,
			disaster{"NATS is restarted", 5 * time.Second, func(*harness.Node) { r.Nats.Stop() }, func(*harness.Node) { r.Nats.Start(t) }},
			disaster{"NATS forbids everything", 5 * time.Second, func(*harness.Node) { r.Nats.Forbid(t, true) }, func(*harness.Node) { r.Nats.Forbid(t, false) }},
			disaster{"is cut from NATS", 8 * time.Second, func(n *harness.Node) { n.Bus.Cut(t) }, func(n *harness.Node) { n.Bus.Mend(t) }},
			disaster{"does not hear NATS", 8 * time.Second, func(n *harness.Node) { n.Bus.CutReplies(t) }, func(n *harness.Node) { n.Bus.Mend(t) }},
			disaster{"has a slow NATS", 8 * time.Second, func(n *harness.Node) { n.Bus.Slow(t, 100*time.Millisecond, 50*time.Millisecond) }, func(n *harness.Node) { n.Bus.Mend(t) }},
		)
	}
	return all
}

// fail makes one fault after the other until ctx is done.
func (r *rig) fail(ctx context.Context, faults []disaster, random *rand.Rand) {
	for ctx.Err() == nil {
		last(ctx, time.Duration(random.Int64N(int64(4*time.Second))))
		f, n := faults[random.IntN(len(faults))], r.Nodes[random.IntN(len(r.Nodes))]
		for0 := time.Duration(random.Int64N(int64(f.most) + 1))
		if ctx.Err() != nil {
			return
		}
		r.t.Logf("%v %s: %s, for %v", r.Now().Round(time.Millisecond), n.Name, f.name, for0.Round(time.Millisecond))
		f.begin(n)
		last(ctx, for0)
		f.end(n)
	}
}

// last lets a fault, or the time between two, last.
func last(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// live does what a client may do, at random, until ctx is done or the conversation is gone.
func (v *visitor) live(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		var err error
		switch p := v.random.IntN(1000); {
		case p < 550:
			q := harness.Question{
				ID: fmt.Sprintf("%s%s-%d", v.id[:8], v.name, n), Pieces: 1 + v.random.IntN(80), Pace: time.Duration(5+v.random.IntN(25)) * time.Millisecond,
			}
			_, err = v.ask(ctx, q)
		case p < 650:
			_, err = v.do(ctx, v.stop)
		case p < 700:
			_, err = v.do(ctx, v.regenerate)
		case p < 800:
			_, err = v.do(ctx, v.list)
		case p < 850:
			_, err = v.do(ctx, v.listTitles)
		case p < 895:
			_, err = v.do(ctx, func() (string, error) { return v.rename(fmt.Sprint(v.name, " names it ", n)) })
		case p < 995:
			v.cut() // and goes on at whatever node
		default:
			_, err = v.do(ctx, v.delete)
		}
		if errors.Is(err, errGone) {
			return
		}
		if err != nil {
			v.pause(ctx, 0)
		}
	}
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/cluster/history"
	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// visitor is a tab that lives by itself, as the chat page does: when its socket ends it opens another one and goes on
// from where it was; a question that may not have arrived it sends again, with the same client id. It leaves a server
// that says nothing for long, as people do. One goroutine uses it.
type visitor struct {
	*tab
	random *rand.Rand
	// place says where to connect next, and what that is called.
	place func() (*harness.Caddy, string)

	mu  sync.Mutex
	met encounters
}

// encounters are what visitors have met.
type encounters struct {
	refused  map[string]int // errors that answered requests, by reason
	opened   int            // sockets
	answered int            // questions
	left     int            // how often one left a server that said nothing
}

// errGone says that there is no such conversation any more.
var errGone = errors.New("the conversation is gone")

func (r *rig) visitor(name, user, conversation string, place func() (*harness.Caddy, string)) *visitor {
	b := r.tab(name, user, harness.AssistantPath, conversation)
	return &visitor{tab: b, random: rand.New(rand.NewPCG(uint64(len(r.tabs)), 1)), place: place, met: encounters{refused: make(map[string]int)}}
}

// anyNode is a place: a node that runs, at random.
func (r *rig) anyNode(random *rand.Rand) func() (*harness.Caddy, string) {
	return func() (*harness.Caddy, string) {
		n := r.Nodes[random.IntN(len(r.Nodes))]
		return n.Caddy, n.Name
	}
}

// atBalancer is a place: the balancer, which chooses a node.
func (r *rig) atBalancer() (*harness.Caddy, string) { return r.Balancer, "balancer" }

// pause is how long a client waits before it tries again: longer each time, and not as long as the others.
func (v *visitor) pause(ctx context.Context, try int) {
	most := min(50*time.Millisecond<<min(try, 10), time.Second)
	timer := time.NewTimer(most/2 + time.Duration(v.random.Int64N(int64(most/2))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ready opens a socket and subscribes, unless it has one. It tries until ctx is done.
func (v *visitor) ready(ctx context.Context) error {
	for try := 0; ; try++ {
		if v.current() != nil {
			return nil
		}
		err := v.join()
		if err == nil || errors.Is(err, errGone) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		}
		v.pause(ctx, try)
	}
}

// join opens a socket and subscribes.
func (v *visitor) join() error {
	at, node := v.place()
	if err := v.connect(at, node); err != nil {
		return err
	}
	v.count(func() { v.met.opened++ })
	ref, err := v.subscribe()
	if err == nil {
		var f history.Frame
		if f, err = v.first(ref); err == nil && f.Action == "error" {
			err = v.refusal(f)
		}
	}
	if err != nil {
		v.cut()
	}
	return err
}

// first returns the first frame that answers a request.
func (v *visitor) first(ref string) (f history.Frame, err error) {
	err = v.wait(patience, func() bool {
		if len(v.replies[ref]) > 0 {
			f = v.replies[ref][0]
		}
		return len(v.replies[ref]) > 0 || v.socket == nil
	})
	if err == nil && f.Action == "" {
		err = errNoSocket
	}
	return f, err
}

func (v *visitor) count(count func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	count()
}

func (v *visitor) refusal(f history.Frame) error {
	v.count(func() { v.met.refused[f.Reason]++ })
	if f.Reason == "unknown_topic" || f.Reason == "not_found" {
		return errGone
	}
	return fmt.Errorf("refused: %s", f.Reason)
}

// ask asks until the question is answered, however often it must go elsewhere, and returns the answer.
func (v *visitor) ask(ctx context.Context, q harness.Question) (*history.Message, error) {
	for try := 0; ; try++ {
		if err := v.ready(ctx); err != nil {
			return nil, err
		}
		answer, err := v.untilAnswered(q)
		switch {
		case answer != nil:
			v.count(func() { v.met.answered++ })
			return answer, nil
		case errors.Is(err, errGone):
			return nil, err
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w; last: %v", context.Cause(ctx), err)
		case err != nil:
			v.pause(ctx, try)
		}
	}
}

// askWhole is ask, where only a whole answer is right.
func (v *visitor) askWhole(ctx context.Context, q harness.Question) error {
	answer, err := v.ask(ctx, q)
	switch {
	case err != nil:
		return fmt.Errorf("%s gets no answer to %s: %w\n%v", v.name, q.ID, err, v)
	case answer.Finish != "stop":
		return fmt.Errorf("%s gets an answer to %s that ends with %q after %d bytes", v.name, q.ID, answer.Finish, len(answer.Content))
	}
	return nil
}

// untilAnswered asks, unless the conversation has the question already, and waits for the end of its answer. It
// returns nil and why when it has to be called again: maybe on another socket.
func (v *visitor) untilAnswered(q harness.Question) (*history.Message, error) {
	ref := ""
	if !v.has(q) && !v.draining() { // a server that stops would refuse it; its sockets end soon
		var err error
		if ref, err = v.tab.ask(q); err != nil {
			return nil, err
		}
	}
	for {
		seen := v.now().Seq
		var answer *history.Message
		var refused *history.Frame
		err := v.wait(patience, func() bool {
			answer, refused = answerTo(v.view, q), v.refusedLocked(ref)
			return answer != nil || refused != nil || v.socket == nil || v.view.Seq != seen
		})
		switch {
		case answer != nil:
			return answer, nil
		case refused != nil:
			return nil, v.refusal(*refused)
		case v.current() == nil:
			return nil, errNoSocket
		case err != nil: // silence
			v.count(func() { v.met.left++ })
			v.cut()
			return nil, errors.New("silence")
		}
	}
}

// refusedLocked is the frame that refuses a request; nil = none does. The tab's lock is held.
func (v *visitor) refusedLocked(ref string) *history.Frame {
	i := slices.IndexFunc(v.replies[ref], func(f history.Frame) bool { return f.Action == "error" && f.Seq == 0 })
	if i < 0 {
		return nil
	}
	return &v.replies[ref][i]
}

func (v *visitor) has(q harness.Question) bool {
	return slices.ContainsFunc(v.now().Messages, func(m history.Message) bool { return m.Role == "user" && m.Content == q.String() })
}

func (v *visitor) draining() bool {
	v.tab.mu.Lock()
	defer v.tab.mu.Unlock()
	return v.drains
}

// do sends a request on the socket that is open and returns the first answer to it.
func (v *visitor) do(ctx context.Context, send func() (string, error)) (f history.Frame, err error) {
	if err := v.ready(ctx); err != nil {
		return f, err
	}
	ref, err := send()
	if err != nil {
		return f, err
	}
	if f, err = v.first(ref); err == nil && f.Action == "error" {
		err = v.refusal(f)
	}
	return f, err
}

// tally sums what visitors have met.
func tally(visitors []*visitor) (sum encounters) {
	sum.refused = make(map[string]int)
	for _, v := range visitors {
		v.count(func() {
			sum.opened, sum.answered, sum.left = sum.opened+v.met.opened, sum.answered+v.met.answered, sum.left+v.met.left
			for reason, n := range v.met.refused {
				sum.refused[reason] += n
			}
		})
	}
	return sum
}

// askUntil asks one question after the other until ctx is done, each of so many pieces of an answer. Nothing that happens
// to a node ends a question: it gets the time it needs.
func (v *visitor) askUntil(ctx context.Context, t testing.TB, name string, pieces int) {
	for n := 0; ctx.Err() == nil; n++ {
		q := harness.Question{ID: fmt.Sprintf("%s-%d", name, n), Pieces: pieces, Pace: 20 * time.Millisecond}
		patient, cancel := context.WithTimeout(t.Context(), harness.Patience)
		err := v.askWhole(patient, q)
		cancel()
		if err != nil {
			t.Error(err)
			return
		}
	}
}

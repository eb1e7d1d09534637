package brokertest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

func TestFallback(t *testing.T) {
	for name, second := range map[string]*Bus{"logs": {}, "no logs": {NoLogs: true}} {
		t.Run(name, func(t *testing.T) {
			TestBroker(t, Options{Repeats: true}, func(*testing.T) Cluster {
				first, then := NewBus(), NewBus()
				then.NoLogs = second.NoLogs
				return Cluster{Broker: func() assistant.Broker { return assistant.WithFallback(first.Broker(), then.Broker()) }}
			})
		})
	}
}

// fallbackPair is two nodes that reach each other in two ways.
func fallbackPair(t *testing.T) (first, second *Bus, holder, other *Node) {
	t.Helper()
	first, second = NewBus(), NewBus()
	open := func(id assistant.NodeID) *Node {
		return OpenNode(t, assistant.WithFallback(first.Broker(), second.Broker()), id)
	}
	return first, second, open(1), open(2)
}

// TestFallbackFollow: a feed that loses its first broker goes on by the second, from where it was; one that loses both
// ends.
func TestFallbackFollow(t *testing.T) {
	first, second, holder, other := fallbackPair(t)
	l := holder.NewLog("conversation", 3)
	r, err := other.Read(t.Context(), t, holder.ID, "conversation", l.Start(), func(r Reading) bool {
		switch r.At.Seq {
		case 3:
			first.Cut(other.ID, true)
			l.Append("4")
		case 4:
			l.Append("5")
		case 5:
			second.Cut(holder.ID, true)
			l.Append("6")
		}
		return true
	})
	if r.At.Seq < 5 || r.At.Seq == 5 && r.Text != "piecepiecepiece45" || !errors.Is(err, assistant.ErrNoNode) {
		t.Errorf("got up to %d, %q, %v", r.At.Seq, r.Text, err)
	}
	if other.Up() {
		t.Error("it is up without its first broker")
	}
}

// TestFallbackGone: what the first broker says of the log holds.
func TestFallbackGone(t *testing.T) {
	_, _, holder, other := fallbackPair(t)
	l := holder.NewLog("conversation", 3)
	l.Trim(2)
	for b, err := range other.Follow(t.Context(), holder.ID, "conversation", l.Start()) {
		if !errors.Is(err, assistant.ErrGone) {
			t.Errorf("got %+v, %v", b, err)
		}
	}
}

// TestFallbackCall: a call goes the second way only where the first has certainly done nothing.
func TestFallbackCall(t *testing.T) {
	first, second, holder, other := fallbackPair(t)
	served := 0
	holder.Reply = func(_ context.Context, from assistant.NodeID, request []byte) []byte {
		served++
		if string(request) == "panic" {
			panic("served")
		}
		return echoed(from, request)
	}
	for _, cut := range []bool{false, true} {
		first.Cut(holder.ID, cut)
		if reply, err := other.Call(t.Context(), holder.ID, []byte("x")); err != nil || string(reply) != "2 x" {
			t.Errorf("first broker cut off: %v: got %q, %v", cut, reply, err)
		}
	}
	first.Cut(holder.ID, false)
	if _, err := other.Call(t.Context(), holder.ID, []byte("panic")); err == nil || served != 3 {
		t.Errorf("got %v, served %d times", err, served)
	}
	first.Cut(holder.ID, true)
	second.Cut(holder.ID, true)
	if _, err := other.Call(t.Context(), holder.ID, []byte("x")); !errors.Is(err, assistant.ErrNoNode) || served != 3 {
		t.Errorf("got %v, served %d times", err, served)
	}
}

// TestFallbackOpen: where the second cannot be opened, the first is closed again.
// silent is a broker that has not noticed yet that nobody hears it.
type silent struct{ assistant.Broker }

func (silent) Call(ctx context.Context, _ assistant.NodeID, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestFallbackSilent: a call whose first way says nothing takes the second one after a second, and returns what that says.
func TestFallbackSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := NewBus()
		holder := OpenNode(t, bus.Broker(), 1)
		other := OpenNode(t, assistant.WithFallback(silent{NewBus().Broker()}, bus.Broker()), 2)
		holder.Reply = func(context.Context, assistant.NodeID, []byte) []byte { return []byte("reply") }
		began := time.Now()
		if reply, err := other.Call(t.Context(), holder.ID, nil); err != nil || string(reply) != "reply" || time.Since(began) != time.Second {
			t.Errorf("got %q, %v after %v", reply, err, time.Since(began))
		}
		bus.Cut(holder.ID, true)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := other.Call(ctx, holder.ID, nil); err == nil || errors.Is(err, assistant.ErrNoNode) {
			t.Errorf("where nobody is reached the error is %v, want that the outcome is unknown", err)
		}
	})
}

func TestFallbackOpen(t *testing.T) {
	first, second := NewBus(), NewBus()
	OpenNode(t, second.Broker(), 1)
	b := assistant.WithFallback(first.Broker(), second.Broker())
	if err := b.Open(t.Context(), 1, NewMember()); err == nil {
		t.Error("it was opened twice under one id")
	}
	if b.Up() || len(first.nodes) > 0 {
		t.Error("the first is still open")
	}
}

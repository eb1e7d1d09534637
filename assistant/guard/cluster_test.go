package guard_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
	"github.com/caddy-assistant/caddy-assistant/assistant/guard"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"go.uber.org/zap"
)

func unobserved() assistant.Observer { return assistant.NoObserver{} }

// opening returns the store as one that is open.
func opening(t *testing.T, store assistant.Store) *guard.Opening {
	t.Helper()
	o, err := guard.Open(t.Context(), func(context.Context) (assistant.Store, error) { return store, nil }, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestAlone holds that a store that is no cluster keeps the contract when it is used as one.
func TestAlone(t *testing.T) {
	storetest.TestStore(t, func(t *testing.T) assistant.Store {
		t.Helper()
		return guard.Store(opening(t, memory.Open(memory.Config{})), unobserved)
	})
}

// group is a cluster whose calls return values that name their arguments, or do what they are told.
type group struct {
	assistant.Cluster
	call func(ctx context.Context) error
}

const (
	groupNode   = assistant.NodeID(7)
	groupOthers = 3
)

var (
	groupLease = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	groupClaim = assistant.Claim{Owned: assistant.Owned{Owner: "ann", ID: "c"}, Node: groupNode, Fence: 4}
	groupPlace = assistant.Cursor{Epoch: "e", Seq: 5}
	groupEvent = []assistant.Event{{Seq: 6, Kind: assistant.KindPiece, Text: "x"}}
)

func (g group) Node() assistant.NodeID  { return groupNode }
func (g group) Lease() (time.Time, int) { return groupLease, groupOthers }
func (g group) Close() error            { return nil }
func (g group) Nodes(ctx context.Context) ([]assistant.Node, error) {
	return []assistant.Node{{ID: groupNode}}, g.call(ctx)
}

// told returns an error where arguments are not those that were given.
func told(got, want []any) error {
	if !reflect.DeepEqual(got, want) {
		return errors.New("other arguments")
	}
	return nil
}

func (g group) SetDraining(ctx context.Context, draining bool) error {
	return errors.Join(told([]any{draining}, []any{true}), g.call(ctx))
}

func (g group) Claim(ctx context.Context, owner, id string) (assistant.Claim, assistant.Cursor, error) {
	return groupClaim, groupPlace, errors.Join(told([]any{owner, id}, []any{"ann", "c"}), g.call(ctx))
}

func (g group) Release(ctx context.Context, c assistant.Claim, seq uint64, events []assistant.Event) error {
	return errors.Join(told([]any{c, seq, events}, []any{groupClaim, uint64(6), groupEvent}), g.call(ctx))
}

func (g group) State(ctx context.Context, owner, id string, limit int) (assistant.State, error) {
	return assistant.State{Cursor: groupPlace}, errors.Join(told([]any{owner, id, limit}, []any{"ann", "c", 9}), g.call(ctx))
}

func (g group) Standings(ctx context.Context, ids []string) ([]assistant.Standing, error) {
	return []assistant.Standing{{Holder: groupNode}}, errors.Join(told([]any{ids}, []any{[]string{"c"}}), g.call(ctx))
}

func (g group) Events(ctx context.Context, owner, id string, after assistant.Cursor, limit int) ([]assistant.Batch, error) {
	return []assistant.Batch{{Epoch: "e"}}, errors.Join(told([]any{owner, id, after, limit}, []any{"ann", "c", groupPlace, 9}), g.call(ctx))
}

func (g group) Trim(ctx context.Context, before time.Time, limit int) (int, error) {
	return 8, errors.Join(told([]any{before, limit}, []any{groupLease, 9}), g.call(ctx))
}

// clusterCalls are the methods that a cluster has and a store has not, with what a group returns.
var clusterCalls = []struct {
	name string
	call func(ctx context.Context, c assistant.Cluster) (any, error)
	want any
}{
	{"nodes", func(ctx context.Context, c assistant.Cluster) (any, error) { return c.Nodes(ctx) }, []assistant.Node{{ID: groupNode}}},
	{"set_draining", func(ctx context.Context, c assistant.Cluster) (any, error) { return nil, c.SetDraining(ctx, true) }, nil},
	{"claim", func(ctx context.Context, c assistant.Cluster) (any, error) {
		claim, cursor, err := c.Claim(ctx, "ann", "c")
		return []any{claim, cursor}, err
	}, []any{groupClaim, groupPlace}},
	{"release", func(ctx context.Context, c assistant.Cluster) (any, error) {
		return nil, c.Release(ctx, groupClaim, 6, groupEvent)
	}, nil},
	{"state", func(ctx context.Context, c assistant.Cluster) (any, error) { return c.State(ctx, "ann", "c", 9) }, assistant.State{Cursor: groupPlace}},
	{"standings", func(ctx context.Context, c assistant.Cluster) (any, error) { return c.Standings(ctx, []string{"c"}) }, []assistant.Standing{{Holder: groupNode}}},
	{"events", func(ctx context.Context, c assistant.Cluster) (any, error) {
		return c.Events(ctx, "ann", "c", groupPlace, 9)
	}, []assistant.Batch{{Epoch: "e"}}},
	{"trim", func(ctx context.Context, c assistant.Cluster) (any, error) { return c.Trim(ctx, groupLease, 9) }, 8},
}

// TestClusterCalls holds that each call reaches the cluster, ends, and is timed.
func TestClusterCalls(t *testing.T) {
	for _, test := range clusterCalls {
		for _, behind := range []string{"a store", "an opening"} {
			synctest.Test(t, func(t *testing.T) {
				g, observer := group{call: func(context.Context) error { return nil }}, &timed{}
				var store assistant.Store = &g
				if behind == "an opening" {
					o := opening(t, store)
					defer o.Close()
					store = o
				}
				s := guard.Store(store, func() assistant.Observer { return observer })
				if cluster, err := s.Cluster(t.Context()); cluster != s || err != nil {
					t.Errorf("%s is the cluster %v: %v", behind, cluster, err)
				}
				until, others := s.Lease()
				if s.Node() != groupNode || !until.Equal(groupLease) || others != groupOthers {
					t.Errorf("%s is node %d until %v, with %d others", behind, s.Node(), until, others)
				}
				expectCall(t, &g.call, observer, test.name, func() error {
					got, err := test.call(t.Context(), s)
					if err == nil && !reflect.DeepEqual(got, test.want) {
						t.Errorf("%s: got %v, want %v", test.name, got, test.want)
					}
					return err
				})
			})
		}
	}
}

// TestNoCluster holds what a store returns that is none: it is alone, and has no log.
func TestNoCluster(t *testing.T) {
	store := memory.Open(memory.Config{})
	head := assistant.Conversation{ID: "c", CreatedAt: groupLease, UpdatedAt: groupLease}
	question := assistant.Message{ID: "q", Role: assistant.RoleUser, Status: assistant.StatusComplete, CreatedAt: groupLease}
	answer := assistant.Message{ID: "a", Role: assistant.RoleAssistant, Status: assistant.StatusStreaming, CreatedAt: groupLease}
	claim := assistant.Claim{Owned: assistant.Owned{Owner: "ann", ID: "c"}}
	err := errors.Join(store.Create(t.Context(), "ann", head), store.Begin(t.Context(), claim, assistant.Beginning{Question: &question, Answer: answer}))
	if err != nil {
		t.Fatal(err)
	}
	observer := &timed{}
	s := guard.Store(opening(t, store), func() assistant.Observer { return observer })
	defer s.Close()
	if cluster, err := s.Cluster(t.Context()); cluster != nil || err != nil {
		t.Errorf("is the cluster %v: %v", cluster, err)
	}
	if until, others := s.Lease(); s.Node() != 0 || time.Until(until) < 1000*time.Hour || others != 0 {
		t.Errorf("is node %d until %v, with %d others", s.Node(), until, others)
	}
	for _, test := range clusterCalls {
		want := map[string]any{
			"nodes": []assistant.Node(nil), "claim": []any{claim, assistant.Cursor{}}, "trim": 0,
			"standings": []assistant.Standing(nil), "events": []assistant.Batch(nil),
			"state": assistant.State{Conversation: head, Messages: []assistant.Message{question, answer}},
		}[test.name]
		got, err := test.call(t.Context(), s)
		if fails := test.name == "standings" || test.name == "events"; !reflect.DeepEqual(got, want) || (err != nil) != fails {
			t.Errorf("%s: got %v, want %v: %v", test.name, got, want, err)
		}
	}
	if want := []string{"state"}; len(observer.calls) != 1 || !strings.HasPrefix(observer.calls[0], want[0]) {
		t.Errorf("observed %q, want %q", observer.calls, want)
	}
	if state, err := s.State(t.Context(), "ann", "c", 1); err != nil || len(state.Messages) != 1 || !state.More {
		t.Errorf("got %v: %v", state, err)
	}
	for _, owned := range []assistant.Owned{{Owner: "bob", ID: "c"}, {Owner: "ann", ID: "d"}} {
		if _, err := s.State(t.Context(), owned.Owner, owned.ID, 9); !errors.Is(err, assistant.ErrNotFound) {
			t.Errorf("state of %v: %v", owned, err)
		}
	}
}

// TestClusterOpens holds that as long as a store is not open its cluster's calls return why, after ten seconds at most, and
// that they reach it afterwards.
func TestClusterOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		patient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		attempts := 0
		o, err := guard.Open(patient, func(context.Context) (assistant.Store, error) {
			if attempts++; attempts == 1 {
				time.Sleep(100 * time.Second)
				return nil, errAway
			}
			return &group{call: func(context.Context) error { return nil }}, nil
		}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		observer := &timed{}
		s := guard.Store(o, func() assistant.Observer { return observer })
		for _, want := range []error{context.DeadlineExceeded, assistant.ErrUnavailable} {
			for _, test := range clusterCalls {
				began := time.Now()
				if _, err := test.call(t.Context(), s); !errors.Is(err, want) || time.Since(began) > 10*time.Second {
					t.Errorf("%s: %v after %v", test.name, err, time.Since(began))
				}
			}
			if cluster, err := s.Cluster(t.Context()); cluster != nil || !errors.Is(err, want) {
				t.Errorf("is the cluster %v: %v", cluster, err)
			}
			if until, others := s.Lease(); s.Node() != 0 || time.Until(until) < time.Hour || others != 0 {
				t.Errorf("is node %d until %v, with %d others", s.Node(), until, others)
			}
			time.Sleep(time.Until(start.Add(100500 * time.Millisecond))) // between the attempts
		}
		if len(observer.calls) != 2*len(clusterCalls) {
			t.Errorf("observed %q", observer.calls)
		}
		time.Sleep(10 * time.Second)
		for _, test := range clusterCalls {
			if got, err := test.call(t.Context(), s); err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("%s: got %v, want %v: %v", test.name, got, test.want, err)
			}
		}
	})
}

// stateful is a cluster that has one state.
type stateful struct {
	assistant.Cluster
	state assistant.State
}

func (s stateful) State(context.Context, string, string, int) (assistant.State, error) {
	return s.state, nil
}

func (s stateful) Finish(context.Context, assistant.Claim, assistant.Ending) error { return nil }

// TestOwedState holds that a state has what was shown of an answer whose end is not stored yet: it has ended.
func TestOwedState(t *testing.T) {
	question, running := assistant.Message{ID: "q", Status: assistant.StatusComplete}, assistant.Message{ID: "a", Status: assistant.StatusStreaming}
	failed := []assistant.Message{{ID: "q", Status: assistant.StatusFailed}, {ID: "a", Status: assistant.StatusFailed}}
	s := guard.Store(stateful{state: assistant.State{Messages: []assistant.Message{question}, Running: &running}}, unobserved)
	for _, test := range []struct {
		owed  []assistant.Message
		limit int
		want  assistant.State
	}{
		{nil, 2, assistant.State{Messages: []assistant.Message{question}, Running: &running}},
		{failed, 2, assistant.State{Messages: failed}},
		{failed, 1, assistant.State{Messages: failed[1:], More: true}},
	} {
		s.Owe(test.owed...)
		if got, err := s.State(t.Context(), "ann", "c", test.limit); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("got %v, want %v: %v", got, test.want, err)
		}
	}
	err := s.Finish(t.Context(), assistant.Claim{}, assistant.Ending{Messages: failed})
	if got, err2 := s.State(t.Context(), "ann", "c", 2); err != nil || err2 != nil || got.Running == nil || got.Messages[0].Status != assistant.StatusComplete {
		t.Errorf("once it is stored: %v: %v, %v", got, err, err2)
	}
}

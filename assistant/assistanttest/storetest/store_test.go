package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// The model, which stores are compared with, keeps the contract itself.
func TestStoreModel(t *testing.T) {
	TestStore(t, func(*testing.T) assistant.Store { return &storeModel{} })
}

// TestClusterModel holds that the suite takes claims and numbers events as a Cluster wants it.
func TestClusterModel(t *testing.T) {
	TestStore(t, func(t *testing.T) assistant.Store {
		t.Helper()
		return &clusterModel{storeModel: &storeModel{}, t: t, logs: make(map[assistant.Owned]*modelLog)}
	})
}

// clusterModel is the model as a Cluster. It takes what has the claim of its conversation, and fails the test where the
// events of that do not continue the log.
type clusterModel struct {
	*storeModel
	unused

	t     *testing.T
	mu    sync.Mutex
	fence int64
	logs  map[assistant.Owned]*modelLog
}

// unused are the methods that the suite does not call.
type unused struct{ assistant.Cluster }

// modelLog is where a log is: its last number, and the number before the last call of Extend, from where on it may be told
// again.
type modelLog struct {
	claim       assistant.Claim
	since, last uint64
}

func (s *clusterModel) Claim(ctx context.Context, owner, id string) (assistant.Claim, assistant.Cursor, error) {
	if _, err := s.Conversation(ctx, owner, id); err != nil {
		return assistant.Claim{}, assistant.Cursor{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fence++
	owned := assistant.Owned{Owner: owner, ID: id}
	log := &modelLog{assistant.Claim{Owned: owned, Node: 1, Fence: s.fence}, 7, 7}
	s.logs[owned] = log
	return log.claim, assistant.Cursor{Epoch: "e", Seq: log.last}, nil
}

func (s *clusterModel) Release(ctx context.Context, c assistant.Claim, _ uint64, _ []assistant.Event) error {
	return s.write(ctx, c, nil, func() error {
		delete(s.logs, c.Owned)
		return nil
	}, nil)
}

// write makes a call with a claim. From returns where its events may begin.
func (s *clusterModel) write(ctx context.Context, c assistant.Claim, events []assistant.Event, call func() error, from func(*modelLog) (first, last uint64)) error {
	if _, err := s.Conversation(ctx, c.Owner, c.ID); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.logs[c.Owned]
	if log == nil || log.claim != c {
		return assistant.ErrLost
	}
	if err := call(); err != nil {
		return err
	}
	if len(events) == 0 {
		return nil
	}
	low, high := from(log)
	batch, err := assistant.NewBatch("e", events)
	if err != nil || batch.First < low || batch.First > high {
		s.t.Errorf("events %d to %d, where one of %d to %d is next: %v", batch.First, batch.Last, low, high, err)
	}
	log.since, log.last = batch.First-1, batch.Last
	return nil
}

func (s *clusterModel) Begin(ctx context.Context, c assistant.Claim, b assistant.Beginning) error {
	return s.write(ctx, c, b.Events, func() error { return s.storeModel.Begin(ctx, c, b) }, func(log *modelLog) (uint64, uint64) {
		return log.last + 1, log.last + 1
	})
}

func (s *clusterModel) Extend(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	return s.write(ctx, c, e.Events, func() error { return s.storeModel.Extend(ctx, c, e) }, func(log *modelLog) (uint64, uint64) {
		if e.Events[0].Seq == log.since+1 {
			return log.since + 1, log.since + 1
		}
		return log.last + 1, log.last + 1
	})
}

func (s *clusterModel) Finish(ctx context.Context, c assistant.Claim, e assistant.Ending) error {
	return s.write(ctx, c, e.Events, func() error { return s.storeModel.Finish(ctx, c, e) }, func(log *modelLog) (uint64, uint64) {
		return log.since + 1, log.last + 1
	})
}

// TestClaimIsTakenOnce holds that the ledger remembers the claims of a Cluster, and takes one anew for a new conversation.
func TestClaimIsTakenOnce(t *testing.T) {
	s := newTest(t, &clusterModel{storeModel: &storeModel{}, t: t, logs: make(map[assistant.Owned]*modelLog)})
	c := s.create("alice", 1)
	first := s.claim("alice", c.ID)
	if again := s.claim("alice", c.ID); first.Fence == 0 || again != first {
		t.Errorf("claims %v and %v", first, again)
	}
	s.must(s.Delete(t.Context(), "alice", c.ID))
	s.must(s.Create(t.Context(), "alice", c))
	if anew := s.claim("alice", c.ID); anew.Fence == first.Fence {
		t.Errorf("claim %v of a conversation that is gone", anew)
	}
	if _, _, err := s.ledger.claim(t.Context(), s.Store, "bob", c.ID); !errors.Is(err, assistant.ErrNotFound) {
		t.Errorf("claim of a stranger: %v", err)
	}
}

var _ assistant.Cluster = (*clusterModel)(nil)

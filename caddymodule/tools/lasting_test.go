package tools

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"go.uber.org/zap"
)

// slow is a source whose calls wait for the gate.
type slow struct {
	gate   chan struct{}
	closed atomic.Bool
}

func (s *slow) Tools(context.Context, assistant.Peer) ([]assistant.Tool, error) { return nil, nil }

func (s *slow) Call(context.Context, assistant.Call) (assistant.Result, error) {
	<-s.gate
	if s.closed.Load() {
		return assistant.Result{}, errors.New("closed")
	}
	return assistant.Result{}, nil
}

func (s *slow) Close() error {
	s.closed.Store(true)
	return nil
}

// TestLasting holds that a source is closed after its last call, and makes no other then.
func TestLasting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{gate: make(chan struct{})}
		l := &lasting{source: s, log: zap.NewNop()}
		failed := make(chan error)
		for range 2 {
			go func() {
				_, err := l.Call(t.Context(), assistant.Call{})
				failed <- err
			}()
		}
		synctest.Wait()
		l.retire()
		if _, err := l.Call(t.Context(), assistant.Call{}); !errors.Is(err, assistant.ErrNotCalled) {
			t.Errorf("another call: %v", err)
		}
		for range 2 {
			if synctest.Wait(); s.closed.Load() {
				t.Error("closed during a call")
			}
			s.gate <- struct{}{}
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
		if synctest.Wait(); !s.closed.Load() {
			t.Error("not closed after the last call")
		}
	})
}

package tools

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"go.uber.org/zap"
)

// source is a source of tools that has something to close.
type source interface {
	assistant.Tools
	io.Closer
}

// lasting is a source of tools that is closed once its last call has ended: a reload makes another one, and fails no call.
type lasting struct {
	source
	log *zap.Logger

	mu      sync.Mutex
	calls   int // under way
	retired bool
}

// Call is refused once the source is retired: that of the newest configuration has the tools then.
func (l *lasting) Call(ctx context.Context, c assistant.Call) (assistant.Result, error) {
	l.mu.Lock()
	if l.retired {
		l.mu.Unlock()
		return assistant.Result{}, fmt.Errorf("%w: the configuration was replaced", assistant.ErrNotCalled)
	}
	l.calls++
	l.mu.Unlock()
	defer l.ended()
	return l.source.Call(ctx, c)
}

func (l *lasting) ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls--; l.retired && l.calls == 0 {
		go l.close()
	}
}

// retire closes the source, at once where no call is under way.
func (l *lasting) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired = true; l.calls == 0 {
		go l.close()
	}
}

func (l *lasting) close() {
	if err := l.source.Close(); err != nil {
		l.log.Warn("close a source of tools", zap.Error(err))
	}
}

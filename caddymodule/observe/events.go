package observe

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// The Caddy events of a handler. docs/operate.md describes their data, which never includes message texts.
const (
	eventConnected      = "assistant.connected"
	eventDisconnected   = "assistant.disconnected"
	eventAnswerFinished = "assistant.answer_finished"
)

// maxEvents is how many events may wait for slow event handlers.
const maxEvents = 1000

// Emitter emits events through the events app of the newest configuration, one after the other, in a goroutine of its
// own: slow event handlers delay nothing else.
type Emitter struct {
	log    *zap.Logger
	newest atomic.Pointer[eventsOf] // nil until a configuration has started

	mu    sync.Mutex
	queue []queuedEvent // bounded by maxEvents
	idle  chan struct{} // closed when the goroutine has ended; nil = there is none
}

// eventsOf is the events app of a configuration that has started, and the context of the assistant app there. That app
// is the origin of the events: event handlers may read it at any time, and unlike a handler it never changes.
type eventsOf struct {
	app *caddyevents.App
	ctx caddy.Context
}

type queuedEvent struct {
	name string
	data map[string]any
}

func NewEmitter(log *zap.Logger) *Emitter { return &Emitter{log: log} }

// Use directs events to a configuration's event handlers. It must have started: until then its subscriptions change.
func (e *Emitter) Use(app *caddyevents.App, ctx caddy.Context) { e.newest.Store(&eventsOf{app, ctx}) }

// emit queues an event that has a subscription, or counts it in dropped. It does not block.
func (e *Emitter) emit(dropped prometheus.Counter, name string, data func() map[string]any) {
	to := e.newest.Load()
	if to == nil || !to.app.ShouldEmit(name) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == maxEvents {
		dropped.Inc()
		return
	}
	e.queue = append(e.queue, queuedEvent{name, data()})
	if e.idle == nil {
		e.idle = make(chan struct{})
		go e.work()
	}
}

// Flush waits until all queued events are emitted, or ctx is done.
func (e *Emitter) Flush(ctx context.Context) {
	e.mu.Lock()
	idle := e.idle
	e.mu.Unlock()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// work emits events until the queue is empty.
func (e *Emitter) work() {
	for event, ok := e.next(); ok; event, ok = e.next() {
		e.hand(event)
	}
}

func (e *Emitter) next() (event queuedEvent, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		close(e.idle)
		e.queue, e.idle = nil, nil
		return event, false
	}
	event, e.queue = e.queue[0], e.queue[1:]
	return event, true
}

// hand calls the event's handlers, unless their configuration has stopped.
func (e *Emitter) hand(event queuedEvent) {
	defer func() {
		if v := recover(); v != nil {
			e.log.Error("event handler panicked", zap.String("event", event.name), zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
		}
	}()
	if to := e.newest.Load(); to.ctx.Err() == nil {
		to.app.Emit(to.ctx, event.name, event.data)
	}
}

// The data of the events has the field names of the log.

func (o *observer) connected(p assistant.Peer) map[string]any {
	client, _ := p.ClientIP.MarshalText() // empty where there is none
	return map[string]any{"handler": o.handler, "user": p.User, "remote_addr": p.RemoteAddr, "client_ip": string(client), "conversation_id": p.Conversation}
}

func (o *observer) disconnected(p assistant.Peer, s assistant.SessionSummary) map[string]any {
	data := o.connected(p)
	data["cause"], data["close_code"], data["duration"] = string(s.Cause), s.CloseCode, s.Duration.Seconds()
	return data
}

func (a *answering) finished(s assistant.AnswerSummary) map[string]any {
	return map[string]any{
		"handler": a.handler, "user": a.start.Peer.User, "conversation_id": a.start.ConversationID, "message_id": a.start.MessageID,
		"provider": s.Source.Provider, "model": s.Source.Model, "finish_reason": string(s.FinishReason), "reason": string(s.Reason),
		"input_tokens": s.Usage.InputTokens, "output_tokens": s.Usage.OutputTokens, "estimated": s.Usage.Estimated,
		"pieces": s.Pieces, "first_piece": s.FirstPiece.Seconds(), "duration": s.Duration.Seconds(),
	}
}

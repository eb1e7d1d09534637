package observe

import (
	"cmp"
	"errors"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// observer turns what a handler's sessions and answers do into metrics, spans and Caddy events. Each generation of
// settings has its own; the metrics are shared.
type observer struct {
	handler string
	store   string
	events  *Emitter

	open, lagging, queued, running prometheus.Gauge
	dropped                        prometheus.Counter
	models                         sync.Map // assistant.Source → *modelMetrics
	calls                          sync.Map // operation of the store → storeCall
}

// New returns the observer of a handler and of its store, by the store's name, which emits through events.
func New(handler, store string, events *Emitter) assistant.Observer {
	return &observer{
		handler: handler, store: store, events: events,
		open: openSockets.WithLabelValues(handler), lagging: laggingSockets.WithLabelValues(handler),
		queued: queuedQuestions.WithLabelValues(handler), running: runningAnswers.WithLabelValues(handler),
		dropped: droppedEvents.WithLabelValues(handler),
	}
}

// Opened counts an open socket.
func (o *observer) Opened(p assistant.Peer) {
	o.open.Inc()
	o.events.emit(o.dropped, eventConnected, func() map[string]any { return o.connected(p) })
}

// Closed counts a closed socket.
func (o *observer) Closed(p assistant.Peer, s assistant.SessionSummary) {
	o.open.Dec()
	closedSockets.WithLabelValues(o.handler, string(s.Cause)).Inc()
	o.events.emit(o.dropped, eventDisconnected, func() map[string]any { return o.disconnected(p, s) })
}

// Lagging adjusts the number of lagging sockets.
func (o *observer) Lagging(change int) { o.lagging.Add(float64(change)) }

// Waiting adjusts the number of queued questions.
func (o *observer) Waiting(change int) { o.queued.Add(float64(change)) }

// Failed counts an error sent to a client.
func (o *observer) Failed(r assistant.Reason) {
	sentErrors.WithLabelValues(o.handler, string(r)).Inc()
}

// Answering observes an answer, with a span if the session's request was traced.
func (o *observer) Answering(start assistant.AnswerStart) assistant.AnswerObserver {
	o.running.Inc()
	a := &answering{observer: o, start: start, metrics: o.of(start.Source)}
	if origin, ok := originOf(start.Peer.Context); ok {
		a.span = origin.begin(start)
	}
	return a
}

// Uploaded counts a file.
func (o *observer) Uploaded(refused assistant.Reason, bytes int) {
	uploads.WithLabelValues(o.handler, cmp.Or(string(refused), "stored")).Inc()
	if refused == "" {
		uploadBytes.WithLabelValues(o.handler).Add(float64(bytes))
	}
}

// Titled counts the tokens of a title.
func (o *observer) Titled(s assistant.Source, u assistant.Usage) { o.of(s).count(u) }

// of returns the metrics of a model; they are looked up once.
func (o *observer) of(s assistant.Source) *modelMetrics {
	if m, ok := o.models.Load(s); ok {
		return m.(*modelMetrics)
	}
	m := &modelMetrics{
		firstPiece: firstPiece.WithLabelValues(o.handler, s.Provider, s.Model),
		duration:   answerDuration.WithLabelValues(o.handler, s.Provider, s.Model),
		pieces:     pieces.WithLabelValues(o.handler, s.Provider, s.Model),
		input:      tokens.WithLabelValues(o.handler, s.Provider, s.Model, "input"),
		output:     tokens.WithLabelValues(o.handler, s.Provider, s.Model, "output"),
	}
	o.models.Store(s, m)
	return m
}

// modelMetrics holds the metrics of one model at one handler.
type modelMetrics struct {
	firstPiece, duration  prometheus.Observer
	pieces, input, output prometheus.Counter
}

func (m *modelMetrics) count(u assistant.Usage) {
	m.input.Add(float64(u.InputTokens))
	m.output.Add(float64(u.OutputTokens))
}

// answering observes one answer.
type answering struct {
	*observer
	start   assistant.AnswerStart
	metrics *modelMetrics
	span    trace.Span // nil = the request was not traced
}

func (a *answering) FirstPiece(after time.Duration) {
	a.metrics.firstPiece.Observe(after.Seconds())
	if a.span != nil {
		addFirstPiece(a.span, after)
	}
}

func (a *answering) Piece() { a.metrics.pieces.Inc() }

func (a *answering) FellBack(f assistant.Fallback) {
	if !errors.Is(f.Err, chain.ErrPassedOver) { // it was asked
		a.countFailure(f.Failed, f.Err)
	}
	fallbacks.WithLabelValues(a.handler, f.Next.Provider, f.Next.Model).Inc()
	a.metrics = a.of(f.Next)
	if a.span != nil {
		addFallback(a.span, f)
	}
}

func (a *answering) Called(c assistant.CallSummary) {
	toolCalls.WithLabelValues(a.handler, c.Tool, string(c.State)).Inc()
	if c.Duration > 0 {
		toolDuration.WithLabelValues(a.handler, c.Tool).Observe(c.Duration.Seconds())
		if a.span != nil {
			addCall(a.span, c, time.Now())
		}
	}
}

func (a *answering) Ended(s assistant.AnswerSummary) {
	a.running.Dec()
	answers.WithLabelValues(a.handler, s.Source.Provider, s.Source.Model, string(s.FinishReason)).Inc()
	a.countFailure(s.Source, s.Err)
	a.metrics.duration.Observe(s.Duration.Seconds())
	a.metrics.count(s.Usage)
	if a.span != nil {
		endSpan(a.span, s)
	}
	a.events.emit(a.dropped, eventAnswerFinished, func() map[string]any { return a.finished(s) })
}

// countFailure counts err if the provider is at fault.
func (a *answering) countFailure(s assistant.Source, err error) {
	if reason, ok := assistant.ProviderFault(err); ok {
		providerErrors.WithLabelValues(a.handler, s.Provider, s.Model, string(reason)).Inc()
	}
}

var (
	_ assistant.Observer       = (*observer)(nil)
	_ assistant.AnswerObserver = (*answering)(nil)
)

package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/zap"
)

// TestTracingFailures shows the span of an answer that another model began and none ended.
func TestTracingFailures(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	ctx, request := provider.Tracer("test").Start(t.Context(), "request")
	first, second := assistant.Source{Provider: "openai", Model: "large"}, assistant.Source{Provider: "openai", Model: "small"}
	fault := &assistant.ProviderError{Reason: assistant.ReasonProviderTimeout, Err: errors.New("sk-secret")}
	request.End()
	exporter.Reset()

	name := t.Name()
	o := New(name, "memory", NewEmitter(nil))
	a := o.Answering(assistant.AnswerStart{Peer: assistant.Peer{Context: WithOrigin(ctx)}, Source: first})
	a.FellBack(assistant.Fallback{Failed: first, Err: fault, Next: second})
	a.Called(assistant.CallSummary{Tool: "look", ID: "call_1", State: assistant.CallDone, Duration: time.Second})
	a.Called(assistant.CallSummary{Tool: "refund", ID: "call_2", State: assistant.CallUnknown, Duration: time.Second})
	a.Called(assistant.CallSummary{Tool: "refund", ID: "call_3", State: assistant.CallDenied}) // was not made
	a.Ended(assistant.AnswerSummary{Source: second, FinishReason: assistant.FinishError, Err: fault, Reason: fault.Reason})

	spans := exporter.GetSpans()
	if len(spans) != 3 {
		t.Fatalf("%d spans, want two calls and the answer", len(spans))
	}
	span := spans[2]
	for i, want := range []struct {
		name, id string
		status   codes.Code
	}{{"execute_tool look", "call_1", codes.Unset}, {"execute_tool refund", "call_2", codes.Error}} {
		call := spans[i]
		if got := Attributes(call); call.Name != want.name || call.Parent.SpanID() != span.SpanContext.SpanID() || got["gen_ai.tool.call.id"] != want.id ||
			got["gen_ai.operation.name"] != "execute_tool" || call.Status.Code != want.status || call.EndTime.Sub(call.StartTime) != time.Second {
			t.Errorf("got %+v", call)
		}
	}
	got := Attributes(span)
	if span.Name != "chat small" || got["gen_ai.request.model"] != "small" || got["error.type"] != "provider_timeout" ||
		span.Status.Code != codes.Error || span.Status.Description != "provider_timeout" {
		t.Errorf("got %+v", span)
	}
	if len(span.Events) != 1 || span.Events[0].Name != "fallback" || !strings.Contains(fmt.Sprint(span.Events[0].Attributes), "large") {
		t.Errorf("events %v", span.Events)
	}
	if strings.Contains(fmt.Sprintf("%+v", span), "sk-secret") {
		t.Errorf("the span has the provider's text")
	}
	for model, want := range map[string]float64{"large": 1, "small": 1} {
		if got := value(t, providerErrors.WithLabelValues(name, "openai", model, "provider_timeout")); got != want {
			t.Errorf("%s failed %v times, want %v", model, got, want)
		}
	}
	if got := value(t, fallbacks.WithLabelValues(name, "openai", "small")); got != 1 {
		t.Errorf("%v fallbacks, want 1", got)
	}
	if got := value(t, answers.WithLabelValues(name, "openai", "small", "error")); got != 1 {
		t.Errorf("%v answers, want 1", got)
	}
}

// TestNoTracing holds that nothing is kept of a request that is not traced.
func TestNoTracing(t *testing.T) {
	if ctx := WithOrigin(t.Context()); ctx != nil {
		t.Errorf("kept %v", ctx)
	}
}

// bounded is an event handler that hands events to the test and waits until it takes them.
type bounded chan caddy.Event

func (b bounded) Handle(_ context.Context, e caddy.Event) error {
	b <- e
	return nil
}

// TestEventsAreBounded drops events that no handler takes, and counts them.
func TestEventsAreBounded(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	app, events := new(caddyevents.App), make(bounded)
	if err := app.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	if err := app.On(eventConnected, events); err != nil {
		t.Fatal(err)
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	e, dropped := NewEmitter(zap.NewNop()), droppedEvents.WithLabelValues(t.Name())
	e.Use(app, ctx)
	send := func() {
		e.emit(dropped, eventConnected, func() map[string]any { return nil })
	}
	send()
	<-events // the worker has begun, and takes the next one
	for range maxEvents + 11 {
		send()
	}
	lost := value(t, dropped)
	if lost < 10 || lost > 11 {
		t.Errorf("%v events were dropped, want 10, or 11 where none was handed over yet", lost)
	}
	for range maxEvents + 11 - int(lost) {
		<-events
	}
}

// TestStoreMetrics holds that calls of a store are measured by their names, and that failures are counted.
func TestStoreMetrics(t *testing.T) {
	name := t.Name()
	o := New(name, "memory", NewEmitter(nil))
	store := memory.Open(memory.Config{})
	hub := conversation.NewHub(store, nil)
	conversation.New(hub, conversation.Config{Provider: babbling{}, Observer: o})
	t.Cleanup(func() { _ = hub.Close(t.Context()) })
	created, err := hub.Create(t.Context(), "ann", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.Allowed(t.Context(), "bob", created.ID); !errors.Is(err, assistant.ErrNotFound) {
		t.Errorf("bob got %v", err)
	}
	_ = store.Close()
	if _, err := hub.Create(t.Context(), "ann", ""); err == nil {
		t.Error("a closed store has created")
	}
	if calls := observations(t, name); calls["create"] != 2 || calls["conversation"] != 1 {
		t.Errorf("measured were %v", calls)
	}
	for operation, want := range map[string]float64{"create": 1, "conversation": 0} {
		if got := value(t, storeErrors.WithLabelValues(name, "memory", operation)); got != want {
			t.Errorf("%s failed %v times, want %v", operation, got, want)
		}
	}
}

// TestLimitsShared holds that the metric says whether limits are counted in the store, and nothing before that is known.
func TestLimitsShared(t *testing.T) {
	name := t.Name()
	o := New(name, "postgres", NewEmitter(nil))
	shared := func() (values []float64) {
		registry := prometheus.NewRegistry()
		registry.MustRegister(limitsShared)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if m.GetLabel()[0].GetValue() == name {
					values = append(values, m.GetGauge().GetValue())
				}
			}
		}
		return values
	}
	if got := shared(); len(got) > 0 {
		t.Errorf("at first: %v", got)
	}
	for _, isShared := range []bool{true, false, true} {
		want := 0.
		if isShared {
			want = 1
		}
		o.LimitsShared(isShared)
		if got := shared(); len(got) != 1 || got[0] != want {
			t.Errorf("shared %v: %v", isShared, got)
		}
	}
}

// observations counts the calls of a handler's store by operation.
func observations(t *testing.T, handler string) map[string]uint64 {
	t.Helper()
	calls := map[string]uint64{}
	for _, m := range gathered(t, storeDuration) {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["handler"] == handler {
			calls[labels["operation"]] = m.GetHistogram().GetSampleCount()
		}
	}
	return calls
}

// Attributes are those of a span, for the tests with a site too.
func Attributes(span tracetest.SpanStub) map[string]any {
	values := map[string]any{}
	for _, a := range span.Attributes {
		values[string(a.Key)] = a.Value.AsInterface()
	}
	return values
}

// gathered are the children of a metric.
func gathered(t *testing.T, c prometheus.Collector) []*dto.Metric {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("gathered %v, %v", families, err)
	}
	return families[0].GetMetric()
}

// value is that of a counter.
func value(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	return gathered(t, c)[0].GetCounter().GetValue()
}

// conn throws all away, and asks again when an answer has ended.
type conn struct {
	asks  int
	ended chan struct{}
}

func (c *conn) Recv() ([]byte, error) {
	<-c.ended
	if c.asks--; c.asks < 0 {
		return nil, io.EOF
	}
	return []byte(`{"action":"assistant_message","payload":"go on"}`), nil
}

func (c *conn) Send(messages ...[]byte) error {
	if strings.HasPrefix(string(messages[len(messages)-1]), `{"action":"complete`) {
		c.ended <- struct{}{}
	}
	return nil
}

func (c *conn) Close(int, string) error { return nil }

const benchPieces = 1000

// babbling answers at once.
type babbling struct{}

func (babbling) Source() assistant.Source { return assistant.Source{Provider: "bench", Model: "m"} }

func (babbling) Stream(context.Context, assistant.Request) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		for range benchPieces {
			yield(assistant.Delta{Text: " piece"}, nil)
		}
		yield(assistant.Delta{FinishReason: assistant.FinishStop}, nil)
	}
}

// BenchmarkObserver streams b.N pieces through the engine without and with the observer, traced too.
func BenchmarkObserver(b *testing.B) {
	ctx, span := sdktrace.NewTracerProvider().Tracer("bench").Start(b.Context(), "request")
	defer span.End()
	for _, test := range []struct {
		name     string
		observer assistant.Observer
		ctx      context.Context
	}{
		{"none", nil, nil},
		{"metrics", New("bench", "memory", NewEmitter(nil)), nil},
		{"traced", New("bench", "memory", NewEmitter(nil)), WithOrigin(ctx)},
	} {
		b.Run(test.name, func(b *testing.B) {
			hub := conversation.NewHub(memory.Open(memory.Config{}), zap.NewNop())
			a := conversation.New(hub, conversation.Config{Provider: babbling{}, Observer: test.observer})
			c := &conn{b.N/benchPieces + 1, make(chan struct{}, 1)}
			c.ended <- struct{}{}
			b.ReportAllocs()
			b.ResetTimer()
			_ = session.Serve(a, c, assistant.Peer{Context: test.ctx})
		})
	}
}

// BenchmarkObserverPiece is what the observer alone costs for each piece.
func BenchmarkObserverPiece(b *testing.B) {
	a := New("bench", "memory", NewEmitter(nil)).Answering(assistant.AnswerStart{})
	b.ReportAllocs()
	for b.Loop() {
		a.Piece()
	}
	a.Ended(assistant.AnswerSummary{Duration: time.Second})
}

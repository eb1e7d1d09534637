package observe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/brokers"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/observe"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/stores"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func init() {
	caddy.RegisterModule(traced{})
	caddy.RegisterModule(eventTest{})
	httpcaddyfile.RegisterHandlerDirective("traced", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return traced{}, nil })
}

// spans are those of the tests' tracing.
var spans = tracetest.NewInMemoryExporter()

var tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))

// traced does what Caddy's tracing directive does, without a collector.
type traced struct{}

func (traced) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.traced", New: func() caddy.Module { return new(traced) }}
}

func (traced) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	ctx, span := tracer.Tracer("test").Start(r.Context(), "request")
	defer span.End()
	return next.ServeHTTP(w, r.WithContext(ctx))
}

// TestTracing shows the span of an answer, also after a reload.
func TestTracing(t *testing.T) {
	spans.Reset()
	s := caddytest.NewSite(t)
	config := "route {\ntraced\n" + caddytest.Handler("model m\n pieces 2", "") + "}\n"
	s.MustLoad(config)
	c := s.Dial("user=ann")
	c.Send(`{"action":"create_conversation"}`)
	var info assistant.Conversation
	_ = json.Unmarshal(c.Until("conversation_created").Payload, &info)
	c.Send(`{"action":"subscribe","topic":"conversation:%s"}`, info.ID)
	c.Until("snapshot")
	request := spans.GetSpans()[0]
	for range 2 {
		spans.Reset()
		c.Send(`{"action":"assistant_message","payload":"secret question","topic":"conversation:%s"}`, info.ID)
		c.Until("complete_streaming")
		span := spans.GetSpans()[0]
		if span.Name != "chat m" || span.SpanKind != trace.SpanKindClient || span.Status.Code != codes.Unset || !span.EndTime.After(span.StartTime) {
			t.Errorf("got %+v", span)
		}
		if len(span.Links) != 1 || span.Links[0].SpanContext.TraceID() != request.SpanContext.TraceID() || span.Links[0].SpanContext.SpanID() != request.SpanContext.SpanID() {
			t.Errorf("linked to %v, want %v", span.Links, request.SpanContext)
		}
		if len(span.Events) != 1 || span.Events[0].Name != "first_piece" {
			t.Errorf("events %v", span.Events)
		}
		got := observe.Attributes(span)
		for name, want := range map[string]any{
			"gen_ai.operation.name": "chat", "gen_ai.provider.name": "counting", "gen_ai.request.model": "m", "gen_ai.output.type": "text",
			"gen_ai.conversation.id": info.ID, "gen_ai.response.finish_reasons": []string{"stop"},
		} {
			if !reflect.DeepEqual(got[name], want) {
				t.Errorf("%s = %v, want %v", name, got[name], want)
			}
		}
		for _, name := range []string{"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.response.time_to_first_chunk", "assistant.message_id"} {
			if v := got[name]; v == nil || reflect.ValueOf(v).IsZero() {
				t.Errorf("%s = %v", name, v)
			}
		}
		if text := fmt.Sprint(got, span.Events); strings.Contains(text, "secret question") || strings.Contains(text, "ann") {
			t.Errorf("the span tells of user and question: %s", text)
		}
		s.MustLoad(config)
	}
}

// eventTest is an event handler: it hands events to the test and waits until it takes them.
type eventTest struct{}

type received struct {
	caddy.Event
	err error // of the context that it came with
}

var events = make(chan received)

func (eventTest) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.test", New: func() caddy.Module { return new(eventTest) }}
}

func (eventTest) Handle(ctx context.Context, e caddy.Event) error {
	events <- received{e, ctx.Err()}
	return nil
}

func (*eventTest) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

// TestEvents shows the events of a session, which come in order however slow their handlers are, and reach
// the handlers of the newest configuration.
func TestEvents(t *testing.T) {
	s, name := caddytest.NewSite(t), caddytest.Fresh()
	s.Options = "events {\n on assistant.connected test\n on assistant.answer_finished test\n on assistant.disconnected test\n }"
	s.MustLoad(caddytest.Handler("model m\n pieces 1", "name "+name))
	c := s.Dial("user=ann")
	s.MustLoad(caddytest.Handler("model n\n pieces 1", "name "+name))
	for range 2 {
		c.Send(`{"action":"assistant_message","payload":"secret question","ref":"1"}`)
		if _, _, _, err := c.Answer(); err != nil { // though no one has taken the first event yet
			t.Fatal(err)
		}
	}
	_ = c.Close()
	for i, want := range []string{"connected", "answer_finished", "answer_finished", "disconnected"} {
		e := <-events
		if e.Name() != "assistant."+want || e.Data["handler"] != name || e.Data["user"] != "ann" || e.Origin().CaddyModule().ID != "assistant" {
			t.Errorf("event %d is %s of %v: %v", i, e.Name(), e.Origin(), e.Data)
		}
		if i > 0 && e.err != nil {
			t.Errorf("event %d came with the context of a configuration that is gone: %v", i, e.err)
		}
		if want == "answer_finished" && (e.Data["model"] != "n" || e.Data["finish_reason"] != "stop" || e.Data["output_tokens"].(int) == 0 || e.Data["pieces"] != 2) {
			t.Errorf("event %d says %v", i, e.Data)
		}
		if want == "connected" && e.Data["client_ip"] != "127.0.0.1" {
			t.Errorf("event %d says %v", i, e.Data)
		}
		if want == "disconnected" && (e.Data["cause"] != "lost" || e.Data["close_code"] != 1011) {
			t.Errorf("event %d says %v", i, e.Data)
		}
		if strings.Contains(fmt.Sprint(e.Data), "secret question") {
			t.Errorf("event %d has the question: %v", i, e.Data)
		}
	}
}

// TestMetricsReload holds that the metrics keep their values over reloads, are visible in each new
// configuration, and go on for sockets that are older than it.
func TestMetricsReload(t *testing.T) {
	s, name := caddytest.NewSite(t), caddytest.Fresh()
	config := caddytest.Handler("model m\n pieces 3", "max_connections 2\n name "+name) + "metrics /metrics\n"
	s.MustLoad(config)
	c := s.Dial("user=ann")
	for i := range 3 {
		c.Send(`{"action":"assistant_message","payload":"count","ref":"1"}`)
		if _, _, _, err := c.Answer(); err != nil {
			t.Fatal(err)
		}
		s.MustLoad(config)
		c.Send(`{"action":"list_conversations","ref":"l"}`)
		c.Until("conversations")
		found := s.Scrape()
		for series, want := range map[string]int{
			"open_sockets{handler=NAME}":     1,
			"running_answers{handler=NAME}":  0,
			"queued_questions{handler=NAME}": 0,
			`answers_total{finish_reason="stop",handler=NAME,model="m",provider="counting"}`: i + 1,
			`pieces_total{handler=NAME,model="m",provider="counting"}`:                       4 * (i + 1),
			`first_piece_seconds_count{handler=NAME,model="m",provider="counting"}`:          i + 1,
			`answer_duration_seconds_count{handler=NAME,model="m",provider="counting"}`:      i + 1,
			`store_duration_seconds_count{handler=NAME,operation="list",store="memory"}`:     i + 1,
			`store_errors_total{handler=NAME,operation="list",store="memory"}`:               0,
			`tokens_total{handler=NAME,model="m",provider="counting",type="output"}`:         2 * (i + 1),
		} {
			series = strings.Replace("caddy_assistant_"+series, "NAME", strconv.Quote(name), 1)
			if got := found[series]; got != fmt.Sprint(want) {
				t.Errorf("reload %d: %s = %q, want %d", i, series, got, want)
			}
		}
	}
	for i, query := range []string{"user=ann&conversation=x", "user=bob", "user=cid"} {
		if conn, status, _ := s.TryDial(query, nil); (conn != nil) != (i == 1) {
			t.Errorf("%s: %d", query, status)
		}
	}
	found := s.Scrape()
	for _, reason := range []string{"not_found", "max_connections"} {
		if got := found[fmt.Sprintf(`caddy_assistant_refused_upgrades_total{handler=%q,reason=%q}`, name, reason)]; got != "1" {
			t.Errorf("upgrades refused for %s = %q, want 1", reason, got)
		}
	}
}

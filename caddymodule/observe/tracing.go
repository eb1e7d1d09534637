package observe

import (
	"context"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// origin is the traced request that opened a session. Its span ends before answers begin, so answers have traces of
// their own, which link to it. It holds nothing else of the request.
type origin struct {
	provider trace.TracerProvider // of Caddy's tracing directive
	request  trace.SpanContext
}

type originKey struct{}

// WithOrigin returns a context that holds only the origin of ctx, or nil if the request is not traced.
func WithOrigin(ctx context.Context) context.Context {
	span := trace.SpanFromContext(ctx)
	if !span.SpanContext().IsValid() {
		return nil
	}
	return context.WithValue(context.Background(), originKey{}, origin{span.TracerProvider(), span.SpanContext()})
}

// originOf returns the origin that WithOrigin has put into ctx, which may be nil.
func originOf(ctx context.Context) (o origin, ok bool) {
	if ctx != nil {
		o, ok = ctx.Value(originKey{}).(origin)
	}
	return o, ok
}

// begin starts the span of an answer. Its names follow OpenTelemetry's conventions for generative AI. The model's
// service does not see the trace.
func (o origin) begin(start assistant.AnswerStart) trace.Span {
	attributes := append(sourceAttributes(start.Source), semconv.GenAIOperationNameChat, semconv.GenAIOutputTypeText,
		attribute.String("assistant.message_id", start.MessageID))
	if start.ConversationID != "" {
		attributes = append(attributes, semconv.GenAIConversationID(start.ConversationID))
	}
	_, span := o.provider.Tracer(tracer).Start(context.Background(), spanName(start.Source),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(trace.Link{SpanContext: o.request}), trace.WithAttributes(attributes...))
	return span
}

// tracer is the name of all that makes spans.
const tracer = "github.com/caddy-assistant/caddy-assistant"

func spanName(s assistant.Source) string { return "chat " + s.Model }

func sourceAttributes(s assistant.Source) []attribute.KeyValue {
	return []attribute.KeyValue{semconv.GenAIProviderNameKey.String(s.Provider), semconv.GenAIRequestModel(s.Model)}
}

func addFirstPiece(span trace.Span, after time.Duration) {
	span.AddEvent("first_piece")
	span.SetAttributes(semconv.GenAIResponseTimeToFirstChunk(after.Seconds()))
}

// addFallback renames the span to the provider that answers now, and records which one failed and why.
func addFallback(span trace.Span, f assistant.Fallback) {
	failed := sourceAttributes(f.Failed)
	if reason, ok := assistant.ProviderFault(f.Err); ok {
		failed = append(failed, semconv.ErrorTypeKey.String(string(reason)))
	}
	span.AddEvent("fallback", trace.WithAttributes(failed...))
	span.SetName(spanName(f.Next))
	span.SetAttributes(sourceAttributes(f.Next)...)
}

// addCall adds a span of a call of a tool that has ended, within the span of its answer.
func addCall(answer trace.Span, c assistant.CallSummary, ended time.Time) {
	_, span := answer.TracerProvider().Tracer(tracer).Start(trace.ContextWithSpan(context.Background(), answer), "execute_tool "+c.Tool,
		trace.WithTimestamp(ended.Add(-c.Duration)), trace.WithAttributes(semconv.GenAIOperationNameExecuteTool,
			semconv.GenAIToolName(c.Tool), semconv.GenAIToolCallID(c.ID), attribute.String("assistant.call_state", string(c.State))))
	if c.State != assistant.CallDone {
		span.SetStatus(codes.Error, string(c.State))
	}
	span.End(trace.WithTimestamp(ended))
}

// endSpan ends the span. A provider's error text is only in the log.
func endSpan(span trace.Span, s assistant.AnswerSummary) {
	span.SetAttributes(semconv.GenAIResponseFinishReasons(string(s.FinishReason)),
		semconv.GenAIUsageInputTokens(s.Usage.InputTokens), semconv.GenAIUsageOutputTokens(s.Usage.OutputTokens))
	if s.Reason != "" {
		span.SetAttributes(semconv.ErrorTypeKey.String(string(s.Reason)))
		span.SetStatus(codes.Error, string(s.Reason))
	}
	span.End()
}

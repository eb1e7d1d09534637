// Package observe makes metrics, spans and Caddy events of what handlers do.
package observe

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
)

// The metrics of all handlers in this process. They live as long as the process; each configuration registers them in
// a registry of its own.
var (
	openSockets     = gauge("open_sockets", "WebSocket connections that are open.", "handler")
	closedSockets   = counter("closed_sockets_total", "WebSocket connections that have ended, by cause: left, lost, timeout, too_slow, malformed, refused, draining, operator, internal.", "handler", "cause")
	refusedUpgrades = counter("refused_upgrades_total", "Requests that got no WebSocket, by reason: no_upgrade, foreign_origin, not_found, max_connections, draining, storage_unavailable, or the HTTP status.", "handler", "reason")
	laggingSockets  = gauge("lagging_sockets", "Open connections whose client reads slower than answers come: pieces are merged for them.", "handler")

	queuedQuestions = gauge("queued_questions", "Questions that wait for an earlier one of their conversation.", "handler")
	runningAnswers  = gauge("running_answers", "Answers that are under way.", "handler")
	answers         = counter("answers_total", "Questions that were answered, by outcome: the answer's finish reason.", "handler", "provider", "model", "finish_reason")
	sentErrors      = counter("errors_total", "Errors sent to clients, by reason; invalid = a frame that the protocol does not allow.", "handler", "reason")

	firstPiece = histogram("first_piece_seconds", "Time from a question's turn to the first piece of its answer.",
		[]float64{.05, .1, .25, .5, 1, 2, 3, 5, 10, 20, 30, 60}, "handler", "provider", "model")
	answerDuration = histogram("answer_duration_seconds", "Time from a question's turn to the end of its answer.",
		[]float64{.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600}, "handler", "provider", "model")
	pieces         = counter("pieces_total", "Pieces of text and reasoning from models.", "handler", "provider", "model")
	tokens         = counter("tokens_total", "Tokens of answers and titles, by type: input or output. Estimated where the model does not count them.", "handler", "provider", "model", "type")
	providerErrors = counter("provider_errors_total", "Requests that a provider failed after its retries, by reason, whether or not another provider answered them.", "handler", "provider", "model", "reason")
	fallbacks      = counter("fallbacks_total", "Answers that a provider took over from one that failed.", "handler", "provider", "model")

	toolCalls    = counter("tool_calls_total", "Calls of tools that have ended, by state: done, failed, denied, unknown. A name that the model has made up is empty.", "handler", "tool", "state")
	toolDuration = histogram("tool_call_duration_seconds", "Time of each call of a tool that was made.",
		[]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}, "handler", "tool")

	uploads     = counter("uploads_total", "Files that were uploaded, by outcome: stored, or the reason why one was refused.", "handler", "outcome")
	uploadBytes = counter("upload_bytes_total", "Bytes of files that were uploaded and stored, as they came.", "handler")

	storeDuration = histogram("store_duration_seconds", "Time of each call of the store.",
		[]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, "handler", "store", "operation")
	storeErrors = counter("store_errors_total", "Calls of the store that failed. That something does not exist, exists already or exceeds max_messages is not a failure.", "handler", "store", "operation")

	limitsShared = gauge("limits_shared", "1 where limits are counted in the store, for all servers and beyond a restart, 0 where the store is away and this server counts alone. Absent where the store keeps none, or no limit has asked it yet.", "handler")

	droppedEvents = counter("dropped_events_total", "Caddy events that were not emitted because their handlers are too slow.", "handler")
)

// collectors holds all of the above.
var collectors []prometheus.Collector

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return collected(prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "caddy", Subsystem: "assistant", Name: name, Help: help}, labels))
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return collected(prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "caddy", Subsystem: "assistant", Name: name, Help: help}, labels))
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return collected(prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "caddy", Subsystem: "assistant", Name: name, Help: help, Buckets: buckets}, labels))
}

func collected[C prometheus.Collector](c C) C {
	collectors = append(collectors, c)
	return c
}

// Register registers the metrics. Calling it again for the same registry does nothing.
func Register(registry prometheus.Registerer) error {
	for _, c := range collectors {
		err := registry.Register(c)
		if _, twice := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !twice {
			return err
		}
	}
	return nil
}

// Refused counts a request that was refused for a reason of [Refusal].
func Refused(handler, reason string) { refusedUpgrades.WithLabelValues(handler, reason).Inc() }

// Refusal returns why a request is refused, if err is a handler's error. Reasons are labels of the metric
// caddy_assistant_refused_upgrades_total.
func Refusal(err error) (reason string, ok bool) {
	refused, ok := errors.AsType[caddyhttp.HandlerError](err)
	if !ok {
		return "", false
	}
	if r, ok := errors.AsType[*RefusalError](err); ok {
		return r.Reason, true
	}
	return cmp.Or(refusalReasons[refused.StatusCode], strconv.Itoa(refused.StatusCode)), true
}

// refusalReasons names the reason of each status that has only one.
var refusalReasons = map[int]string{
	http.StatusUpgradeRequired: "no_upgrade",
	http.StatusForbidden:       "foreign_origin",
	http.StatusNotFound:        "not_found",
}

// RefusalError says why a request was refused, where its status alone does not.
type RefusalError struct {
	Reason string // for metrics
	Err    error
}

func (r *RefusalError) Error() string { return r.Err.Error() }
func (r *RefusalError) Unwrap() error { return r.Err }

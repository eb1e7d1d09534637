package observe

import (
	"errors"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/prometheus/client_golang/prometheus"
)

// storeCall holds the metrics of one method of the store.
type storeCall struct {
	duration prometheus.Observer
	errors   prometheus.Counter
}

// answersOfStores lists errors that are answers: the store works.
var answersOfStores = []error{assistant.ErrNotFound, assistant.ErrDuplicate, assistant.ErrConversationFull, assistant.ErrStale,
	assistant.ErrLost, assistant.ErrGone, assistant.ErrFileGone, assistant.ErrFileInUse, assistant.ErrQuota}

// isAnswer reports whether the store works that has returned err.
func isAnswer(err error) bool {
	_, isHeld := errors.AsType[*assistant.HeldError](err)
	return err == nil || isHeld || slices.ContainsFunc(answersOfStores, func(answer error) bool { return errors.Is(err, answer) })
}

// LimitsShared sets whether limits are counted in the store.
func (o *observer) LimitsShared(shared bool) {
	value := 0.
	if shared {
		value = 1
	}
	limitsShared.WithLabelValues(o.handler).Set(value)
}

// Stored measures a call of the store.
func (o *observer) Stored(operation string, took time.Duration, err error) {
	v, ok := o.calls.Load(operation)
	if !ok {
		v, _ = o.calls.LoadOrStore(operation, storeCall{
			storeDuration.WithLabelValues(o.handler, o.store, operation), storeErrors.WithLabelValues(o.handler, o.store, operation),
		})
	}
	c := v.(storeCall)
	c.duration.Observe(took.Seconds())
	if !isAnswer(err) {
		c.errors.Inc()
	}
	if errors.Is(err, assistant.ErrLost) {
		claimsLost.WithLabelValues(o.handler).Inc()
	}
}

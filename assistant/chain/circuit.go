package chain

import (
	"errors"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const (
	// tripFailures is how many failures in a row open a circuit. One may be chance.
	tripFailures = 3
	// openTime is how long a circuit is open at first. Each probe that fails doubles it, up to maxOpenTime.
	openTime    = 30 * time.Second
	maxOpenTime = 5 * time.Minute
)

// CircuitState says whether a provider of a [Chain] is asked.
type CircuitState string

// The states of a circuit.
const (
	CircuitClosed   CircuitState = "closed"    // it is asked
	CircuitOpen     CircuitState = "open"      // it failed, and is passed over for a while
	CircuitHalfOpen CircuitState = "half_open" // the while is over: one question at a time tries it
)

// circuit is the memory of one provider's failures, a circuit breaker. It is our own because here it is
// open for as long as the service asks, a probe may end without a verdict since its client left, and an
// open circuit can be overruled: neither gobreaker nor failsafe-go does all three.
type circuit struct {
	mu       sync.Mutex
	failures int              // in a row; only an answer that is complete ends the row
	until    time.Time        // when an open circuit may be tried; zero = closed
	since    time.Time        // of the last change between closed and not; zero = none yet
	last     assistant.Reason // of the last failure
	probe    *attempt         // that tries a half-open circuit
}

// attempt is one question to the provider of a circuit.
type attempt struct {
	*circuit
	trial bool // the circuit was not closed when it began: what comes of it is news
}

// enter begins an attempt; nil when the circuit lets none through.
func (c *circuit) enter() *attempt {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &attempt{c, !c.until.IsZero()}
	if a.trial {
		if c.probe != nil || time.Now().Before(c.until) {
			return nil
		}
		c.probe = a
	}
	return a
}

// overrule begins an attempt in any case.
func (c *circuit) overrule() *attempt { return &attempt{c, true} }

// answered records that the provider has sent something, and reports whether that closed the circuit. What was asked
// before the circuit opened does not count: the service may say at the same time that it wants no more.
func (a *attempt) answered() (closed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leaveLocked()
	if a.until.IsZero() || !a.trial {
		return false
	}
	a.until, a.since = time.Time{}, time.Now()
	return true
}

// completed records that the provider has said all. One that breaks off every answer never gets here, and
// is passed over in the end.
func (a *attempt) completed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.until.IsZero() {
		a.failures = 0
	}
}

// failed records that the provider has failed, and reports whether that opened the circuit.
func (a *attempt) failed(err error) (opened bool) {
	reason, pause := assistant.ReasonInternal, time.Duration(0)
	if fault, ok := errors.AsType[*assistant.ProviderError](err); ok {
		reason, pause = fault.Reason, fault.RetryAfter
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if probed := a.probe == a; probed || a.until.IsZero() { // of an open circuit the others say what is known
		a.failures++
		if probed || a.failures >= tripFailures {
			pause = max(pause, openFor(a.failures))
		}
	}
	a.leaveLocked()
	a.last = reason
	now := time.Now()
	if until := now.Add(pause); pause > 0 && until.After(a.until) {
		if opened = a.until.IsZero(); opened {
			a.since = now
		}
		a.until = until
	}
	return opened
}

// openFor is how long a circuit is open after so many failures.
func openFor(failures int) time.Duration {
	return min(openTime<<min(max(failures-tripFailures, 0), 10), maxOpenTime)
}

// left ends an attempt that has shown nothing about the provider. After any other end it does nothing.
func (a *attempt) left() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leaveLocked()
}

func (a *attempt) leaveLocked() {
	if a.probe == a {
		a.probe = nil
	}
}

// health returns how the circuit is, with s as the source.
func (c *circuit) health(s assistant.Source) Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := Health{Source: s, State: CircuitClosed, Since: c.since, Until: c.until, Failures: c.failures, Reason: c.last}
	switch {
	case c.until.IsZero():
	case time.Now().Before(c.until):
		h.State = CircuitOpen
	default:
		h.State = CircuitHalfOpen
	}
	return h
}

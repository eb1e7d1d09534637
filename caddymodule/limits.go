package caddymodule

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Rate is how many questions a user may ask.
type Rate struct {
	// How many questions.
	Questions int `json:"questions"`
	// In which time, on average.
	Per caddy.Duration `json:"per"`
	// How many of them at once. Default: questions
	Burst int `json:"burst,omitempty"`
}

// Budget is how many tokens a user may use.
type Budget struct {
	// How many tokens, input and output together.
	Tokens int `json:"tokens"`
	// In any time of which length. What was used comes back when it is over, in at most 24 parts.
	Per caddy.Duration `json:"per"`
}

// MaxConnections is how many sockets may be open at once. Zero is no limit.
type MaxConnections struct {
	// Of all users.
	Total int `json:"total,omitempty"`
	// Of each.
	PerUser int `json:"per_user,omitempty"`
}

// limit puts the limits into the settings.
func (h *Handler) limit(c *assistant.Config) {
	c.MaxQuestionLength, c.MaxMessages = h.MaxQuestionLength, h.MaxMessages
	if r := h.Rate; r != nil {
		c.Rate = assistant.Rate{Questions: r.Questions, Per: time.Duration(r.Per), Burst: r.Burst}
	}
	if b := h.Budget; b != nil {
		c.Budget = assistant.Budget{Tokens: b.Tokens, Per: time.Duration(b.Per)}
	}
	if m := h.MaxConnections; m != nil {
		c.MaxConnections, c.MaxConnectionsPerUser = m.Total, m.PerUser
	}
}

// checkLimits checks what the types do not.
func (h *Handler) checkLimits() error {
	if r := h.Rate; r != nil && (r.Questions <= 0 || r.Per <= 0 || r.Burst < 0) {
		return fmt.Errorf("rate: expected questions and per of at least 1, and no negative burst, found %+v", *r)
	}
	if b := h.Budget; b != nil && (b.Tokens <= 0 || b.Per <= 0) {
		return fmt.Errorf("budget: expected tokens and per of at least 1, found %+v", *b)
	}
	if m := h.MaxConnections; m != nil && (m.Total < 0 || m.PerUser < 0) {
		return fmt.Errorf("max_connections: expected no negative numbers, found %+v", *m)
	}
	return nil
}

// clientIP is where the request comes from, as Caddy sees it: behind a proxy of trusted_proxies that is
// the proxy's client.
func clientIP(r *http.Request) netip.Addr {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, _ := netip.ParseAddr(text) // the zero Addr, where the listener is no IP's
	return addr
}

// limits are those which clients need to know.
func (h *Handler) limits() map[string]int64 {
	limits := map[string]int64{
		"max_message_size": h.MaxMessageSize,
		"max_pending":      int64(h.MaxPending),
		"ping_interval_ms": time.Duration(h.PingInterval).Milliseconds(),
	}
	if h.MaxQuestionLength > 0 {
		limits["max_question_length"] = int64(h.MaxQuestionLength)
	}
	if h.MaxMessages > 0 {
		limits["max_messages"] = int64(h.MaxMessages)
	}
	if r := h.Rate; r != nil {
		limits["rate_questions"], limits["rate_per_ms"] = int64(r.Questions), time.Duration(r.Per).Milliseconds()
		if r.Burst > 0 {
			limits["rate_burst"] = int64(r.Burst)
		}
	}
	if b := h.Budget; b != nil {
		limits["budget_tokens"], limits["budget_per_ms"] = int64(b.Tokens), time.Duration(b.Per).Milliseconds()
	}
	if m := h.MaxConnections; m != nil && m.PerUser > 0 {
		limits["max_connections_per_user"] = int64(m.PerUser)
	}
	return limits
}

// rate reads "<n>/<duration> [<burst>]".
func (p *params) rate(dst **Rate) error {
	const what = "questions per duration like 20/1m, and perhaps a burst like 5"
	p.args = p.RemainingArgs()
	if len(p.args) != 1 && len(p.args) != 2 {
		return p.expected(what)
	}
	n, per, ok := ratio(p.args[0], math.MaxInt32)
	*dst = &Rate{Questions: n, Per: per}
	if ok && len(p.args) == 2 {
		(*dst).Burst, ok = count(p.args[1], 1, math.MaxInt32)
	}
	if !ok {
		return p.expected(what)
	}
	return nil
}

// budget reads "<tokens>/<duration>".
func (p *params) budget(dst **Budget) error {
	const what = "tokens per duration like 100000/24h"
	if err := p.take(1, what); err != nil {
		return err
	}
	n, per, ok := ratio(p.args[0], math.MaxInt32)
	if !ok {
		return p.expected(what)
	}
	*dst = &Budget{Tokens: n, Per: per}
	return nil
}

// ratio reads "<n>/<duration>", both positive.
func ratio(text string, high int) (n int, per caddy.Duration, ok bool) {
	number, duration, _ := strings.Cut(text, "/")
	n, ok = count(number, 1, high)
	d, err := caddy.ParseDuration(duration)
	return n, caddy.Duration(d), ok && err == nil && d > 0
}

func count(text string, low, high int) (n int, ok bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= low && n <= high
}

// maxConnections reads "<n> [per_user <m>]".
func (p *params) maxConnections(dst **MaxConnections) error {
	const what = "a whole number (0 is no limit), and perhaps per_user and a number from 1"
	p.args = p.RemainingArgs()
	if len(p.args) != 1 && (len(p.args) != 3 || p.args[1] != "per_user") {
		return p.expected(what)
	}
	*dst = new(MaxConnections)
	var ok bool
	(*dst).Total, ok = count(p.args[0], 0, math.MaxInt32)
	if ok && len(p.args) == 3 {
		(*dst).PerUser, ok = count(p.args[2], 1, math.MaxInt32)
	}
	if !ok {
		return p.expected(what)
	}
	return nil
}

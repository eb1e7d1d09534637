package endpoint

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// OnDisconnect says what happens to a running answer when the last socket of its conversation closes.
type OnDisconnect struct {
	// "finish" lets it go on, "cancel" stops it at once.
	Policy string `json:"policy"`
	// How long it may go on; with finish only. Default: 5m
	Max caddy.Duration `json:"max,omitempty"`
}

func (o *OnDisconnect) setDefault() {
	if o.Policy == "finish" {
		o.Max = cmp.Or(o.Max, caddy.Duration(5*time.Minute))
	}
}

var onDisconnect = setting.Form[OnDisconnect]{
	Takes: "finish [<max>] | cancel", Expected: "finish, finish and a duration like 5m, or cancel",
	Parse: func(words []string) (o OnDisconnect, ok bool) {
		if len(words) != 1 && len(words) != 2 {
			return o, false
		}
		o.Policy = words[0]
		if len(words) == 2 {
			o.Max, ok = positive(words[1])
			return o, ok && o.Policy == "finish"
		}
		return o, o.Policy == "finish" || o.Policy == "cancel"
	},
	Fault: func(o OnDisconnect) (string, bool) {
		bad := o.Max < 0 || o.Policy != "finish" && (o.Policy != "cancel" || o.Max != 0)
		if o.Max == 0 {
			return o.Policy, bad
		}
		return o.Policy + " " + setting.ShowDuration(o.Max), bad
	},
}

// Rate is how many questions a user may ask.
type Rate struct {
	// How many questions, from 1.
	Questions int `json:"questions"`
	// In what time, on average.
	Per caddy.Duration `json:"per"`
	// How many of them at once. Default: questions
	Burst int `json:"burst,omitempty"`
}

var rate = setting.Form[Rate]{
	Takes: "<n>/<duration> [<burst>]", Expected: "questions per duration like 20/1m, and perhaps a burst like 5",
	Parse: func(words []string) (r Rate, ok bool) {
		if len(words) != 1 && len(words) != 2 {
			return r, false
		}
		r.Questions, r.Per, ok = ratio(words[0])
		if ok && len(words) == 2 {
			r.Burst, ok = count(words[1], 1)
		}
		return r, ok
	},
	Fault: func(r Rate) (string, bool) {
		found := showRatio(r.Questions, r.Per)
		if r.Burst != 0 {
			found += " " + strconv.Itoa(r.Burst)
		}
		return found, !fits(r.Questions, 1) || r.Per <= 0 || !fits(r.Burst, 0)
	},
}

// WriteRate is how many conversations a user may create, rename and delete.
type WriteRate struct {
	// How many changes, from 1.
	Writes int `json:"writes"`
	// In what time, on average.
	Per caddy.Duration `json:"per"`
	// How many of them at once. Default: writes
	Burst int `json:"burst,omitempty"`
}

var writeRate = setting.Form[WriteRate]{
	Takes: rate.Takes, Expected: "changes per duration like 60/1m, and perhaps a burst like 20",
	Parse: func(words []string) (w WriteRate, ok bool) {
		r, ok := rate.Parse(words)
		return WriteRate{r.Questions, r.Per, r.Burst}, ok
	},
	Fault: func(w WriteRate) (string, bool) { return rate.Fault(Rate{w.Writes, w.Per, w.Burst}) },
}

// IPv6Prefix says how many bits of an IPv6 address name the network of an anonymous client.
type IPv6Prefix struct {
	// How many bits, from 16 to 128.
	Bits int `json:"bits"`
	// How many bits name a wider network, fewer than bits. Default: no wider network
	Wider int `json:"wider,omitempty"`
	// How many times as much all of the wider network may do together, from 1.
	Times int `json:"times,omitempty"`
}

var ipv6Prefix = setting.Form[IPv6Prefix]{
	Takes: "<bits> [<wider> <times>]", Expected: "bits from 16 to 128, and perhaps fewer bits of a wider network and a number from 1",
	Parse: func(words []string) (p IPv6Prefix, ok bool) {
		if len(words) != 1 && len(words) != 3 {
			return p, false
		}
		p.Bits, ok = count(words[0], 1)
		if ok && len(words) == 3 {
			var isTimes bool
			p.Wider, ok = count(words[1], 1)
			p.Times, isTimes = count(words[2], 1)
			ok = ok && isTimes
		}
		return p, ok
	},
	Fault: func(p IPv6Prefix) (string, bool) {
		isWider := p.Wider >= 16 && p.Wider < p.Bits && fits(p.Times, 1)
		return fmt.Sprint(p.Bits, p.Wider, p.Times), p.Bits < 16 || p.Bits > 128 || !isWider && (p.Wider != 0 || p.Times != 0)
	},
}

// Budget is how many tokens a user may use.
type Budget struct {
	// How many tokens, input and output together, from 1.
	Tokens int `json:"tokens"`
	// In any window of this length. Used tokens come back as the window moves on, in at most 24 steps.
	Per caddy.Duration `json:"per"`
}

var budget = setting.Form[Budget]{
	Takes: "<tokens>/<duration>", Expected: "tokens per duration like 100000/24h",
	Parse: func(words []string) (b Budget, ok bool) {
		if len(words) != 1 {
			return b, false
		}
		b.Tokens, b.Per, ok = ratio(words[0])
		return b, ok
	},
	Fault: func(b Budget) (string, bool) {
		return showRatio(b.Tokens, b.Per), !fits(b.Tokens, 1) || b.Per <= 0
	},
}

// MaxConnections is how many sockets may be open at once. Zero is no limit.
type MaxConnections struct {
	// Of all users together. Default: no limit
	Total int `json:"total,omitempty"`
	// Of each user. Default: no limit
	PerUser int `json:"per_user,omitempty"`
}

var maxConnections = setting.Form[MaxConnections]{
	Takes: "<n> [per_user <m>]", Expected: "a whole number (0 is no limit), and perhaps per_user and a number from 1",
	Parse: func(words []string) (m MaxConnections, ok bool) {
		if len(words) != 1 && (len(words) != 3 || words[1] != "per_user") {
			return m, false
		}
		m.Total, ok = count(words[0], 0)
		if ok && len(words) == 3 {
			m.PerUser, ok = count(words[2], 1)
		}
		return m, ok
	},
	Fault: func(m MaxConnections) (string, bool) {
		return fmt.Sprintf("%d per_user %d", m.Total, m.PerUser), !fits(m.Total, 0) || !fits(m.PerUser, 0)
	},
}

// ratio reads "<n>/<duration>", both positive.
func ratio(text string) (n int, per caddy.Duration, ok bool) {
	number, duration, _ := strings.Cut(text, "/")
	n, ok = count(number, 1)
	per, positive := positive(duration)
	return n, per, ok && positive
}

func showRatio(n int, per caddy.Duration) string {
	return strconv.Itoa(n) + "/" + setting.ShowDuration(per)
}

func positive(text string) (caddy.Duration, bool) {
	d, err := caddy.ParseDuration(text)
	return caddy.Duration(d), err == nil && d > 0
}

func count(text string, low int) (n int, ok bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && fits(n, low)
}

func fits(n, low int) bool { return n >= low && n <= math.MaxInt32 }

// limitsClients reports whether anything is limited for each client that the configuration says so of.
func (h *Handler) limitsClients() bool {
	return h.Rate != nil || h.Budget != nil || h.MaxConnections != nil && h.MaxConnections.PerUser > 0
}

// limits returns the limits that clients need to know, for the AsyncAPI document.
func (h *Handler) limits() map[string]int64 {
	limits := map[string]int64{
		"max_message_size": h.MaxMessageSize,
		"max_pending":      int64(h.MaxPending),
		"ping_interval_ms": time.Duration(h.PingInterval).Milliseconds(),
	}
	if h.MaxQuestionLength > 0 {
		limits["max_question_length"] = int64(h.MaxQuestionLength)
	}
	if h.MaxAnswer > 0 {
		limits["max_answer"] = int64(h.MaxAnswer)
	}
	if h.MaxMessages > 0 {
		limits["max_messages"] = int64(h.MaxMessages)
	}
	if h.hasFiles() {
		limits["max_file_size"], limits["max_files_per_message"] = h.Files.MaxSize, int64(h.Files.MaxPerMessage)
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

// clientIP returns the address of the request's client as Caddy sees it: behind a proxy of trusted_proxies, that
// of the proxy's client.
func clientIP(r *http.Request) netip.Addr {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, _ := netip.ParseAddr(text) // the zero Addr, where the listener has no IP address
	return addr
}

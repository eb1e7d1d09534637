package openai

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/answer"
)

// maxErrorText is how much of an error's text is kept, in bytes.
const maxErrorText = 400

// maxReasonText is how much of an unknown finish reason is logged, in bytes.
const maxReasonText = 100

// refusedError is an HTTP response that is no answer.
type refusedError struct {
	*answer.ServiceError
	retryAfter time.Duration
}

func (e *refusedError) Unwrap() error { return e.ServiceError }

// newRefusal reads a response that is no answer.
func newRefusal(res *http.Response, body []byte) *refusedError {
	f := answer.ErrorOfBody(res.StatusCode, body)
	if res.StatusCode < http.StatusBadRequest {
		f.Message = "redirects are not followed; base_url must be the final address"
	}
	return &refusedError{f, retryAfter(res.Header)}
}

// providerError classifies err. It keeps only the redacted text of err, which may contain anything that the
// service sent, including the key.
func (p *Provider) providerError(err error) *assistant.ProviderError {
	if known, ok := errors.AsType[*assistant.ProviderError](err); ok {
		return known // a limit of our own
	}
	out := &assistant.ProviderError{Reason: assistant.ReasonProviderUnavailable, Err: errors.New(p.secrets.shorten(err.Error(), maxErrorText))}
	if f, ok := errors.AsType[*answer.ServiceError](err); ok {
		out.Reason, out.OfQuestion = reasonOf(f), isOfQuestion(f)
	}
	if r, ok := errors.AsType[*refusedError](err); ok {
		out.RetryAfter = r.retryAfter
	}
	switch {
	case errors.Is(err, answer.ErrEmpty):
		out.Reason = assistant.ReasonEmptyAnswer
	case errors.Is(err, answer.ErrTools):
		out.Reason, out.OfQuestion = assistant.ReasonToolsUnsupported, true
	}
	return out
}

// isOfQuestion reports whether the service rejected only this question. 401, 403 and 404 concern all questions:
// the key, the address or the model's name is wrong.
func isOfQuestion(f *answer.ServiceError) bool {
	return slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, f.ToldStatus())
}

// secrets are the texts that no log may contain: the key, and what the headers, the query and the proxy's URL hold.
type secrets []string

// minSecret is the length of the shortest secret, in bytes. Servers that need no key are given one such as x or
// none, which is a part of many words.
const minSecret = 8

func newSecrets(c Config) secrets {
	s := secrets{c.APIKey}
	for _, values := range []map[string]string{c.Header, c.Query} {
		for _, value := range values {
			s = append(s, value, strings.Trim(strconv.Quote(value), `"`), url.QueryEscape(value), url.PathEscape(value)) // as services repeat it
			s = append(s, strings.Fields(value)...)                                                                      // the key behind Bearer
		}
	}
	if u := c.proxyURL(); u != nil {
		password, _ := u.User.Password()
		s = append(s, password)
	}
	s = slices.DeleteFunc(s, func(secret string) bool { return len(secret) < minSecret })
	slices.SortFunc(s, func(a, b string) int { return len(b) - len(a) }) // one may contain another
	return s
}

// keys matches anything that looks like a key: ours, or one that a service repeats in part.
var keys = regexp.MustCompile(`(?i)\b(bearer\s+|sk-)[^\s"']+`)

// redact hides the secrets in a text, and all that looks like one.
func (s secrets) redact(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	return keys.ReplaceAllString(text, "[redacted]")
}

// shorten returns the beginning of a redacted text.
func (s secrets) shorten(text string, size int) string {
	text = s.redact(text)
	if len(text) <= size {
		return text
	}
	return strings.ToValidUTF8(text[:size], "") + "…"
}

// maxRetryAfter bounds nonsense values before they reach clients.
const maxRetryAfter = 24 * time.Hour

// retryAfter returns how long the service asks clients to wait (RFC 9110 section 10.2.3, and OpenAI's form in
// milliseconds), 0 when it does not say.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseFloat(h.Get("Retry-After"), 64)
	if ms, msErr := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); msErr == nil {
		seconds, err = ms/1000, nil
	}
	if at, dateErr := http.ParseTime(h.Get("Retry-After")); err != nil && dateErr == nil {
		seconds, err = time.Until(at).Seconds(), nil
	}
	if err != nil || !(seconds > 0) { // also excludes NaN
		return 0
	}
	return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
}

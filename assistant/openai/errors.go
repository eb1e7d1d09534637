package openai

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// maxErrorText is how much of an error's text is kept, in bytes.
const maxErrorText = 400

// fault is an error that the service reported. All of its text comes from outside.
type fault struct {
	status     int // of HTTP; 0 = in the middle of a stream
	kind       string
	code       string
	message    string
	retryAfter time.Duration
}

func (f *fault) Error() string {
	text := "error in the stream"
	if f.status != 0 {
		text = fmt.Sprintf("status %d", f.status)
	}
	for _, part := range []struct{ name, value string }{{"type", f.kind}, {"code", f.code}, {"message", f.message}} {
		if part.value != "" {
			text += fmt.Sprintf(", %s %q", part.name, part.value)
		}
	}
	return text
}

// newFault reads a response that is not a stream.
func newFault(res *http.Response, body []byte) *fault {
	f := &fault{status: res.StatusCode, message: string(body), retryAfter: retryAfter(res.Header)}
	var envelope struct {
		Error jsontext.Value `json:"error"`
	}
	if json.Unmarshal(body, &envelope, lenient) == nil && given(envelope.Error) {
		f.read(envelope.Error)
		return f
	}
	switch {
	case res.StatusCode < 300:
		f.message = fmt.Sprintf("%s instead of text/event-stream: %s", res.Header.Get("Content-Type"), body)
	case res.StatusCode < 400:
		f.message = "redirects are not followed; base_url must be the final address"
	}
	return f
}

// faultOf returns the fault in an error object from the middle of a stream.
func faultOf(value jsontext.Value) *fault {
	f := new(fault)
	f.read(value)
	return f
}

// read decodes an error object, or any other value that a server puts in its place.
func (f *fault) read(value jsontext.Value) {
	var object struct {
		Type    string         `json:"type"`
		Code    jsontext.Value `json:"code"` // a string, a number or null
		Message string         `json:"message"`
	}
	if json.Unmarshal(value, &object, lenient) == nil {
		f.kind, f.code = object.Type, unquote(object.Code)
	}
	f.message = cmp.Or(object.Message, unquote(value))
}

// unquote returns a JSON string's text, and any other value as it is.
func unquote(value jsontext.Value) string {
	var text string
	if json.Unmarshal(value, &text, lenient) == nil {
		return text
	}
	return string(value)
}

// codes maps the types and codes of errors that say more than the status.
var codes = map[string]assistant.Reason{
	"context_length_exceeded":   assistant.ReasonContextOverflow,
	"exceed_context_size_error": assistant.ReasonContextOverflow, // llama.cpp
	"content_filter":            assistant.ReasonContentFiltered,
	"content_policy_violation":  assistant.ReasonContentFiltered,
	"invalid_prompt":            assistant.ReasonContentFiltered, // of the Responses API, like the next
	"bio_policy":                assistant.ReasonContentFiltered,
	"insufficient_quota":        assistant.ReasonProviderRejected, // a 429, but waiting does not help
	"rate_limit_exceeded":       assistant.ReasonProviderRateLimited,
	"invalid_request_error":     assistant.ReasonProviderRejected,
}

func (f *fault) reason() assistant.Reason {
	if strings.Contains(f.message, "maximum context length") { // vLLM, DeepSeek and brokers give no code
		return assistant.ReasonContextOverflow
	}
	for _, name := range []string{f.code, f.kind} {
		if reason, ok := codes[name]; ok {
			return reason
		}
	}
	switch status := f.toldStatus(); {
	case status == http.StatusTooManyRequests:
		return assistant.ReasonProviderRateLimited
	case status == http.StatusRequestTimeout:
		return assistant.ReasonProviderTimeout
	case status == http.StatusRequestEntityTooLarge:
		return assistant.ReasonContextOverflow
	case status >= 300 && status < 500:
		return assistant.ReasonProviderRejected
	default:
		return assistant.ReasonProviderUnavailable
	}
}

// toldStatus returns the HTTP status, or the status in the code of an error in a stream.
func (f *fault) toldStatus() int {
	if code, err := strconv.Atoi(f.code); err == nil && f.status < 300 {
		return code
	}
	return f.status
}

// ofQuestion reports whether the service rejected only this question. 401, 403 and 404 concern all questions:
// the key, the address or the model's name is wrong.
func (f *fault) ofQuestion() bool {
	return slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, f.toldStatus())
}

// providerError classifies err. It keeps only the redacted text of err, which may contain anything that the
// service sent, including the key.
func (p *Provider) providerError(err error) *assistant.ProviderError {
	if known, ok := errors.AsType[*assistant.ProviderError](err); ok {
		return known // a limit of our own
	}
	out := &assistant.ProviderError{
		Reason: assistant.ReasonProviderUnavailable,
		Err:    errors.New(shorten(redact(err.Error(), p.key), maxErrorText)),
	}
	if f, ok := errors.AsType[*fault](err); ok {
		out.Reason, out.RetryAfter, out.OfQuestion = f.reason(), f.retryAfter, f.ofQuestion()
	}
	return out
}

// keys matches anything that looks like a key: ours, or one that a service repeats in part.
var keys = regexp.MustCompile(`(?i)\b(bearer\s+|sk-)[^\s"']+`)

func redact(text, key string) string {
	if key != "" {
		text = strings.ReplaceAll(text, key, "[redacted]")
	}
	return keys.ReplaceAllString(text, "[redacted]")
}

func shorten(text string, size int) string {
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

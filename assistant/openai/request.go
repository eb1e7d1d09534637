package openai

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

const (
	// defaultTemperature is the tutorial's.
	defaultTemperature = 0.7
	// maxRetryDelay is the longest wait before a request is sent again. When the service asks for more,
	// the client is told at once, with the time that was asked for: nobody should wait unseen.
	maxRetryDelay = 5 * time.Second
	// maxErrorBody is how much of an error's body is read; the SDK itself has no bound.
	maxErrorBody = 64 << 10
	// maxHeader is how much of a response's header is read; net/http's own bound is 10 MB.
	maxHeader = 64 << 10
)

// newTransport makes the connections of one provider. They take no part in the environment's proxies.
func newTransport() *http.Transport {
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		// HTTP/1.1, where each answer has a connection of its own, unless TLS negotiates better. net/http
		// keeps 2 idle connections by default, which would make a new one for nearly every short answer.
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
		// A connection that died without a word would swallow every request that joins it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second},
		// A compressor holds back pieces until it has enough of them.
		DisableCompression: true,
	}
}

// api is one of the two APIs of a service: what a question is, and how its answer is read.
type api interface {
	// request is where a question is posted, below the base URL, and the SDK's parameters of it.
	request(req assistant.Request) (path string, params any)
	// translator reads one answer.
	translator() translator
}

func newAPI(c Config) api {
	if c.api() == apiResponses {
		return newResponses(c)
	}
	return newChat(c)
}

// postFunc posts params and stores the response in res as soon as there is one.
type postFunc func(ctx context.Context, path string, params, res any, options ...option.RequestOption) error

// newPost makes the SDK's part: a method of its client, whose constructor would read environment
// variables. All else of the client and of its services stays out of the program, which is 16 MB
// smaller for it: no type that is known at run time may have them as a field.
func newPost(c Config, transport http.RoundTripper) postFunc {
	options := []option.RequestOption{
		option.WithBaseURL(c.baseURL()),
		option.WithHTTPClient(&http.Client{
			Transport: transport,
			// No API redirects a question; whoever gets it would get the whole conversation.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
		option.WithMaxRetries(c.maxRetries()),
		option.WithMaxRetryDelay(maxRetryDelay),
		option.WithMiddleware(boundErrors),
		option.WithAPIKey(c.APIKey),
	}
	if c.Organization != "" {
		options = append(options, option.WithOrganization(c.Organization))
	}
	if c.Project != "" {
		options = append(options, option.WithProject(c.Project))
	}
	return (&sdk.Client{Options: options}).Post
}

// extraFields are the fields of a request that the SDK does not know, or does not set by itself.
func (c Config) extraFields() map[string]any {
	extra := map[string]any{}
	for name, value := range c.Extra {
		extra[name] = value
	}
	extra["stream"] = true
	return extra
}

// temperature is what a request says; nil = nothing.
func (c Config) temperature() *float64 {
	if c.Temperature == nil && c.ReasoningEffort == "" && !c.reasons() {
		return new(defaultTemperature)
	}
	return c.Temperature
}

// optional is a field of a request that is sent only when there is something to say.
func optional[T comparable](value *T) param.Opt[T] {
	if value == nil {
		return param.Opt[T]{}
	}
	return param.NewOpt(*value)
}

// send asks the service, and again where that may help. It returns the stream of the answer, which the
// caller closes.
func (p *Provider) send(ctx context.Context, req assistant.Request) (io.ReadCloser, error) {
	path, params := p.api.request(req)
	var res *http.Response
	err := p.post(ctx, path, params, &res)
	if res == nil {
		if failure, ok := errors.AsType[*url.Error](err); ok {
			err = failure.Err // without the address, which the operator knows
		}
		return nil, fmt.Errorf("send question: %w", err)
	}
	if err == nil && res.StatusCode == http.StatusOK && isEventStream(res.Header) {
		return res.Body, nil
	}
	// The SDK has read an error's body already, and made an error of it that holds less.
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	return nil, newFault(res, body)
}

// isEventStream holds also for servers that do not say what they send.
func isEventStream(h http.Header) bool {
	contentType := h.Get("Content-Type")
	media, _, _ := mime.ParseMediaType(contentType)
	return contentType == "" || media == "text/event-stream"
}

func boundErrors(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	res, err := next(req)
	if err == nil && res.StatusCode >= http.StatusBadRequest {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxErrorBody), res.Body}
	}
	return res, err
}

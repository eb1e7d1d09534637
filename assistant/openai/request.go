package openai

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/answer"
)

const (
	// maxRetryDelay is the longest wait before a retry. When the service asks for more, the client gets an
	// error with that time at once, so that users do not wait without knowing it.
	maxRetryDelay = 5 * time.Second
	// maxErrorBody is how much of an error's body is read, in bytes; the SDK itself has no bound.
	maxErrorBody = 64 << 10
)

// api is one of the two APIs of a service: how to ask a question, and how to read its answer.
type api interface {
	// request returns the path to post a question to, below the base URL, and the SDK's parameters.
	request(req assistant.Request) (path string, params any)
	// translator returns a new translator for one answer; tools says that the model may call some.
	translator(tools bool) answer.Translator
}

func newAPI(c Config) api {
	if c.api() == apiResponses {
		return newResponses(c)
	}
	return newChat(c)
}

// postFunc posts params and stores the response in res as soon as there is one.
type postFunc func(ctx context.Context, path string, params, res any, options ...option.RequestOption) error

// newPost returns the Post method of the SDK's client. The client is not made by its constructor, which would
// read environment variables. The client's services stay out of the program, which makes it 16 MB smaller: no
// type that is known at run time may have them as a field.
func newPost(c Config, transport http.RoundTripper) postFunc {
	options := []option.RequestOption{
		option.WithBaseURL(c.requestURL()),
		option.WithHTTPClient(&http.Client{
			Transport: transport,
			// No API redirects a question, and the target would receive the whole conversation.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
		option.WithMaxRetries(c.maxRetries()),
		option.WithMaxRetryDelay(maxRetryDelay),
		option.WithMiddleware(boundErrors, askAgain),
		option.WithAPIKey(c.APIKey),
	}
	if c.Organization != "" {
		options = append(options, option.WithOrganization(c.Organization))
	}
	if c.Project != "" {
		options = append(options, option.WithProject(c.Project))
	}
	for name, value := range c.Header {
		options = append(options, option.WithHeader(name, value))
	}
	for name, value := range c.Query {
		options = append(options, option.WithQuery(name, value))
	}
	return (&sdk.Client{Options: options}).Post
}

// extraFields returns the fields of a request that the SDK does not know, or does not set by itself.
func (c Config) extraFields() map[string]any {
	extra := map[string]any{}
	for name, value := range c.Extra {
		extra[name] = value
	}
	extra["stream"] = true
	return extra
}

// optional returns a field of a request that is sent only if value is not nil.
func optional[T comparable](value *T) param.Opt[T] {
	if value == nil {
		return param.Opt[T]{}
	}
	return param.NewOpt(*value)
}

// lowest returns the lower of the provider's limit and the request's, in tokens; 0 is no limit.
func lowest(limit int64, req assistant.Request) int64 {
	if asked := int64(req.MaxTokens); asked > 0 && (limit == 0 || asked < limit) {
		return asked
	}
	return limit
}

// send asks the service, with retries. It returns the response with the answer, whose body the caller closes.
func (p *Provider) send(ctx context.Context, req assistant.Request) (*http.Response, error) {
	path, params := p.api.request(req)
	var res *http.Response
	err := p.post(ctx, path, params, &res)
	if res == nil {
		if failure, ok := errors.AsType[*url.Error](err); ok {
			err = failure.Err // without the address, which the operator knows
		}
		return nil, fmt.Errorf("send question: %w", err)
	}
	if err == nil && res.StatusCode < http.StatusMultipleChoices {
		return res, nil
	}
	// The SDK has already read an error's body, but its own error contains less.
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	return nil, newRefusal(res, body)
}

// askAgain lets net/http repeat a request at once on a new connection when the one that it was sent on had served
// others and ended without a byte of a response. Such a request is no retry of max_retries: some servers close a connection
// after an answer without saying so, as llama.cpp does after every stream. The key without a value marks the request as
// one that may be repeated, and is not sent.
func askAgain(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	const mark = "Idempotency-Key"
	if req.Header.Get(mark) == "" {
		req.Header[mark] = []string{}
	}
	return next(req)
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

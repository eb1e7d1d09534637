package openai

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"

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
)

// newTransport makes the connections of one provider. They take no part in the environment's proxies.
func newTransport() *http.Transport {
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
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

// newCompletions makes the SDK's part. Its constructor of services, unlike that of its client, reads no
// environment variables: only the configuration counts.
func newCompletions(c Config, transport http.RoundTripper) sdk.ChatCompletionService {
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
	return sdk.NewChatCompletionService(options...)
}

// newParams makes what all requests have in common.
func newParams(c Config) sdk.ChatCompletionNewParams {
	params := sdk.ChatCompletionNewParams{
		Model:           c.model(),
		ReasoningEffort: shared.ReasoningEffort(c.ReasoningEffort),
		Stop:            sdk.ChatCompletionNewParamsStopUnion{OfStringArray: c.Stop},
		StreamOptions:   sdk.ChatCompletionStreamOptionsParam{IncludeUsage: sdk.Bool(true)},
	}
	switch {
	case c.Temperature != nil:
		params.Temperature = sdk.Float(*c.Temperature)
	case c.ReasoningEffort == "" && !c.reasons():
		params.Temperature = sdk.Float(defaultTemperature)
	}
	switch {
	case c.MaxTokens == 0:
	case c.isOpenAI() || c.reasons():
		params.MaxCompletionTokens = sdk.Int(c.MaxTokens)
	default: // what every compatible server knows
		params.MaxTokens = sdk.Int(c.MaxTokens)
	}
	if c.TopP != nil {
		params.TopP = sdk.Float(*c.TopP)
	}
	if c.Seed != nil {
		params.Seed = sdk.Int(*c.Seed)
	}
	extra := map[string]any{}
	for name, value := range maps.All(c.Extra) {
		extra[name] = value
	}
	extra["stream"] = true
	params.SetExtraFields(extra)
	return params
}

func messages(req assistant.Request) []sdk.ChatCompletionMessageParamUnion {
	list := make([]sdk.ChatCompletionMessageParamUnion, 0, len(req.Turns)+1)
	if req.Instructions != "" {
		list = append(list, sdk.SystemMessage(req.Instructions))
	}
	for _, turn := range req.Turns {
		if turn.Role == assistant.RoleAssistant {
			list = append(list, sdk.AssistantMessage(turn.Content))
		} else {
			list = append(list, sdk.UserMessage(turn.Content))
		}
	}
	return list
}

// send asks the service, and again where that may help. It returns the stream of the answer, which the
// caller closes.
func (p *Provider) send(ctx context.Context, req assistant.Request) (io.ReadCloser, error) {
	params := p.params
	params.Messages = messages(req)
	var res *http.Response
	_, err := p.completions.New(ctx, params, option.WithResponseBodyInto(&res))
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

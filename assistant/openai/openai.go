// Package openai is the provider for OpenAI and for every server that speaks its chat completions or its
// Responses API: Ollama, llama.cpp, vLLM, LiteLLM and others.
//
// OpenAI's SDK builds, signs, sends and retries the requests. This package reads the stream of an answer
// itself. Decoding a chunk costs a tenth of what the SDK's type costs, and an answer is complete only with a
// finish reason or the end marker; the SDK takes any end of the stream for success.
//
// Where a server separates a model's reasoning from its answer, so do the deltas. Some models write both into
// one text, with the reasoning between <think> tags. Separating those is up to the server, which knows the
// model: vLLM has --reasoning-parser, llama.cpp --reasoning-format, Ollama does it by itself.
package openai

import (
	"cmp"
	"context"
	"iter"
	"net/http"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Provider is one model of one service. It is safe for concurrent use.
type Provider struct {
	source    assistant.Source
	key       string // to keep it out of errors
	limits    limits
	api       api
	post      postFunc
	transport *http.Transport
}

// New returns a provider. It opens no connection and reads no environment variable: fields that c leaves out
// have their documented defaults. The error names every setting that is wrong.
func New(c Config) (*Provider, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	transport := newTransport()
	return &Provider{
		source:    assistant.Source{Provider: cmp.Or(c.Label, "openai"), Model: c.model()},
		key:       c.APIKey,
		limits:    limits{first: c.timeout(), stall: c.stallTimeout(), total: c.maxDuration()},
		api:       newAPI(c),
		post:      newPost(c, transport),
		transport: transport,
	}, nil
}

// Source returns the label, or openai, and the model's name at the service.
func (p *Provider) Source() assistant.Source { return p.source }

// Close closes the idle connections. Answers under way go on, and their connections close when they end.
func (p *Provider) Close() error {
	p.transport.CloseIdleConnections()
	return nil
}

// Stream asks the service. Unless it fails, the last value is a Delta with the finish reason and, if the
// service reports it, the usage.
func (p *Provider) Stream(ctx context.Context, req assistant.Request) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		err := p.answer(ctx, req, yield)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			yield(assistant.Delta{}, context.Cause(ctx))
		default:
			yield(assistant.Delta{}, p.providerError(err))
		}
	}
}

// answer returns nil when the answer is complete, and when yield returned false.
func (p *Provider) answer(ctx context.Context, req assistant.Request, yield func(assistant.Delta, error) bool) error {
	w := newWatch(ctx, p.limits)
	defer w.stop()
	body, err := p.send(w.ctx, req)
	if err != nil {
		return w.explain(err)
	}
	defer func() { _ = body.Close() }()
	for delta, err := range deltas(w.reader(body), p.api.translator(), w.enter) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return w.explain(err)
		case !yield(delta, nil):
			return nil
		}
	}
	return nil
}

var _ assistant.Provider = (*Provider)(nil)

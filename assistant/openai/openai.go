// Package openai is the provider for OpenAI and for every server that speaks its chat completions or its
// Responses API: Ollama, llama.cpp, vLLM, LiteLLM and others.
//
// OpenAI's SDK builds, signs, sends and retries the requests. The packages answer and sse read the stream of an
// answer. Decoding a chunk costs a fraction of what the SDK's type costs, and an answer is complete only with text
// and a finish reason or the end marker; the SDK takes any end of the stream for success, and any type but the
// expected one for the end.
//
// Where a server separates a model's reasoning from its answer, so do the deltas. Some models write both into
// one text, with the reasoning between <think> tags. The server knows the model and can separate them best: vLLM has
// --reasoning-parser, llama.cpp --reasoning-format, Ollama does it by itself. Where it does not, think_tags does.
package openai

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/answer"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/sse"
)

// Provider is one model of one service. It is safe for concurrent use.
type Provider struct {
	source    assistant.Source
	secrets   secrets // to keep them out of errors
	log       *zap.Logger
	limits    limits
	api       api
	post      postFunc
	transport *http.Transport
	accepts   accepted
}

// New returns a provider. It opens no connection and reads no environment variable, and no file but those of tls: fields that c leaves out
// have their documented defaults. The error names every setting that is wrong.
func New(c Config) (*Provider, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	transport, err := newTransport(c)
	if err != nil {
		return nil, err
	}
	return &Provider{
		source:    assistant.Source{Provider: cmp.Or(c.Label, "openai"), Model: c.model()},
		secrets:   newSecrets(c),
		log:       cmp.Or(c.Logger, zap.NewNop()),
		limits:    limits{first: c.timeout(), stall: c.stallTimeout(), total: c.maxDuration()},
		api:       newAPI(c),
		post:      newPost(c, transport),
		transport: transport,
		accepts:   c.accepted(),
	}, nil
}

// Source returns the label, or openai, and the model's name at the service.
func (p *Provider) Source() assistant.Source { return p.source }

// Accepts reports whether the model takes what a question has, by the configuration.
func (p *Provider) Accepts(question assistant.Parts) bool { return p.accepts.all(question) }

// Close closes the idle connections. Answers under way go on, and their connections close when they end.
func (p *Provider) Close() error {
	p.transport.CloseIdleConnections()
	return nil
}

// Stream asks the service. Unless it fails, the last value is a Delta with the finish reason and, if the
// service reports it, the usage.
func (p *Provider) Stream(ctx context.Context, req assistant.Request) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		err := p.answer(ctx, p.own(req), yield)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			yield(assistant.Delta{}, context.Cause(ctx))
		default:
			yield(assistant.Delta{}, p.providerError(err))
		}
	}
}

// own returns the request without what only others can read.
func (p *Provider) own(req assistant.Request) assistant.Request {
	last := len(req.Turns) - 1
	if last < 0 || req.Turns[last].Hidden == nil {
		return req
	}
	req.Turns = slices.Clone(req.Turns)
	turn := &req.Turns[last]
	turn.Hidden = slices.DeleteFunc(slices.Clone(turn.Hidden), func(h assistant.Hidden) bool { return h.From != p.source })
	return req
}

// answer returns nil when the answer is complete, and when yield returned false.
func (p *Provider) answer(ctx context.Context, req assistant.Request, yield func(assistant.Delta, error) bool) error {
	w := newWatch(ctx, p.limits)
	defer w.stop()
	res, err := p.send(w.ctx, req)
	if err != nil {
		return w.explain(err)
	}
	defer func() { _ = res.Body.Close() }()
	t := p.api.translator(len(req.Tools) > 0)
	for delta, err := range answer.Read(w.reader(res.Body), t, w.enter) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return w.explain(ofResponse(res, err))
		case !yield(delta, nil):
			return nil
		}
	}
	if reason := t.Unknown(); reason != "" {
		p.log.Warn("unknown finish reason, taken for stop", zap.Inline(p.source), zap.String("finish_reason", p.secrets.shorten(reason, maxReasonText)))
	}
	return nil
}

// ofResponse adds to an error what its response said it was, where that was no event stream.
func ofResponse(res *http.Response, err error) error {
	if page, ok := errors.AsType[*sse.NoStreamError](err); ok {
		return fmt.Errorf("%s instead of text/event-stream: %q", cmp.Or(res.Header.Get("Content-Type"), "something"), page.Start)
	}
	return err
}

var _ assistant.Accepter = (*Provider)(nil)

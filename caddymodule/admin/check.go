package admin

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
)

// Check is what a handler's models and store do when they are tried.
type Check struct {
	Store     endpoint.Status  `json:"store"`
	Draining  bool             `json:"draining"`
	Providers []ProviderCheck  `json:"providers"`
	Limits    map[string]int64 `json:"limits"` // as in the AsyncAPI document
}

// ProviderCheck is a model that was asked a short question.
type ProviderCheck struct {
	assistant.Source
	FirstPiece time.Duration    `json:"first_piece_ns"` // after which it began to answer
	Reason     assistant.Reason `json:"reason,omitempty"`
	Error      string           `json:"error,omitempty"` // empty = it answers
}

// checkTimeout bounds the question to each model.
const checkTimeout = time.Minute

// checkHandler asks every model a short question, which may cost a few tokens, and the store whether it answers. What
// comes of it does not count for the models' circuits.
func checkHandler(op operation) error {
	check := Check{Store: op.StoreStatus(op.r.Context()), Draining: op.hub.Draining(), Limits: op.Channel().Limits}
	providers := op.Chain().Providers()
	check.Providers = make([]ProviderCheck, len(providers))
	var wg sync.WaitGroup
	for i, p := range providers {
		wg.Go(func() { check.Providers[i] = tryModel(op.r.Context(), p) })
	}
	wg.Wait()
	return answer(op.w, check)
}

func tryModel(ctx context.Context, p assistant.Provider) ProviderCheck {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	check, began := ProviderCheck{Source: p.Source()}, time.Now()
	var err error
	func() {
		defer assistant.Catch(&err)
		for delta, fault := range p.Stream(ctx, assistant.Request{Turns: []assistant.Turn{{Role: assistant.RoleUser, Content: "Reply with the word ok."}}}) {
			if err = fault; err != nil || delta.Text != "" || delta.Reasoning != "" || delta.FinishReason != "" {
				return
			}
		}
	}()
	check.FirstPiece = time.Since(began)
	if err != nil {
		check.Error, check.Reason = err.Error(), assistant.ReasonInternal
		if reason, ok := assistant.ProviderFault(err); ok {
			check.Reason = reason
		}
	}
	return check
}

package assistant

import (
	"context"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// request is one frame on its way to its handler. Handlers reach conversations only through it, so
// what admit has not allowed cannot be touched.
type request struct {
	*Session
	envelope     wire.Envelope
	conversation *conversation
}

// admit finds the conversation that a request is about, and refuses what its user may not touch.
func (r *request) admit(_ context.Context, e wire.Envelope, _ any) error {
	if e.Topic != "" {
		return refusal{ReasonUnknownTopic}
	}
	r.envelope, r.conversation = e, r.own.conversation
	return nil
}

func (r *request) onPing(context.Context, wire.Null) error {
	return r.reply(r.envelope, msgPong.With(wire.Null{}))
}

func (r *request) onAssistantMessage(_ context.Context, content string) error {
	a := r.assistant
	t := newTurn(a, r.peer.Instructions, content)
	r.setRef(t.id, r.envelope.Ref)
	if !r.conversation.ask(t, a.maxPending) {
		r.ref(t.id, true)
		return refusal{ReasonBusy}
	}
	return nil
}

func (r *request) onStopStreaming(_ context.Context, p *StopStreamingPayload) error {
	var messageID string
	if p != nil {
		messageID = p.MessageID
	}
	r.conversation.stop(messageID, func(t *turn) { r.setRef(t.id, r.envelope.Ref) })
	return nil
}

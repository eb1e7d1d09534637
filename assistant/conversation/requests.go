package conversation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// The kinds of requests.
const (
	requestAsk      = "ask"
	requestStop     = "stop"
	requestRename   = "rename"
	requestDecide   = "decide"   // about calls of tools
	requestRefused  = "refused"  // a question that had been accepted
	requestAnswered = "answered" // or it was answered before
	requestPresence = "presence" // the conversation is open on that node
	requestAbsence  = "absence"  // and not any more
	requestOperate  = "operate"  // what an operator wants of every node
)

// request is what one node asks of another. Each may be carried out twice, and is then the same as once.
type request struct {
	Kind         string               `json:"kind"`
	Owner        string               `json:"owner,omitempty"`
	Conversation string               `json:"conversation,omitempty"`
	Run          string               `json:"run,omitempty"`
	From         assistant.RequestKey `json:"from,omitzero"`
	Title        string               `json:"title,omitempty"`
	Was          *string              `json:"was,omitempty"`
	Question     *question            `json:"question,omitempty"`
	Decision     *decision            `json:"decision,omitempty"`
	Failed       *assistant.Failed    `json:"failed,omitempty"`
	Operation    json.RawMessage      `json:"operation,omitempty"`
}

// The outcomes of requests.
const (
	outcomeAccepted = "accepted"
	outcomeJoined   = "joined" // the question is being answered, or was, as Run
	outcomeRefused  = "refused"
	outcomeNotHeld  = "not_held" // the node does not hold the conversation: nothing was done
	outcomeFailed   = "failed"   // something broke: nothing is known
)

// reply is what came of a request.
type reply struct {
	Outcome      string                  `json:"outcome"`
	Run          string                  `json:"run,omitempty"`
	Queued       bool                    `json:"queued,omitempty"`
	IsStale      bool                    `json:"is_stale,omitempty"`
	Failed       assistant.Failed        `json:"failed,omitzero"`
	Conversation *assistant.Conversation `json:"conversation,omitempty"`
	Operation    json.RawMessage         `json:"operation,omitempty"`
}

// refusal is the reply that carries an error.
func refusal(err error) reply {
	switch {
	case errors.Is(err, assistant.ErrStale):
		return reply{Outcome: outcomeRefused, IsStale: true}
	case assistant.IsRefusal(err):
		return reply{Outcome: outcomeRefused, Failed: assistant.Describe(err)}
	}
	return reply{Outcome: outcomeFailed}
}

// refusal is the error that a reply carries.
func (r reply) refusal() error {
	if r.IsStale {
		return assistant.ErrStale
	}
	return &assistant.RefusalError{Reason: r.Failed.Reason, RetryAfter: r.Failed.RetryAfter}
}

// call has another node carry out a request. It returns an error where that did not reply.
func (h *Hub) call(ctx context.Context, to assistant.NodeID, r request) (reply, error) {
	b := h.connection()
	if b == nil {
		return reply{}, assistant.ErrNoNode
	}
	data, err := json.Marshal(r)
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := b.Call(ctx, to, data)
	if err != nil {
		return reply{}, err
	}
	var got reply
	if err := json.Unmarshal(answer, &got); err != nil {
		return reply{}, fmt.Errorf("reply of node %d: %w", to, err)
	}
	if got.Outcome == outcomeFailed {
		return got, errors.New("the other node has failed")
	}
	return got, nil
}

// Serve implements [assistant.Member].
func (m member) Serve(ctx context.Context, from assistant.NodeID, data []byte) []byte {
	var r request
	answer := reply{Outcome: outcomeFailed}
	if err := json.Unmarshal(data, &r); err == nil {
		answer = m.serve(ctx, from, r)
	}
	reply, _ := json.Marshal(answer) // plain values
	return reply
}

func (h *Hub) serve(ctx context.Context, from assistant.NodeID, r request) reply {
	if r.Kind == requestOperate {
		return h.operateHere(ctx, r.Operation)
	}
	c := h.used(r.Conversation)
	if c == nil || c.owner != r.Owner {
		return reply{Outcome: outcomeNotHeld}
	}
	c.open()
	defer c.Close()
	switch r.Kind {
	case requestAsk:
		if r.Question != nil {
			c.present(from)
			return c.serveAsk(from, r.Question)
		}
	case requestStop:
		if _, err := c.stopHere(assistant.Stop{Run: r.Run, From: r.From}); err != nil {
			return reply{Outcome: outcomeNotHeld}
		}
		return reply{Outcome: outcomeAccepted}
	case requestDecide:
		if r.Decision != nil {
			c.present(from)
			return c.serveDecision(ctx, *r.Decision)
		}
	case requestRename:
		if !c.holds() {
			return reply{Outcome: outcomeNotHeld}
		}
		info, err := c.rename(ctx, assistant.Rename{From: r.From, Title: r.Title}, r.Was)
		if err != nil {
			return refusal(err)
		}
		return reply{Outcome: outcomeAccepted, Conversation: &info}
	case requestRefused:
		if r.Failed != nil {
			outcome := error(&assistant.RefusalError{Reason: r.Failed.Reason, RetryAfter: r.Failed.RetryAfter})
			if r.Failed.Reason == assistant.ReasonDraining {
				outcome = errMoved
			}
			c.decided(r.Run, outcome)
		}
		return reply{Outcome: outcomeAccepted}
	case requestAnswered:
		c.decided(r.Run, assistant.ErrDuplicate)
		return reply{Outcome: outcomeAccepted}
	case requestPresence:
		c.present(from)
		return reply{Outcome: outcomeAccepted}
	case requestAbsence:
		c.absent(from)
		return reply{Outcome: outcomeAccepted}
	}
	return reply{Outcome: outcomeFailed}
}

package session

import (
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// frameOf is an event with everything that extended clients may see.
func frameOf(e assistant.Event) wire.Frame {
	switch body := e.Body.(type) {
	case assistant.Asked:
		return msgUserMessage.With(userMessagePayload(body.Message))
	case assistant.Started:
		return msgStreamingStart.With(StreamingStartPayload{MessageID: e.Run, Model: body.Source.Model, Resumed: body.Resumed})
	case assistant.ToolCall:
		return msgToolCall.With(toolCallPayload(e.Run, body))
	case assistant.ToolArgs:
		return msgToolCallArgs.With(ToolCallArgsPayload{e.Run, body.CallID, body.Piece})
	case assistant.ToolResult:
		r := body.Result
		return msgToolResult.With(ToolResultPayload{e.Run, r.CallID, r.Content, r.Structured, r.IsError, r.Truncated, body.Duration.Milliseconds()})
	case assistant.Added:
		return msgPart.With(PartPayload{e.Run, body.Part})
	case assistant.Source:
		return msgNotice.With(fallbackNotice(body))
	case assistant.Notice:
		return msgNotice.With(notice(body.Reason))
	case assistant.Failed:
		return msgError.With(errorPayload(body))
	case assistant.Completed:
		return msgCompleteStreaming.With(CompleteStreamingPayload{MessageID: e.Run, FinishReason: body.FinishReason, Usage: body.Usage})
	case assistant.Renamed:
		return msgConversationUpdated.With(body.Conversation)
	case assistant.Replaced:
		return msgSnapshot.With(snapshotPayload(body.Snapshot))
	case assistant.Deleted:
		return msgConversationDeleted.With(ConversationDeletedPayload{body.ID})
	default:
		if e.Kind == assistant.KindReasoning {
			return msgReasoning.WithContent(e.Text)
		}
		return msgStreaming.WithContent(e.Text)
	}
}

// plainFrame is an event as the tutorial's clients know it; ok is false where they know none.
func plainFrame(e assistant.Event) (f wire.Frame, ok bool) {
	switch e.Kind {
	case assistant.KindStarted:
		return msgStreamingStart.With(StreamingStartPayload{}), true
	case assistant.KindCompleted:
		return msgCompleteStreaming.With(CompleteStreamingPayload{}), true
	case assistant.KindPiece, assistant.KindFailed:
		return frameOf(e), true
	default:
		return f, false
	}
}

func userMessagePayload(m assistant.Message) UserMessagePayload {
	return UserMessagePayload{MessageID: m.ID, ClientID: m.ClientID, Content: m.Content, Parts: m.Parts, CreatedAt: m.CreatedAt}
}

func snapshotPayload(s assistant.Snapshot) SnapshotPayload {
	p := SnapshotPayload{Conversation: s.Conversation, Messages: s.Messages, HasMore: s.HasMore}
	if r := s.Running; r != nil {
		p.Streaming = &StreamingAnswer{r.ID, r.Content, r.Reasoning, r.Parts}
	}
	return p
}

func toolCallPayload(run string, b assistant.ToolCall) ToolCallPayload {
	c := b.Call
	p := ToolCallPayload{MessageID: run, CallID: c.CallID, Name: c.Name, Title: c.Title, Where: c.Where, State: c.State, WaitingFor: c.WaitingFor,
		Arguments: c.Arguments, Inputs: c.Inputs, Progress: c.Progress, Edited: c.Edited, Remember: c.Remember}
	switch c.State {
	case assistant.CallPreparing:
		p.Arguments = nil
	case assistant.CallWaiting:
		if c.WaitingFor == assistant.WaitingForApproval {
			p.Approval = &Approval{Editable: true, MayRemember: c.MayRemember, ExpiresAt: c.ExpiresAt}
		}
	}
	return p
}

// merge joins adjacent pieces of one answer; the joined one has the number of its last.
func merge(events []assistant.Event) []assistant.Event {
	merged := events[:0]
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Continues(events[0]) && events[n].Seq != 0 && events[0].Seq != 0 {
			n++
		}
		merged = append(merged, join(events[:n])...)
		events = events[n:]
	}
	return merged
}

// join makes as few events of the same kind as maxMerged allows.
func join(run []assistant.Event) []assistant.Event {
	if len(run) == 1 {
		return run
	}
	var joined []assistant.Event
	var text strings.Builder
	for i, e := range run {
		text.WriteString(e.Text)
		if text.Len() >= maxMerged || i == len(run)-1 {
			if text.Len() > len(e.Text) {
				e.Text = text.String()
			}
			joined = append(joined, e)
			text.Reset()
		}
	}
	return joined
}

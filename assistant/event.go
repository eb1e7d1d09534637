package assistant

import (
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// event is one entry of a conversation's log.
type event struct {
	kind eventKind
	turn *turn // whose answer it belongs to
	text string
	// detail is an ErrorPayload with eventFailed, a *CompleteStreamingPayload with eventCompleted and a
	// NoticePayload with eventNotice.
	detail any
}

type eventKind uint8

const (
	eventNotice eventKind = iota
	eventStarted
	eventReasoning
	eventPiece
	eventFailed
	eventCompleted
)

// eventBytes is what an event costs in memory besides its text, roughly.
const eventBytes = 64

func (e event) size() int { return eventBytes + len(e.text) }

// frame is the event as the tutorial's clients know it, or with everything that extended clients may
// see; ok is false where plain clients see nothing.
func (e event) frame(extended bool) (f wire.Frame, ok bool) {
	switch e.kind {
	case eventPiece:
		return msgStreaming.With(StreamingPayload{e.text}), true
	case eventReasoning:
		return msgReasoning.With(StreamingPayload{e.text}), extended
	case eventNotice:
		return msgNotice.With(e.detail.(NoticePayload)), extended
	case eventFailed:
		return msgError.With(e.detail.(ErrorPayload)), true
	case eventStarted:
		if !extended {
			return msgStreamingStart.With(StreamingStartPayload{}), true
		}
		return msgStreamingStart.With(StreamingStartPayload{MessageID: e.turn.id, Model: e.turn.model}), true
	default:
		if !extended {
			return msgCompleteStreaming.With(CompleteStreamingPayload{}), true
		}
		return msgCompleteStreaming.With(*e.detail.(*CompleteStreamingPayload)), true
	}
}

// joins tells whether e continues the text of previous, so that one frame can carry both.
func (e event) joins(previous event) bool {
	return e.kind == previous.kind && e.turn == previous.turn && (e.kind == eventPiece || e.kind == eventReasoning)
}

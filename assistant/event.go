package assistant

import (
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// event is one entry of a conversation's log.
type event struct {
	kind   eventKind
	turn   *turn // whose question or answer it belongs to; nil for the conversation itself
	text   string
	detail any      // what the kind says below
	by     *request // whom it answers, besides the asker of turn; nil = nobody
}

type eventKind uint8

const (
	eventUserMessage eventKind = iota // UserMessagePayload
	eventStarted                      // StreamingStartPayload
	eventFallback                     // Source: who answers from now on
	eventReasoning                    // text
	eventPiece                        // text
	eventNotice                       // NoticePayload
	eventFailed                       // ErrorPayload
	eventCompleted                    // CompleteStreamingPayload
	eventUpdated                      // Conversation
	eventSnapshot                     // SnapshotPayload: what came before does not hold any more
	eventDeleted                      // ConversationDeletedPayload
)

// eventBytes is what an event costs in memory besides its text, roughly.
const eventBytes = 64

func (e event) size() int {
	size := eventBytes + len(e.text)
	switch d := e.detail.(type) {
	case UserMessagePayload:
		size += len(d.Content)
	case SnapshotPayload:
		for _, m := range d.Messages {
			size += eventBytes + len(m.Content)
		}
	}
	return size
}

// frame is the event with everything that extended clients may see.
func (e event) frame() wire.Frame {
	switch e.kind {
	case eventUserMessage:
		return msgUserMessage.With(e.detail.(UserMessagePayload))
	case eventStarted:
		return msgStreamingStart.With(e.detail.(StreamingStartPayload))
	case eventFallback:
		return msgNotice.With(fallbackNotice(e.detail.(Source)))
	case eventReasoning:
		return msgReasoning.With(StreamingPayload{e.text})
	case eventPiece:
		return msgStreaming.With(StreamingPayload{e.text})
	case eventNotice:
		return msgNotice.With(e.detail.(NoticePayload))
	case eventFailed:
		return msgError.With(e.detail.(ErrorPayload))
	case eventCompleted:
		return msgCompleteStreaming.With(e.detail.(CompleteStreamingPayload))
	case eventUpdated:
		return msgConversationUpdated.With(e.detail.(Conversation))
	case eventSnapshot:
		return msgSnapshot.With(e.detail.(SnapshotPayload))
	default:
		return msgConversationDeleted.With(e.detail.(ConversationDeletedPayload))
	}
}

// plainFrame is the event as the tutorial's clients know it; ok is false where they know none.
func (e event) plainFrame() (f wire.Frame, ok bool) {
	switch e.kind {
	case eventStarted:
		return msgStreamingStart.With(StreamingStartPayload{}), true
	case eventCompleted:
		return msgCompleteStreaming.With(CompleteStreamingPayload{}), true
	case eventPiece, eventFailed:
		return e.frame(), true
	default:
		return f, false
	}
}

// joins tells whether e continues the text of previous, so that one frame can carry both.
func (e event) joins(previous event) bool {
	return e.kind == previous.kind && e.turn == previous.turn && (e.kind == eventPiece || e.kind == eventReasoning)
}

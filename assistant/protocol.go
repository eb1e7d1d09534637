package assistant

import (
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// What the server may send.
var (
	msgPong           = wire.Sends("pong", "Simple pong message response to ping requests.", wire.Null{})
	msgStreamingStart = wire.Sends("streaming_start", "Signal that streaming is starting.",
		StreamingStartPayload{MessageID: exampleID, Model: "gpt-4o"})
	msgReasoning         = wire.Sends("reasoning", "A piece of the model's reasoning. Extended frames only.", StreamingPayload{"The user asks for"})
	msgStreaming         = wire.Sends("streaming", "Streaming message chunk from assistant.", StreamingPayload{"Python is"})
	msgCompleteStreaming = wire.Sends("complete_streaming", "Signal that streaming is complete. Sent exactly once for each streaming_start, also after an error or a stop.",
		CompleteStreamingPayload{MessageID: exampleID, FinishReason: FinishStop, Usage: &Usage{12, 140, 152, false}})
	msgNotice = wire.Sends("notice", "Something that is worth knowing and needs no reaction. Extended frames only.",
		NoticePayload{NoticeQueued, "The question waits for an earlier one."})
	msgError   = wire.Sends("error", "A request or an answer failed. The connection stays open.", errorPayload(ReasonBusy, 0))
	msgInvalid = wire.Sends("error", "", []wire.Item{{Type: "missing", Loc: []string{"assistant_message", "payload"}, Msg: "Field required"}})
)

const exampleID = "5f9c1f0a-7f0e-4f0b-9d37-0f6f6c1b7a52"

// newProtocol is the table: what a client may send, who handles it, and what may answer.
func newProtocol() *wire.Protocol[*request] {
	return wire.New((*request).admit,
		wire.On("ping", (*request).onPing).
			Doc("Handle ping requests", "Simple ping-pong for connectivity testing").
			Takes("Simple ping message to check WebSocket connection status.", nil).
			Tags("connection").
			Answers(msgPong, msgError, msgInvalid),
		wire.On("assistant_message", (*request).onAssistantMessage).
			Doc("Handle user message", "Process user message and generate AI response").
			Takes("User message to the assistant.", "What is Python?").
			Tags("chat").
			Answers(msgNotice, msgStreamingStart, msgReasoning, msgStreaming, msgCompleteStreaming, msgError, msgInvalid),
		wire.On("stop_streaming", (*request).onStopStreaming).
			Doc("Handle stop requests", "Stop the running answer at once. Its partial text stays, and complete_streaming ends it with finish_reason stopped.").
			Takes("Request to stop the running answer.", &StopStreamingPayload{MessageID: exampleID}).
			Tags("chat").
			Answers(msgCompleteStreaming, msgError, msgInvalid),
	)
}

// Protocol describes everything that clients and server may send each other.
func Protocol() wire.Description { return newProtocol().Describe() }

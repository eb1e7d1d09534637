package assistant

import (
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// StreamingPayload is the payload of streaming and reasoning.
type StreamingPayload struct {
	Content string `json:"content" doc:"The next piece of text."`
}

// AppendJSON appends the payload without reflection: there is one for each piece of each answer.
func (p StreamingPayload) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"content":`...)
	return append(wire.AppendString(dst, p.Content), '}')
}

// StreamingStartPayload is the payload of streaming_start.
type StreamingStartPayload struct {
	Content   string `json:"content" doc:"Always empty."`
	MessageID string `json:"message_id,omitempty" format:"uuid" doc:"The answer's id. Extended frames only."`
	Model     string `json:"model,omitempty" doc:"The model that answers. Extended frames only."`
}

// CompleteStreamingPayload is the payload of complete_streaming.
type CompleteStreamingPayload struct {
	Content      string       `json:"content" doc:"Always empty."`
	MessageID    string       `json:"message_id,omitempty" format:"uuid" doc:"The answer's id. Extended frames only."`
	FinishReason FinishReason `json:"finish_reason,omitempty"`
	Usage        *Usage       `json:"usage,omitempty"`
}

// StopStreamingPayload is the payload of stop_streaming.
type StopStreamingPayload struct {
	MessageID string `json:"message_id,omitempty" maxLength:"64" doc:"The answer to stop; absent = the one that is running. An answer that is not running is left alone."`
}

// NoticePayload is the payload of notice.
type NoticePayload struct {
	Reason NoticeReason `json:"reason"`
	Detail string       `json:"detail" doc:"A sentence for people."`
}

// NoticeReason is the stable code of a notice.
type NoticeReason string

// The reasons of notices.
const (
	NoticeQueued NoticeReason = "queued" // the question waits for an earlier one
)

// ErrorPayload is the payload of error, where the frame itself was well formed.
type ErrorPayload struct {
	Detail       string `json:"detail" doc:"A sentence for people."`
	Reason       Reason `json:"reason"`
	Retryable    bool   `json:"retryable" doc:"True when the same request may succeed later."`
	RetryAfterMS int64  `json:"retry_after_ms,omitzero" minimum:"0" doc:"When to try again, in milliseconds."`
}

// Values lists the finish reasons for documents.
func (FinishReason) Values() []string {
	return texts(FinishStop, FinishLength, FinishContentFilter, FinishStopped, FinishError)
}

// Values lists the reasons of notices for documents.
func (NoticeReason) Values() []string { return texts(NoticeQueued) }

// Values lists the reasons of errors for documents.
func (Reason) Values() []string {
	values := make([]string, len(reasons))
	for i, r := range reasons {
		values[i] = string(r.reason)
	}
	return values
}

func texts[T ~string](values ...T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

func errorPayload(reason Reason, retryAfter time.Duration) ErrorPayload {
	for _, r := range reasons {
		if r.reason == reason {
			return ErrorPayload{r.detail, reason, r.retryable, retryAfter.Milliseconds()}
		}
	}
	return errorPayload(ReasonInternal, 0)
}

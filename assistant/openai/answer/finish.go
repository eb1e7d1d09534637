package answer

import (
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// ending is what a finish reason means.
type ending int

const (
	endNone    ending = iota // it has not ended
	endUnknown               // it has, for a reason that nobody knows
	endStop
	endLength
	endFilter
	endFailure // cut, not complete
	endTools   // the model asks for a tool
)

func (e ending) finishReason() assistant.FinishReason {
	switch e {
	case endLength:
		return assistant.FinishLength
	case endFilter:
		return assistant.FinishContentFilter
	default:
		return assistant.FinishStop
	}
}

// endings are the finish reasons that are known by their whole name.
var endings = map[string]ending{
	"": endNone, "null": endNone, "none": endNone, "nil": endNone, "undefined": endNone, "unspecified": endNone,
	"in_progress": endNone, "not_finished": endNone, "continue": endNone,
	"stop": endStop, "stop_sequence": endStop, "stop_token": endStop, "end": endStop, "end_turn": endStop, "end_of_turn": endStop,
	"eos": endStop, "eos_token": endStop, "eot": endStop, "complete": endStop, "completed": endStop, "done": endStop,
	"finish": endStop, "finished": endStop, "normal": endStop, "success": endStop,
	"refusal": endFilter, "recitation": endFilter, "blocklist": endFilter, "spii": endFilter, "language": endFilter,
	"limit": endLength, // with more before or behind, it may be that of a rate
	"other": endUnknown,
}

// families are the words by which other finish reasons are known, in this order: the services' names for the same
// thing differ, and they pass on those of the models behind them.
var families = []struct {
	ending ending
	words  []string
}{
	{endFilter, []string{"filter", "safety", "sensitive", "moderat", "prohibited", "guardrail", "policy", "blocked", "recitation", "flagged", "inspection"}},
	{endTools, []string{"tool", "function"}},
	{endLength, []string{"length", "max_tokens", "max_output", "max_new", "max_completion", "context_window", "token_limit", "output_limit", "truncated"}},
	{endFailure, []string{"error", "fail", "abort", "cancel", "timeout", "timed_out", "interrupt", "overload", "exhaust", "insufficient", "unavailable", "rate_limit", "exception"}},
}

var separators = strings.NewReplacer("-", "_", " ", "_")

// endingOf returns what a finish reason means, however it is written: MAX_TOKENS, FinishReason.SAFETY,
// "content_filter: RECITATION".
func endingOf(reason string) ending {
	if reason == "" {
		return endNone
	}
	name := separators.Replace(strings.ToLower(strings.TrimSpace(reason)))
	name = strings.TrimPrefix(strings.TrimPrefix(name, "finishreason."), "finish_reason_")
	if e, ok := endings[name]; ok {
		return e
	}
	for _, family := range families {
		for _, word := range family.words {
			if strings.Contains(name, word) {
				return family.ending
			}
		}
	}
	return endUnknown
}

package openai

import (
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/answer"
)

// TestReasons sorts errors as services and gateways write them.
func TestReasons(t *testing.T) {
	const (
		unavailable = assistant.ReasonProviderUnavailable
		timeout     = assistant.ReasonProviderTimeout
		limit       = assistant.ReasonProviderRateLimited
		rejected    = assistant.ReasonProviderRejected
		overflow    = assistant.ReasonContextOverflow
		filtered    = assistant.ReasonContentFiltered
	)
	message := func(status int, text string) answer.ServiceError {
		return answer.ServiceError{Status: status, Message: text}
	}
	general := func(status int, text string) answer.ServiceError {
		return answer.ServiceError{Status: status, Type: "invalid_request_error", Message: text}
	}
	for want, faults := range map[assistant.Reason][]answer.ServiceError{
		overflow: {
			message(400, "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."),
			general(400, "prompt is too long: 210000 tokens > 200000 maximum"),
			general(400, "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000"),
			message(400, "The input token count (40000) exceeds the maximum number of tokens allowed (32768)."),
			message(400, "Input is too long for requested model."),
			general(400, "Range of input length should be [1, 6000]"),
			general(400, "litellm.ContextWindowExceededError: ContextWindowExceededError: OpenAIException"),
			{Status: 400, Type: "ContextWindowExceededError"},
			{Status: 400, Code: "context_length_exceeded", Type: "invalid_request_error"},
			{Status: 400, Type: "exceed_context_size_error", Message: "the request exceeds the available context size"},
			message(400, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000"),
			message(400, "Invalid request: Your request exceeded model token limit: 8192"),
			message(400, "too many tokens: total number of tokens in the prompt cannot exceed 4081"),
			message(400, "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"),
			message(400, "This model's maximum prompt length is 131072 but the request contains 200000 tokens."),
			message(400, "Requested token count exceeds the model's maximum context length of 4096 tokens."),
			message(400, "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens"),
			message(400, "Total tokens of image and text exceed max message tokens."),
			{Code: "2013", Message: "invalid params, context window exceeds limit"},
			{Status: 400, Code: "1261"},
			{Status: 500, Message: "prompt too long; exceeded max context length by 10 tokens"},
			{Status: 413, Code: "rate_limit_exceeded", Message: "Request too large for model on tokens per minute (TPM)"},
			{Status: 413}, {Code: "40303", Message: "CONTEXT_OVERFLOW"}, {Code: "413"},
		},
		rejected: {
			general(400, "max_tokens is too large: 90000. This model supports at most 4096 completion tokens"),
			general(400, "Unsupported parameter: temperature"),
			{Status: 401, Message: "Invalid key for the context window service"},
			{Status: 401, Message: "The content management policy forbids this key"}, {Status: 403, Message: "Moderation is not allowed for this key"},
			{Status: 404, Type: "invalid_request_error"}, {Status: 402}, {Status: 409, Message: "x"}, {Status: 307},
			{Status: 429, Code: "insufficient_quota", Type: "insufficient_quota"},
			{Type: "invalid_request_error"}, {Type: "authentication_error"}, {Code: "model_not_found"}, {Code: "40101"},
			{Type: "PERMISSION_DENIED", Code: "403"},
		},
		filtered: {
			{Status: 400, Code: "content_filter"}, {Status: 400, Code: "data_inspection_failed"}, {Code: "invalid_prompt"},
			{Status: 400, Code: "ResponsibleAIPolicyViolation"}, {Status: 403, Code: "moderation_blocked"}, {Code: "1026"}, {Status: 400, Code: "1301"},
			general(400, "litellm.ContentPolicyViolationError: litellm.BadRequestError: AzureException - filtered"),
			{Status: 400, Code: "400", Type: "invalid_request_error", Message: "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."},
			general(400, "Your request was rejected as a result of our safety system."),
			{Status: 403, Code: "403", Message: `openai/gpt-4o requires moderation on OpenAI. Your input was flagged for "violence".`},
		},
		limit: {
			{Status: 429}, {Status: 429, Type: "invalid_request_error"}, {Code: "rate_limit_exceeded"}, {Code: "429"}, {Code: "1002", Message: "rate limit"},
			{Code: "Throttling.RateQuota"}, {Type: "RESOURCE_EXHAUSTED", Code: "429"}, {Code: "42901"}, {Status: 400, Type: "rate_limit_error"},
			{Code: "336501", Message: "Rate limit reached for RPM"}, {Message: "Too many requests"}, {Code: "REQUEST_LIMIT_EXCEEDED"},
			{Status: 429, Message: "Rate limit: tokens of the context window per minute"},
		},
		timeout: {
			{Status: 408}, general(408, "litellm.Timeout: Connection timed out"), {Status: 504}, {Status: 524}, {Type: "timeout_error"}, {Code: "DEADLINE_EXCEEDED"}, {Code: "1001"},
		},
		unavailable: {
			{Status: 500}, {Status: 503, Type: "invalid_request_error"}, {Status: 529, Type: "overloaded_error"}, {Type: "overloaded_error", Code: "529"},
			{Type: "server_error"}, {Code: "50001"}, {Message: "sun spots"}, {}, {Status: 500, Code: "rate_limit_exceeded_upstream"},
		},
	} {
		for _, f := range faults {
			if got := reasonOf(&f); got != want {
				t.Errorf("%v is %s, want %s", &f, got, want)
			}
		}
	}
}

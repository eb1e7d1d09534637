package openai

import (
	"net/http"
	"regexp"
	"slices"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/answer"
)

// codes are the codes and types of errors that say more than the status does.
var codes = map[string]assistant.Reason{
	"insufficient_quota": assistant.ReasonProviderRejected, // a 429, but waiting does not help
	"1001":               assistant.ReasonProviderTimeout,  // MiniMax, like the next
	"1002":               assistant.ReasonProviderRateLimited,
	"1039":               assistant.ReasonProviderRateLimited,
	"1026":               assistant.ReasonContentFiltered,
	"1027":               assistant.ReasonContentFiltered,
	"40303":              assistant.ReasonContextOverflow, // FastChat
	"1261":               assistant.ReasonContextOverflow, // Zhipu, like the next
	"1301":               assistant.ReasonContentFiltered,
	"1302":               assistant.ReasonProviderRateLimited,
	"1303":               assistant.ReasonProviderRateLimited,
	"1305":               assistant.ReasonProviderRateLimited,
}

// overflow matches what services say of a question that is too long, in the message, code or type of an error. Most
// give no code of its own to it, and many names of their own.
var overflow = regexp.MustCompile(`(?i)` +
	`(maximum|max\.?) (context|prompt|input) length` + // OpenAI, vLLM, Mistral, DeepSeek, Fireworks; xAI
	`|context[ _-]?(length|window|size|limit)` + // Anthropic, llama.cpp, LM Studio, MiniMax, Copilot, SGLang
	`|contextwindowexceeded` + // LiteLLM
	`|(prompt|input|messages?|conversation)( is| are)? too (long|large)` + // Anthropic, Bedrock, Ollama
	`|input token count .*exceeds|input tokens .*exceed|exceeds? the maximum (number of )?(input )?tokens` + // Gemini
	`|range of input length` + // DashScope
	`|input length .* exceeds the maximum` +
	`|model token limit|max(imum)? message tokens|max_prompt_tokens|tokens_limit_reached` + // Moonshot, Volcengine, GitHub
	`|too many (input |prompt )?tokens|tokens in the prompt cannot exceed` + // Cohere
	`|max_new_tokens.{0,4} must be <=` + // TGI, Together
	`|reduce the (length|size) of the (messages|prompt|input)|reduce your (message|prompt|input) size` + // OpenAI, Groq
	`|request_too_large|string_above_max_length|exceed_context_size`) // Anthropic, OpenAI, llama.cpp

// filtered matches what services say of a question that a content filter has refused. Gateways pass on the message, but
// give a general code to it.
var filtered = regexp.MustCompile(`(?i)` +
	`ContentPolicyViolation` + // LiteLLM
	`|content management policy` + // Azure
	`|rejected as a result of our safety system` + // OpenAI
	`|requires moderation on .*flagged`) // OpenRouter

// families are the words by which the other types and codes are known, in this order.
var families = []struct {
	reason assistant.Reason
	words  *regexp.Regexp
}{
	{assistant.ReasonContentFiltered, regexp.MustCompile(`(?i)content_?(filter|policy|moderation)|moderation|sensitive|data_?inspection|responsible_?ai|invalid_prompt|bio_policy|safety`)},
	{assistant.ReasonProviderRateLimited, regexp.MustCompile(`(?i)rate_?limit|too_?many_?requests|throttl|resource_?exhausted|request_limit_exceeded`)},
	{assistant.ReasonProviderTimeout, regexp.MustCompile(`(?i)time_?out|timed_?out|deadline_?exceeded`)},
	{assistant.ReasonProviderUnavailable, regexp.MustCompile(`(?i)overloaded|unavailable|internal|server_?error|api_?error`)},
	{assistant.ReasonProviderRejected, regexp.MustCompile(`(?i)invalid|bad_?request|authentication|permission|unauthorized|forbidden|not_?found|access_?denied|billing|quota|unsupported`)},
}

// rateWords match a message that speaks of a limit, where nothing else of the error does.
var rateWords = regexp.MustCompile(`(?i)\brate[- ]?limit|too many requests|requests? per (minute|second|day)|\b[RT]PM\b`)

// reasonOf maps an error of a service to the protocol's reasons. What says most comes first: the words for a question
// that is too long, codes for one thing, the words of content filters, the HTTP status, and last the general types such
// as invalid_request_error, which gateways give to everything.
func reasonOf(f *answer.ServiceError) assistant.Reason {
	status := f.ToldStatus()
	if status == http.StatusRequestEntityTooLarge || isOverflow(f, status) {
		return assistant.ReasonContextOverflow
	}
	for _, name := range []string{f.Code, f.Type} {
		if reason, ok := codes[name]; ok {
			return reason
		}
	}
	if isFiltered(f, status) {
		return assistant.ReasonContentFiltered
	}
	if family := familyOf(f); family == assistant.ReasonContentFiltered || family == assistant.ReasonProviderRateLimited && status < http.StatusInternalServerError {
		return family
	}
	if status >= 300 {
		return reasonOfStatus(status)
	}
	if family := familyOf(f); family != "" {
		return family
	}
	if rateWords.MatchString(f.Message) {
		return assistant.ReasonProviderRateLimited
	}
	return assistant.ReasonProviderUnavailable
}

// isOverflow reports whether the question is too long. What concerns the key, the address, the time or the number of
// questions may have the same words in it.
func isOverflow(f *answer.ServiceError, status int) bool {
	others := []int{http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests}
	return !slices.Contains(others, status) &&
		(overflow.MatchString(f.Message) || overflow.MatchString(f.Code) || overflow.MatchString(f.Type))
}

// isFiltered reports whether a content filter has refused the question. A status that says something else decides.
func isFiltered(f *answer.ServiceError, status int) bool {
	others := []int{http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests}
	return !slices.Contains(others, status) && filtered.MatchString(f.Message)
}

func familyOf(f *answer.ServiceError) assistant.Reason {
	for _, name := range []string{f.Code, f.Type} {
		for _, family := range families {
			if family.words.MatchString(name) {
				return family.reason
			}
		}
	}
	return ""
}

func reasonOfStatus(status int) assistant.Reason {
	const cloudflareTimeout, webServerTimeout = 522, 524
	switch status {
	case http.StatusTooManyRequests:
		return assistant.ReasonProviderRateLimited
	case http.StatusRequestTimeout, http.StatusGatewayTimeout, cloudflareTimeout, webServerTimeout:
		return assistant.ReasonProviderTimeout
	}
	if status < http.StatusInternalServerError {
		return assistant.ReasonProviderRejected
	}
	return assistant.ReasonProviderUnavailable
}

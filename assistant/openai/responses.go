package openai

import (
	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/answer"
)

// responsesAPI is OpenAI's newer API. The service stores nothing: each request contains the whole conversation.
type responsesAPI struct {
	params    responses.ResponseNewParams // all but instructions, input and the limit
	maxTokens int64                       // 0 = no limit
	thinkTags bool
}

// minOutputTokens is the lowest limit that OpenAI's service takes.
const minOutputTokens = 16

func newResponses(c Config) *responsesAPI {
	params := responses.ResponseNewParams{
		Model:       c.model(),
		Store:       sdk.Bool(false),
		Temperature: optional(c.temperature()),
		TopP:        optional(c.TopP),
		Reasoning: shared.ReasoningParam{
			Effort:  shared.ReasoningEffort(c.ReasoningEffort),
			Summary: shared.ReasoningSummary(c.ReasoningSummary),
		},
	}
	params.SetExtraFields(c.extraFields())
	return &responsesAPI{params, c.MaxTokens, c.ThinkTags}
}

func (a *responsesAPI) request(req assistant.Request) (path string, params any) {
	p := a.params
	if !assistant.IsBlank(req.Instructions) {
		p.Instructions = sdk.String(req.Instructions)
	}
	if limit := lowest(a.maxTokens, req); limit > 0 {
		p.MaxOutputTokens = sdk.Int(max(limit, minOutputTokens))
	}
	for _, turn := range turnsOf(req) {
		role := responses.EasyInputMessageRoleUser
		if turn.Role == assistant.RoleAssistant {
			role = responses.EasyInputMessageRoleAssistant
		}
		item := responses.ResponseInputItemParamOfMessage(turn.Content, role)
		item.OfMessage.Type = responses.EasyInputMessageTypeMessage // OpenAI can do without, llama.cpp cannot
		p.Input.OfInputItemList = append(p.Input.OfInputItemList, item)
	}
	return "responses", p
}

func (a *responsesAPI) translator() answer.Translator { return answer.Responses(a.thinkTags) }

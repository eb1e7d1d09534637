package openai

import (
	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/shared"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/answer"
)

// chat is the chat completions API, which every compatible server has.
type chat struct {
	params    sdk.ChatCompletionNewParams // all but the messages and the limit
	maxTokens int64                       // 0 = no limit
	isNewer   bool                        // the limit's name is max_completion_tokens
	thinkTags bool
	accepts   accepted
}

func newChat(c Config) *chat {
	params := sdk.ChatCompletionNewParams{
		Model:           c.model(),
		ReasoningEffort: shared.ReasoningEffort(c.ReasoningEffort),
		Stop:            sdk.ChatCompletionNewParamsStopUnion{OfStringArray: c.Stop},
		StreamOptions:   sdk.ChatCompletionStreamOptionsParam{IncludeUsage: sdk.Bool(true)},
		Temperature:     optional(c.temperature()),
		TopP:            optional(c.TopP),
		Seed:            optional(c.Seed),
	}
	params.SetExtraFields(c.extraFields())
	_, isGiven := c.Extra["max_completion_tokens"]
	return &chat{params, c.MaxTokens, c.isOpenAI() || c.reasons() || isGiven, c.ThinkTags, c.accepted()}
}

func (a *chat) request(req assistant.Request) (path string, params any) {
	p := a.params
	p.Messages = a.messages(req)
	for _, tool := range req.Tools {
		p.Tools = append(p.Tools, sdk.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: tool.Name, Description: optional(nonempty(tool.Description)), Parameters: schemaOf(tool)}))
	}
	switch limit := lowest(a.maxTokens, req); {
	case limit == 0:
	case a.isNewer:
		p.MaxCompletionTokens = sdk.Int(limit)
	default: // the name that every compatible server knows
		p.MaxTokens = sdk.Int(limit)
	}
	return "chat/completions", p
}

func (a *chat) messages(req assistant.Request) []sdk.ChatCompletionMessageParamUnion {
	list := make([]sdk.ChatCompletionMessageParamUnion, 0, len(req.Turns)+1)
	if !assistant.IsBlank(req.Instructions) {
		list = append(list, sdk.SystemMessage(req.Instructions))
	}
	for _, turn := range turnsOf(req) {
		if turn.Role == assistant.RoleAssistant && turn.Parts.HasCalls() {
			list = append(list, chatSteps(turn.Parts)...)
		} else if turn.Role == assistant.RoleAssistant {
			list = append(list, sdk.AssistantMessage(turn.Content))
		} else {
			list = append(list, a.userMessage(contentsOf(turn, req.Files, a.accepts)))
		}
	}
	return list
}

// userMessage is a question. One of text alone has that alone: not every server knows a list.
func (a *chat) userMessage(contents []content) sdk.ChatCompletionMessageParamUnion {
	if text, isText := textOf(contents); isText {
		return sdk.UserMessage(text)
	}
	var list []sdk.ChatCompletionContentPartUnionParam
	for _, c := range contents {
		switch c.kind {
		case assistant.ContentImage:
			list = append(list, sdk.ImageContentPart(sdk.ChatCompletionContentPartImageImageURLParam{URL: c.url}))
		case assistant.ContentPDF:
			list = append(list, sdk.FileContentPart(sdk.ChatCompletionContentPartFileFileParam{Filename: sdk.String(c.name), FileData: sdk.String(c.url)}))
		default:
			list = append(list, sdk.TextContentPart(c.text))
		}
	}
	return sdk.UserMessage(list)
}

// chatSteps are the messages of an answer that has called tools: of each step what the model said and called, and then
// what each call returned.
func chatSteps(parts assistant.Parts) (list []sdk.ChatCompletionMessageParamUnion) {
	for _, s := range stepsOf(parts) {
		m := sdk.ChatCompletionAssistantMessageParam{}
		if s.text != "" {
			m.Content.OfString = sdk.String(s.text)
		}
		for _, c := range s.calls {
			m.ToolCalls = append(m.ToolCalls, sdk.ChatCompletionMessageToolCallUnionParam{OfFunction: &sdk.ChatCompletionMessageFunctionToolCallParam{
				ID: c.CallID, Function: sdk.ChatCompletionMessageFunctionToolCallFunctionParam{Name: c.Name, Arguments: string(c.Arguments)}}})
		}
		list = append(list, sdk.ChatCompletionMessageParamUnion{OfAssistant: &m})
		for _, c := range s.calls {
			list = append(list, sdk.ToolMessage(resultOf(parts, c), c.CallID))
		}
	}
	return list
}

func (a *chat) translator(tools bool) answer.Translator { return answer.Chat(a.thinkTags, tools) }

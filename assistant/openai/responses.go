package openai

import (
	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
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
	hosted    []Hosted
	accepts   accepted
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
	return &responsesAPI{params, c.MaxTokens, c.ThinkTags, c.Hosted, c.accepted()}
}

func (a *responsesAPI) request(req assistant.Request) (path string, params any) {
	p := a.params
	if !assistant.IsBlank(req.Instructions) {
		p.Instructions = sdk.String(req.Instructions)
	}
	if limit := lowest(a.maxTokens, req); limit > 0 {
		p.MaxOutputTokens = sdk.Int(max(limit, minOutputTokens))
	}
	for _, tool := range req.Tools {
		p.Tools = append(p.Tools, responses.ToolUnionParam{OfFunction: &responses.FunctionToolParam{
			Name: tool.Name, Description: optional(nonempty(tool.Description)), Parameters: schemaOf(tool), Strict: sdk.Bool(false)}})
	}
	p.Tools = append(p.Tools, a.hostedParams(req)...)
	for _, turn := range turnsOf(req) {
		if turn.Role == assistant.RoleAssistant && turn.Parts.HasCalls() {
			p.Input.OfInputItemList = append(p.Input.OfInputItemList, responsesSteps(turn)...)
			continue
		}
		item := inputMessage(turn.Content, responses.EasyInputMessageRoleAssistant)
		if turn.Role == assistant.RoleUser {
			item = inputQuestion(contentsOf(turn, req.Files, a.accepts))
		}
		p.Input.OfInputItemList = append(p.Input.OfInputItemList, item)
	}
	return "responses", p
}

// inputQuestion is a question. One of text alone has that alone.
func inputQuestion(contents []content) responses.ResponseInputItemUnionParam {
	if text, isText := textOf(contents); isText {
		return inputMessage(text, responses.EasyInputMessageRoleUser)
	}
	var list responses.ResponseInputMessageContentListParam
	for _, c := range contents {
		switch c.kind {
		case assistant.ContentImage:
			image := responses.ResponseInputContentParamOfInputImage(responses.ResponseInputImageDetailAuto)
			image.OfInputImage.ImageURL = sdk.String(c.url)
			list = append(list, image)
		case assistant.ContentPDF:
			list = append(list, responses.ResponseInputContentUnionParam{OfInputFile: &responses.ResponseInputFileParam{Filename: sdk.String(c.name), FileData: sdk.String(c.url)}})
		default:
			list = append(list, responses.ResponseInputContentParamOfInputText(c.text))
		}
	}
	return inputMessage(list, responses.EasyInputMessageRoleUser)
}

func inputMessage[T string | responses.ResponseInputMessageContentListParam](text T, role responses.EasyInputMessageRole) responses.ResponseInputItemUnionParam {
	item := responses.ResponseInputItemParamOfMessage(text, role)
	item.OfMessage.Type = responses.EasyInputMessageTypeMessage // OpenAI can do without, llama.cpp cannot
	return item
}

// responsesSteps are the items of an answer that has called tools: of each step the model's reasoning, where it is to come back,
// what the model said and called, and then what each call returned.
func responsesSteps(turn assistant.Turn) (items responses.ResponseInputParam) {
	parts := turn.Parts
	for i, s := range stepsOf(parts) {
		for _, h := range turn.Hidden {
			if h.Step == i+1 && len(s.calls) > 0 { // OpenAI refuses reasoning that nothing follows
				items = append(items, param.Override[responses.ResponseInputItemUnionParam](h.Item))
			}
		}
		if s.text != "" {
			items = append(items, inputMessage(s.text, responses.EasyInputMessageRoleAssistant))
		}
		for _, c := range s.calls {
			items = append(items, responses.ResponseInputItemParamOfFunctionCall(string(c.Arguments), c.CallID, c.Name))
		}
		for _, c := range s.calls {
			output := responses.ResponseInputItemParamOfFunctionCallOutput(resultOf(parts, c))
			output.OfFunctionCallOutput.CallID = sdk.String(c.CallID)
			items = append(items, output)
		}
	}
	return items
}

func (a *responsesAPI) translator(tools bool) answer.Translator {
	return answer.Responses(a.thinkTags, tools, len(a.hosted) > 0)
}

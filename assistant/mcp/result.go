package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// convert returns the server's result as ours.
func (s *Source) convert(a attempt, theirs *sdk.CallToolResult) (assistant.Result, error) {
	if theirs.NeedsInput() {
		return s.needs(a, theirs)
	}
	result := assistant.Result{IsError: theirs.IsError}
	var texts []string
	for _, content := range theirs.Content {
		text, source := describe(content)
		texts = append(texts, text)
		if source != nil {
			source.URL, source.Title = s.redact(a.line, source.URL), s.redact(a.line, source.Title)
			source.SourceID = fmt.Sprintf("%s_%d", a.call.ID, len(result.Sources)+1)
			result.Sources = append(result.Sources, *source)
		}
	}
	if theirs.StructuredContent != nil {
		structured, err := json.Marshal(theirs.StructuredContent)
		if err != nil {
			return result, fmt.Errorf("structured content: %w", err)
		}
		if shown := json.RawMessage(s.redact(a.line, string(structured))); json.Valid(shown) {
			result.Structured = shown
		}
	}
	texts = slices.DeleteFunc(texts, func(text string) bool { return text == "" })
	result.Text = strings.ToValidUTF8(s.redact(a.line, strings.Join(texts, "\n")), "\ufffd")
	switch {
	case result.Text != "":
	case result.Structured != nil:
		result.Text = string(result.Structured)
	case result.IsError:
		result.Text = "the tool failed"
	}
	return result, nil
}

// describe returns a piece of a result as text, and as a source where it is a link.
func describe(content sdk.Content) (text string, source *assistant.SourcePart) {
	switch c := content.(type) {
	case *sdk.TextContent:
		return c.Text, nil
	case *sdk.ResourceLink:
		title := c.Title
		if title == "" {
			title = c.Name
		}
		text = strings.TrimSpace(fmt.Sprintf("%s: %s %s", title, c.URI, c.Description))
		if u, err := url.Parse(c.URI); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
			source = &assistant.SourcePart{URL: c.URI, Title: title}
		}
		return text, source
	case *sdk.EmbeddedResource:
		if c.Resource == nil {
			return "", nil
		}
		if c.Resource.Blob == nil {
			return c.Resource.Text, nil
		}
		return leftOut(c.Resource.MIMEType, len(c.Resource.Blob)), nil
	case *sdk.ImageContent:
		return leftOut(c.MIMEType, len(c.Data)), nil
	case *sdk.AudioContent:
		return leftOut(c.MIMEType, len(c.Data)), nil
	}
	return "[something of a kind that is not known]", nil
}

// leftOut tells the model of what it does not get.
func leftOut(kind string, size int) string {
	return fmt.Sprintf("[%s, %d bytes: left out]", kind, size)
}

// refusals are the codes of errors by which a server says that it has not made the call.
var refusals = []int64{
	jsonrpc.CodeParseError, jsonrpc.CodeInvalidRequest, jsonrpc.CodeMethodNotFound, jsonrpc.CodeInvalidParams,
	sdk.CodeHeaderMismatch, sdk.CodeMissingRequiredClientCapabilities, sdk.CodeUnsupportedProtocolVersion, sdk.CodeURLElicitationRequired,
}

// answered is the outcome of a call that the server has answered with an error of the protocol. Its text is for the
// operator.
func (s *Source) answered(a attempt, answer *jsonrpc.Error) (assistant.Result, error) {
	text := s.shorten(a.line, answer.Message)
	if slices.Contains(refusals, answer.Code) {
		return assistant.Result{}, s.notCalled(fmt.Errorf("error %d: %s", answer.Code, text))
	}
	s.log.Warn("the server answered a call with an error", zap.String("server", s.label), zap.String("tool", a.call.Name),
		zap.String("call", a.call.ID), zap.Int64("code", answer.Code), zap.String("text", text))
	return assistant.Result{IsError: true, Text: fmt.Sprintf("the tool failed: error %d of its server", answer.Code)}, nil
}

// needs returns what the server asks before the call can end. It is text: no link is opened, and no form is shown but
// of what the schema says.
func (s *Source) needs(a attempt, theirs *sdk.CallToolResult) (assistant.Result, error) {
	if len(theirs.InputRequests) == 0 {
		return assistant.Result{}, fmt.Errorf("%w: the server is busy", assistant.ErrNotCalled)
	}
	out := &assistant.Needs{State: theirs.RequestState}
	for id, request := range theirs.InputRequests {
		elicit, ok := request.(*sdk.ElicitParams)
		if !ok {
			return assistant.Result{IsError: true, Text: "the tool asked for something that is not offered"}, nil
		}
		input := assistant.Input{ID: id, Message: s.redact(a.line, elicit.Message), URL: s.redact(a.line, elicit.URL)}
		if elicit.RequestedSchema != nil && elicit.URL == "" {
			schema, err := json.Marshal(elicit.RequestedSchema)
			if err != nil {
				return assistant.Result{}, fmt.Errorf("call %s: schema of an input: %w", a.call.ID, err)
			}
			input.Schema = json.RawMessage(s.redact(a.line, string(schema)))
		}
		out.Inputs = append(out.Inputs, input)
	}
	slices.SortFunc(out.Inputs, func(a, b assistant.Input) int { return strings.Compare(a.ID, b.ID) })
	return assistant.Result{Needs: out}, nil
}

// responsesOf returns a person's answers, {"<id>": {"action": "accept", "content": {…}}}, as the SDK has them.
func responsesOf(answers json.RawMessage) (sdk.InputResponseMap, error) {
	if len(answers) == 0 {
		return nil, nil
	}
	var results map[string]*sdk.ElicitResult
	if err := json.Unmarshal(answers, &results); err != nil {
		return nil, errors.New("the answers are not {id: {action, content}}")
	}
	responses := sdk.InputResponseMap{}
	for id, result := range results {
		if result == nil || !slices.Contains([]string{"accept", "decline", "cancel"}, result.Action) {
			return nil, fmt.Errorf("answer %q: expected accept, decline or cancel", id)
		}
		if result.Action != "accept" {
			result.Content = nil
		}
		responses[id] = result
	}
	return responses, nil
}

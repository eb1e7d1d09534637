package openai

import (
	"errors"
	"fmt"
	"slices"

	"github.com/openai/openai-go/v3/responses"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Hosted is a tool that the service itself offers. Its calls need no approval: they have no effect outside the service, but
// that a search tells a question to others.
type Hosted struct {
	// web_search, file_search or code_interpreter.
	Tool string `json:"tool"`
	// The domains that web_search may use, or the vector stores that file_search uses. Default of the first: all
	Of []string `json:"of,omitempty"`
}

// The tools that OpenAI hosts.
const (
	webSearch       = "web_search"
	fileSearch      = "file_search"
	codeInterpreter = "code_interpreter"
)

func (c Config) checkHosted() error {
	var seen []string
	for _, h := range c.Hosted {
		switch {
		case h.Tool != webSearch && h.Tool != fileSearch && h.Tool != codeInterpreter:
			return expected("hosted", "web_search, file_search or code_interpreter", h.Tool)
		case slices.Contains(seen, h.Tool):
			return fmt.Errorf("hosted: %s is given twice", h.Tool)
		case h.Tool == fileSearch && len(h.Of) == 0:
			return errors.New("hosted file_search: expected the ids of vector stores, found none")
		case h.Tool == codeInterpreter && len(h.Of) > 0:
			return expected("hosted code_interpreter", "nothing more", h.Of[0])
		case slices.Contains(h.Of, ""):
			return fmt.Errorf("hosted %s: expected no empty value, found one", h.Tool)
		}
		seen = append(seen, h.Tool)
	}
	return nil
}

// param is the tool in a request.
func (h Hosted) param() responses.ToolUnionParam {
	switch h.Tool {
	case fileSearch:
		return responses.ToolUnionParam{OfFileSearch: &responses.FileSearchToolParam{VectorStoreIDs: h.Of}}
	case codeInterpreter:
		return responses.ToolUnionParam{OfCodeInterpreter: &responses.ToolCodeInterpreterParam{Container: responses.ToolCodeInterpreterContainerUnionParam{
			OfCodeInterpreterToolAuto: &responses.ToolCodeInterpreterContainerCodeInterpreterContainerAutoParam{}}}}
	}
	return responses.ToolUnionParam{OfWebSearch: &responses.WebSearchToolParam{Type: responses.WebSearchToolTypeWebSearch,
		Filters: responses.WebSearchToolFiltersParam{AllowedDomains: h.Of}}}
}

// hostedParams are the service's tools in a request.
func (a *responsesAPI) hostedParams(req assistant.Request) (params []responses.ToolUnionParam) {
	if req.TextOnly {
		return nil
	}
	for _, h := range a.hosted {
		params = append(params, h.param())
	}
	return params
}

package toolset_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/toolset"
)

// source has tools of these names, and says its own when one is called.
type source struct {
	name  string
	tools []string
	err   error
}

func (s source) Tools(context.Context, assistant.Peer) (tools []assistant.Tool, err error) {
	if s.name == "broken" {
		panic("broken")
	}
	for _, name := range s.tools {
		tools = append(tools, assistant.Tool{Name: name, Server: s.name})
	}
	return tools, s.err
}

func (s source) Call(context.Context, assistant.Call) (assistant.Result, error) {
	return assistant.Result{Text: s.name}, nil
}

// TestSet holds that a set has the tools of all sources that work, each name once, and calls who has it.
func TestSet(t *testing.T) {
	away := errors.New("away")
	set := toolset.Set{source{name: "a", tools: []string{"x", "y"}}, source{name: "broken"}, source{name: "b", tools: []string{"y", "z"}, err: away}}
	tools, err := set.Tools(t.Context(), assistant.Peer{})
	var names []string
	for _, tool := range tools {
		names = append(names, tool.Server+tool.Name)
	}
	if !slices.Equal(names, []string{"ax", "ay", "bz"}) {
		t.Errorf("tools are %q", names)
	}
	if !errors.Is(err, away) || !strings.Contains(err.Error(), `two tools "y"`) || !strings.Contains(err.Error(), "broken") {
		t.Errorf("error is %v", err)
	}
	for name, want := range map[string]string{"x": "a", "y": "a", "z": "b"} {
		if r, err := set.Call(t.Context(), assistant.Call{Name: name}); r.Text != want || err != nil {
			t.Errorf("%s was called at %q, %v", name, r.Text, err)
		}
	}
	if _, err := set.Call(t.Context(), assistant.Call{Name: "none"}); !errors.Is(err, assistant.ErrNotCalled) {
		t.Errorf("a tool that is not there: %v", err)
	}
}

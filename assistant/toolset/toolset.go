// Package toolset makes one source of tools of several.
package toolset

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Set is a source of tools that has those of others, in their order. Where two have a tool of one name, the first has it.
// The list has what could be had: a source that fails leaves the others alone.
type Set []assistant.Tools

// Tools asks all sources at once.
func (s Set) Tools(ctx context.Context, p assistant.Peer) (tools []assistant.Tool, err error) {
	lists, errs := s.lists(ctx, p)
	seen := make(map[string]bool)
	for _, list := range lists {
		for _, tool := range list {
			if seen[tool.Name] {
				errs = append(errs, fmt.Errorf("there are two tools %q", tool.Name))
				continue
			}
			seen[tool.Name] = true
			tools = append(tools, tool)
		}
	}
	return tools, errors.Join(errs...)
}

func (s Set) lists(ctx context.Context, p assistant.Peer) ([][]assistant.Tool, []error) {
	lists, errs := make([][]assistant.Tool, len(s)), make([]error, len(s))
	var wg sync.WaitGroup
	for i, source := range s {
		wg.Go(func() {
			defer assistant.Catch(&errs[i])
			lists[i], errs[i] = source.Tools(ctx, p)
		})
	}
	wg.Wait()
	return lists, errs
}

// Call calls the source that has the tool.
func (s Set) Call(ctx context.Context, c assistant.Call) (assistant.Result, error) {
	lists, _ := s.lists(ctx, c.Peer)
	for i, list := range lists {
		for _, tool := range list {
			if tool.Name == c.Name {
				return s[i].Call(ctx, c)
			}
		}
	}
	return assistant.Result{}, fmt.Errorf("%w: there is no tool %q any more", assistant.ErrNotCalled, c.Name)
}

// Required is a source of tools that the model must not answer without.
type Required struct{ Source assistant.Tools }

// Tools returns an [assistant.ErrToolsRequired] where the source knows no list.
func (r Required) Tools(ctx context.Context, p assistant.Peer) ([]assistant.Tool, error) {
	tools, err := r.Source.Tools(ctx, p)
	if err != nil && tools == nil {
		err = fmt.Errorf("%w: %w", assistant.ErrToolsRequired, err)
	}
	return tools, err
}

// Call calls the source.
func (r Required) Call(ctx context.Context, c assistant.Call) (assistant.Result, error) {
	return r.Source.Call(ctx, c)
}

var (
	_ assistant.Tools = Set(nil)
	_ assistant.Tools = Required{}
)

package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/schema"
)

// Bounds of a list. What is beyond them is left out, and logged.
const (
	maxTools    = 1000
	maxListSize = 1 << 20 // of names, descriptions and parameters, in bytes
	maxPages    = 100
)

// list is what a server has said about its tools. It never changes.
type list struct {
	tools  []assistant.Tool
	theirs map[string]string // the server's names by ours
	faults []string          // tools that are left out, and why
	until  time.Time         // after which it must be asked for again
}

// theirName returns the server's name of a tool.
func (l *list) theirName(name string) (string, bool) {
	if l == nil {
		return "", false
	}
	theirs, ok := l.theirs[name]
	return theirs, ok
}

// ask asks a server for all pages of its list.
func (s *Source) ask(ctx context.Context, session *sdk.ClientSession) (*list, error) {
	l := &list{theirs: map[string]string{}}
	builder := listBuilder{list: l, label: s.label, choice: s.choice, dropped: map[string]bool{}}
	fresh := s.refresh
	params := &sdk.ListToolsParams{}
	for range maxPages {
		page, err := session.ListTools(ctx, params)
		if err != nil {
			return nil, err
		}
		if page.TTLMs > 0 {
			fresh = min(fresh, time.Duration(page.TTLMs)*time.Millisecond)
		}
		page.TTLMs = 0 // the SDK keeps the page, and would answer with it instead of the server
		for _, tool := range page.Tools {
			builder.add(tool)
		}
		if params.Cursor = page.NextCursor; params.Cursor == "" {
			break
		}
	}
	l.until = time.Now().Add(fresh)
	return l, nil
}

// listBuilder puts a list together.
type listBuilder struct {
	*list
	label   string
	choice  choice
	size    int
	dropped map[string]bool // names that two tools have
}

func (b *listBuilder) add(tool *sdk.Tool) {
	if !b.choice.allowed(tool.Name) {
		return
	}
	if err := b.addAllowed(tool); err != nil {
		b.faults = append(b.faults, fmt.Sprintf("%.100q: %v", tool.Name, err))
	}
}

func (b *listBuilder) addAllowed(tool *sdk.Tool) error {
	ours, err := b.convert(tool)
	size := len(ours.Name) + len(ours.Title) + len(ours.Description) + len(ours.Parameters) + len(tool.Name)
	other, twice := b.theirs[ours.Name]
	switch {
	case err != nil:
		return err
	case twice && other == tool.Name:
		return errors.New("it is listed twice; the first counts")
	case twice || b.dropped[ours.Name]:
		b.drop(ours.Name)
		return fmt.Errorf("another tool is also called %s; neither can be called", ours.Name)
	case len(b.tools) >= maxTools || b.size+size > maxListSize:
		return fmt.Errorf("the list is larger than %d tools or %d bytes", maxTools, maxListSize)
	}
	b.tools, b.size, b.theirs[ours.Name] = append(b.tools, ours), b.size+size, tool.Name
	return nil
}

// drop takes a tool out again whose name is another's too: it cannot be known which one is meant.
func (b *listBuilder) drop(name string) {
	b.dropped[name] = true
	delete(b.theirs, name)
	for i, tool := range b.tools {
		if tool.Name == name {
			b.tools = append(b.tools[:i], b.tools[i+1:]...)
			return
		}
	}
}

func (b *listBuilder) convert(tool *sdk.Tool) (assistant.Tool, error) {
	parameters, err := json.Marshal(tool.InputSchema)
	if err != nil {
		return assistant.Tool{}, err
	}
	if _, err := schema.Compile(parameters); err != nil {
		return assistant.Tool{}, fmt.Errorf("parameters: %w", err)
	}
	title := tool.Title
	if title == "" && tool.Annotations != nil {
		title = tool.Annotations.Title
	}
	return assistant.Tool{
		Name: nameOf(b.label, tool.Name), Title: title, Description: tool.Description, Parameters: parameters,
		Where: assistant.WhereServer, Server: b.label,
		Approve: b.choice.needsApproval(tool), Repeatable: b.choice.mayRepeat(tool), Untrusted: b.choice.untrusted,
	}, nil
}

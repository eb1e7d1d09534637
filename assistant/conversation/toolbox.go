package conversation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/schema"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

const (
	// listTimeout bounds the wait for a list of tools.
	listTimeout = 2 * time.Second
	// maxTools is how many tools a model gets.
	maxTools = 128
	// clientTools is where tools of a client come from. Nobody knows who has written what they return.
	clientTools = "the client"
)

// toolbox is what the model may call in one turn.
type toolbox struct {
	isOpen     bool
	tools      []assistant.Tool
	byName     map[string]assistant.Tool
	used       map[string]bool // ids of calls
	canDecide  bool            // the client can answer what waits
	mayApprove bool            // and approve calls
	err        error           // why some are missing
}

// open asks for the tools, once. A client that cannot decide, or may not, gets none that need approval.
func (t *turn) open(asker assistant.Asker) {
	b := &t.toolbox
	if b.isOpen {
		return
	}
	b.canDecide = asker.CanDecide
	b.mayApprove = b.canDecide && (asker.Peer.User != "" || t.assistant.ToolsForAnonymous)
	b.isOpen, b.byName, b.used = true, make(map[string]assistant.Tool), make(map[string]bool)
	var tools []assistant.Tool
	if t.assistant.Tools != nil {
		tools, b.err = t.listTools(asker.Peer)
	}
	if b.canDecide && t.assistant.ClientTools {
		for _, tool := range asker.Tools {
			tool.Where, tool.Server, tool.Untrusted = assistant.WhereClient, clientTools, true
			tools = append(tools, tool) // behind the server's: none takes the place of one of these
		}
	}
	hidden := make(map[string]bool)
	for _, tool := range tools {
		if _, isThere := b.byName[tool.Name]; isThere || hidden[tool.Name] {
			continue
		}
		if tool.Approve && !b.mayApprove {
			hidden[tool.Name] = true
			t.assistant.logHidden(b.canDecide)
			continue
		}
		if len(b.tools) == maxTools {
			b.err = errors.Join(b.err, fmt.Errorf("there are more than %d tools", maxTools))
			break
		}
		b.tools, b.byName[tool.Name] = append(b.tools, tool), tool
	}
}

// logHidden says once that tools are hidden from anonymous clients, though theirs could ask for approval.
func (a *Assistant) logHidden(canDecide bool) {
	if canDecide {
		a.hidesTools.Do(func() {
			a.Logger.Warn("tools that need approval are not offered to anonymous visitors; tools_for anonymous offers them")
		})
	}
}

func (t *turn) listTools(peer assistant.Peer) (tools []assistant.Tool, err error) {
	defer assistant.Catch(&err)
	ctx, cancel := context.WithTimeout(t.ctx, listTimeout)
	defer cancel()
	return t.toolSource().Tools(ctx, peer)
}

// toolSource is where tools come from: by the newest settings, since a reload ends what older ones have opened.
func (t *turn) toolSource() assistant.Tools {
	if newest := t.hub.Using().Tools; newest != nil {
		return newest
	}
	return t.assistant.Tools
}

// isTainted reports whether what strangers may have written is in the answer, and could be behind a call of this tool: then a
// person has to agree to it. Only tools of the same server, which knows what it has returned, are left alone.
func (b *toolbox) isTainted(parts assistant.Parts, tool assistant.Tool) bool {
	return slices.ContainsFunc(parts, func(p assistant.Part) bool {
		if c, ok := p.(assistant.ToolCallPart); ok && (isProviders(c) || c.Where == assistant.WhereClient && c.State != assistant.CallDenied && tool.Where != assistant.WhereClient) {
			return true // it has read what is on the web, or in files; or the page has, whatever its tool is called
		}
		r, ok := p.(assistant.ToolResultPart)
		if !ok {
			return false
		}
		i := parts.CallIndex(r.CallID)
		if i < 0 {
			return true
		}
		call := parts[i].(assistant.ToolCallPart)
		if call.State == assistant.CallDenied || r.Content == noSuchTool {
			return false // our own words
		}
		from, isKnown := b.byName[call.Name]
		return !isKnown || from.Untrusted && from.Server != tool.Server
	})
}

// checkArguments returns an [*assistant.ArgumentsError] where arguments are not within a schema. A schema that is none
// accepts everything: the tool has the last word.
func checkArguments(parameters, arguments json.RawMessage) error {
	compiled, err := schema.Compile(parameters)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(arguments))
	if err != nil {
		return errNoObject
	}
	fault, ok := errors.AsType[*jsonschema.ValidationError](compiled.Validate(value))
	if !ok {
		return nil
	}
	for len(fault.Causes) > 0 { // the first one says it best
		fault = fault.Causes[0]
	}
	if e, ok := fault.ErrorKind.(*kind.Required); ok {
		return &assistant.ArgumentsError{Path: append(fault.InstanceLocation, e.Missing[0]), Problem: "is missing"}
	}
	return &assistant.ArgumentsError{Path: fault.InstanceLocation, Problem: fault.ErrorKind.LocalizedString(message.NewPrinter(language.English))}
}

// checkArguments returns why the arguments of a decision, at the node at which it arrives, are not within the tool's schema.
func (c *Conversation) checkArguments(ctx context.Context, d decision) (err error) {
	defer assistant.Catch(&err)
	if d.Arguments != nil {
		if len(d.Arguments) > maxArguments {
			return &assistant.ArgumentsError{Problem: "they are longer than 64 KiB"}
		}
		if _, err := objectOf(d.Arguments); err != nil {
			return err
		}
	}
	a := c.hub.Using()
	call, ok := c.Call(d.MessageID, d.CallID)
	if d.Answers != nil && ok {
		return checkAnswers(call.Inputs, d.Answers)
	}
	if d.Arguments == nil || !ok || a.Tools == nil || d.asker.From == (assistant.RequestKey{}) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	tools, _ := a.Tools.Tools(ctx, d.asker.Peer) // where it is not listed, it cannot be called either
	i := slices.IndexFunc(tools, func(t assistant.Tool) bool { return t.Name == call.Name })
	if i < 0 {
		return nil
	}
	return checkArguments(tools[i].Parameters, d.Arguments)
}

// checkAnswers returns an [*assistant.ArgumentsError] where answers are not what the inputs ask for.
func checkAnswers(inputs []assistant.Input, answers map[string]assistant.InputAnswer) error {
	for id := range answers {
		if !slices.ContainsFunc(inputs, func(in assistant.Input) bool { return in.ID == id }) {
			return &assistant.ArgumentsError{Path: []string{id}, Problem: "is not asked for"}
		}
	}
	for _, in := range inputs {
		answer, isThere := answers[in.ID]
		switch {
		case !isThere:
			return &assistant.ArgumentsError{Path: []string{in.ID}, Problem: "is missing"}
		case answer.Action != assistant.InputAccept || in.Schema == nil:
			continue
		}
		content, err := objectOf(answer.Content)
		if err == nil {
			err = checkArguments(in.Schema, content)
		}
		if fault, ok := errors.AsType[*assistant.ArgumentsError](err); ok {
			return &assistant.ArgumentsError{Path: append([]string{in.ID, "content"}, fault.Path...), Problem: fault.Problem}
		}
	}
	return nil
}

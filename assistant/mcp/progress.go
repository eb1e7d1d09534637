package mcp

import (
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// progress is who wants to know how far calls are. The zero value is nobody.
type progress struct {
	mu    sync.Mutex
	calls map[string]func(assistant.Progress) // by the calls' ids, which are their tokens
}

// follow has the progress of a call told, until the function that it returns is called.
func (p *progress) follow(id string, tell func(assistant.Progress)) (stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil {
		p.calls = make(map[string]func(assistant.Progress))
	}
	p.calls[id] = tell
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.calls, id)
	}
}

// tell tells what a server says.
func (p *progress) tell(of *sdk.ProgressNotificationParams) {
	token, _ := of.ProgressToken.(string)
	p.mu.Lock()
	told := p.calls[token]
	p.mu.Unlock()
	if told != nil {
		told(assistant.Progress{Done: of.Progress, Total: of.Total, Text: of.Message})
	}
}

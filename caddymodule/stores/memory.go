// Package stores makes the stores of conversations guest modules of the assistant handler.
package stores

import (
	"context"
	"math"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(Memory{}) }

// Memory keeps conversations in memory, until the process ends.
type Memory struct {
	memory.Config
}

// CaddyModule returns the Caddy module information.
func (Memory) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.stores.memory", New: func() caddy.Module { return new(Memory) }}
}

// Settings is the table of store memory.
func (m *Memory) Settings() setting.Table {
	return setting.Table{{
		{Name: "max_conversations", Value: setting.Number[int]("<n>", 1, math.MaxInt32).Into(&m.MaxConversations), Default: "10000", Help: "what was used longest ago goes first"},
		{Name: "max_bytes", Value: setting.Size[int]().Into(&m.MaxBytes), Default: "64MiB", Help: "of texts and bookkeeping, roughly"},
	}}
}

// Provision fills in the defaults.
func (m *Memory) Provision(caddy.Context) error { return m.Settings().SetDefaults() }

// Validate checks what the types do not.
func (m *Memory) Validate() error { return m.Settings().Check() }

// Key returns a key of the handler's own.
func (m *Memory) Key(handler string) string { return "memory of " + handler }

// Open makes the store.
func (m *Memory) Open(context.Context) (assistant.Store, error) { return memory.Open(m.Config), nil }

// UnmarshalCaddyfile reads store memory and its block.
func (m *Memory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return m.Settings().Read(d, "store memory")
}

var (
	_ caddy.Provisioner     = (*Memory)(nil)
	_ caddy.Validator       = (*Memory)(nil)
	_ caddyfile.Unmarshaler = (*Memory)(nil)
)

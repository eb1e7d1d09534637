// Package brokers makes what connects the nodes of a shared store guest modules of the assistant handler.
package brokers

import (
	"context"
	"iter"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

func init() { caddy.RegisterModule(Local{}) }

// Local connects nothing. Several nodes that share a store still agree: each looks into it once a second.
type Local struct{}

// CaddyModule returns the Caddy module information.
func (Local) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.brokers.local", New: func() caddy.Module { return new(Local) }}
}

// Key identifies it.
func (Local) Key() string { return "local" }

// Broker returns one that reaches nobody.
func (Local) Broker(assistant.Store, *zap.Logger) (assistant.Broker, error) { return nobody{}, nil }

// UnmarshalCaddyfile reads:
//
//	broker local
func (*Local) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // local
	return setting.ReadLine(d, "broker local", setting.None().WithoutBlock())
}

// nobody is a broker that reaches no node.
type nobody struct{}

func (nobody) Name() string                                                   { return "local" }
func (nobody) Open(context.Context, assistant.NodeID, assistant.Member) error { return nil }
func (nobody) Announce(...assistant.Standing)                                 {}
func (nobody) Call(context.Context, assistant.NodeID, []byte) ([]byte, error) {
	return nil, assistant.ErrNoNode
}
func (nobody) Follow(context.Context, assistant.NodeID, string, assistant.Cursor) iter.Seq2[assistant.Batch, error] {
	return func(yield func(assistant.Batch, error) bool) { yield(assistant.Batch{}, assistant.ErrNoNode) }
}
func (nobody) Up() bool     { return false }
func (nobody) Close() error { return nil }

var (
	_ assistant.Broker      = nobody{}
	_ caddyfile.Unmarshaler = (*Local)(nil)
)

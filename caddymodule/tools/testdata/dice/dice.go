// Package dice lets models roll dice.
package dice

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(Dice{}) }

// Dice is what the Caddyfile calls "tools dice [<sides>]".
type Dice struct {
	Sides int `json:"sides,omitempty"` // default: 6
}

// CaddyModule returns the Caddy module information.
func (Dice) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.tools.dice", New: func() caddy.Module { return new(Dice) }}
}

// UnmarshalCaddyfile reads dice [<sides>].
func (d *Dice) UnmarshalCaddyfile(c *caddyfile.Dispenser) (err error) {
	c.Next()
	if c.NextArg() {
		if d.Sides, err = strconv.Atoi(c.Val()); err != nil || d.Sides < 2 {
			return c.Errf("tools dice: expected a number of sides, 2 or more, found %q", c.Val())
		}
	}
	return nil
}

// Tools returns the source of tools.
func (d *Dice) Tools() assistant.Tools { return roller(cmp.Or(d.Sides, 6)) }

// roller is a source of one tool. It is safe for concurrent use.
type roller int

func (r roller) Tools(context.Context, assistant.Peer) ([]assistant.Tool, error) {
	return []assistant.Tool{{
		Name: "roll", Title: "Roll a die", Description: fmt.Sprintf("Rolls a die with %d sides.", r),
		Parameters: json.RawMessage(`{"type":"object","properties":{}}`), Where: assistant.WhereServer, Repeatable: true,
	}}, nil
}

func (r roller) Call(context.Context, assistant.Call) (assistant.Result, error) {
	return assistant.Result{Text: strconv.Itoa(1 + rand.IntN(int(r)))}, nil
}

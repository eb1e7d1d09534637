package stores

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/sqlite"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(SQLite{}) }

// SQLite keeps conversations in one file, which only one process may have open. The file is created when the
// configuration starts, readable and writable by its owner only.
type SQLite struct {
	// The file. Placeholders like {env.ASSISTANT_DB} are replaced when the configuration is loaded.
	// Default: assistant/<name of the handler>.db in Caddy's data directory
	Path string `json:"path,omitempty"`

	path string
}

// CaddyModule returns the Caddy module information.
func (SQLite) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.stores.sqlite", New: func() caddy.Module { return new(SQLite) }}
}

// Provision replaces the placeholders of the path.
func (s *SQLite) Provision(caddy.Context) (err error) {
	if s.Path == "" {
		return nil
	}
	if s.path, err = setting.Fill(s.Path); err != nil {
		return fmt.Errorf("store sqlite: path: %w", err)
	}
	s.path, err = filepath.Abs(s.path)
	return err
}

// Key returns the path of the file.
func (s *SQLite) Key(handler string) string {
	if s.path == "" {
		s.path = filepath.Join(caddy.AppDataDir(), "assistant", handler+".db")
	}
	return "sqlite " + s.path
}

// Open opens the file.
func (s *SQLite) Open(ctx context.Context) (assistant.Store, error) {
	return sqlite.Open(ctx, sqlite.Config{Path: s.path})
}

// UnmarshalCaddyfile reads:
//
//	store sqlite [<path>]
func (s *SQLite) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // sqlite
	return setting.ReadLine(d, "store sqlite", atMostOnePath.Into(&s.Path).WithoutBlock())
}

var atMostOnePath = setting.Form[string]{Takes: "[<path>]", Expected: "at most one path", Parse: func(words []string) (string, bool) {
	return strings.Join(words, ""), len(words) <= 1
}}

var (
	_ caddy.Provisioner     = (*SQLite)(nil)
	_ caddyfile.Unmarshaler = (*SQLite)(nil)
)

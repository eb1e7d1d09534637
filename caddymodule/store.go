package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/assistant/postgres"
	"github.com/caddy-assistant/caddy-assistant/assistant/sqlite"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

// StoreSource is what a module in the namespace http.assistant.stores must be. Its methods are called
// after Provision and Validate.
type StoreSource interface {
	// Key tells stores apart: while a handler's key stays the same over reloads, so does the open store.
	Key(handler string) string
	// Open opens the store, at most once for each key at a time. Nothing may be opened or created before.
	Open() (assistant.Store, error)
}

// Memory keeps conversations in memory, until the process ends.
type Memory struct {
	memory.Config
}

// CaddyModule returns the Caddy module information.
func (Memory) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.stores.memory", New: func() caddy.Module { return new(Memory) }}
}

// Key is the handler's own.
func (m *Memory) Key(handler string) string { return "memory of " + handler }

// Open makes the store.
func (m *Memory) Open() (assistant.Store, error) { return memory.Open(m.Config), nil }

// UnmarshalCaddyfile reads:
//
//	store memory {
//		max_conversations <n>
//		max_bytes         <size>
//	}
func (m *Memory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return readBlock(d, "store memory", subdirectives{
		"max_conversations": func(p *params) error { return number(p, &m.MaxConversations, 1, 1<<31-1) },
		"max_bytes": func(p *params) error {
			var n int64
			err := p.size(&n)
			m.MaxBytes = int(n)
			return err
		},
	})
}

// SQLite keeps conversations in one file, which only one process may have open. It is made with the
// rights of its owner only when the configuration starts.
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

// Provision fills in the path.
func (s *SQLite) Provision(caddy.Context) (err error) {
	if s.Path == "" {
		return nil
	}
	if s.path, err = fill(s.Path); err != nil {
		return fmt.Errorf("store sqlite: path: %w", err)
	}
	s.path, err = filepath.Abs(s.path)
	return err
}

// fill replaces placeholders; one that is unknown or empty is an error that names it.
func fill(text string) (string, error) { return caddy.NewReplacer().ReplaceOrErr(text, true, true) }

// Key is the file.
func (s *SQLite) Key(handler string) string {
	if s.path == "" {
		s.path = filepath.Join(caddy.AppDataDir(), "assistant", handler+".db")
	}
	return "sqlite " + s.path
}

// Open opens the file.
func (s *SQLite) Open() (assistant.Store, error) {
	return sqlite.Open(context.Background(), sqlite.Config{Path: s.path})
}

// UnmarshalCaddyfile reads:
//
//	store sqlite [<path>]
func (s *SQLite) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // sqlite
	p := &params{Dispenser: d, name: "store sqlite"}
	if p.args = d.RemainingArgs(); len(p.args) > 1 {
		return p.expected("at most one path")
	}
	if len(p.args) == 1 {
		s.Path = p.args[0]
	}
	return p.noBlock()
}

// Postgres keeps conversations in a PostgreSQL database, which several nodes may share.
type Postgres struct {
	// Where the database is, as a URL or key=value list of libpq. Placeholders like {env.DATABASE_URL}
	// are replaced when the configuration is loaded; what they stand for is in no configuration dump.
	DSN string `json:"dsn"`

	dsn string
	log *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Postgres) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.stores.postgres", New: func() caddy.Module { return new(Postgres) }}
}

// Provision fills in the DSN. It does not connect.
func (p *Postgres) Provision(ctx caddy.Context) (err error) {
	p.log = ctx.Logger()
	if p.dsn, err = fill(p.DSN); err != nil || p.dsn == "" {
		return errors.Join(errors.New("store postgres: expected a DSN such as {env.DATABASE_URL}, found nothing"), err)
	}
	if p.dsn == p.DSN && hasPassword(p.dsn) {
		p.log.Warn("the password of the database stands in the configuration in clear text, and so in its dumps; use a placeholder like {env.DATABASE_URL}")
	}
	return nil
}

func hasPassword(dsn string) bool {
	if u, err := url.Parse(dsn); err == nil {
		if _, set := u.User.Password(); set {
			return true
		}
	}
	return strings.Contains(dsn, "password=")
}

// Key is the database.
func (p *Postgres) Key(string) string { return "postgres " + p.dsn }

// Open connects, and makes or migrates the tables.
func (p *Postgres) Open() (assistant.Store, error) {
	return postgres.Open(context.Background(), postgres.Config{DSN: p.dsn}, p.log)
}

// UnmarshalCaddyfile reads:
//
//	store postgres <dsn>
func (p *Postgres) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // postgres
	params := &params{Dispenser: d, name: "store postgres"}
	if err := params.secret(&p.DSN); err != nil {
		return err
	}
	return params.noBlock()
}

var (
	_ StoreSource           = (*Memory)(nil)
	_ caddyfile.Unmarshaler = (*Memory)(nil)
	_ StoreSource           = (*Postgres)(nil)
	_ caddy.Provisioner     = (*Postgres)(nil)
	_ caddyfile.Unmarshaler = (*Postgres)(nil)
	_ StoreSource           = (*SQLite)(nil)
	_ caddy.Provisioner     = (*SQLite)(nil)
	_ caddyfile.Unmarshaler = (*SQLite)(nil)
)

package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/assistant/postgres"
	"github.com/caddy-assistant/caddy-assistant/assistant/sqlite"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
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

// Key is the handler's own.
func (m *Memory) Key(handler string) string { return "memory of " + handler }

// Open makes the store.
func (m *Memory) Open() (assistant.Store, error) { return memory.Open(m.Config), nil }

// UnmarshalCaddyfile reads store memory and its block.
func (m *Memory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return m.Settings().Read(d, "store memory")
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
	return setting.ReadLine(d, "store sqlite", atMostOnePath.Into(&s.Path).WithoutBlock())
}

var atMostOnePath = setting.Form[string]{Takes: "[<path>]", Expected: "at most one path", Parse: func(words []string) (string, bool) {
	return strings.Join(words, ""), len(words) <= 1
}}

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
	return setting.ReadLine(d, "store postgres", setting.Secret("<dsn>", &p.DSN).WithoutBlock())
}

var (
	_ StoreSource           = (*Memory)(nil)
	_ caddy.Provisioner     = (*Memory)(nil)
	_ caddy.Validator       = (*Memory)(nil)
	_ caddyfile.Unmarshaler = (*Memory)(nil)
	_ StoreSource           = (*Postgres)(nil)
	_ caddy.Provisioner     = (*Postgres)(nil)
	_ caddyfile.Unmarshaler = (*Postgres)(nil)
	_ StoreSource           = (*SQLite)(nil)
	_ caddy.Provisioner     = (*SQLite)(nil)
	_ caddyfile.Unmarshaler = (*SQLite)(nil)
)

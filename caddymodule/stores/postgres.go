package stores

import (
	"context"
	"errors"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/postgres"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

func init() { caddy.RegisterModule(Postgres{}) }

// Postgres keeps conversations in a PostgreSQL database, which several nodes may share.
type Postgres struct {
	// Where the database is, as a URL or a list of key=value like libpq's. Placeholders like {env.DATABASE_URL}
	// are replaced when the configuration is loaded; dumps of the configuration do not show their values.
	DSN string `json:"dsn"`

	dsn string
	log *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Postgres) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.stores.postgres", New: func() caddy.Module { return new(Postgres) }}
}

// Provision replaces the placeholders of the DSN. It does not connect.
func (p *Postgres) Provision(ctx caddy.Context) (err error) {
	p.log = ctx.Logger()
	if p.dsn, err = setting.Fill(p.DSN); err != nil || p.dsn == "" {
		return errors.Join(errors.New("store postgres: expected a DSN such as {env.DATABASE_URL}, found nothing"), err)
	}
	if p.dsn == p.DSN && setting.HasPassword(p.dsn) {
		p.log.Warn("the configuration and its dumps contain the database password in clear text; use a placeholder like {env.DATABASE_URL}")
	}
	return nil
}

// IsShared reports that several processes may have the store open.
func (p *Postgres) IsShared() bool { return true }

// Key returns a key for the database.
func (p *Postgres) Key(string) string { return "postgres " + p.dsn }

// Open connects, and creates or migrates the tables.
func (p *Postgres) Open(ctx context.Context) (assistant.Store, error) {
	store, err := postgres.Open(ctx, postgres.Config{DSN: p.dsn}, p.log)
	if err != nil {
		return nil, err // not a nil *postgres.Store, which would be a store
	}
	return store, nil
}

// UnmarshalCaddyfile reads:
//
//	store postgres <dsn>
func (p *Postgres) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // postgres
	return setting.ReadLine(d, "store postgres", setting.Secret("<dsn>", &p.DSN).WithoutBlock())
}

var (
	_ caddy.Provisioner     = (*Postgres)(nil)
	_ caddyfile.Unmarshaler = (*Postgres)(nil)
)

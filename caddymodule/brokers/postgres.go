package brokers

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/postgres"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

func init() { caddy.RegisterModule(Postgres{}) }

// Postgres connects nodes through the database that they share, by LISTEN and NOTIFY.
type Postgres struct {
	// Where the database is, past a connection pooler in transaction mode, which would swallow notifications: a DSN like
	// that of store postgres. Placeholders are replaced when the configuration is loaded; dumps of the configuration do
	// not show their values. Default: the store's own DSN
	DSN string `json:"dsn,omitempty"`

	dsn string
}

// CaddyModule returns the Caddy module information.
func (Postgres) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.brokers.postgres", New: func() caddy.Module { return new(Postgres) }}
}

// Provision replaces the placeholders of the DSN. It does not connect.
func (p *Postgres) Provision(ctx caddy.Context) (err error) {
	if p.dsn, err = setting.Fill(p.DSN); err != nil {
		return fmt.Errorf("broker postgres: dsn: %w", err)
	}
	if p.dsn == p.DSN && setting.HasPassword(p.dsn) {
		ctx.Logger().Warn("the configuration and its dumps contain the database password in clear text; use a placeholder like {env.DATABASE_URL}")
	}
	return nil
}

// Key identifies it.
func (p *Postgres) Key() string { return "postgres " + hashed(p.dsn) }

// hashed is a text in a key, which shows no secret.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Broker makes the broker of a store.
func (p *Postgres) Broker(store assistant.Store, log *zap.Logger) (assistant.Broker, error) {
	s, ok := store.(*postgres.Store)
	if !ok {
		return nil, errors.New("broker postgres: expected store postgres, found another one")
	}
	return s.Broker(p.dsn, log)
}

// UnmarshalCaddyfile reads:
//
//	broker postgres [<direct dsn>]
func (p *Postgres) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // postgres
	return setting.ReadLine(d, "broker postgres", atMostOneDSN.Into(&p.DSN).Hidden(atMostOneDSN.Expected).WithoutBlock())
}

var atMostOneDSN = setting.Form[string]{Takes: "[<direct dsn>]", Expected: "at most one DSN", Parse: func(words []string) (string, bool) {
	return strings.Join(words, ""), len(words) <= 1
}}

var (
	_ caddy.Provisioner     = (*Postgres)(nil)
	_ caddyfile.Unmarshaler = (*Postgres)(nil)
)

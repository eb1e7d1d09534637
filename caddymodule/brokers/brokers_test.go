package brokers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

const secret = "s3cret"

// provisioned provisions a guest.
func provisioned[G caddy.Provisioner](t *testing.T, guest G) G {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := guest.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return guest
}

// TestKeys: brokers that differ have different keys, equal ones have the same, and no key shows a secret.
func TestKeys(t *testing.T) {
	t.Setenv("BROKER_SECRET", secret)
	guests := func() map[string]interface{ Key() string } {
		urls := []string{"nats://127.0.0.1"}
		return map[string]interface{ Key() string }{
			"local":    Local{},
			"postgres": provisioned(t, &Postgres{}), "direct": provisioned(t, &Postgres{DSN: "postgres://ann:" + secret + "@host/db"}),
			"nats": provisioned(t, &NATS{URLs: urls}), "prefix": provisioned(t, &NATS{URLs: urls, Prefix: "other"}),
			"in the URL": provisioned(t, &NATS{URLs: []string{"nats://ann:" + secret + "@127.0.0.1"}}),
			"token":      provisioned(t, &NATS{URLs: urls, Token: "{env.BROKER_SECRET}"}),
			"user":       provisioned(t, &NATS{URLs: urls, User: []string{"ann", "{env.BROKER_SECRET}"}}),
		}
	}
	first, again, seen := guests(), guests(), map[string]string{}
	for name, guest := range first {
		key := guest.Key()
		if key != again[name].Key() || seen[key] != "" || strings.Contains(key, secret) {
			t.Errorf("the key of %s is %q, then %q, and also that of %q", name, key, again[name].Key(), seen[key])
		}
		seen[key] = name
	}
	if c := first["user"].(*NATS).config; c.User != "ann" || c.Password != secret || c.Prefix != "" {
		t.Errorf("got user %q, prefix %q, the right password: %v", c.User, c.Prefix, c.Password == secret)
	}
}

// TestShowsSecret: a secret that stands in the configuration is warned of, one from the environment is not.
func TestShowsSecret(t *testing.T) {
	t.Setenv("BROKER_SECRET", secret)
	for name, test := range map[string]struct {
		guest NATS
		want  bool
	}{
		"none":               {NATS{URLs: []string{"nats://127.0.0.1"}}, false},
		"token":              {NATS{URLs: []string{"nats://127.0.0.1"}, Token: secret}, true},
		"token elsewhere":    {NATS{URLs: []string{"nats://127.0.0.1"}, Token: "{env.BROKER_SECRET}"}, false},
		"password":           {NATS{URLs: []string{"nats://127.0.0.1"}, User: []string{"ann", secret}}, true},
		"password elsewhere": {NATS{URLs: []string{"nats://127.0.0.1"}, User: []string{"ann", "{env.BROKER_SECRET}"}}, false},
		"URL":                {NATS{URLs: []string{"nats://ann:" + secret + "@127.0.0.1"}}, true},
		"URL elsewhere":      {NATS{URLs: []string{"nats://ann:{env.BROKER_SECRET}@127.0.0.1"}}, false},
	} {
		if got := provisioned(t, &test.guest).showsSecret(); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestOtherStores: what needs PostgreSQL says so; NATS alone needs a name for the database.
func TestOtherStores(t *testing.T) {
	store := memory.Open(memory.Config{})
	defer func() { _ = store.Close() }()
	b, err := Local{}.Broker(store, zap.NewNop())
	if err != nil || b.Name() != "local" || b.Up() {
		t.Fatalf("local: %v, %v", b, err)
	}
	if _, err := b.Call(context.Background(), 1, nil); !errors.Is(err, assistant.ErrNoNode) {
		t.Errorf("local: a call: %v", err)
	}
	n := 0
	for _, err := range b.Follow(context.Background(), 1, "conversation", assistant.Cursor{}) {
		if n++; !errors.Is(err, assistant.ErrNoNode) {
			t.Errorf("local: following: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("local: following yields %d times", n)
	}
	if b, err := provisioned(t, &Postgres{}).Broker(store, zap.NewNop()); err == nil {
		t.Errorf("postgres: %v", b)
	}
	if b, err := provisioned(t, &NATS{URLs: []string{"nats://127.0.0.1"}}).Broker(store, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "prefix") {
		t.Errorf("nats without a prefix: %v, %v", b, err)
	}
	b, err = provisioned(t, &NATS{URLs: []string{"nats://127.0.0.1"}, Prefix: "chat"}).Broker(store, zap.NewNop())
	if err != nil || b.Name() != "nats" {
		t.Errorf("nats: %v, %v", b, err)
	}
}

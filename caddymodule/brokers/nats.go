package brokers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/nats"
	"github.com/caddy-assistant/caddy-assistant/assistant/postgres"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

func init() { caddy.RegisterModule(NATS{}) }

// NATS connects nodes through a NATS server or cluster, within milliseconds. What it does not reach goes through the
// store's database, as with broker postgres. Placeholders in all texts are replaced when the configuration is loaded; dumps
// of the configuration do not show their values.
//
// A node must be allowed to publish and to subscribe to <prefix>.> and _INBOX_<prefix>.>, and nobody else should be: texts
// of users go there. At most one of credentials, nkey, token and user says who it is.
type NATS struct {
	// The servers' addresses, such as nats://10.0.0.5:4222 or tls://nats.example.com.
	URLs []string `json:"urls"`

	// A file with a user's JWT and key.
	Credentials string `json:"credentials,omitempty"`

	// A file with the seed of an nkey.
	NKey string `json:"nkey,omitempty"`

	// A token.
	Token string `json:"token,omitempty"`

	// A user's name and password.
	User []string `json:"user,omitempty"`

	// A file with the authorities that the server's certificate may be signed by. It asks for TLS. Default: the system's
	CA string `json:"ca,omitempty"`

	// Files with a client certificate and its key. They ask for TLS.
	ClientCert []string `json:"client_cert,omitempty"`

	// Begins all subjects. Databases that are copies of each other need different ones.
	// Default: caddy_assistant.<eight digits for the database>
	Prefix string `json:"prefix,omitempty"`

	config nats.Config // its prefix may be empty
}

// CaddyModule returns the Caddy module information.
func (NATS) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.brokers.nats", New: func() caddy.Module { return new(NATS) }}
}

// Settings is the table of broker nats.
func (n *NATS) Settings() setting.Table {
	user, files := pairOf("<name> <password>", "a name and a password"), pairOf("<cert file> <key file>", "the files of a certificate and of its key")
	return setting.Table{{
		{Name: "credentials", Value: setting.Text("<file>").Into(&n.Credentials), Help: "a user's JWT and key"},
		{Name: "nkey", Value: setting.Text("<file>").Into(&n.NKey), Help: "the seed"},
		{Name: "token", Value: setting.Secret("<token>", &n.Token)},
		{Name: "user", Value: user.Into(&n.User).Hidden(user.Expected)},
		{Name: "ca", Value: setting.Text("<file>").Into(&n.CA), Without: "the system's", Help: "asks for TLS, as tls:// does"},
		{Name: "client_cert", Value: files.Into(&n.ClientCert)},
		{Name: "prefix", Value: setting.Matching("<prefix>", "letters, digits, _ and -, with dots between", nats.IsPrefix).Into(&n.Prefix), Without: "caddy_assistant.<eight digits for the database>", Help: "of all subjects"},
	}}
}

// pairOf is two words.
func pairOf(takes, expected string) setting.Form[[]string] {
	return setting.Form[[]string]{
		Takes: takes, Expected: expected,
		Parse: func(words []string) ([]string, bool) { return words, len(words) == 2 },
		Fault: func(values []string) (string, bool) { return "words: " + strconv.Itoa(len(values)), len(values) != 2 },
	}
}

// Provision replaces placeholders, and reads the files. It opens no connection.
func (n *NATS) Provision(ctx caddy.Context) (err error) {
	if err = n.Settings().Check(); err == nil {
		n.config, err = n.filled()
	}
	if err == nil {
		check := n.config
		check.Prefix = cmp.Or(check.Prefix, "any")
		_, err = nats.New(check, nil)
	}
	if err != nil {
		return fmt.Errorf("broker nats: %w", err)
	}
	if n.showsSecret() {
		ctx.Logger().Warn("the configuration and its dumps contain secrets of NATS in clear text; use placeholders like {env.NATS_TOKEN}")
	}
	return nil
}

// filled returns the configuration with its placeholders replaced.
func (n *NATS) filled() (nats.Config, error) {
	c := nats.Config{Prefix: n.Prefix, Credentials: n.Credentials, NKey: n.NKey, Token: n.Token, CA: n.CA, URLs: slices.Clone(n.URLs)}
	if len(n.User) == 2 {
		c.User, c.Password = n.User[0], n.User[1]
	}
	if len(n.ClientCert) == 2 {
		c.Certificate, c.Key = n.ClientCert[0], n.ClientCert[1]
	}
	var errs []error
	fill := func(name string, text *string) {
		filled, err := setting.Fill(*text)
		if *text = filled; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	for i := range c.URLs {
		fill("URL", &c.URLs[i])
	}
	fill("credentials", &c.Credentials)
	fill("nkey", &c.NKey)
	fill("token", &c.Token)
	fill("user", &c.User)
	fill("user", &c.Password)
	fill("ca", &c.CA)
	fill("client_cert", &c.Certificate)
	fill("client_cert", &c.Key)
	c.Name, _ = os.Hostname() // for the server's operator
	return c, errors.Join(errs...)
}

// showsSecret reports whether a secret is no placeholder.
func (n *NATS) showsSecret() bool {
	return n.Token != "" && n.config.Token == n.Token || len(n.User) == 2 && n.config.Password == n.User[1] ||
		slices.ContainsFunc(n.URLs, func(url string) bool { return setting.HasPassword(url) && slices.Contains(n.config.URLs, url) })
}

// Key identifies the broker. It shows no secret.
func (n *NATS) Key() string { return "nats " + hashed(fmt.Sprintf("%q", n.config)) }

// identityTimeout bounds the question for a database's name.
const identityTimeout = 10 * time.Second

// Broker makes the broker of a store.
func (n *NATS) Broker(store assistant.Store, log *zap.Logger) (assistant.Broker, error) {
	config := n.config
	var own assistant.Broker = nobody{}
	if s, ok := store.(*postgres.Store); ok {
		var err error
		if own, err = s.Broker("", log); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), identityTimeout)
		defer cancel()
		if config.Prefix == "" {
			name, err := s.Identity(ctx)
			if err != nil {
				return nil, fmt.Errorf("name of the database: %w", err)
			}
			config.Prefix = "caddy_assistant." + name[:8]
		}
	}
	fast, err := nats.New(config, log)
	if err != nil {
		return nil, fmt.Errorf("broker nats: %w", err)
	}
	return assistant.WithFallback(fast, own), nil
}

// UnmarshalCaddyfile reads:
//
//	broker nats <url...> { … }
func (n *NATS) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // nats
	if n.URLs = d.RemainingArgs(); len(n.URLs) == 0 {
		return d.Errf("broker nats: expected one or more URLs like nats://host:4222, found nothing")
	}
	return n.Settings().ReadBlock(d, "broker nats")
}

var (
	_ caddy.Provisioner     = (*NATS)(nil)
	_ caddyfile.Unmarshaler = (*NATS)(nil)
)

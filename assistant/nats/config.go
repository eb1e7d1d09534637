package nats

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Config says where NATS is, and who we are there.
type Config struct {
	// URLs are servers of one NATS cluster: nats://, tls://, ws:// or wss://. The others of the cluster are learnt from
	// them.
	URLs []string
	// Prefix begins all subjects. Clusters that share a NATS must have different ones.
	Prefix string
	// Name is the connection's, for the server's operator.
	Name string

	// Credentials is a file with a user's JWT and key. It is read again at each connection, as all files are.
	Credentials string
	// NKey is a file with the seed of an nkey.
	NKey string
	// Token is a secret.
	Token string
	// User and Password are a pair.
	User, Password string

	// CA is a file with the certificates that the server's may be signed by. It asks for TLS. Default: the system's
	CA string
	// Certificate and Key are files with a client certificate. They ask for TLS.
	Certificate, Key string
}

// IsPrefix reports whether text may begin subjects: letters, digits, _ and -, in parts with dots between them.
func IsPrefix(text string) bool { return prefixForm.MatchString(text) && len(text) <= 200 }

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

var schemes = []string{"nats", "tls", "ws", "wss"}

// ParseURL reads the address of a server. The error shows no secret.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil: // whose words quote the text
		return nil, errors.New("expected a URL like nats://host:4222, found something else (it is not shown, for it may hold a password)")
	case !slices.Contains(schemes, u.Scheme) || u.Hostname() == "":
		return nil, fmt.Errorf("expected a URL like nats://host:4222 or tls://host:4222, found %q", Redacted(text))
	}
	return u, nil
}

// Redacted returns an address without what comes before its @.
func Redacted(text string) string {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "", text
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = "…" + rest[at:]
	}
	if found {
		rest = scheme + "://" + rest
	}
	return rest
}

// urls returns the addresses of the servers.
func (c Config) urls() (all []*url.URL, err error) {
	for _, text := range c.URLs {
		u, err := ParseURL(text)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	if len(all) == 0 {
		return nil, errors.New("expected a URL like nats://host:4222, found nothing")
	}
	return all, nil
}

// options checks the configuration.
func (c Config) options() ([]natsio.Option, error) {
	if _, err := c.urls(); err != nil {
		return nil, err
	}
	switch {
	case !IsPrefix(c.Prefix):
		return nil, fmt.Errorf("prefix: expected letters, digits, _ and -, with dots between, found %q", c.Prefix)
	case (c.Certificate == "") != (c.Key == ""):
		return nil, errors.New("client certificate: expected its file and its key's, found one of them")
	case c.Password != "" && c.User == "":
		return nil, errors.New("expected a user with the password, found none")
	case c.ways() > 1:
		return nil, fmt.Errorf("expected one of credentials, nkey, token and user, found %d", c.ways())
	}
	o := []natsio.Option{
		natsio.Name(cmp.Or(c.Name, "caddy-assistant")),
		natsio.MaxReconnects(-1), natsio.RetryOnFailedConnect(true), natsio.IgnoreAuthErrorAbort(),
		natsio.ReconnectBufSize(-1), // what waited for a connection would come too late
		natsio.ReconnectWait(250 * time.Millisecond), natsio.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		natsio.PingInterval(5 * time.Second), natsio.MaxPingsOutstanding(2), // a server that is gone is noticed in 15 s, not in 6 min
		natsio.Timeout(connectTimeout), natsio.FlusherTimeout(5 * time.Second),
		natsio.SkipHostLookup(), // the dialer does it, and can be interrupted
	}
	auth, err := c.auth()
	if err != nil {
		return nil, err
	}
	o = append(o, auth...)
	if c.CA != "" {
		o = append(o, natsio.RootCAs(c.CA))
	}
	if c.Certificate != "" {
		o = append(o, natsio.ClientCert(c.Certificate, c.Key))
	}
	settings := natsio.GetDefaultOptions()
	for _, option := range o {
		if err := option(&settings); err != nil { // files that cannot be read
			return nil, fmt.Errorf("TLS: %w", err)
		}
	}
	return o, nil
}

const connectTimeout = 2 * time.Second

// ways is how many ways of authentication there are.
func (c Config) ways() (n int) {
	for _, given := range []string{c.Credentials, c.NKey, c.Token, c.User} {
		if given != "" {
			n++
		}
	}
	return n
}

func (c Config) auth() ([]natsio.Option, error) {
	switch {
	case c.Credentials != "":
		text, err := os.ReadFile(c.Credentials)
		if err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		_, errJWT := nkeys.ParseDecoratedJWT(text)
		if _, err := nkeys.ParseDecoratedNKey(text); err != nil || errJWT != nil {
			return nil, fmt.Errorf("credentials: expected a file with a JWT and its key, found %q", c.Credentials)
		}
		return []natsio.Option{natsio.UserCredentials(c.Credentials)}, nil
	case c.NKey != "":
		option, err := natsio.NkeyOptionFromSeed(c.NKey)
		if err != nil { // whose words may be about the key
			return nil, fmt.Errorf("nkey: expected a file with the seed of an nkey, found %q", c.NKey)
		}
		return []natsio.Option{option}, nil
	case c.Token != "":
		return []natsio.Option{natsio.Token(c.Token)}, nil
	case c.User != "":
		return []natsio.Option{natsio.UserInfo(c.User, c.Password)}, nil
	}
	return nil, nil
}

// plain returns a server on another machine to which texts may go without TLS, or "".
func (c Config) plain() string {
	all, _ := c.urls()
	if c.CA != "" || c.Certificate != "" || slices.ContainsFunc(all, func(u *url.URL) bool { return u.Scheme == "tls" || u.Scheme == "wss" }) {
		return ""
	}
	for _, u := range all {
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return u.Host
		}
	}
	return ""
}

// scrub returns an error's text without the secrets of the configuration.
func (c Config) scrub(err error) string {
	text := err.Error()
	secrets := []string{c.Token, c.Password}
	all, _ := c.urls()
	for _, u := range all {
		password, _ := u.User.Password()
		secrets = append(secrets, password)
		if password == "" { // nats://token@host
			secrets = append(secrets, u.User.Username())
		}
	}
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return text
}

package nats

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/brokertest"
	"github.com/caddy-assistant/caddy-assistant/assistant/nats"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

const secret = "hunter2-secret"

// write writes a file for the test.
func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keyPair returns a new key of a kind, its public half and its seed.
func keyPair(t *testing.T, create func() (nkeys.KeyPair, error)) (kp nkeys.KeyPair, public string, seed []byte) {
	t.Helper()
	kp, err := create()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = kp.PublicKey(); err != nil {
		t.Fatal(err)
	}
	if seed, err = kp.Seed(); err != nil {
		t.Fatal(err)
	}
	return kp, public, seed
}

// operated returns a server's options with an operator and an account, and a user's credentials.
func operated(t *testing.T) (options *server.Options, credentials []byte) {
	t.Helper()
	operator, operatorPublic, _ := keyPair(t, nkeys.CreateOperator)
	account, accountPublic, _ := keyPair(t, nkeys.CreateAccount)
	_, userPublic, userSeed := keyPair(t, nkeys.CreateUser)
	encode := func(c jwt.Claims, by nkeys.KeyPair) string {
		text, err := c.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	operatorClaims, err := jwt.DecodeOperatorClaims(encode(jwt.NewOperatorClaims(operatorPublic), operator))
	if err != nil {
		t.Fatal(err)
	}
	accounts := &server.MemAccResolver{}
	if err := accounts.Store(accountPublic, encode(jwt.NewAccountClaims(accountPublic), operator)); err != nil {
		t.Fatal(err)
	}
	credentials, err = jwt.FormatUserConfig(encode(jwt.NewUserClaims(userPublic), account), userSeed)
	if err != nil {
		t.Fatal(err)
	}
	return &server.Options{TrustedOperators: []*jwt.OperatorClaims{operatorClaims}, AccountResolver: accounts}, credentials
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string
}

// issue returns a certificate for 127.0.0.1 in files; the first is the authority's own.
func (a *authority) issue(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if a.certificate == nil {
		template.IsCA, template.BasicConstraintsValid = true, true
		a.certificate, a.key = template, k
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		write(t, name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := new(authority)
	a.file, _ = a.issue(t, "authority")
	return a
}

// TestAuthentication connects in each way that there is, and fails to with something else: nothing that is secret shows
// in the log.
func TestAuthentication(t *testing.T) {
	jwtOptions, credentials := operated(t)
	_, otherCredentials := operated(t)
	_, nkeyPublic, nkeySeed := keyPair(t, nkeys.CreateUser)
	_, _, otherSeed := keyPair(t, nkeys.CreateUser)
	ca, otherCA := newAuthority(t), newAuthority(t)
	serverCertificate, serverKey := ca.issue(t, "server")
	clientCertificate, clientKey := ca.issue(t, "client")
	otherCertificate, otherKey := otherCA.issue(t, "other")
	pair, err := tls.LoadX509KeyPair(serverCertificate, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parse(t, ca.file))
	secured := &server.Options{TLS: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}}
	for name, test := range map[string]struct {
		options      *server.Options
		right, wrong nats.Config
		inURL        string
	}{
		"credentials": {options: jwtOptions, right: nats.Config{Credentials: write(t, "right", credentials)}, wrong: nats.Config{Credentials: write(t, "wrong", otherCredentials)}},
		"nkey": {
			options: &server.Options{Nkeys: []*server.NkeyUser{{Nkey: nkeyPublic}}},
			right:   nats.Config{NKey: write(t, "right", nkeySeed)}, wrong: nats.Config{NKey: write(t, "wrong", otherSeed)},
		},
		"token": {options: &server.Options{Authorization: secret}, right: nats.Config{Token: secret}, wrong: nats.Config{Token: secret + "x"}},
		"user": {
			options: &server.Options{Username: "node", Password: secret},
			right:   nats.Config{User: "node", Password: secret}, wrong: nats.Config{User: "node", Password: secret + "x"},
		},
		"user in the URL":  {options: &server.Options{Username: "node", Password: secret}, right: nats.Config{URLs: []string{"node:" + secret}}, wrong: nats.Config{URLs: []string{"node:" + secret + "x"}}},
		"token in the URL": {options: &server.Options{Authorization: secret}, right: nats.Config{URLs: []string{secret}}, wrong: nats.Config{URLs: []string{secret + "x"}}},
		"certificate": {
			options: secured,
			right:   nats.Config{CA: ca.file, Certificate: clientCertificate, Key: clientKey},
			wrong:   nats.Config{CA: ca.file, Certificate: otherCertificate, Key: otherKey},
		},
		"authority": {
			options: secured,
			right:   nats.Config{CA: ca.file, Certificate: clientCertificate, Key: clientKey},
			wrong:   nats.Config{CA: otherCA.file, Certificate: clientCertificate, Key: clientKey},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, url := startServer(t, test.options)
			connect := func(c nats.Config) (*brokertest.Node, *observer.ObservedLogs) {
				if c.Prefix = "test"; len(c.URLs) > 0 {
					c.URLs = []string{strings.Replace(url, "://", "://"+c.URLs[0]+"@", 1)}
				} else {
					c.URLs = []string{url}
				}
				core, logs := observer.New(zap.DebugLevel)
				b, err := nats.New(c, zap.New(core))
				if err != nil {
					t.Fatal(err)
				}
				return brokertest.OpenNode(t, b, 0), logs
			}
			a, _ := connect(test.right)
			b, _ := connect(test.right)
			call(t, a, b)
			wrong, logs := connect(test.wrong)
			brokertest.Eventually(t, "the reason is logged", func() bool { return logs.FilterMessage("connecting to NATS failed").Len() > 0 })
			if wrong.Up() {
				t.Error("a node without the right to connect is up")
			}
			for _, entry := range logs.All() {
				if text := entry.Message + " " + entryText(entry); strings.Contains(text, secret) {
					t.Errorf("the log has a secret: %s", text)
				}
			}
		})
	}
}

func entryText(e observer.LoggedEntry) string {
	var text strings.Builder
	for key, value := range e.ContextMap() {
		text.WriteString(key + "=")
		if s, ok := value.(string); ok {
			text.WriteString(s + " ")
		}
	}
	return text.String()
}

func parse(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRightsComeLater: a node that the server refused, again and again, is up when it no longer does.
func TestRightsComeLater(t *testing.T) {
	s, url := startServer(t, &server.Options{Username: "node", Password: "old"})
	core, logs := observer.New(zap.DebugLevel)
	b, err := nats.New(nats.Config{URLs: []string{url}, Prefix: "test", User: "node", Password: "new"}, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	n := brokertest.OpenNode(t, b, 0)
	brokertest.Eventually(t, "it has tried several times", func() bool { return tries(t, s) > 4 })
	if n.Up() {
		t.Fatal("a node without the right to connect is up")
	}
	if failures := logs.FilterMessage("connecting to NATS failed").Len(); failures != 1 {
		t.Errorf("one reason was logged %d times", failures)
	}
	options := &server.Options{Host: "127.0.0.1", Username: "node", Password: "new", NoLog: true, NoSigs: true, Port: s.Addr().(*net.TCPAddr).Port}
	if err := s.ReloadOptions(options); err != nil {
		t.Fatal(err)
	}
	brokertest.Eventually(t, "the broker is up", n.Up)
}

// tries is how many connections a server has had.
func tries(t *testing.T, s *server.Server) uint64 {
	t.Helper()
	v, err := s.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.TotalConnections
}

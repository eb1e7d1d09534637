package openai

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// answering is a handler that answers every question, after check has seen the request.
func answering(t *testing.T, check func(r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		check(r)
		reply := &reply{ResponseWriter: w, r: r}
		reply.Stream(piece("Hello"), finish("stop"), done)
	}
}

// expectAnswer asks a provider of c.
func expectAnswer(t *testing.T, c Config) {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if a := ask(t.Context(), p); a.text != "Hello" || a.finish != assistant.FinishStop || a.err != nil {
		t.Errorf("got %+v", a)
	}
}

// TestAzure checks that the documented settings for Azure make the requests that Azure expects: the path of the
// deployment, the version in the query, the key in a header of its own and in no other.
func TestAzure(t *testing.T) {
	server := httptest.NewServer(answering(t, func(r *http.Request) {
		if r.URL.Path != "/openai/deployments/chat/chat/completions" || r.URL.RawQuery != "api-version=2024-10-21" {
			t.Errorf("asked %s", r.URL)
		}
		if got := r.Header.Get("api-key"); got != canary || r.Header.Get("Authorization") != "" {
			t.Errorf("api-key %q, Authorization %q", got, r.Header.Get("Authorization"))
		}
	}))
	defer server.Close()
	expectAnswer(t, Config{
		BaseURL: server.URL + "/openai/deployments/chat", Header: map[string]string{"api-key": canary}, Query: map[string]string{"api-version": "2024-10-21"},
	})
}

// TestHeaders checks that a header of one's own stands in place of the provider's.
func TestHeaders(t *testing.T) {
	server := httptest.NewServer(answering(t, func(r *http.Request) {
		if got := r.Header.Values("Authorization"); len(got) != 1 || got[0] != "Basic abc" {
			t.Errorf("Authorization %q", got)
		}
		if got := r.Header.Get("x-portkey-config"); got != `{"retry": 2}` {
			t.Errorf("x-portkey-config %q", got)
		}
		if got := r.URL.Query().Get("a"); got != "b&c" {
			t.Errorf("query %q", r.URL.RawQuery)
		}
	}))
	defer server.Close()
	expectAnswer(t, Config{
		BaseURL: server.URL + "/v1", APIKey: canary, Query: map[string]string{"a": "b&c"},
		Header: map[string]string{"Authorization": "Basic abc", "x-portkey-config": `{"retry": 2}`},
	})
}

// TestUnixSocket asks a server at a Unix socket, with and without a path.
func TestUnixSocket(t *testing.T) {
	for suffix, want := range map[string]string{"": "/v1/chat/completions", ":/openai/v2/": "/openai/v2/chat/completions"} {
		socket := filepath.Join(t.TempDir(), "model.sock")
		listener, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(answering(t, func(r *http.Request) {
			if r.URL.Path != want {
				t.Errorf("asked %s, want %s", r.URL.Path, want)
			}
		}))
		server.Listener = listener
		server.Start()
		expectAnswer(t, Config{BaseURL: "unix/" + socket + suffix})
		server.Close()
	}
}

// TestProxy asks through a proxy, with its name and password, and keeps the password out of errors.
func TestProxy(t *testing.T) {
	asked := 0
	proxy := httptest.NewServer(answering(t, func(r *http.Request) {
		asked++
		if r.URL.Host != "model.test" {
			t.Errorf("asked the proxy for %s", r.URL)
		}
		request := http.Request{Header: http.Header{"Authorization": r.Header.Values("Proxy-Authorization")}}
		if user, password, _ := request.BasicAuth(); user != "ann" || password != canary {
			t.Errorf("the proxy got %s, %s", user, password)
		}
	}))
	defer proxy.Close()
	u, _ := url.Parse(proxy.URL)
	expectAnswer(t, Config{BaseURL: "http://model.test/v1", Proxy: "http://ann:" + canary + "@" + u.Host})
	if asked != 1 {
		t.Errorf("the proxy was asked %d times", asked)
	}
}

// TestTunnel asks an HTTPS server through a proxy's tunnel.
func TestTunnel(t *testing.T) {
	server := httptest.NewTLSServer(answering(t, func(*http.Request) {}))
	defer server.Close()
	ca := writePEM(t, "CERTIFICATE", server.Certificate().Raw)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tunnelled := make(chan string, 1)
	go func() {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = near.Close() }()
		reader := bufio.NewReader(near)
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		tunnelled <- request.Method + " " + request.Host
		far, err := net.Dial("tcp", request.Host)
		if err != nil {
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = io.Copy(far, reader)
			_ = far.Close()
		}()
		_, _ = io.Copy(near, far)
		_ = near.Close()
		<-sent
	}()
	defer func() { _ = listener.Close() }()
	expectAnswer(t, Config{BaseURL: server.URL + "/v1", Proxy: "http://" + listener.Addr().String(), TLS: &TLS{CA: ca}})
	if got, want := <-tunnelled, "CONNECT "+server.Listener.Addr().String(); got != want {
		t.Errorf("the proxy got %s, want %s", got, want)
	}
}

// TestTLS asks a server whose certificate comes from an authority of one's own, and which wants one of the client.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "caddy"}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(answering(t, func(r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) != 1 || r.TLS.PeerCertificates[0].Subject.CommonName != "caddy" {
			t.Error("no client certificate")
		}
	}))
	server.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	server.TLS.ClientCAs.AddCert(client)
	server.StartTLS()
	defer server.Close()

	ca := writePEM(t, "CERTIFICATE", server.Certificate().Raw)
	cert, keyFile := writePEM(t, "CERTIFICATE", der), writePEM(t, "PRIVATE KEY", keyDER)
	expectAnswer(t, Config{BaseURL: server.URL + "/v1", TLS: &TLS{CA: ca, ClientCert: []string{cert, keyFile}}})

	zero := 0
	for name, config := range map[string]*TLS{"no authority": {ClientCert: []string{cert, keyFile}}, "no client certificate": {CA: ca}} {
		p, err := New(Config{BaseURL: server.URL + "/v1", MaxRetries: &zero, TLS: config})
		if err != nil {
			t.Fatal(err)
		}
		if a := ask(t.Context(), p); a.err == nil || a.text != "" {
			t.Errorf("%s: got %+v", name, a)
		}
		_ = p.Close()
	}

	for want, config := range map[string]*TLS{
		"tls: ca: open ": {CA: filepath.Join(t.TempDir(), "none.pem")},
		"tls: ca: expected a file with certificat":                        {CA: keyFile},
		"tls: client_cert: expected the certificate's file and its key's": {ClientCert: []string{cert}},
		"tls: client_cert: tls: ":                                         {ClientCert: []string{cert, cert}},
	} {
		if _, err := New(Config{BaseURL: server.URL, TLS: config}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestSecrets checks that errors repeat nothing of what the settings hide, and that a short dummy key is no secret: it
// would be cut out of every word.
func TestSecrets(t *testing.T) {
	const key, header, query, password = "key-0123456789", "header-0123456789", "query-0123456789", "password-0123456789"
	c := Config{
		APIKey: key, Header: map[string]string{"x-key": "Token " + header}, Query: map[string]string{"code": query},
		Proxy: "http://ann:" + password + "@proxy.test",
	}
	got := newSecrets(c).redact("a " + key + " b " + header + " c " + query + " d " + password + " e")
	if want := "a [redacted] b [redacted] c [redacted] d [redacted] e"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, dummy := range []string{"x", "none", "EMPTY", "ollama"} {
		const text = "the next server says: none of the EMPTY boxes, ollama"
		if got := newSecrets(Config{APIKey: dummy}).redact(text); got != text {
			t.Errorf("with the key %q the log says %q", dummy, got)
		}
	}
}

// TestUnknownFinish checks that a finish reason that nobody knows is logged, once for each answer and cut.
func TestUnknownFinish(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	strange := "satisfied by " + canary + strings.Repeat("!", 1000)
	serve(t, Config{Logger: zap.New(core)}, func(w *reply) {
		w.Stream(piece("Hello"), finish(strange), finish(strange), done)
	}, func(t *testing.T, p *Provider, _ *upstream) {
		for range 2 {
			if a := ask(t.Context(), p); a.finish != assistant.FinishStop || a.err != nil {
				t.Errorf("got %+v", a)
			}
		}
	})
	if logs.Len() != 2 {
		t.Errorf("%d lines", logs.Len())
	}
	for _, line := range logs.All() {
		reason, _ := line.ContextMap()["finish_reason"].(string)
		if line.Level != zap.WarnLevel || len(reason) > 150 || !strings.HasPrefix(reason, "satisfied by [redacted]!") || line.ContextMap()["model"] != "gpt-4o" {
			t.Errorf("%s %v", line.Message, line.ContextMap())
		}
	}
}

package harness

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// Protocols are the versions of HTTP that a socket can come by.
var Protocols = []string{"HTTP/1.1", "HTTP/2", "HTTP/3"}

// StartSecure runs Caddy with one site of the given directives by HTTPS, in all [Protocols]. Its certificate
// is trusted by nobody.
func StartSecure(t testing.TB, directives string) *Caddy {
	t.Helper()
	file := Certificate(t)
	c := Start(t, "https://{$SITE} {\nbind 127.0.0.1\ntls "+file+" "+file+"\n"+directives+"\n}\n", "GODEBUG=http2xconnect=1")
	c.secure = true
	return c
}

// Certificate is a file with a certificate for 127.0.0.1, which nobody trusts, and its key.
func Certificate(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})...)
	file := filepath.Join(t.TempDir(), "certificate.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// clientBy is an HTTP client of one version, whose upgrades to WebSocket work with each.
func clientBy(t testing.TB, protocol string) *http.Client {
	t.Helper()
	anyCertificate := &tls.Config{InsecureSkipVerify: true}
	switch protocol {
	case "HTTP/2":
		//nolint:staticcheck // http.Transport refuses a header named :protocol
		transport := &http2.Transport{TLSClientConfig: anyCertificate}
		t.Cleanup(transport.CloseIdleConnections) //nolint:staticcheck // as above
		return &http.Client{Transport: extendedConnect{transport, http.Header{":protocol": {"websocket"}}, ""}}
	case "HTTP/3":
		transport := &http3.Transport{TLSClientConfig: anyCertificate}
		t.Cleanup(func() { transport.Close() })
		return &http.Client{Transport: extendedConnect{transport, nil, "websocket"}}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: anyCertificate}}
}

// extendedConnect makes an upgrade of HTTP/1.1 an extended CONNECT (RFC 8441, RFC 9220), and the answer one of
// HTTP/1.1.
type extendedConnect struct {
	http.RoundTripper
	header http.Header // HTTP/2 names the protocol in a header,
	proto  string      // quic-go in the request's Proto
}

func (e extendedConnect) RoundTrip(upgrade *http.Request) (*http.Response, error) {
	key := upgrade.Header.Get("Sec-WebSocket-Key")
	received, sent := io.Pipe()
	r := upgrade.Clone(context.WithoutCancel(upgrade.Context())) // which ends when the handshake has
	r.Method, r.Body, r.Proto = http.MethodConnect, received, e.proto
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key"} {
		r.Header.Del(name)
	}
	maps.Copy(r.Header, e.header)
	response, err := e.RoundTripper.RoundTrip(r)
	if err != nil || response.StatusCode != http.StatusOK {
		return response, err
	}
	accept := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	response.StatusCode = http.StatusSwitchingProtocols
	response.Header.Set("Connection", "Upgrade")
	response.Header.Set("Upgrade", "websocket")
	response.Header.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(accept[:]))
	response.Body = stream{bufio.NewReader(response.Body), sent, response.Body}
	return response, nil
}

// stream is both halves of a request.
type stream struct {
	io.Reader
	*io.PipeWriter
	body io.Closer
}

func (s stream) Close() error {
	s.PipeWriter.Close()
	return s.body.Close()
}

package openai

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// maxHeader is how much of a response's header is read, in bytes; net/http's own bound is 10 MB.
	maxHeader = 64 << 10
	// readSize is how much of an answer is read at once, in bytes: some fifty chunks, where a service sends them fast.
	// With net/http's default of 4 KB it would be twelve.
	readSize = 16 << 10
)

// TLS is what a server of one's own may need. The files are read once, by [New].
type TLS struct {
	// The file with the certificates, in PEM, of the authorities that the server's certificate may come from. Default:
	// the system's
	CA string `json:"ca,omitempty"`
	// Two files in PEM: the certificate that the server is shown, and its key. Default: none
	ClientCert []string `json:"client_cert,omitempty"`
}

// newTransport returns the transport of one provider. HTTP_PROXY and the like are ignored.
func newTransport(c Config) (*http.Transport, error) {
	config, err := c.TLS.config()
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		ReadBufferSize:         readSize,
		// HTTP/2 if TLS negotiates it. With HTTP/1.1 each answer has its own connection: keeping only
		// net/http's default of 2 idle ones would open a new one for nearly every short answer.
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
		// Without pings a connection that died silently would swallow every request sent on it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second},
		// A compressor holds back pieces until it has enough of them.
		DisableCompression: true,
	}
	if socket, _, isUnix := cutUnix(c.baseURL()); isUnix {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	} else if proxy := c.proxyURL(); proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
	}
	return transport, nil
}

// config returns nil where nothing is set.
func (t *TLS) config() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, expected("ca", "a file with certificates in PEM", t.CA)
		}
	}
	if t.ClientCert != nil {
		if len(t.ClientCert) != 2 {
			return nil, expected("client_cert", "the certificate's file and its key's", strings.Join(t.ClientCert, " "))
		}
		certificate, err := tls.LoadX509KeyPair(t.ClientCert[0], t.ClientCert[1])
		if err != nil {
			return nil, fmt.Errorf("client_cert: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// cutUnix splits a base URL that is a Unix socket, as unix//run/model.sock or unix//run/model.sock:/openai/v1, into the
// socket's path and the URL's, which is /v1 where it is not given.
func cutUnix(baseURL string) (socket, path string, ok bool) {
	socket, ok = strings.CutPrefix(baseURL, "unix/")
	if !ok {
		return "", "", false
	}
	if before, after, found := strings.Cut(socket, ":/"); found {
		return before, "/" + after, true
	}
	return socket, "/v1", true
}

// requestURL returns the base URL for HTTP; the host of a Unix socket means nothing.
func (c Config) requestURL() string {
	if _, path, ok := cutUnix(c.baseURL()); ok {
		return "http://localhost" + path
	}
	return c.baseURL()
}

// proxyURL returns nil where there is none.
func (c Config) proxyURL() *url.URL {
	if u, err := url.Parse(c.Proxy); err == nil && c.Proxy != "" {
		return u
	}
	return nil
}

func (c Config) checkProxy() error {
	if c.Proxy == "" {
		return nil
	}
	if _, _, isUnix := cutUnix(c.baseURL()); isUnix {
		return errors.New("proxy: expected none with a Unix socket as base_url")
	}
	u := c.proxyURL()
	if u == nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return expected("proxy", "an http, https or socks5 URL", redactURL(c.Proxy))
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return nil
	default:
		return expected("proxy", "an http, https or socks5 URL", redactURL(c.Proxy))
	}
}

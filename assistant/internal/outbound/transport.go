package outbound

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// MaxResponse is how much of a response is read, in bytes.
	MaxResponse = 4 << 20
	// maxHeader is how much of a response's header is read, in bytes.
	maxHeader = 64 << 10
	// maxDial is how long a connection, and the handshake of TLS, may take.
	maxDial = 10 * time.Second
)

// ErrTooLarge says that a response is larger than [MaxResponse].
var ErrTooLarge = errors.New("the response is larger than 4 MiB")

// NewTransport returns a transport that waits for a response's header for at most timeout. HTTP_PROXY and the like are
// ignored: who is asked is said by the configuration alone.
func NewTransport(timeout time.Duration) *http.Transport {
	dialer := net.Dialer{Timeout: min(maxDial, timeout), KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    min(maxDial, timeout),
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // a bound on what is sent is one on what is read
	}
}

// Stay is the CheckRedirect of a client that follows no redirect.
func Stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Bounded returns a body that fails with [ErrTooLarge] behind [MaxResponse] bytes.
func Bounded(body io.ReadCloser) io.ReadCloser { return &bounded{body, MaxResponse} }

type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if n > b.left {
		n, err = b.left, ErrTooLarge
	}
	b.left -= n
	return n, err
}

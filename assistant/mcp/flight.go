package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
)

// flight is what the transport has seen of one request, which the SDK's errors do not say.
type flight struct {
	sent   atomic.Bool  // some of it may have reached the server
	status atomic.Int32 // of the response; 0 = there was none
}

type flightKey struct{}

// follow returns a context whose first request is followed.
func follow(ctx context.Context) (context.Context, *flight) {
	f := new(flight)
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { f.sent.Store(true) }}
	return httptrace.WithClientTrace(context.WithValue(ctx, flightKey{}, f), trace), f
}

// refused reports whether the server's HTTP status says that it did nothing. The other 4xx are given after a wait.
func (f *flight) refused() bool {
	status := int(f.status.Load())
	return status >= 300 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusConflict && status != 499
}

// tripper sends the requests of one session: it adds the header, and bounds what comes back.
type tripper struct {
	next   http.RoundTripper
	header http.Header
	tokens *tokens // nil = none are needed
}

func (t *tripper) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	maps.Copy(req.Header, t.header)
	if t.tokens != nil {
		authorization, err := t.tokens.header()
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", authorization)
	}
	res, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusUnauthorized && t.tokens != nil {
		t.tokens.refused()
	}
	if f, ok := req.Context().Value(flightKey{}).(*flight); ok && req.Method == http.MethodPost {
		f.status.CompareAndSwap(0, int32(res.StatusCode))
	}
	return bound(req, res), nil
}

// bound bounds what is read of a response. A stream of notifications has no end, but a bound for each.
func bound(req *http.Request, res *http.Response) *http.Response {
	if req.Header.Get("Mcp-Method") == "subscriptions/listen" && res.StatusCode < http.StatusMultipleChoices {
		return res
	}
	res.Body = outbound.Bounded(res.Body)
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); req.Method == http.MethodPost && kind == "application/json" {
		return readWhole(res)
	}
	return res
}

// readWhole reads a response of JSON. One that is too large, cut short or something else becomes a status that the SDK
// takes for a fault of this request alone; it would break the session, and with it all other calls.
func readWhole(res *http.Response) *http.Response {
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if len(body) > 0 && !json.Valid(body) {
		err = errors.Join(err, errors.New("no JSON"))
	}
	if err != nil {
		res.StatusCode, res.Status, body = http.StatusBadGateway, "502 Bad Gateway", nil
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return res
}

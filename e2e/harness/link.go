package harness

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Link is the network between a node and a server, which can fail: a proxy of toxiproxy v2.5.0 (of September 2022; it
// does what it is for and has had no reason to change). A [Relay] only ends connections; a Link can also keep them and
// let nothing through, which looks to both sides as a network does that has lost its way.
type Link struct {
	Addr string // where the node connects

	proxy *toxiproxy.Proxy
}

// NewLink passes connections on to a server until the test ends.
func NewLink(t testing.TB, target string) *Link {
	t.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &Link{Addr: FreeAddr(t)}
	l.proxy = toxiproxy.NewProxy(api, "link", l.Addr, target)
	if err := l.proxy.Start(); err != nil {
		t.Fatalf("start a proxy: %v", err)
	}
	t.Cleanup(l.proxy.Stop)
	return l
}

// Cut lets nothing through, in both directions, and ends no connection: what is sent is lost. Connections that are
// opened meanwhile are accepted, and as silent.
func (l *Link) Cut(t testing.TB) {
	t.Helper()
	l.add(t, `{"name": "cut up", "type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`)
	l.add(t, `{"name": "cut down", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`)
}

// CutReplies lets nothing through from the server to the node: what the node sends still arrives.
func (l *Link) CutReplies(t testing.TB) {
	t.Helper()
	l.add(t, `{"name": "cut down", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`)
}

// Slow delays what comes from the server by about latency, give or take jitter.
func (l *Link) Slow(t testing.TB, latency, jitter time.Duration) {
	t.Helper()
	l.add(t, fmt.Sprintf(`{"name": "slow", "type": "latency", "attributes": {"latency": %d, "jitter": %d}}`, latency.Milliseconds(), jitter.Milliseconds()))
}

// Refuse ends all connections and refuses new ones.
func (l *Link) Refuse() { l.proxy.Stop() }

// Mend lets everything through again. Connections that lost something end.
func (l *Link) Mend(t testing.TB) {
	t.Helper()
	l.proxy.Toxics.ResetToxics(context.Background()) // also after the test's context
	if err := l.proxy.Start(); err != nil && err != toxiproxy.ErrProxyAlreadyStarted {
		t.Fatalf("start a proxy again: %v", err)
	}
}

func (l *Link) add(t testing.TB, toxic string) {
	t.Helper()
	if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		t.Fatalf("add a toxic: %v", err)
	}
}

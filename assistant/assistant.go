package assistant

import (
	"cmp"
	"context"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"go.uber.org/zap"
)

// Config is one generation of settings. Zero values mean the defaults.
type Config struct {
	// Provider answers the questions. Required.
	Provider Provider
	// MaxPending is how many questions of one conversation may wait while another is answered. Default: 8.
	MaxPending int
	// Logger gets one line for each session and each answer. Default: none.
	Logger *zap.Logger
}

// Assistant serves sessions with one generation of settings. It is safe for concurrent use.
type Assistant struct {
	hub        *Hub
	provider   Provider
	maxPending int
	log        *zap.Logger
	protocol   *wire.Protocol[*request]
}

// New makes an Assistant whose sessions live in hub.
func New(hub *Hub, c Config) *Assistant {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return &Assistant{
		hub: hub, provider: c.Provider, maxPending: cmp.Or(c.MaxPending, 8), log: c.Logger,
		protocol: newProtocol(),
	}
}

// Peer is who is at the other end of a session, resolved from the request that opened it.
type Peer struct {
	RemoteAddr   string // for the log
	Instructions string // the system message for this peer; empty = none
}

// Serve runs a session on conn until either side ends it, and closes conn. It returns why it ended:
// io.EOF when the peer left in order.
func (a *Assistant) Serve(conn Conn, peer Peer) error {
	s := newSession(a, conn, peer)
	started := time.Now()
	stop := context.AfterFunc(s.ctx, s.wake) // whatever ends the session, the writer says goodbye
	defer stop()
	s.cancel(s.readLoop())
	<-s.closed
	cause := context.Cause(s.ctx)
	a.log.Info("session ended", zap.String("remote_addr", peer.RemoteAddr), zap.NamedError("cause", cause),
		zap.Int("close_code", closeCode(cause)), zap.Duration("duration", time.Since(started)))
	return cause
}

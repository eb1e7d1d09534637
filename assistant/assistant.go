package assistant

import (
	"cmp"
	"context"
	"net/netip"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"go.uber.org/zap"
)

// Config is one generation of settings. Zero values mean the defaults.
type Config struct {
	// Provider answers the questions. Required.
	Provider Provider
	// Instructions is the system message as a template, which [Peer.Resolve] fills. Default: none.
	Instructions string
	// MaxPending is how many questions of one conversation may wait while another is answered. Default: 8.
	MaxPending int
	// Rate limits questions. Default: no limit.
	Rate Rate
	// Budget limits tokens. A question that needs more than is left is refused; an answer that comes to the end
	// of the budget ends there. Default: no limit.
	Budget Budget
	// MaxConnections is how many connections Admit lets be open at once. Default: no limit.
	MaxConnections int
	// MaxConnectionsPerUser is how many of them each user may have, or each network of anonymous clients.
	// Default: no limit.
	MaxConnectionsPerUser int
	// MaxQuestionLength is the longest question, in characters. Default: no limit but Context.
	MaxQuestionLength int
	// MaxMessages is how many messages a stored conversation may have, questions and answers. Default: no limit.
	MaxMessages int
	// Context is how much of a conversation the model is told, in tokens, instructions and question
	// included: the newest whole turns that fit. A question that does not fit is refused. Tokens are
	// estimated, four characters each. Default: 16000.
	Context int
	// ModelTitles has the model name new conversations; otherwise their first question does.
	ModelTitles bool
	// Strict stores every piece of an answer before it is shown. Otherwise a crash may lose what was
	// shown last: 250 ms or 2 KiB.
	Strict bool
	// CancelAlone stops an answer at once when the last socket of its conversation goes.
	CancelAlone bool
	// FinishAlone is how long an answer may go on without any socket, unless CancelAlone. Default: 5 min.
	FinishAlone time.Duration
	// ResumeWindow is how long the events of an answer are kept after its end, so that a client that
	// comes back misses nothing. Default: 10 min.
	ResumeWindow time.Duration
	// Logger gets one line for each session and each answer. Default: none.
	Logger *zap.Logger
	// LogContent lets Logger have the texts of users and models too, at debug level.
	LogContent bool
	// Observer is told what happens. Default: [NoObserver].
	Observer Observer
}

const defaultResumeWindow = 10 * time.Minute

// Assistant serves sessions with one generation of settings. It is safe for concurrent use.
type Assistant struct {
	Config
	hub      *Hub
	protocol *wire.Protocol[*request]
}

// New makes an Assistant whose sessions live in hub.
func New(hub *Hub, c Config) *Assistant {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Observer == nil {
		c.Observer = NoObserver{}
	}
	c.MaxPending = cmp.Or(c.MaxPending, 8)
	c.Context = cmp.Or(c.Context, 16000)
	if c.Budget.Tokens > 0 {
		c.Context = min(c.Context, c.Budget.Tokens) // or a long conversation could never go on
	}
	c.FinishAlone = cmp.Or(c.FinishAlone, 5*time.Minute)
	c.ResumeWindow = cmp.Or(c.ResumeWindow, defaultResumeWindow)
	return &Assistant{Config: c, hub: hub, protocol: newProtocol()}
}

// Peer is who is at the other end of a session, resolved from the request that opened it.
type Peer struct {
	RemoteAddr string     // for the log
	ClientIP   netip.Addr // whom limits count where User is ""; the zero Addr where there is none
	User       string     // owner of the conversations; "" = anonymous
	// Conversation binds the session to one stored conversation of the user's; "" does not.
	Conversation string
	// Resolve fills the placeholders of a template for this peer. nil leaves it as it is. It is called
	// by one goroutine at a time.
	Resolve func(template string) string
	// Context holds what an [Observer] knows the request by, such as its trace: only its values count.
	// nil = nothing.
	Context context.Context
}

func (p Peer) instructions(template string) string {
	if p.Resolve == nil {
		return template
	}
	return p.Resolve(template)
}

// Allowed returns ErrNotFound when the user has no conversation of this id.
func (a *Assistant) Allowed(ctx context.Context, user, id string) error {
	return a.hub.allowed(ctx, user, id)
}

// Serve runs a session on conn until either side ends it, and closes conn. It returns why it ended:
// io.EOF when the peer left in order.
func (a *Assistant) Serve(conn Conn, peer Peer) error {
	s := newSession(a, conn, peer)
	stop := context.AfterFunc(s.ctx, s.wake) // whatever ends the session, the writer says goodbye
	defer stop()
	a.hub.enter(s)
	defer a.hub.leave(s)
	a.Observer.Opened(peer)
	s.cancel(s.readLoop())
	<-s.closed
	s.releaseAll()
	s.lags(false)
	summary := s.summary()
	a.Observer.Closed(peer, summary)
	s.logEnd(summary)
	return summary.Err
}

package conversation

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"github.com/caddy-assistant/caddy-assistant/assistant/window"
	"go.uber.org/zap"
)

// Config is one generation of settings. Zero values mean the defaults.
type Config struct {
	// Provider answers the questions. Required.
	Provider assistant.Provider
	// Instructions is the system message as a template, which [assistant.Peer] fills. Default: none.
	Instructions string
	// MaxPending is how many questions of one conversation may wait while another is answered. Default: 8.
	MaxPending int
	// Rate limits questions. Default: no limit.
	Rate limits.Rate
	// WriteRate limits how many conversations are created, renamed and deleted. Default: no limit.
	WriteRate limits.Rate
	// Networks says what the network of an anonymous client is, for limits. Default: an IPv4 address, or 64 bits of
	// an IPv6 address.
	Networks limits.Networks
	// Budget limits tokens. A question that needs more than is left is refused; an answer that comes to the end
	// of the budget ends there. Default: no limit.
	Budget limits.Budget
	// MaxConnections is how many connections Admit lets be open at once on this node: it protects the process. Default: no
	// limit.
	MaxConnections int
	// MaxConnectionsPerUser is how many connections each user may have, or each network of anonymous clients, on all nodes
	// together. Default: no limit.
	MaxConnectionsPerUser int
	// MaxQuestionLength is the longest question, in characters. Default: no limit but Context.
	MaxQuestionLength int
	// MaxAnswer is the longest answer, in characters of text and reasoning: it ends there, with the finish reason
	// length. Default: 200,000.
	MaxAnswer int
	// MaxMessages is how many messages a stored conversation may have, questions and answers. Default: no limit.
	MaxMessages int
	// Context is how much of a conversation the model receives, in tokens, instructions and question
	// included: the newest whole turns that fit. A question that does not fit is refused. Tokens are
	// estimated, four characters each. Default: 16000.
	Context int
	// Files says which files questions may have. Default: none.
	Files Files
	// ContextFiles is how many images and PDFs of earlier questions the model receives, the newest; of the others it gets
	// their names. -1 is none. Default: 4.
	ContextFiles int
	// ImageTokens is what an image counts, in tokens, until the service says what it has cost. Default: 1000.
	ImageTokens int
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
	// LogContent also logs message texts, at debug level.
	LogContent bool
	// ReasoningLive shows a model's reasoning while it streams, and does not store it. Otherwise it is stored
	// with its answer.
	ReasoningLive bool
	// Tools are what models may call. Default: none.
	Tools assistant.Tools
	// ClientTools lets clients bring tools of their own.
	ClientTools bool
	// ToolsForAnonymous offers tools that need approval to anonymous clients, too: these approve their own calls.
	ToolsForAnonymous bool
	// MaxSteps is how often a model is asked for one answer. Each time but the last it may call tools. Default: 8.
	MaxSteps int
	// MaxParallel is how many calls of one answer are made at once. Default: 4.
	MaxParallel int
	// ToolTimeout bounds a call of a tool. Default: 30 s.
	ToolTimeout time.Duration
	// ApprovalTimeout is how long a call of a tool waits for approval. Then it is denied. Default: 24 h.
	ApprovalTimeout time.Duration
	// Observer follows what happens. Default: [assistant.NoObserver].
	Observer assistant.Observer
}

const defaultResumeWindow = 10 * time.Minute

// Assistant is one generation of settings of a [Hub]. It is safe for concurrent use.
type Assistant struct {
	Config
	hub *Hub

	hidesTools sync.Once // for the log
}

// New makes an Assistant for what lives in hub. The first one is used at once; a later one after [Hub.Use].
func New(hub *Hub, c Config) *Assistant {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Observer == nil {
		c.Observer = assistant.NoObserver{}
	}
	c.MaxPending = cmp.Or(c.MaxPending, 8)
	c.MaxAnswer = cmp.Or(c.MaxAnswer, 200_000)
	c.Context = cmp.Or(c.Context, 16000)
	if c.Budget.Tokens > 0 {
		c.Context = min(c.Context, c.Budget.Input()) // or a long conversation could never go on
	}
	c.Files.setDefaults()
	c.ContextFiles = cmp.Or(c.ContextFiles, 4)
	c.ImageTokens = cmp.Or(c.ImageTokens, 1000)
	c.MaxSteps = cmp.Or(c.MaxSteps, 8)
	c.MaxParallel = cmp.Or(c.MaxParallel, 4)
	c.ToolTimeout = cmp.Or(c.ToolTimeout, 30*time.Second)
	c.ApprovalTimeout = cmp.Or(c.ApprovalTimeout, 24*time.Hour)
	c.FinishAlone = cmp.Or(c.FinishAlone, 5*time.Minute)
	c.ResumeWindow = cmp.Or(c.ResumeWindow, defaultResumeWindow)
	a := &Assistant{Config: c, hub: hub}
	hub.current.CompareAndSwap(nil, a)
	return a
}

// Admit takes a place among the connections, before the upgrade; release gives it back, once. The error is
// [limits.ErrConnections] or [limits.ErrUserConnections]. Where MaxConnectionsPerUser is set, it waits for the store, a
// second at most.
func (a *Assistant) Admit(ctx context.Context, peer assistant.Peer) (release func(), err error) {
	return a.hub.accounts.Connect(ctx, a.Client(peer).Payer, a.MaxConnections, a.MaxConnectionsPerUser)
}

// Client returns whom limits count for a peer.
func (a *Assistant) Client(peer assistant.Peer) limits.Client {
	return a.Networks.ClientOf(peer.User, peer.ClientIP)
}

// Allowed returns [assistant.ErrNotFound] when the user has no conversation of this id.
func (a *Assistant) Allowed(ctx context.Context, user, id string) error {
	return a.hub.Allowed(ctx, user, id)
}

// Window returns how much of a conversation the model receives.
func (a *Assistant) Window() window.Window {
	return window.Window{Limit: a.Context, Files: a.ContextFiles, ImageTokens: a.ImageTokens}
}

// Hub returns what the assistant's conversations live in.
func (a *Assistant) Hub() *Hub { return a.hub }

// resumeWindow is ResumeWindow; the default where there are no settings yet.
func (a *Assistant) resumeWindow() time.Duration {
	if a == nil {
		return defaultResumeWindow
	}
	return a.ResumeWindow
}

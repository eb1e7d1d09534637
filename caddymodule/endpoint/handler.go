// Package endpoint is the handler that serves the assistant over WebSocket, and what its instances in one
// configuration and over reloads have in common.
package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/chain"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/toolset"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/observe"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// Handler upgrades requests to WebSocket and serves each connection with a streaming AI assistant.
//
// Match it by path only: the extended CONNECT of HTTP/2 and HTTP/3 is not a GET and has no Upgrade header. A
// request that is not a WebSocket handshake is answered with 426, one from a foreign origin with 403, each with a
// sentence of text; the site's handle_errors sees both. Foreign origins are logged, one in a minute. A GET that accepts JSON learns what a handshake would be answered, and
// the limits.
type Handler struct {
	// The channel's name in the AsyncAPI document: letters, digits and underscores. Handlers of the same name, such as
	// those of a site with several addresses, must have the same settings: then they are one. A reload may change the name
	// and keep the store. Default: assistants
	Name string `json:"name,omitempty"`

	// The channel's description in the AsyncAPI document. Default: AI Assistant WebSocket API
	Description string `json:"description,omitempty"`

	// The channel's tags in the AsyncAPI document. Default: ai chat
	Tags []string `json:"tags,omitempty"`

	// The path under which clients reach this handler, for the AsyncAPI document. A Caddyfile takes it from the
	// directive's path matcher. Default: /ws/assistants/
	Address string `json:"address,omitempty"`

	// The language models; at least one. Several are a chain, written as several provider blocks: while no text
	// has been sent, the next one is asked when one fails. A provider that fails three times in a row, or asks
	// for a pause, is passed over for a while. Two with the same name and model need a label.
	ProvidersRaw []json.RawMessage `json:"providers,omitempty" caddy:"namespace=http.assistant.providers inline_key=name"`

	// The system message that precedes every conversation. Placeholders are replaced when the connection
	// opens; unknown {…} stay as they are. Default: none
	Instructions string `json:"instructions,omitempty"`

	// How much of a conversation is sent to the model, in tokens: the newest whole turns that fit; the
	// instructions always stay. Tokens are estimated at four characters each. At least 100. Default: 16000
	Context int `json:"context,omitempty"`

	// How many images and PDFs of earlier questions are sent to the model again, the newest; of the others it gets the names.
	// Default: 4
	ContextImages *int `json:"context_images,omitempty"`

	// What an image counts for context and budget, in tokens, until the model's service says what it has cost.
	// Default: 1000
	ImageTokens int `json:"image_tokens,omitempty"`

	// Lets questions have images and files. Default: off
	Files *Files `json:"files,omitempty"`

	// What names a new conversation: its first "question", or the "model", which costs one more request.
	// Default: question
	Titles string `json:"titles,omitempty"`

	// Whether a model's reasoning is stored with its answer ("keep"), or only shown while it streams ("live").
	// Default: keep
	Reasoning string `json:"reasoning,omitempty"`

	// The tools that models may call: each is a source, such as an MCP server or one HTTP request. Calls that need
	// approval wait for the user, also over restarts, and no call is made twice. Default: none
	ToolsRaw []json.RawMessage `json:"tools,omitempty" caddy:"namespace=http.assistant.tools inline_key=name"`

	// Who may approve calls of tools. With "users", tools that need approval are not offered to models for visitors without
	// a user; with "anonymous" they are, and these visitors approve their own calls. Default: users
	ToolsFor string `json:"tools_for,omitempty"`

	// How often a model is asked for one answer; each time but the last it may call tools. Default: 8
	MaxSteps int `json:"max_steps,omitempty"`

	// How many calls of tools of one answer are made at once. Default: 4
	MaxParallel int `json:"max_parallel,omitempty"`

	// How long a call of a tool may take. Default: 30s
	ToolTimeout caddy.Duration `json:"tool_timeout,omitempty"`

	// How long a call of a tool waits for approval; then it is denied. Default: 24h
	ApprovalTimeout caddy.Duration `json:"approval_timeout,omitempty"`

	// Where conversations are kept. Default: memory
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=http.assistant.stores inline_key=name"`

	// How several servers that share a store reach each other: "postgres" through the database of store postgres, "nats"
	// through NATS, which is faster, and "local" not at all. Default: postgres with store postgres, else local
	BrokerRaw json.RawMessage `json:"broker,omitempty" caddy:"namespace=http.assistant.brokers inline_key=name"`

	// When pieces of an answer are stored. With "strict", each is stored before it is shown. With "default", a
	// crash may lose what was shown last, up to 250 ms or 2 KiB of it. Questions and finished answers are always
	// safe. Default: default
	Durability string `json:"durability,omitempty"`

	// What happens to a running answer of a stored conversation when its last socket closes. Default: finish 5m
	OnDisconnect *OnDisconnect `json:"on_disconnect,omitempty"`

	// The owner of a connection's conversations, with placeholders; an unknown placeholder is empty, and an empty
	// owner is anonymous. Behind forward_auth, use the header that it copies, such as
	// {http.request.header.Remote-User}. A name of more than 1024 bytes, or with control characters, is answered
	// with 400. Default: {http.auth.user.id}
	User string `json:"user,omitempty"`

	// Binds a connection to the stored conversation with this id, with placeholders, such as
	// {http.request.uri.query.conversation}. An empty id binds nothing; the id of another user's conversation is
	// answered with 404. Default: none
	Conversation string `json:"conversation,omitempty"`

	// How long conversations are kept after their last message. Default: 0, for ever
	Retention caddy.Duration `json:"retention,omitempty"`

	// The origins whose pages may connect, such as https://example.com; * means any. The list is complete: it
	// must include the site's own origin if its pages connect. The site's own is the host that the request names: on
	// a site without a name that is any, and the log warns of it. Default: the site's own
	Origins []string `json:"origins,omitempty"`

	// The largest message from a client, in bytes, up to 1 GiB; a larger one closes the connection with 1009.
	// Default: 1048576 (1MiB)
	MaxMessageSize int64 `json:"max_message_size,omitempty"`

	// Whether messages are compressed for clients that offer it (permessage-deflate). It costs time and
	// memory, and the pieces of an answer are too small to gain. Default: false
	Compression bool `json:"compression,omitempty"`

	// How many questions of one conversation may wait while another is answered; one more gets the error
	// busy. Default: 8
	MaxPending int `json:"max_pending,omitempty"`

	// How often an idle client is pinged. A client that is silent for twice as long is taken to be gone.
	// Default: 25s
	PingInterval caddy.Duration `json:"ping_interval,omitempty"`

	// How long one write may take. A client that reads too slowly for it is dropped. Default: 10s
	WriteTimeout caddy.Duration `json:"write_timeout,omitempty"`

	// How long running answers may go on when the server stops; after that they are stored as interrupted.
	// Stopping takes at most one second more. Default: 4s
	DrainTimeout caddy.Duration `json:"drain_timeout,omitempty"`

	// How long the events of an answer are kept after its end, for clients that reconnect. Default: 10m
	ResumeWindow caddy.Duration `json:"resume_window,omitempty"`

	// Also logs message texts, of users and models, at level DEBUG. Default: false
	LogContent bool `json:"log_content,omitempty"`

	// A path that tells the health to everybody: store, providers and whether the handler drains, as JSON, with
	// 200 where a balancer may send new clients and 503 where it should not. The handler must be reached by it; a
	// Caddyfile adds it to the directive's matcher. Default: none
	HealthPath string `json:"health,omitempty"`

	// How many questions each user may ask, regenerate included; one more gets the error rate_limited, which
	// says when to try again. A question that is refused or sent twice does not count. Default: no limit
	Rate *Rate `json:"rate,omitempty"`

	// How many conversations each user may create, rename and delete on this server; one more gets the error rate_limited.
	// Default: 60/1m 20
	WriteRate *WriteRate `json:"write_rate,omitempty"`

	// How many tokens each user may use: input and output of all answers and titles. The numbers are those that
	// the model's service reports, for answers that were cut too; without a report, four characters are a token.
	// A question that needs more than is left gets the error budget_exceeded. An answer that reaches the end of
	// the budget ends there, with the finish reason budget. What is used beyond the budget
	// is at most the last piece of each answer that is under way then, on all servers together. No request sends more of a
	// conversation than leaves an eighth of the budget, or 2,048 tokens, for the answer. Default: no limit
	Budget *Budget `json:"budget,omitempty"`

	// How many connections may be open at once, in total on this server, which protects its process, and per user on all
	// servers; one more is answered with 503 before the upgrade. A user is the value of the setting user or, where that is empty, the client's IP address (for
	// IPv6, the network that ipv6_prefix says). Behind a proxy this needs Caddy's trusted_proxies. What rate, budget and
	// per_user count survives a reload, also one that changes the limits. Store sqlite keeps it beyond a restart, and store
	// postgres for all servers that share the database; while the store is away, each server counts alone.
	// Default: no limit
	MaxConnections *MaxConnections `json:"max_connections,omitempty"`

	// How many bits of an IPv6 address name one client: its site chooses the others as it likes. As providers give
	// sites many of these networks, all of a wider one may together ask, create, rename and delete so many times as
	// much as one of them. Default: 64 48 16
	IPv6Prefix *IPv6Prefix `json:"ipv6_prefix,omitempty"`

	// The longest question, in characters; a longer one gets a validation error. Default: what context lets
	// through
	MaxQuestionLength int `json:"max_question_length,omitempty"`

	// The longest answer, in characters of text and reasoning. It ends there, with the finish reason length.
	// Default: 200000
	MaxAnswer int `json:"max_answer,omitempty"`

	// How many messages a stored conversation may have, questions and answers together; at least 2. A full
	// conversation answers a further question with the error conversation_full. Default: no limit
	MaxMessages int `json:"max_messages,omitempty"`

	health    caddyhttp.MatchPath // HealthPath; empty = none
	app       *App
	chain     *chain.Chain
	tools     toolset.Set
	starters  []Starter // of the tools
	ownTools  bool      // clients may bring tools of their own
	storeKey  string
	storeName string
	openStore func(context.Context) (assistant.Store, error)
	isShared  bool         // the store may be open in several processes
	broker    BrokerSource // nil where it may not
	settings  conversation.Config
	ctx       caddy.Context
	log       *zap.Logger
	anyHost   bool  // a site of the handler has no name
	place     Place // where clients reach the first of its sites
	warned    *warned
	first     *Handler // one of the same name and settings, which serves in place of this one; nil = there is none
	config    []byte   // what makes two handlers the same

	// set by start
	started   chan struct{} // closed then
	hub       *pooledHub
	assistant *conversation.Assistant
	previous  *conversation.Assistant // whose settings held before
}

func init() {
	caddy.RegisterModule(Handler{})
	httpcaddyfile.RegisterDirective("assistant", parseAssistant)
	// Before respond, which would shadow it where a site has one without a matcher.
	httpcaddyfile.RegisterDirectiveOrder("assistant", httpcaddyfile.Before, "respond")
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.assistant", New: func() caddy.Module { return new(Handler) }}
}

// Provision sets up h. It opens no connection and creates no file: start does.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.ctx, h.log, h.started, h.warned = ctx, ctx.Logger(), make(chan struct{}), new(warned)
	if err := h.SetDefaults(); err != nil {
		return err
	}
	var err error
	if h.first, err = loadedApp(ctx).First(h); err != nil {
		return err
	}
	if h.first != nil {
		h.first.anyHost = h.first.anyHost || onAnyHost(ctx)
		return nil
	}
	err = errors.Join(h.loadProviders(ctx), h.loadTools(ctx), h.loadStore(ctx))
	if err == nil {
		err = h.loadBroker(ctx)
	}
	if err != nil {
		return err
	}
	h.settings, h.anyHost, h.place = h.engine(), onAnyHost(ctx), placeOf(ctx)
	if h.HealthPath != "" {
		h.health = caddyhttp.MatchPath{h.HealthPath}
		err = h.health.Provision(ctx)
	}
	if err != nil {
		return err
	}
	if h.app, err = AppOf(ctx); err != nil {
		return err
	}
	return h.app.Add(h)
}

// start opens the store, unless an earlier configuration has opened it. From then on all sessions of the handler
// use h's settings, those of earlier configurations included.
func (h *Handler) start() (err error) {
	if h.hub, err = openHub(hubKey{store: h.storeKey, broker: h.brokerKey()}, h.openStore, h.broker, h.log.With(zap.String("handler", h.Name))); err != nil {
		return err
	}
	h.settings.Observer = observe.New(h.Name, h.storeName, h.hub.events)
	h.assistant = conversation.New(h.hub.Hub, h.settings)
	h.previous = h.hub.Use(h.assistant)
	observe.ProvidersHealthy.Add(h.hub.Hub)
	close(h.started)
	logHTTP2(h.log)
	if h.anyHost && len(h.Origins) == 0 {
		h.log.Warn("the site has no name: pages of any name that leads to this server may connect; give the site a name, or set origins",
			zap.String("handler", h.Name))
	}
	if h.Retention > 0 {
		h.hub.Sweep(h.ctx, time.Duration(h.Retention))
	}
	h.hub.Expire(h.ctx)
	for _, s := range h.starters {
		s.Start()
	}
	if h.hasFiles() {
		h.hub.SweepFiles(h.ctx)
	}
	return nil
}

// Hub returns what the handler is doing. The handler must have started; see [Running].
func (h *Handler) Hub() *conversation.Hub { return h.hub.Hub }

// Chain returns the handler's models.
func (h *Handler) Chain() *chain.Chain { return h.chain }

// Place returns where clients reach the first site of the handler.
func (h *Handler) Place() Place { return h.place }

// Tools returns what the handler's models may call.
func (h *Handler) Tools() assistant.Tools { return h.tools }

// Logger returns the handler's log.
func (h *Handler) Logger() *zap.Logger { return h.log }

// stop restores the settings that sessions had before start, unless a newer configuration has replaced h's: this
// configuration was refused after it had started.
func (h *Handler) stop() {
	if h.hub != nil && h.previous != nil && h.hub.Using() == h.assistant {
		h.hub.Use(h.previous)
	}
	h.previous = nil
}

func (h *Handler) drain(ctx context.Context) error {
	if h.hub == nil {
		return nil
	}
	all, cancel := context.WithTimeout(ctx, time.Duration(h.DrainTimeout)+time.Second)
	defer cancel()
	ctx, cancel = context.WithTimeout(all, time.Duration(h.DrainTimeout))
	defer cancel()
	err := h.hub.Close(ctx)
	h.hub.events.Flush(all)
	return err
}

// Cleanup returns the handler's reference to its hub. Connections have references of their own.
func (h *Handler) Cleanup() error {
	if h.hub != nil {
		h.stop()
		h.hub.leave(time.Duration(h.DrainTimeout))
	}
	return nil
}

var errStopping = &observe.RefusalError{Reason: "draining", Err: errors.New("server is stopping")}

// ServeHTTP upgrades the request. With HTTP/1.1 it returns while the session goes on in a goroutine of its own:
// this frees the stack of the middleware chain and net/http's buffers, and an idle connection costs less memory.
// The access log then shows when the socket opened, the handler's own log when and why it closed. With HTTP/2 and
// HTTP/3, ServeHTTP returns when the socket has closed.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	if h.first != nil {
		return h.first.ServeHTTP(w, r, next)
	}
	started := h.awaitStart(r.Context())
	if h.HealthPath != "" {
		switch isHealth, err := h.health.MatchWithError(r); { // as the route does: no other spelling may reach the socket
		case err != nil:
			return err
		case isHealth && started:
			return h.serveHealth(w, r)
		case isHealth:
			return unavailable(w, errStopping)
		}
	}
	if id, isFiles := h.filesPath(r); isFiles && started {
		return h.serveFiles(w, r, id)
	}
	isUpgrade := ws.IsUpgrade(r)
	inquiry := isInquiry(r)
	defer func() { h.refused(w, err, !inquiry) }()
	if inquiry && !h.mayInquire(w, r) {
		return h.refuse(w, r, http.StatusForbidden, errors.New("the page's origin is not allowed"))
	}
	if !started || h.hub.Draining() {
		return unavailable(w, errStopping)
	}
	peer := h.peer(r)
	if err := checkUser(peer.User); err != nil {
		return caddyhttp.Error(http.StatusBadRequest, err)
	}
	addLogFields(r.Context(), h.Name, peer)
	var release func() // of its place among the connections
	served := false
	if inquiry || isUpgrade {
		if release, err = h.admit(w, r, peer); err != nil {
			return err
		}
		defer func() {
			if !served {
				release()
			}
		}()
	}
	if inquiry {
		return h.answer(w, peer)
	}
	restore := liftIdleTimeouts(r)
	conn, err := ws.Upgrade(unrecorded(w), r, ws.Options{
		MaxMessageSize: h.MaxMessageSize, Origins: h.Origins, Compression: h.Compression,
		PingInterval: time.Duration(h.PingInterval), WriteTimeout: time.Duration(h.WriteTimeout),
	})
	if err != nil {
		restore()
		refused, _ := errors.AsType[*ws.HandshakeError](err)
		return h.refuse(w, r, refused.Status, err)
	}
	served = h.serve(conn, peer, r, release)
	return nil
}

// awaitStart waits for start, since requests may come before it. It returns false when the client gives up, or
// when the configuration is refused because something else could not start.
func (h *Handler) awaitStart(ctx context.Context) bool {
	select {
	case <-h.started:
		return true
	default:
	}
	select {
	case <-h.started:
		return true
	case <-h.ctx.Done():
	case <-ctx.Done():
	}
	return false
}

// admit checks before the upgrade what a client may do. It returns how to give up the place among the connections.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, peer assistant.Peer) (release func(), err error) {
	if peer.User == "" && !peer.ClientIP.IsValid() && h.limitsClients() {
		h.warned.together.Do(func() {
			h.log.Warn("clients without a user name are counted as one: a Unix socket has no addresses; if the proxy in front sends X-Forwarded-For, trust it by the global option servers { trusted_proxies_unix }",
				zap.String("handler", h.Name))
		})
	}
	if release, err = h.assistant.Admit(r.Context(), peer); err != nil {
		return nil, unavailable(w, &observe.RefusalError{Reason: "max_connections", Err: err})
	}
	if err := h.mayOpen(w, r, peer); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// refused says why a request is refused, if err is the reason: to the client, and to the metrics if it counts.
func (h *Handler) refused(w http.ResponseWriter, err error, counts bool) {
	reason, ok := observe.Refusal(err)
	if !ok {
		return
	}
	w.Header().Set(refusalHeader, reason)
	if counts {
		observe.Refused(h.Name, reason)
	}
}

// mayOpen checks before the upgrade that the conversation belongs to the user.
func (h *Handler) mayOpen(w http.ResponseWriter, r *http.Request, peer assistant.Peer) error {
	if peer.Conversation == "" {
		return nil
	}
	err := h.assistant.Allowed(r.Context(), peer.User, peer.Conversation)
	switch {
	case errors.Is(err, assistant.ErrNotFound):
		return caddyhttp.Error(http.StatusNotFound, errors.New("the user has no such conversation"))
	case err != nil:
		return unavailable(w, &observe.RefusalError{Reason: "storage_unavailable", Err: err})
	}
	return nil
}

func unavailable(w http.ResponseWriter, err error) error {
	w.Header().Set("Retry-After", "1")
	return caddyhttp.Error(http.StatusServiceUnavailable, err)
}

// peer returns what the session needs of the request, which does not outlive the upgrade.
func (h *Handler) peer(r *http.Request) assistant.Peer {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	p := assistant.Peer{
		RemoteAddr:   r.RemoteAddr,
		ClientIP:     clientIP(r),
		User:         UserName(repl.ReplaceAll(h.User, "")),
		Conversation: repl.ReplaceAll(h.Conversation, ""),
		Resolve:      resolveGlobal,
		Context:      observe.WithOrigin(r.Context()),
	}
	if strings.Contains(h.Instructions, "{") || h.tools != nil {
		// The replacer keeps the whole request in memory, so it is kept only when needed.
		var mu sync.Mutex // a replacer is for one goroutine at a time
		p.Resolve = func(template string) string {
			mu.Lock()
			defer mu.Unlock()
			return repl.ReplaceKnown(template, "")
		}
	}
	return p
}

// resolveGlobal replaces the placeholders that do not depend on a request. Connections use it if the instructions
// had no placeholders when they opened: should a reload add some, those of the request stay as they are.
func resolveGlobal(template string) string {
	if !strings.Contains(template, "{") {
		return template
	}
	return caddy.NewReplacer().ReplaceKnown(template, "")
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

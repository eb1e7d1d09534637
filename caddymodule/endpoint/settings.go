package endpoint

import (
	"math"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

// Settings is the table of the directive assistant: what stands here is what the Caddyfile and JSON allow, what
// holds by default, and what docs/settings.md lists. A setting more is a row here, a field of [Handler] and, where the
// engine has it, a line in engine.
func (h *Handler) Settings() setting.Table {
	return setting.Table{{
		{Name: "name", Value: channelName.Into(&h.Name), Default: "assistants", Help: "in the AsyncAPI document; handlers of one name are one, and have the same settings"},
		{Name: "description", Value: setting.Text("<text>").Into(&h.Description), Default: `"AI Assistant WebSocket API"`},
		{Name: "tags", Value: setting.Texts("<tag...>").Into(&h.Tags), Default: "ai chat"},
		{Name: "address", Value: path.Into(&h.Address), Default: "/ws/assistants/", Help: "where clients reach it, for the document; taken from the path matcher"},
	}, {
		{Name: "provider", Value: setting.Guests("openai | demo [<label>] { … }", "http.assistant.providers", &h.ProvidersRaw), Help: "required; several are a chain, a label distinguishes two of a kind"},
		{Name: "instructions", Value: setting.Text("<text>").Into(&h.Instructions), Without: "none", Help: "the system message; placeholders are filled, unknown {…} stay"},
		{Name: "context", Value: setting.Number[int]("<tokens>", 100, math.MaxInt32).Into(&h.Context), Default: "16000", Help: "sent to the model: the newest whole turns that fit, instructions always"},
		{Name: "context_images", Value: setting.Number[int]("<n>", 0, 100).IntoOptional(&h.ContextImages), Default: "4", Help: "images and PDFs of earlier questions that are sent, the newest"},
		{Name: "image_tokens", Value: setting.Number[int]("<tokens>", 1, 100000).Into(&h.ImageTokens), Default: "1000", Help: "what an image counts, until the model's service says"},
		{Name: "titles", Value: setting.Choice("question", "model").Into(&h.Titles), Default: "question", Help: "names a new conversation; model costs one more request"},
		{Name: "reasoning", Value: setting.Choice("keep", "live").Into(&h.Reasoning), Default: "keep", Help: "stored with the answer, or only shown while it streams"},
	}, {
		{Name: "files", Value: setting.SwitchedBlock(&h.Files, func(f *Files) *bool { return &f.Off }, (*Files).Settings), Without: "off", Help: "images and files in questions"},
	}, {
		{Name: "tools", Value: setting.Guests("mcp <label> { … } | http <name> { … } | client", "http.assistant.tools", &h.ToolsRaw), Without: "none", Help: "what models may call; any number"},
		{Name: "tools_for", Value: setting.Choice("users", "anonymous").Into(&h.ToolsFor), Default: "users", Help: "who may approve calls; with users, anonymous visitors are offered no tools that need it"},
		{Name: "max_steps", Value: setting.Number[int]("<n>", 1, 100).Into(&h.MaxSteps), Default: "8", Help: "how often a model is asked for one answer"},
		{Name: "max_parallel", Value: setting.Number[int]("<n>", 1, 100).Into(&h.MaxParallel), Default: "4", Help: "calls of one answer at once"},
		{Name: "tool_timeout", Value: setting.Duration().Into(&h.ToolTimeout), Default: "30s", Help: "of a call"},
		{Name: "approval_timeout", Value: setting.Duration().Into(&h.ApprovalTimeout), Default: "24h", Help: "then a call that waits is denied"},
	}, {
		{Name: "store", Value: setting.Guest("memory | sqlite [<path>] | postgres <dsn>", "http.assistant.stores", &h.StoreRaw), Default: "memory"},
		{Name: "broker", Value: setting.Guest("local | postgres [<direct dsn>] | nats <url...> { … }", "http.assistant.brokers", &h.BrokerRaw), Without: "postgres with store postgres, else local", Help: "how nodes that share the store reach each other"},
		{Name: "durability", Value: setting.Choice("default", "strict").Into(&h.Durability), Default: "default", Help: "strict stores every piece before it is shown"},
		{Name: "on_disconnect", Value: onDisconnect.IntoOptional(&h.OnDisconnect), Default: "finish 5m", Help: "answers without any socket"},
		{Name: "user", Value: setting.Text("<template>").Into(&h.User), Default: "{http.auth.user.id}", Help: "owner of conversations; empty = anonymous"},
		{Name: "conversation", Value: setting.Text("<template>").Into(&h.Conversation), Without: "none", Help: "binds a socket to a stored conversation, e.g. {query.conversation}"},
		{Name: "retention", Value: setting.DurationOrZero().Into(&h.Retention), Without: "0, for ever", Help: "after the last message"},
	}, {
		{Name: "origins", Value: origins.Into(&h.Origins), Without: "the site's own", Help: "whose pages may connect, a complete list; * = any"},
		{Name: "max_message_size", Value: setting.Size[int64]().Into(&h.MaxMessageSize), Default: "1MiB", Help: "a larger message closes the socket, also one that inflates to more"},
		{Name: "compression", Value: setting.Switch().Into(&h.Compression), Default: "off", Help: "permessage-deflate; pieces of an answer are too small to gain"},
		{Name: "max_pending", Value: setting.Number[int]("<n>", 1, math.MaxInt32).Into(&h.MaxPending), Default: "8", Help: "questions waiting in one conversation"},
		{Name: "ping_interval", Value: setting.Duration().Into(&h.PingInterval), Default: "25s", Help: "a client that is silent for twice that is gone"},
		{Name: "write_timeout", Value: setting.Duration().Into(&h.WriteTimeout), Default: "10s", Help: "a client that does not read is dropped"},
		{Name: "drain_timeout", Value: setting.Duration().Into(&h.DrainTimeout), Default: "4s", Help: "for running answers when the server stops"},
		{Name: "resume_window", Value: setting.Duration().Into(&h.ResumeWindow), Default: "10m", Help: "after an answer's end"},
		{Name: "log_content", Value: setting.Switch().Into(&h.LogContent), Default: "off", Help: "message texts in the log, at level DEBUG"},
		{Name: "health", Value: healthPath.Into(&h.HealthPath), Without: "none", Help: "where balancers ask whether this server may get new clients"},
	}, {
		{Name: "rate", Value: rate.IntoOptional(&h.Rate), Without: "no limit", Help: "questions of a user, e.g. 20/1m 5; burst is n where it is not given"},
		{Name: "write_rate", Value: writeRate.IntoOptional(&h.WriteRate), Default: "60/1m 20", Help: "conversations that a user creates, renames and deletes"},
		{Name: "budget", Value: budget.IntoOptional(&h.Budget), Without: "no limit", Help: "input and output tokens of a user, e.g. 100000/24h"},
		{Name: "max_connections", Value: maxConnections.IntoOptional(&h.MaxConnections), Without: "no limit", Help: "open sockets, above it 503; 0 = no limit"},
		{Name: "ipv6_prefix", Value: ipv6Prefix.IntoOptional(&h.IPv6Prefix), Default: "64 48 16", Help: "bits that name an anonymous client's network; times as much for all of a wider one"},
		{Name: "max_question_length", Value: setting.Number[int]("<characters>", 1, math.MaxInt32).Into(&h.MaxQuestionLength), Without: "what context lets through"},
		{Name: "max_answer", Value: setting.Number[int]("<characters>", 1, math.MaxInt32).Into(&h.MaxAnswer), Default: "200000", Help: "of text and reasoning; then the answer ends, with finish_reason length"},
		{Name: "max_messages", Value: setting.Number[int]("<n>", 2, math.MaxInt32).Into(&h.MaxMessages), Without: "no limit", Help: "in a stored conversation"},
	}}
}

// UnmarshalCaddyfile reads the directive assistant; its subdirectives are those of [Handler.Settings].
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return h.Settings().Read(d, "assistant")
}

// Validate checks what the types do not.
func (h *Handler) Validate() error { return h.Settings().Check() }

// SetDefaults fills in what is not configured.
func (h *Handler) SetDefaults() error {
	if err := h.Settings().SetDefaults(); err != nil {
		return err
	}
	h.OnDisconnect.setDefault()
	return nil
}

// engine returns the settings as the engine has them, without what start adds.
func (h *Handler) engine() conversation.Config {
	c := conversation.Config{
		Provider: h.chain, Instructions: h.Instructions, Context: h.Context, MaxPending: h.MaxPending,
		MaxQuestionLength: h.MaxQuestionLength, MaxAnswer: h.MaxAnswer, MaxMessages: h.MaxMessages,
		ModelTitles:   h.Titles == "model",
		ReasoningLive: h.Reasoning == "live",
		Strict:        h.Durability == "strict",
		CancelAlone:   h.OnDisconnect.Policy == "cancel",
		FinishAlone:   time.Duration(h.OnDisconnect.Max),
		ResumeWindow:  time.Duration(h.ResumeWindow),
		Logger:        h.log.With(zap.String("handler", h.Name)),
		LogContent:    h.LogContent,
		MaxSteps:      h.MaxSteps, MaxParallel: h.MaxParallel, ToolTimeout: time.Duration(h.ToolTimeout), ApprovalTimeout: time.Duration(h.ApprovalTimeout),
	}
	c.ClientTools, c.ToolsForAnonymous = h.ownTools, h.ToolsFor == "anonymous"
	if c.Files, c.ImageTokens = h.Files.engine(h.MaxMessageSize), h.ImageTokens; *h.ContextImages == 0 {
		c.ContextFiles = -1
	} else {
		c.ContextFiles = *h.ContextImages
	}
	if h.tools != nil {
		c.Tools = h.tools
	}
	if r := h.Rate; r != nil {
		c.Rate = limits.Rate{Count: r.Questions, Per: time.Duration(r.Per), Burst: r.Burst}
	}
	if r := h.WriteRate; r != nil {
		c.WriteRate = limits.Rate{Count: r.Writes, Per: time.Duration(r.Per), Burst: r.Burst}
	}
	if p := h.IPv6Prefix; p != nil {
		c.Networks = limits.Networks{Prefix: p.Bits, Wider: p.Wider, Times: p.Times}
	}
	if b := h.Budget; b != nil {
		c.Budget = limits.Budget{Tokens: b.Tokens, Per: time.Duration(b.Per)}
	}
	if m := h.MaxConnections; m != nil {
		c.MaxConnections, c.MaxConnectionsPerUser = m.Total, m.PerUser
	}
	return c
}

// channelName is an identifier in the AsyncAPI document.
var channelName = setting.Matching("<channel>", "letters, digits and underscores", regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString)

var healthPath = setting.Matching("<path>", "a path with a leading slash and without * { }", func(text string) bool {
	return strings.HasPrefix(text, "/") && !strings.ContainsAny(text, "*{}")
})

var path = setting.Matching("<path>", "a path with a leading slash", func(text string) bool { return strings.HasPrefix(text, "/") })

var origins = setting.AllMatching("<origin...>", "* or origins like https://example.com", func(origin string) bool {
	u, err := url.Parse(origin)
	return origin == "*" || err == nil && u.Scheme != "" && u.Host != "" && origin == u.Scheme+"://"+u.Host
})

var _ caddyfile.Unmarshaler = (*Handler)(nil)

package caddymodule

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

// OpenAI is a model behind OpenAI's chat completions or Responses API: OpenAI's own or any compatible
// server's, such as Ollama, llama.cpp, vLLM or LiteLLM.
//
// In api_key, organization, project and base_url, placeholders like {env.OPENAI_API_KEY} and
// {file./run/secrets/openai} are replaced when the configuration is loaded. What they stand for is in no
// configuration dump.
type OpenAI struct {
	openai.Config

	// The longest wait for the first piece of an answer, all retries included. Default: 60s
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The longest silence after that. Keep-alive comments of the service are no silence. Default: 30s
	StallTimeout caddy.Duration `json:"stall_timeout,omitempty"`

	// The longest time that one answer may take. Default: 10m
	MaxDuration caddy.Duration `json:"max_duration,omitempty"`

	provider *openai.Provider
}

// CaddyModule returns the Caddy module information.
func (OpenAI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.providers.openai", New: func() caddy.Module { return new(OpenAI) }}
}

// Provision makes the provider. It opens no connection.
//
// Without api_key the key is {env.OPENAI_API_KEY}, and without organization that is {env.OPENAI_ORG};
// but nothing of OpenAI's is sent to another server, where base_url is given.
func (o *OpenAI) Provision(ctx caddy.Context) error {
	repl := caddy.NewReplacer()
	c := o.Config
	c.BaseURL = repl.ReplaceAll(c.BaseURL, "")
	if c.BaseURL == "" {
		c.APIKey = cmp.Or(c.APIKey, "{env.OPENAI_API_KEY}")
		c.Organization = cmp.Or(c.Organization, "{env.OPENAI_ORG}")
	}
	key := repl.ReplaceAll(c.APIKey, "")
	if key == c.APIKey && key != "" {
		ctx.Logger().Warn("api_key stands in the configuration in clear text, and so in its dumps; use a placeholder like {env.OPENAI_API_KEY}")
	}
	c.APIKey = key
	c.Organization, c.Project = repl.ReplaceAll(c.Organization, ""), repl.ReplaceAll(c.Project, "")
	c.Timeout, c.StallTimeout, c.MaxDuration = time.Duration(o.Timeout), time.Duration(o.StallTimeout), time.Duration(o.MaxDuration)
	var err error
	if o.provider, err = openai.New(c); err != nil {
		return fmt.Errorf("provider %s: %w", strings.TrimSpace("openai "+o.Label), err)
	}
	s := o.provider.Source()
	ctx.Logger().Debug("provider ready", zap.String("provider", s.Provider), zap.String("model", s.Model))
	return nil
}

// Provider returns the model.
func (o *OpenAI) Provider() assistant.Provider { return o.provider }

// Cleanup lets idle connections go. Answers that still run keep theirs.
func (o *OpenAI) Cleanup() error {
	if o.provider == nil {
		return nil
	}
	return o.provider.Close()
}

// UnmarshalCaddyfile reads:
//
//	provider openai [<label>] {
//		api_key           <key>
//		organization      <id>
//		project           <id>
//		base_url          <url>
//		api               chat | responses
//		model             <name>
//		temperature       <0..2>
//		top_p             <0..1>
//		max_tokens        <n>
//		seed              <n>
//		stop              <text...>
//		reasoning_effort  <effort>
//		reasoning_summary auto | concise | detailed
//		extra             <field> <json>
//		max_retries       <n>
//		timeout           <duration>
//		stall_timeout     <duration>
//		max_duration      <duration>
//	}
//
// extra may be given several times, for several fields.
func (o *OpenAI) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return readProvider(d, &o.Label, subdirectives{
		"api_key":           func(p *params) error { return p.secret(&o.APIKey) },
		"organization":      func(p *params) error { return p.text(&o.Organization) },
		"project":           func(p *params) error { return p.text(&o.Project) },
		"base_url":          func(p *params) error { return p.text(&o.BaseURL) },
		"api":               func(p *params) error { return p.choice(&o.API, "chat", "responses") },
		"model":             func(p *params) error { return p.text(&o.Model) },
		"temperature":       func(p *params) error { return p.decimal(optional(&o.Temperature), 0, 2) },
		"top_p":             func(p *params) error { return p.decimal(optional(&o.TopP), 0, 1) },
		"max_tokens":        func(p *params) error { return number(p, &o.MaxTokens, 1, math.MaxInt32) },
		"seed":              func(p *params) error { return number(p, optional(&o.Seed), math.MinInt64, math.MaxInt64) },
		"stop":              func(p *params) error { return p.texts(&o.Stop) },
		"reasoning_effort":  func(p *params) error { return p.text(&o.ReasoningEffort) },
		"reasoning_summary": func(p *params) error { return p.choice(&o.ReasoningSummary, "auto", "concise", "detailed") },
		"extra":             o.unmarshalExtra,
		"max_retries":       func(p *params) error { return number(p, optional(&o.MaxRetries), 0, 10) },
		"timeout":           func(p *params) error { return p.duration(&o.Timeout) },
		"stall_timeout":     func(p *params) error { return p.duration(&o.StallTimeout) },
		"max_duration":      func(p *params) error { return p.duration(&o.MaxDuration) },
	}, "extra")
}

func (o *OpenAI) unmarshalExtra(p *params) error {
	const what = "a field and a JSON value"
	if err := p.take(2, what); err != nil {
		return err
	}
	field, value := p.args[0], p.args[1]
	if !json.Valid([]byte(value)) {
		return p.expected(what)
	}
	if _, twice := o.Extra[field]; twice {
		return p.Errf("%s: %s is given twice", p.name, field)
	}
	if o.Extra == nil {
		o.Extra = map[string]json.RawMessage{}
	}
	o.Extra[field] = json.RawMessage(value)
	return nil
}

var (
	_ ProviderSource        = (*OpenAI)(nil)
	_ caddy.Provisioner     = (*OpenAI)(nil)
	_ caddy.CleanerUpper    = (*OpenAI)(nil)
	_ caddyfile.Unmarshaler = (*OpenAI)(nil)
)

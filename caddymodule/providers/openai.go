// Package providers makes the language models guest modules of the assistant handler.
package providers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

func init() { caddy.RegisterModule(OpenAI{}) }

// OpenAI is a model behind OpenAI's chat completions or Responses API: OpenAI's own or any compatible
// server's, such as Ollama, llama.cpp, vLLM or LiteLLM.
//
// In api_key, organization, project and base_url, placeholders like {env.OPENAI_API_KEY} and
// {file./run/secrets/openai} are replaced when the configuration is loaded. Dumps of the configuration do not show
// their values.
type OpenAI struct {
	openai.Config

	// The longest wait for the first piece of an answer, all retries included. Default: 60s
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The longest silence between pieces. Keep-alive comments of the service end a silence. Default: 30s
	StallTimeout caddy.Duration `json:"stall_timeout,omitempty"`

	// How long one answer may take. Default: 10m
	MaxDuration caddy.Duration `json:"max_duration,omitempty"`

	provider *openai.Provider
}

// CaddyModule returns the Caddy module information.
func (OpenAI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.assistant.providers.openai", New: func() caddy.Module { return new(OpenAI) }}
}

// Settings is the table of provider openai.
func (o *OpenAI) Settings() setting.Table {
	return setting.Table{{
		{Name: "api_key", Value: setting.Secret("<key>", &o.APIKey), Without: "{env.OPENAI_API_KEY}, unless base_url is given"},
		{Name: "organization", Value: setting.Text("<id>").Into(&o.Organization), Without: "{env.OPENAI_ORG}, unless base_url is given"},
		{Name: "project", Value: setting.Text("<id>").Into(&o.Project), Without: "the key's own"},
		{Name: "base_url", Value: setting.Text("<url>").Into(&o.BaseURL), Without: "https://api.openai.com/v1"},
		{Name: "api", Value: setting.Choice("chat", "responses").Into(&o.API), Default: "chat", Help: "responses has neither seed nor stop"},
		{Name: "model", Value: setting.Text("<name>").Into(&o.Model), Default: "gpt-4o"},
		{Name: "temperature", Value: setting.Decimal(0, 2).IntoOptional(&o.Temperature), Without: "0.7; for reasoning models, the service's"},
		{Name: "top_p", Value: setting.Decimal(0, 1).IntoOptional(&o.TopP), Without: "the service's"},
		{Name: "max_tokens", Value: setting.Number[int64]("<n>", 1, math.MaxInt32).Into(&o.MaxTokens), Without: "the service's", Help: "the longest answer"},
		{Name: "seed", Value: setting.Number[int64]("<n>", math.MinInt64, math.MaxInt64).IntoOptional(&o.Seed), Without: "a new one each time"},
		{Name: "stop", Value: setting.Texts("<text...>").Into(&o.Stop), Without: "none", Help: "texts before which the model stops"},
		{Name: "reasoning_effort", Value: setting.Text("<effort>").Into(&o.ReasoningEffort), Without: "the service's", Help: "such as low, medium or high"},
		{Name: "reasoning_summary", Value: setting.Choice("auto", "concise", "detailed").Into(&o.ReasoningSummary), Without: "none", Help: "with api responses; OpenAI wants a verified organization"},
		{Name: "extra", Value: setting.Pair("<field> <json>", "a field and a JSON value", &o.Extra, parseJSON), Help: "any further field of the request; may be repeated"},
		{Name: "max_retries", Value: setting.Number[int]("<n>", 0, 10).IntoOptional(&o.MaxRetries), Default: "2", Help: "before the first piece only"},
		{Name: "timeout", Value: setting.Duration().Into(&o.Timeout), Default: "60s", Help: "to the first piece"},
		{Name: "stall_timeout", Value: setting.Duration().Into(&o.StallTimeout), Default: "30s", Help: "between pieces"},
		{Name: "max_duration", Value: setting.Duration().Into(&o.MaxDuration), Default: "10m", Help: "of one answer"},
	}}
}

// Provision makes the provider. It opens no connection.
//
// Without api_key the key is {env.OPENAI_API_KEY}, and without organization the organization is {env.OPENAI_ORG}.
// With base_url neither is, since nothing of OpenAI's may be sent to another server.
func (o *OpenAI) Provision(ctx caddy.Context) error {
	if err := cmp.Or(o.Settings().Check(), o.Settings().SetDefaults()); err != nil {
		return fmt.Errorf("%s: %w", o.title(), err)
	}
	repl := caddy.NewReplacer()
	c := o.Config
	c.BaseURL = repl.ReplaceAll(c.BaseURL, "")
	if c.BaseURL == "" {
		c.APIKey = cmp.Or(c.APIKey, "{env.OPENAI_API_KEY}")
		c.Organization = cmp.Or(c.Organization, "{env.OPENAI_ORG}")
	}
	key := repl.ReplaceAll(c.APIKey, "")
	if key == c.APIKey && key != "" {
		ctx.Logger().Warn("the configuration and its dumps contain api_key in clear text; use a placeholder like {env.OPENAI_API_KEY}")
	}
	c.APIKey = key
	c.Organization, c.Project = repl.ReplaceAll(c.Organization, ""), repl.ReplaceAll(c.Project, "")
	c.Timeout, c.StallTimeout, c.MaxDuration = time.Duration(o.Timeout), time.Duration(o.StallTimeout), time.Duration(o.MaxDuration)
	var err error
	if o.provider, err = openai.New(c); err != nil {
		return fmt.Errorf("%s: %w", o.title(), err)
	}
	s := o.provider.Source()
	ctx.Logger().Debug("provider ready", zap.String("provider", s.Provider), zap.String("model", s.Model))
	return nil
}

// title names the provider in messages.
func (o *OpenAI) title() string { return strings.TrimSpace("provider openai " + o.Label) }

// Provider returns the model.
func (o *OpenAI) Provider() assistant.Provider { return o.provider }

// Cleanup closes idle connections. Running answers keep theirs.
func (o *OpenAI) Cleanup() error {
	if o.provider == nil {
		return nil
	}
	return o.provider.Close()
}

// UnmarshalCaddyfile reads provider openai [<label>] and its block.
func (o *OpenAI) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return o.Settings().ReadLabelled(d, "provider openai", &o.Label)
}

func parseJSON(word string) (json.RawMessage, bool) {
	return json.RawMessage(word), json.Valid([]byte(word))
}

var (
	_ caddy.Provisioner     = (*OpenAI)(nil)
	_ caddy.CleanerUpper    = (*OpenAI)(nil)
	_ caddyfile.Unmarshaler = (*OpenAI)(nil)
)

// Package providers makes the language models guest modules of the assistant handler.
package providers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strings"

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
// In all texts, placeholders like {env.OPENAI_API_KEY} and {file./run/secrets/openai} are replaced when the configuration
// is loaded. Dumps of the configuration do not show their values. One that stands for nothing is an error, except in
// api_key with base_url, and in organization and project.
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
		{Name: "organization", Value: loaded("<id>").Into(&o.Organization), Without: "{env.OPENAI_ORG}, unless base_url is given"},
		{Name: "project", Value: loaded("<id>").Into(&o.Project), Without: "the key's own"},
		{Name: "base_url", Value: baseURL.Into(&o.BaseURL), Without: "https://api.openai.com/v1", Help: "a Unix socket is unix//run/model.sock"},
		{Name: "header", Value: setting.SecretPair("<name> <value>", "a name and a value, in quotes where it has spaces", &o.Header), Help: "of every request, such as api-key for Azure; may be repeated"},
		{Name: "query", Value: setting.SecretPair("<name> <value>", "a name and a value, in quotes where it has spaces", &o.Query), Help: "in every request's URL, such as api-version for Azure; may be repeated"},
		{Name: "proxy", Value: setting.Secret("<url>", &o.Proxy), Without: "none", Help: "to the service: http, https or socks5"},
		{Name: "tls", Value: setting.Block(&o.TLS, tlsSettings), Without: "the system's authorities", Help: "ca <file>; client_cert <file> <key file>"},
		{Name: "api", Value: setting.Choice("chat", "responses").Into(&o.API), Default: "chat", Help: "responses has neither seed nor stop"},
		{Name: "model", Value: loaded("<name>").Into(&o.Model), Default: "gpt-4o"},
		{Name: "temperature", Value: temperature().IntoOptional(&o.Temperature), Without: "0.7 at OpenAI; the service's with base_url, top_p or a reasoning model"},
		{Name: "top_p", Value: setting.Decimal(0, 1).IntoOptional(&o.TopP), Without: "the service's"},
		{Name: "max_tokens", Value: setting.Number[int64]("<n>", 1, math.MaxInt32).Into(&o.MaxTokens), Without: "the service's", Help: "the longest answer"},
		{Name: "seed", Value: setting.Number[int64]("<n>", math.MinInt64, math.MaxInt64).IntoOptional(&o.Seed), Without: "a new one each time"},
		{Name: "stop", Value: setting.AllMatching("<text...>", "one or more values, with placeholders that are known when the configuration is loaded, such as {env.NAME}", isStop).Into(&o.Stop), Without: "none", Help: "texts before which the model stops"},
		{Name: "reasoning_effort", Value: loaded("<effort>").Into(&o.ReasoningEffort), Without: "the service's", Help: "such as low, medium or high"},
		{Name: "reasoning_summary", Value: setting.Choice("auto", "concise", "detailed").Into(&o.ReasoningSummary), Without: "none", Help: "with api responses; OpenAI wants a verified organization"},
		{Name: "think_tags", Value: setting.Switch().Into(&o.ThinkTags), Default: "off", Help: "<think>…</think> at the start of the text is reasoning"},
		{Name: "hosted", Value: setting.Each(hosted(), &o.Hosted), Without: "none", Help: "tools of OpenAI's, with api responses; may be repeated"},
		{Name: "accepts", Value: accepts.Into(&o.Accepts), Without: "text image pdf at OpenAI, text with base_url", Help: "what questions may have"},
		{Name: "extra", Value: setting.Pair("<field> <json>", "a field and a JSON value", &o.Extra, parseJSON), Help: "any further field of the request; may be repeated"},
		{Name: "max_retries", Value: setting.Number[int]("<n>", 0, 10).IntoOptional(&o.MaxRetries), Default: "2", Help: "before the first piece only"},
		{Name: "timeout", Value: setting.Duration().Into(&o.Timeout), Default: "60s", Help: "to the first piece"},
		{Name: "stall_timeout", Value: setting.Duration().Into(&o.StallTimeout), Default: "30s", Help: "between pieces"},
		{Name: "max_duration", Value: setting.Duration().Into(&o.MaxDuration), Default: "10m", Help: "of one answer"},
	}}
}

// hosted is a tool, and of what.
func hosted() setting.Form[openai.Hosted] {
	return setting.Form[openai.Hosted]{
		Takes: "web_search [<domain...>] | file_search <vector store...> | code_interpreter", Expected: "web_search, file_search or code_interpreter, and of what",
		Parse: func(words []string) (openai.Hosted, bool) {
			if len(words) == 0 {
				return openai.Hosted{}, false
			}
			return openai.Hosted{Tool: words[0], Of: words[1:]}, true
		},
	}
}

// accepts is what a model takes.
var accepts = setting.AllMatching("<text | image | pdf ...>", "text, image or pdf", func(word string) bool {
	return word == "text" || word == "image" || word == "pdf"
})

// temperature is a number or off.
func temperature() setting.Form[openai.Temperature] {
	number := setting.Decimal(0, 2)
	return setting.Form[openai.Temperature]{
		Takes: number.Takes + " | off", Expected: number.Expected + ", or off",
		Parse: func(words []string) (t openai.Temperature, ok bool) {
			if len(words) != 1 {
				return t, false
			}
			t, err := openai.ParseTemperature(words[0])
			return t, err == nil
		},
		Fault: func(t openai.Temperature) (string, bool) {
			if t.Off {
				return "", false
			}
			_, bad := number.Fault(t.Value)
			return t.String(), bad
		},
	}
}

func tlsSettings(t *openai.TLS) setting.Table {
	files := setting.Texts("<file> <key file>")
	files.Expected = "the certificate's file and its key's"
	files.Fault = func(values []string) (string, bool) { return strings.Join(values, " "), len(values) != 2 }
	return setting.Table{{
		{Name: "ca", Value: setting.Text("<file>").Into(&t.CA), Without: "the system's"},
		{Name: "client_cert", Value: files.Into(&t.ClientCert), Without: "none"},
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
	c, err := o.config(ctx.Logger())
	if err != nil {
		return fmt.Errorf("%s: %w", o.title(), err)
	}
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

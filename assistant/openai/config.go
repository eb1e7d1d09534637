package openai

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Config chooses a service, a model and its parameters. A zero value means the default. The JSON names are
// those of the Caddyfile; the errors of [New] use them.
type Config struct {
	// The name in logs and metrics, to distinguish several services. Default: openai
	Label string `json:"label,omitempty"`
	// The key of the service, sent as a bearer token. OpenAI requires one; another server, given by
	// base_url, may need none. It appears in no log and no error.
	APIKey string `json:"api_key,omitempty"`
	// The organization that is billed, for keys that belong to several. Default: the key's own
	Organization string `json:"organization,omitempty"`
	// The project that is billed, for keys that belong to several. Default: the key's own
	Project string `json:"project,omitempty"`
	// The URL of the API: any server that speaks OpenAI's, such as http://localhost:11434/v1 for Ollama. A Unix socket
	// is unix//run/model.sock, and unix//run/model.sock:/path where the API is not at /v1.
	// Default: https://api.openai.com/v1
	BaseURL string `json:"base_url,omitempty"`
	// Further headers of every request, by name, such as api-key for Azure or what a gateway asks for. The values
	// appear in no log and no error.
	Header map[string]string `json:"header,omitempty"`
	// Parameters in the URL of every request, by name, such as api-version for Azure. The values appear in no log and
	// no error.
	Query map[string]string `json:"query,omitempty"`
	// The URL of a proxy to the service: http, https or socks5. Default: none; HTTP_PROXY and the like are ignored
	Proxy string `json:"proxy,omitempty"`
	// Certificates for a server of one's own. Default: the system's authorities
	TLS *TLS `json:"tls,omitempty"`
	// Which API: "chat" for chat completions, which every compatible server has, or "responses", OpenAI's
	// newer one. The latter can send summaries of the model's reasoning; it has neither seed nor stop.
	// Default: chat
	API string `json:"api,omitempty"`
	// The model's name at the service. Default: gpt-4o
	Model string `json:"model,omitempty"`

	// How freely the model chooses its words, from 0 to 2, or "off" to send none. Default: 0.7 at OpenAI. It is the
	// service's with base_url, top_p or reasoning_effort, and for OpenAI's models that refuse the field: those that
	// reason (o1, o3, gpt-5 and later) or search
	Temperature *Temperature `json:"temperature,omitempty"`
	// The share of the likeliest words that the model chooses from, from 0 to 1. Default: the service's
	TopP *float64 `json:"top_p,omitempty"`
	// The longest answer, in tokens. It is sent to OpenAI and its reasoning models as
	// max_completion_tokens, to all others as max_tokens, and to the Responses API as max_output_tokens.
	// Default: the service's
	MaxTokens int64 `json:"max_tokens,omitempty"`
	// Equal seeds make equal answers more likely. Default: a new one each time
	Seed *int64 `json:"seed,omitempty"`
	// Texts before which the model stops; OpenAI takes up to four. Default: none
	Stop []string `json:"stop,omitempty"`
	// Tools that the service itself offers. Only with the Responses API. Default: none
	Hosted []Hosted `json:"hosted,omitempty"`
	// How much a reasoning model thinks before it answers, such as low, medium or high.
	// Default: the service's
	ReasoningEffort string `json:"reasoning_effort,omitempty"`
	// How detailed the summary of the model's reasoning is: auto, concise or detailed. Only with the
	// Responses API; OpenAI requires a verified organization. Default: none
	ReasoningSummary string `json:"reasoning_summary,omitempty"`
	// What the model takes besides text: "image", "pdf". "text" may be there, too. A question with anything else is
	// answered by the next provider of a chain that takes it, or refused. Default: text image pdf at OpenAI, text with
	// base_url
	Accepts []string `json:"accepts,omitempty"`
	// Text between <think> and </think> at the start of an answer is reasoning, for servers that leave it there.
	// Default: off (false)
	ThinkTags bool `json:"think_tags,omitempty"`
	// Any further fields of the request, by name. They override the fields that are sent by default, so
	// stream_options null helps with a server that does not know stream_options.
	Extra map[string]json.RawMessage `json:"extra,omitempty"`

	// How often a request is retried, before the first piece, when the service refused it temporarily
	// (HTTP 408, 409, 429, 5xx) or could not be reached. The waits are half a second, doubled each time, or
	// the time that the service asks for; if that is more than 5 seconds, the request fails. Default: 2
	MaxRetries *int `json:"max_retries,omitempty"`
	// The longest wait for the first piece of an answer, all retries included. Default: 60s
	Timeout time.Duration `json:"timeout,omitempty"`
	// The longest silence after the first piece. Keep-alive comments of the service end a silence.
	// Default: 30s
	StallTimeout time.Duration `json:"stall_timeout,omitempty"`
	// The longest time that one answer may take. Default: 10m
	MaxDuration time.Duration `json:"max_duration,omitempty"`

	// Where finish reasons go that nobody knows, once for each answer; nil means nowhere.
	Logger *zap.Logger `json:"-"`
}

// The values of api.
const (
	apiChat      = "chat"
	apiResponses = "responses"
)

func (c Config) api() string                 { return cmp.Or(c.API, apiChat) }
func (c Config) baseURL() string             { return cmp.Or(c.BaseURL, "https://api.openai.com/v1") }
func (c Config) model() string               { return cmp.Or(c.Model, "gpt-4o") }
func (c Config) timeout() time.Duration      { return cmp.Or(c.Timeout, 60*time.Second) }
func (c Config) stallTimeout() time.Duration { return cmp.Or(c.StallTimeout, 30*time.Second) }
func (c Config) maxDuration() time.Duration  { return cmp.Or(c.MaxDuration, 10*time.Minute) }

func (c Config) maxRetries() int {
	if c.MaxRetries == nil {
		return 2
	}
	return *c.MaxRetries
}

// reasoningModels matches the names of OpenAI's models that accept neither temperature nor max_tokens, also in
// the form that brokers use: openai/gpt-5.
var reasoningModels = regexp.MustCompile(`(^|[/:])(o[1-9]|gpt-([5-9]|[1-9]\d))`)

func (c Config) reasons() bool { return reasoningModels.MatchString(c.model()) }

// searchModels matches the names of OpenAI's models that search the web, which accept no temperature.
var searchModels = regexp.MustCompile(`-search-(preview|api)`)

// defaultTemperature is that of the tutorial.
const defaultTemperature = 0.7

// temperature returns the temperature to send, nil to leave it to the service. The default is for OpenAI alone: the
// names of other servers' models do not tell whether they take one, and Claude refuses it beside top_p.
func (c Config) temperature() *float64 {
	switch {
	case c.Temperature != nil && c.Temperature.Off:
		return nil
	case c.Temperature != nil:
		return &c.Temperature.Value
	case !c.isOpenAI(), c.TopP != nil, c.ReasoningEffort != "", c.reasons(), searchModels.MatchString(c.model()):
		return nil
	default:
		return new(defaultTemperature)
	}
}

// isOpenAI reports whether the service is OpenAI itself, in any region.
func (c Config) isOpenAI() bool {
	u, err := url.Parse(c.baseURL())
	return err == nil && strings.HasSuffix("."+u.Hostname(), ".api.openai.com")
}

// reserved lists, for each API, the fields of the request that extra may not contain: those that Config has
// itself, and those that reading the answer depends on.
var reserved = map[string][]string{
	apiChat: {"messages", "stream", "n", "model", "temperature", "top_p", "max_tokens", "seed", "stop", "reasoning_effort"},
	apiResponses: {
		"input", "instructions", "stream", "background", "conversation", "previous_response_id",
		"model", "temperature", "top_p", "max_output_tokens", "reasoning",
	},
}

func (c Config) validate() error {
	return errors.Join(
		c.checkKey(),
		checkHeader("organization", c.Organization),
		checkHeader("project", c.Project),
		c.checkBaseURL(),
		c.checkProxy(),
		checkFields("header", c.Header, ownHeaders),
		checkFields("query", c.Query, nil),
		c.checkAPI(),
		c.checkHosted(),
		c.checkAccepts(),
		c.Temperature.check(),
		checkRange("top_p", c.TopP, 1),
		checkPositive("max_tokens", c.MaxTokens),
		checkPositive("max_retries", c.maxRetries()),
		checkPositive("timeout", c.Timeout),
		checkPositive("stall_timeout", c.StallTimeout),
		checkPositive("max_duration", c.MaxDuration),
		c.checkExtra(),
	)
}

func (c Config) checkKey() error {
	if c.APIKey == "" && c.isOpenAI() {
		return errors.New("api_key: expected a key, found nothing; only another server, given by base_url, may need none")
	}
	if strings.ContainsFunc(c.APIKey, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
		return errors.New("api_key: expected printable ASCII without spaces, quotes and backslashes, found others")
	}
	return nil
}

func (c Config) checkBaseURL() error {
	if socket, path, isUnix := cutUnix(c.baseURL()); isUnix {
		if !strings.HasPrefix(socket, "/") || strings.ContainsAny(path, "?#") {
			return expected("base_url", "a Unix socket's absolute path behind unix/", c.BaseURL)
		}
		return nil
	}
	u, err := url.Parse(c.baseURL())
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return expected("base_url", "an http or https URL without user, query and fragment", newSecrets(c).redact(redactURL(c.BaseURL)))
	}
	return nil
}

// password matches a password in a URL, well-formed or not.
var password = regexp.MustCompile(`(//[^/@:]*:).*@`)

// redactURL hides the parts of a URL that may be secret: the password, and the query, in which some services
// expect the key.
func redactURL(address string) string {
	address, _, query := strings.Cut(password.ReplaceAllString(address, "$1[redacted]@"), "?")
	if query {
		address += "?[redacted]"
	}
	return address
}

// checkAPI rejects settings that the API does not have. The service would reject them only with the first
// question.
func (c Config) checkAPI() error {
	switch {
	case c.api() != apiChat && c.api() != apiResponses:
		return expected("api", "chat or responses", c.API)
	case c.api() == apiChat && c.ReasoningSummary != "":
		return errors.New("reasoning_summary: expected only with api responses; chat completions have none")
	case c.api() == apiChat && c.Hosted != nil:
		return errors.New("hosted: expected only with api responses; chat completions have none")
	case c.api() == apiChat:
		return nil
	case c.Seed != nil:
		return errors.New("seed: expected only with api chat; the Responses API has none")
	case c.Stop != nil:
		return errors.New("stop: expected only with api chat; the Responses API has none")
	case !slices.Contains([]string{"", "auto", "concise", "detailed"}, c.ReasoningSummary):
		return expected("reasoning_summary", "auto, concise or detailed", c.ReasoningSummary)
	}
	return nil
}

func (c Config) checkExtra() error {
	if _, ok := c.Extra["tools"]; ok && c.Hosted != nil {
		return errors.New("extra: expected no field tools beside hosted, found one")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Extra)) {
		if taken := reserved[c.api()]; slices.Contains(taken, name) || name == "" {
			return expected("extra", "a field that is not one of "+strings.Join(taken, ", "), name)
		}
		if !json.Valid(c.Extra[name]) {
			return expected("extra "+name, "JSON", newSecrets(c).redact(string(c.Extra[name])))
		}
	}
	return nil
}

// ownHeaders are those that belong to the request's form.
var ownHeaders = []string{"Host", "Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "Accept", "Accept-Encoding"}

// token matches the name of a header (RFC 9110 section 5.6.2).
var token = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")

// checkFields rejects names that cannot be, and values that net/http would reject only when the request is sent. It
// repeats no value.
func checkFields(setting string, fields map[string]string, taken []string) error {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		switch {
		case !token.MatchString(name):
			return expected(setting, "a name of letters, digits and dashes", name)
		case slices.ContainsFunc(taken, func(own string) bool { return strings.EqualFold(own, name) }):
			return expected(setting, "a name that is none of "+strings.Join(taken, ", "), name)
		case value == "":
			return fmt.Errorf("%s %s: expected a value, found nothing", setting, name)
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return fmt.Errorf("%s %s: expected no control characters in the value, found some", setting, name)
		}
	}
	return nil
}

// checkHeader rejects a value that net/http would reject only when the request is sent.
func checkHeader(name, value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return expected(name, "printable ASCII without spaces", value)
	}
	return nil
}

func checkRange(name string, value *float64, high float64) error {
	if value == nil || *value >= 0 && *value <= high { // NaN is neither
		return nil
	}
	return fmt.Errorf("%s: expected a number from 0 to %g, found %g", name, high, *value)
}

func checkPositive[T int | int64 | time.Duration](name string, value T) error {
	if value >= 0 {
		return nil
	}
	return fmt.Errorf("%s: expected no negative value, found %v", name, value)
}

func expected(name, what, found string) error {
	return fmt.Errorf("%s: expected %s, found %q", name, what, found)
}

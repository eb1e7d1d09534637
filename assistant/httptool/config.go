package httptool

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/schema"
)

// Config describes a tool and its request. A zero value means the default. The JSON names are those of the Caddyfile;
// the errors of [New] use them.
type Config struct {
	// The name that models call: up to 64 letters, digits, underscores and dashes.
	Label string `json:"label,omitempty"`
	// The name for people. Default: the label
	Title string `json:"title,omitempty"`
	// What the tool does, and when to call it, for the model.
	Description string `json:"description,omitempty"`
	// The JSON Schema of the arguments, which are an object. Default: no arguments
	Parameters json.RawMessage `json:"parameters,omitempty"`

	// GET, POST, PUT, PATCH or DELETE. Default: POST
	Method string `json:"method,omitempty"`
	// The URL, with placeholders in the path and query: https://example.org/orders/{args.order}
	URL string `json:"url,omitempty"`
	// The headers, by name, with placeholders. The values appear in no log and no error.
	Header map[string]string `json:"header,omitempty"`
	// The body, with placeholders: JSON, or form fields where the header Content-Type says so. Default: the arguments
	// as JSON; none with GET and DELETE
	Body string `json:"body,omitempty"`

	// never or always: whether each call needs a person's approval. Default: never with GET, otherwise always
	Approve string `json:"approve,omitempty"`
	// Whether a call may be made again after a crash in the middle of it. Default: only with GET
	Repeatable bool `json:"repeatable,omitempty"`
	// Whether strangers may write what the tool returns.
	Untrusted bool `json:"untrusted,omitempty"`

	// The longest wait for the response. Default: 30s
	Timeout time.Duration `json:"timeout,omitempty"`
}

// The values of approve.
const (
	never  = "never"
	always = "always"
)

func (c Config) method() string         { return cmp.Or(c.Method, http.MethodPost) }
func (c Config) timeout() time.Duration { return cmp.Or(c.Timeout, 30*time.Second) }

func (c Config) parameters() json.RawMessage {
	if len(c.Parameters) == 0 {
		return json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`)
	}
	return c.Parameters
}

func (c Config) needsApproval() bool {
	if c.Approve == "" {
		return c.method() != http.MethodGet
	}
	return c.Approve == always
}

// contentType is the header that says what the body is.
const contentType = "Content-Type"

func (c Config) validate() error {
	return errors.Join(
		c.checkWords(),
		c.checkParameters(),
		outbound.CheckHeader(c.Header),
		c.checkBody(),
		checkTimeout(c.Timeout),
	)
}

func (c Config) checkWords() error {
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	switch {
	case !assistant.IsToolName(c.Label):
		return fmt.Errorf("label: expected up to 64 letters, digits, underscores and dashes, found %q", c.Label)
	case strings.TrimSpace(c.Description) == "":
		return errors.New("description: expected a text that tells the model when to call the tool, found nothing")
	case !slices.Contains(methods, c.method()):
		return fmt.Errorf("method: expected one of %s, found %q", strings.Join(methods, ", "), c.Method)
	case c.Approve != "" && c.Approve != never && c.Approve != always:
		return fmt.Errorf("approve: expected never or always, found %q", c.Approve)
	}
	return nil
}

func (c Config) checkParameters() error {
	if _, err := schema.Compile(c.parameters()); err != nil {
		return fmt.Errorf("parameters: %w", err)
	}
	return nil
}

func (c Config) checkBody() error {
	if c.Body != "" && c.method() == http.MethodGet {
		return errors.New("body: expected none with method GET")
	}
	return nil
}

func checkTimeout(d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("timeout: expected no negative value, found %v", d)
	}
	return nil
}

// contentTypeOf returns the media type of the configured body, "" where the header does not say.
func (c Config) contentTypeOf() string {
	for name, value := range c.Header {
		if strings.EqualFold(name, contentType) {
			kind, _, _ := strings.Cut(value, ";")
			return strings.ToLower(strings.TrimSpace(kind))
		}
	}
	return ""
}

// checkArguments expects that the parameters have all arguments that templates name. Where they list no properties, any
// may come.
func (c Config) checkArguments(setting string, t template) error {
	var parameters struct{ Properties map[string]json.RawMessage }
	_ = json.Unmarshal(c.parameters(), &parameters) // it is valid
	for _, p := range t {
		if _, listed := parameters.Properties[p.argument]; p.argument != "" && !listed && parameters.Properties != nil {
			return fmt.Errorf("%s: expected arguments that parameters have, found {args.%s}", setting, p.argument)
		}
	}
	return nil
}

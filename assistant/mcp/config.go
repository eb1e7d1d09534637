package mcp

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
)

// Config names a server and says which of its tools models may call. A zero value means the default. The JSON names are
// those of the Caddyfile; the errors of [New] use them.
type Config struct {
	// The name of the server. Models know its tools as <label>__<tool>.
	Label string `json:"label,omitempty"`

	// The URL of a server that speaks streamable HTTP, such as https://example.org/mcp.
	URL string `json:"url,omitempty"`
	// The headers of every request, by name. Placeholders are replaced for the user who asks, such as
	// Bearer {http.auth.user.token}. The values appear in no log and no error.
	Header map[string]string `json:"header,omitempty"`

	// How a token for the server is got, which goes into the header Authorization. Default: none is
	OAuth *OAuth `json:"oauth,omitempty"`

	// A program and its arguments instead of a URL. It is started when it is first needed, once for all users, and
	// asked over its standard input and output.
	Command []string `json:"command,omitempty"`
	// The variables of the program's environment, besides PATH and HOME, by name. The values appear in no log and no
	// error.
	Env map[string]string `json:"env,omitempty"`

	// Which tools models may call, by the server's names; * stands for any characters and ? for one. Default: all
	Allow []string `json:"allow,omitempty"`
	// Which of those they may not call.
	Deny []string `json:"deny,omitempty"`
	// Which calls need a person's approval. The last rule that names a tool decides. Default: writes
	Approve []Rule `json:"approve,omitempty"`
	// Which tools may be called again after a crash in the middle of a call, besides those that only read.
	Repeatable []string `json:"repeatable,omitempty"`
	// Whether strangers may write what the tools return, as with mail or web pages. What such a server says about its
	// tools is not believed.
	Untrusted bool `json:"untrusted,omitempty"`

	// The longest wait for a connection, a list or a result. Default: 30s
	Timeout time.Duration `json:"timeout,omitempty"`
	// How old the list of tools may be. Default: 5m
	Refresh time.Duration `json:"refresh,omitempty"`

	// This program's version, which the server is told. Default: none
	Version string `json:"-"`
	// Where faults of the server go, and at level DEBUG what a program writes to its standard error; nil means nowhere.
	Logger *zap.Logger `json:"-"`
}

// Rule says when the calls of some tools need a person's approval.
type Rule struct {
	// never, always, or writes: unless the server says that the tool only reads, and is believed.
	Mode string `json:"mode"`
	// The tools, by the server's names. Default: all
	Tools []string `json:"tools,omitempty"`
}

// The modes of a [Rule].
const (
	never  = "never"
	always = "always"
	writes = "writes"
)

func (c Config) timeout() time.Duration { return cmp.Or(c.Timeout, 30*time.Second) }
func (c Config) refresh() time.Duration { return cmp.Or(c.Refresh, 5*time.Minute) }

var (
	// label leaves no doubt where the tool's name begins: it has no two underscores together, nor one at an end.
	label    = regexp.MustCompile(`^[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*$`)
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// maxLabel is the length of the longest label, which leaves half of a name to the tool.
const maxLabel = 32

func (c Config) validate() error {
	return errors.Join(
		c.checkLabel(),
		c.checkServer(),
		// The protocol's own headers, which the SDK sets.
		outbound.CheckHeader(c.Header, "Accept", "Content-Type", "Last-Event-Id", "Mcp-Method", "Mcp-Name", "Mcp-Protocol-Version", "Mcp-Session-Id"),
		c.OAuth.validate(c.Header),
		c.checkEnv(),
		checkGlobs("allow", c.Allow), checkGlobs("deny", c.Deny), checkGlobs("repeatable", c.Repeatable),
		c.checkApprove(),
		checkPositive("timeout", c.Timeout), checkPositive("refresh", c.Refresh),
	)
}

func (c Config) checkLabel() error {
	if !label.MatchString(c.Label) || len(c.Label) > maxLabel {
		return fmt.Errorf("label: expected up to %d letters, digits, dashes and single underscores, found %q", maxLabel, c.Label)
	}
	return nil
}

func (c Config) checkServer() error {
	switch {
	case c.URL == "" && len(c.Command) == 0:
		return errors.New("expected url or command, found neither")
	case c.URL != "" && len(c.Command) > 0:
		return errors.New("expected url or command, found both")
	case c.URL == "" && c.Command[0] == "":
		return errors.New("command: expected a program, found nothing")
	case c.URL == "" && c.Header != nil:
		return errors.New("header: expected only with url")
	case c.URL == "" && c.OAuth != nil:
		return errors.New("oauth: expected only with url")
	case c.URL != "" && c.Env != nil:
		return errors.New("env: expected only with command")
	case c.URL == "":
		return nil
	}
	_, err := outbound.ParseURL(c.URL)
	return err
}

func (c Config) checkEnv() error {
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		if !variable.MatchString(name) {
			return fmt.Errorf("env: expected a name of letters, digits and underscores, found %q", name)
		}
		if strings.ContainsRune(c.Env[name], 0) {
			return fmt.Errorf("env %s: expected no NUL in the value, found one", name)
		}
	}
	return nil
}

func (c Config) checkApprove() error {
	for _, r := range c.Approve {
		if !slices.Contains([]string{never, always, writes}, r.Mode) {
			return fmt.Errorf("approve: expected never, always or writes, found %q", r.Mode)
		}
		if err := checkGlobs("approve", r.Tools); err != nil {
			return err
		}
	}
	return nil
}

func checkGlobs(setting string, globs []string) error {
	if slices.Contains(globs, "") {
		return fmt.Errorf("%s: expected the names of tools, found an empty one", setting)
	}
	return nil
}

func checkPositive(name string, value time.Duration) error {
	if value >= 0 {
		return nil
	}
	return fmt.Errorf("%s: expected no negative value, found %v", name, value)
}

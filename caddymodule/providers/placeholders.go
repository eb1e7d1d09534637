package providers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/openai"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// config returns the configuration with its placeholders replaced.
func (o *OpenAI) config(log *zap.Logger) (openai.Config, error) {
	c, repl := o.Config, caddy.NewReplacer()
	c.Logger = log
	c.Timeout, c.StallTimeout, c.MaxDuration = time.Duration(o.Timeout), time.Duration(o.StallTimeout), time.Duration(o.MaxDuration)
	if c.BaseURL == "" {
		c.APIKey = cmp.Or(c.APIKey, "{env.OPENAI_API_KEY}")
		c.Organization = cmp.Or(c.Organization, "{env.OPENAI_ORG}")
	}
	var errs []error
	replace := func(name string, text *string) {
		var err error
		*text, err = filled(repl, name, *text)
		errs = append(errs, err)
	}
	replace("base_url", &c.BaseURL)
	replace("model", &c.Model)
	replace("reasoning_effort", &c.ReasoningEffort)
	replace("proxy", &c.Proxy)
	c.Header, c.Query, c.Stop = maps.Clone(c.Header), maps.Clone(c.Query), slices.Clone(c.Stop)
	for setting, fields := range map[string]map[string]string{"header": c.Header, "query": c.Query} {
		for name, value := range fields {
			replace(setting+" "+name, &value)
			fields[name] = value
		}
	}
	for i := range c.Stop {
		replace("stop", &c.Stop[i])
	}
	if c.TLS != nil {
		t := *c.TLS
		t.ClientCert = slices.Clone(t.ClientCert)
		replace("tls: ca", &t.CA)
		for i := range t.ClientCert {
			replace("tls: client_cert", &t.ClientCert[i])
		}
		c.TLS = &t
	}
	c.Extra = maps.Clone(c.Extra)
	for name, value := range c.Extra {
		filled, err := filledJSON(repl, "extra "+name, value)
		c.Extra[name], errs = filled, append(errs, err)
	}
	c.Organization, c.Project = repl.ReplaceAll(c.Organization, ""), repl.ReplaceAll(c.Project, "")
	errs = append(errs, o.fillKey(&c, repl, log))
	return c, errors.Join(errs...)
}

// fillKey replaces the key's placeholders. OpenAI needs a key, another server may not.
func (o *OpenAI) fillKey(c *openai.Config, repl *caddy.Replacer, log *zap.Logger) error {
	placeholder := c.APIKey
	c.APIKey = repl.ReplaceAll(placeholder, "")
	switch {
	case placeholder == "":
	case c.APIKey == placeholder:
		log.Warn("the configuration and its dumps contain api_key in clear text; use a placeholder like {env.OPENAI_API_KEY}")
	case c.APIKey != "":
	case o.BaseURL == "":
		return fmt.Errorf("api_key: expected a key, found nothing: %s is empty or not set%s; only another server, given by base_url, may need none", placeholder, meant(placeholder))
	default:
		log.Warn("api_key is empty: no key is sent", zap.String("provider", cmp.Or(o.Label, "openai")), zap.String("placeholder", placeholder))
	}
	return nil
}

// meant asks for the placeholder of the environment, where its name stands alone in braces.
func meant(placeholder string) string {
	name := strings.Trim(placeholder, "{}")
	if strings.Contains(name, ".") || !braces.MatchString(placeholder) {
		return ""
	}
	return "; did you mean {env." + name + "}?"
}

// loaded is a text whose placeholders are known when the configuration is loaded. Others would be sent as they stand.
func loaded(takes string) setting.Form[string] {
	return setting.Matching(takes, "one value, with placeholders that are known when the configuration is loaded, such as {env.NAME}", isLoaded)
}

// isLoaded reports whether nothing in text looks like a placeholder that only a request could fill, or nothing can.
func isLoaded(text string) bool {
	for _, p := range braces.FindAllString(text, -1) {
		if !known.MatchString(p) {
			return false
		}
	}
	return true
}

// isStop reports whether text may be a stop text: there, braces may be meant.
func isStop(text string) bool { return !requests.MatchString(text) }

var (
	braces   = regexp.MustCompile(`\{[^{}\s]+\}`)
	known    = regexp.MustCompile(`^\{(?:env|file|system|time)\.`)
	requests = regexp.MustCompile(`\{(?:http|vars)\.[^{}\s]+\}`)
)

// baseURL is an address, as far as that can be told before placeholders are filled.
var baseURL = setting.Matching("<url>", "an http or https URL or unix//path, with placeholders like {env.NAME}", func(text string) bool {
	switch {
	case strings.Contains(text, "{"):
		return isLoaded(text)
	case text == "": // as a variable that is not set leaves it
		return true
	case strings.Contains(text, "@"): // a password may be in it, which no message repeats; see Provision
		return true
	}
	return strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "unix/")
})

// placeholders matches what can only be meant as one; other braces are text.
var placeholders = regexp.MustCompile(`\{(?:env|file|system|http|time|vars)\.[^{}\s]+\}`)

// filled replaces the placeholders in the text of a setting. One that stands for nothing is refused, and so is one that
// only a request could fill.
func filled(repl *caddy.Replacer, name, text string) (string, error) {
	for _, p := range placeholders.FindAllString(text, -1) {
		switch value, known := repl.GetString(strings.Trim(p, "{}")); {
		case !known:
			return "", fmt.Errorf("%s: expected placeholders that are known when the configuration is loaded, found %s", name, p)
		case value == "":
			return "", fmt.Errorf("%s: expected a value, found nothing: %s is empty or not set", name, p)
		}
	}
	return repl.ReplaceKnown(text, ""), nil
}

// filledJSON is filled for the texts in a JSON value.
func filledJSON(repl *caddy.Replacer, name string, value json.RawMessage) (json.RawMessage, error) {
	if !placeholders.Match(value) {
		return value, nil
	}
	var tree any
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber() // large ones stay exact
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("%s: expected JSON, found something else", name)
	}
	tree, err := filledTree(repl, name, tree)
	if err != nil {
		return nil, err
	}
	return json.Marshal(tree)
}

func filledTree(repl *caddy.Replacer, name string, tree any) (_ any, err error) {
	switch node := tree.(type) {
	case string:
		return filled(repl, name, node)
	case []any:
		for i := range node {
			if node[i], err = filledTree(repl, name, node[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range node {
			if node[key], err = filledTree(repl, name, node[key]); err != nil {
				return nil, err
			}
		}
	}
	return tree, nil
}

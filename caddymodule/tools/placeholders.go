package tools

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

var (
	// loaded matches the placeholders that are known when the configuration is loaded.
	loaded = regexp.MustCompile(`\{(?:env|file|system)\.[^{}\s]+\}`)
	// asked matches those that only a request can fill.
	asked = regexp.MustCompile(`\{(?:http|vars|assistant|args)\.[^{}\s]+\}`)
)

// fill replaces the placeholders of a text that all users share.
func fill(name string, text *string) error {
	if found := asked.FindString(*text); found != "" {
		return fmt.Errorf("%s: expected placeholders that are known when the configuration is loaded, found %s", name, found)
	}
	return fillTemplate(name, text)
}

// fillTemplate replaces the placeholders that are known when the configuration is loaded, and leaves the others. One
// that stands for nothing is an error.
func fillTemplate(name string, text *string) error {
	repl := caddy.NewReplacer()
	var err error
	*text = loaded.ReplaceAllStringFunc(*text, func(found string) string {
		value, known := repl.GetString(strings.Trim(found, "{}"))
		if (!known || value == "") && err == nil {
			err = fmt.Errorf("%s: expected a value, found nothing: %s is empty or not set", name, found)
		}
		return value
	})
	return err
}

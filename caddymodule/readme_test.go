package caddymodule

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// TestReadme holds that the README's settings are the subdirectives that the parsers know, all of them and no
// others.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "### All settings\n\n```caddyfile\n")
	text, _, _ = strings.Cut(text, "```")
	told := map[string][]string{}
	for _, block := range regexp.MustCompile(`(?ms)^(\w+(?: \w+)?)[^\n]*\{[^\n]*\n(.*?)^\}$`).FindAllStringSubmatch(text, -1) {
		told[block[1]] = settings(block[2])
	}
	for directive, module := range map[string]caddyfile.Unmarshaler{
		"assistant": new(Handler), "provider openai": new(OpenAI), "provider demo": new(Demo),
		"store memory": new(Memory), "asyncapi": new(AsyncAPI),
	} {
		known := vocabulary(t, directive, module)
		if !slices.Equal(told[directive], known) {
			t.Errorf("%s: the README has %q, the parser knows %q", directive, told[directive], known)
		}
		delete(told, directive)
	}
	if len(told) > 0 {
		t.Errorf("the README has blocks that nothing here reads: %q", slices.Sorted(maps.Keys(told)))
	}
}

// TestExampleIsFormatted holds that the example starts without a warning, and stays so when its user formats it.
func TestExampleIsFormatted(t *testing.T) {
	data, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, differs := caddyfile.FormattingDifference("Caddyfile.example", data); differs {
		t.Error("caddy fmt --overwrite Caddyfile.example has something to do")
	}
}

// settings are the names in a block of the README, in order: one begins a line, or several with commas between.
func settings(block string) (names []string) {
	for _, line := range regexp.MustCompile(`(?m)^\t(\w+(?:, \w+)*)`).FindAllStringSubmatch(block, -1) {
		names = append(names, strings.Split(line[1], ", ")...)
	}
	slices.Sort(names)
	return names
}

// vocabulary is what a parser allows in its block, as it says itself.
func vocabulary(t *testing.T, directive string, module caddyfile.Unmarshaler) []string {
	t.Helper()
	_, guest, _ := strings.Cut(directive, " ")
	if guest == "" {
		guest = directive
	}
	err := module.UnmarshalCaddyfile(caddyfile.NewTestDispenser(guest + " {\nno_such_thing\n}"))
	if err == nil {
		t.Fatalf("%s takes what it does not know", directive)
	}
	_, known, _ := strings.Cut(err.Error(), "; allowed are ")
	known, _, _ = strings.Cut(known, ", at ")
	return strings.Split(known, ", ")
}

package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var snippet = regexp.MustCompile("(?s)(?:^|\n)([^\n]*)\n```caddyfile\n(.*?)```\n")

var variable = regexp.MustCompile(`\{env\.(\w+)\}`)

// TestSnippets holds that every Caddyfile in the README and the docs can be used as it stands: it adapts and
// provisions, and serves no folder but the one that it names.
func TestSnippets(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	logs := t.TempDir()
	seen := 0
	for file, text := range papers(t) {
		all := snippet.FindAllStringSubmatch(text, -1)
		if want := strings.Count(text, "```caddyfile"); len(all) != want {
			t.Errorf("%s has %d snippets, and this test reads %d", file, want, len(all))
		}
		for i, found := range all {
			if strings.HasPrefix(settingsBegin, found[1]+"\n") && found[1] != "" {
				continue // the syntax of all settings
			}
			seen++
			t.Run(fmt.Sprint(filepath.Base(file), i+1), func(t *testing.T) {
				t.Setenv("OPENAI_API_KEY", "sk-canary")
				for _, name := range variable.FindAllStringSubmatch(found[2], -1) {
					t.Setenv(name[1], "sk-canary")
				}
				config := load(t, strings.ReplaceAll(wrapped(found[2]), "/var/log/caddy", logs))
				if strings.HasPrefix(config, "error: ") {
					t.Fatalf("%s\n%s", found[2], config)
				}
				if at := rootless(t, config); at != "" {
					t.Errorf("%s\nserves the folder that Caddy was started in: %s", found[2], at)
				}
			})
		}
	}
	if seen < 8 {
		t.Errorf("found only %d snippets", seen)
	}
}

// wrapped makes a whole Caddyfile of a snippet, which may be one already, or part of a site or of an assistant.
func wrapped(text string) string {
	var first string
	for line := range strings.Lines(text) {
		if first = strings.TrimSpace(line); first != "" && !strings.HasPrefix(first, "#") {
			break
		}
	}
	name, _, _ := strings.Cut(first, " ")
	switch {
	case name == "provider" || name == "store":
		return "www.example.com {\n assistant /ws/* {\n" + text + "\n}\n}\n"
	case name == "tools":
		return "www.example.com {\n assistant /ws/* {\n provider demo\n" + text + "\n}\n}\n"
	case strings.ContainsAny(name, "{.:("):
		return text
	default:
		return "www.example.com {\n" + text + "\n}\n"
	}
}

// rootless returns a file_server without a root of its own, and without one in the routes before it; or "".
func rootless(t *testing.T, config string) string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(config), &value); err != nil {
		t.Fatal(err)
	}
	rooted := false
	return findRootless(value, &rooted)
}

func findRootless(value any, rooted *bool) string {
	switch v := value.(type) {
	case []any: // of routes or handlers, in their order
		for _, item := range v {
			if at := findRootless(item, rooted); at != "" {
				return at
			}
		}
	case map[string]any:
		_, root := v["root"]
		_, files := v["fs"]
		switch v["handler"] {
		case "vars":
			*rooted = *rooted || root || files
		case "file_server":
			if !root && !files && !*rooted {
				return fmt.Sprint(v)
			}
		}
		inner := *rooted // what a route with a matcher sets may not hold for the routes after it
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if at := findRootless(v[key], &inner); at != "" {
				return at
			}
		}
		if _, matched := v["match"]; !matched && v["handle"] != nil {
			*rooted = inner
		}
	}
	return ""
}

// TestRootless holds that the test above finds what it looks for.
func TestRootless(t *testing.T) {
	for caddyfile, want := range map[string]bool{
		":8080 {\n file_server\n}":                    true,
		":8080 {\n handle /x/* {\n file_server\n}\n}": true,
		"http://a.example.com {\n file_server\n}":     true,
		"http://a.example.com {\n root * /srv\n file_server\n}\nhttp://b.example.com {\n file_server\n}": true,
		":8080 {\n root /x/* /srv\n file_server\n}":                                                      true,
		":8080 {\n handle /x/* {\n root * /srv\n}\n file_server\n}":                                      true,
		":8080 {\n root * /srv\n file_server\n}":                                                         false,
		":8080 {\n root * /srv\n handle /x/* {\n file_server\n}\n}":                                      false,
		":8080 {\n handle /x/* {\n root * /srv\n file_server\n}\n}":                                      false,
		":8080 {\n file_server {\n root /srv\n}\n}":                                                      false,
		"http://a.example.com {\n root * /srv\n file_server\n}":                                          false,
	} {
		config := load(t, caddyfile)
		if strings.HasPrefix(config, "error: ") {
			t.Fatal(config)
		}
		if got := rootless(t, config) != ""; got != want {
			t.Errorf("%s\nis rootless: %t, want %t\n%s", caddyfile, got, want, config)
		}
	}
}

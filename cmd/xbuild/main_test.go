package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const repository = "../.."

func TestLoadRepositoryConfig(t *testing.T) {
	builder, err := load(filepath.Join(repository, "xcaddy.json"))
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(filepath.Join(repository, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if line := "github.com/caddyserver/caddy/v2 " + builder.CaddyVersion + "\n"; !strings.Contains(string(gomod), line) {
		t.Errorf("go.mod does not require Caddy %s, which xcaddy.json builds", builder.CaddyVersion)
	}
	want, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	if len(builder.Replacements) != 1 || builder.Replacements[0].New.String() != want {
		t.Errorf("replacements = %v, want this tree, %s", builder.Replacements, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"unknown field": `{"caddy_version": "v2.11.9", "plugin": []}`,
		"wrong type":    `{"caddy_version": 2}`,
		"no JSON":       `caddy_version: v2.11.9`,
		"nothing":       ``,
	} {
		t.Run(name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "xcaddy.json")
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := load(config); err == nil || !strings.Contains(err.Error(), config) {
				t.Errorf("load(%q) = %v, want an error that names the file", text, err)
			}
		})
	}
}

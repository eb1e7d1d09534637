package caddymodule_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/command"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.yaml.in/yaml/v3"
)

// papers are the files that people read.
func papers(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../webchat/client/README.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[file] = string(text)
		}
	}
	return texts
}

var (
	link    = regexp.MustCompile(`(?:\]\(|src="|srcset=")([^)"\s]+)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fences  = regexp.MustCompile("(?s)\n```.*?\n```")
)

// TestLinks holds that what the papers link to is there, headings too.
func TestLinks(t *testing.T) {
	texts := papers(t)
	for file, text := range texts {
		for _, found := range link.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
			path, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(path, ":") {
				continue // another site's
			}
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s: %v", file, found[1], err)
			}
			if anchor != "" && !hasHeading(texts[target], anchor) {
				t.Errorf("%s: %s has no heading #%s", file, target, anchor)
			}
		}
	}
}

// hasHeading reports whether a text has a heading that GitHub calls so.
func hasHeading(text, anchor string) bool {
	for _, found := range heading.FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(found[1]), "")
		if strings.ReplaceAll(name, " ", "-") == anchor {
			return true
		}
	}
	return false
}

// TestReadmeIsShort holds that the README stays what it is for, and says things in the order in which an owner needs them.
func TestReadmeIsShort(t *testing.T) {
	text := papers(t)["../README.md"]
	if n := strings.Count(text, "\n"); n >= 150 {
		t.Errorf("the README has %d lines", n)
	}
	at := 0
	for _, part := range []string{"<picture>", "## Try it", "make run", "make test", "## Your own site", "## Models", "## Sign-in", "forward_auth", "## In your own pages", "## Limits", "## More"} {
		i := strings.Index(text[at:], part)
		if i < 0 {
			t.Fatalf("the README has no %q, or too early", part)
		}
		at += i
	}
}

// TestVersion holds that the changes begin with the version that the command prints.
func TestVersion(t *testing.T) {
	first := regexp.MustCompile(`(?m)^## (.*)$`).FindStringSubmatch(papers(t)["../CHANGELOG.md"])
	if first == nil || first[1] != command.Version {
		t.Errorf("CHANGELOG.md begins with %v, the command says %s", first, command.Version)
	}
}

// TestDocker holds what can be known of the Dockerfile and the compose file without Docker: what they copy is there,
// services, volumes and ports fit together, and the Caddyfile can be loaded.
func TestDocker(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	dockerfile, site := read("Dockerfile"), read("docker/Caddyfile")
	stages := regexp.MustCompile(`(?m)^FROM \S+ AS (\S+)$`).FindAllStringSubmatch(dockerfile, -1)
	for _, copied := range regexp.MustCompile(`(?m)^COPY (--from=(\S+) )?(.*) \S+$`).FindAllStringSubmatch(dockerfile, -1) {
		if copied[1] != "" {
			if len(stages) != 1 || copied[2] != stages[0][1] {
				t.Errorf("%s: there is no such stage", copied[0])
			}
			continue
		}
		for source := range strings.FieldsSeq(copied[3]) {
			if _, err := os.Stat("../" + source); err != nil {
				t.Errorf("%s: %v", copied[0], err)
			}
		}
	}
	for ignored := range strings.FieldsSeq(read(".dockerignore")) {
		if strings.Contains(dockerfile, "COPY "+ignored) {
			t.Errorf("%s is copied, and .dockerignore leaves it out", ignored)
		}
	}
	if !strings.Contains(dockerfile, "EXPOSE 8080\n") || !strings.Contains(site, "\n:8080 {\n") {
		t.Error("the container and its Caddyfile have different ports")
	}
	var compose struct {
		Services map[string]struct {
			Build, Image    string
			Ports, Volumes  []string
			DependsOn       []string `yaml:"depends_on"`
			Environment     map[string]string
			Restart         string
			StopGracePeriod string `yaml:"stop_grace_period"`
		}
		Volumes map[string]any
	}
	decoder := yaml.NewDecoder(strings.NewReader(read("compose.yaml")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&compose); err != nil {
		t.Fatal(err)
	}
	for name, service := range compose.Services {
		if (service.Build == "") == (service.Image == "") {
			t.Errorf("%s has neither or both of build and image", name)
		}
		for _, volume := range service.Volumes {
			volume, path, _ := strings.Cut(volume, ":")
			if _, ok := compose.Volumes[volume]; !ok || !strings.HasPrefix(path, "/") {
				t.Errorf("%s has the volume %s at %q", name, volume, path)
			}
		}
		for _, other := range service.DependsOn {
			if _, ok := compose.Services[other]; !ok {
				t.Errorf("%s depends on %s", name, other)
			}
		}
		for variable, value := range service.Environment {
			if !strings.Contains(site, "{$"+variable) {
				t.Errorf("the Caddyfile does not read %s", variable)
			}
			t.Setenv(variable, value)
		}
	}
	if chat := compose.Services["chat"]; len(chat.Ports) != 1 || !strings.HasSuffix(chat.Ports[0], ":8080") || chat.Volumes[0] != "data:/data" || !strings.Contains(dockerfile, "XDG_DATA_HOME=/data") {
		t.Errorf("the service chat is %+v", chat)
	}
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	expanded := os.Expand(regexp.MustCompile(`\{\$(\w+)(?::[^}]*)?\}`).ReplaceAllString(site, "${$1}"), os.Getenv)
	if config := load(t, expanded); strings.HasPrefix(config, "error: ") || !strings.Contains(config, "http://ollama:11434/v1") {
		t.Errorf("%s", config)
	}
	if _, differs := caddyfile.FormattingDifference("Caddyfile", []byte(site)); differs {
		t.Error("caddy fmt docker/Caddyfile has something to do")
	}
}

package caddyassistant

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/caddy-assistant/caddy-assistant/"

// TestImports holds the arrows of the architecture: what a package must not reach, by whatever way. A
// name that ends with a slash stands for all packages below it.
func TestImports(t *testing.T) {
	caddy, gorilla, openai, sql := "github.com/caddyserver/", "github.com/gorilla/", "github.com/openai/", "database/sql"
	outside := []string{caddy, gorilla, openai, sql, "github.com/prometheus/", "go.opentelemetry.io/"}
	rules := []struct {
		pkg       string
		forbidden []string
	}{
		{"assistant", append(outside, module+"asyncapi", module+"caddymodule", module+"webchat")},
		{"assistant/conversation", outside},
		{"assistant/session", outside},
		{"assistant/wire", append(outside, module)},
		{"assistant/stream", append(outside, module)},
		{"assistant/media", append(outside, module)},
		{"assistant/ws", []string{caddy, openai, sql, module}},
		{"assistant/openai", []string{caddy, gorilla, sql, module + "asyncapi"}},
		{"assistant/openai/answer", append(outside, module+"asyncapi")},
		{"assistant/openai/sse", append(outside, module)},
		{"assistant/think", append(outside, module)},
		{"assistant/demo", append(outside, module+"asyncapi")},
		{"assistant/memory", append(outside, module+"asyncapi")},
		{"assistant/sqlite", []string{caddy, gorilla, openai, module + "asyncapi"}},
		{"assistant/mcp", []string{caddy, gorilla, openai, sql, module + "asyncapi"}},
		{"assistant/httptool", []string{caddy, gorilla, openai, sql, module + "asyncapi", "github.com/modelcontextprotocol/"}},
		{"assistant/nats", []string{caddy, gorilla, openai, sql, module + "asyncapi"}},
		{"assistant/postgres", []string{caddy, gorilla, openai, module + "asyncapi"}},
		{"asyncapi", []string{caddy, gorilla, openai, sql}},
		{"termchat", []string{caddy, openai, sql, module + "asyncapi"}},
		{"webchat", append(outside, module)},
	}
	for _, r := range rules {
		t.Run(r.pkg, func(t *testing.T) {
			deps := dependencies(t, "./"+r.pkg)
			for _, dep := range deps {
				if dep != module+r.pkg && slices.ContainsFunc(r.forbidden, func(f string) bool { return reaches(dep, f) }) {
					t.Errorf("%s must not reach %s", r.pkg, dep)
				}
			}
			if !slices.Contains(deps, module+r.pkg) {
				t.Errorf("go list does not know %s", r.pkg)
			}
		})
	}
}

func reaches(dep, forbidden string) bool {
	return dep == strings.TrimSuffix(forbidden, "/") || strings.HasPrefix(dep, strings.TrimSuffix(forbidden, "/")+"/")
}

// TestNoHTTP holds that the domain knows no HTTP: what is left of it comes with zap.
func TestNoHTTP(t *testing.T) {
	for _, pkg := range []string{"assistant", "assistant/conversation", "assistant/session", "assistant/limits", "assistant/chain", "assistant/wire", "assistant/stream", "assistant/demo", "assistant/memory", "assistant/think", "assistant/openai/answer", "assistant/openai/sse"} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{join .Imports "\n"}}`, "./"+pkg).Output()
		if err != nil {
			t.Fatalf("go list %s: %v", pkg, err)
		}
		for dep := range strings.FieldsSeq(string(out)) {
			if reaches(dep, "net/http") || dep == "net" {
				t.Errorf("%s imports %s", pkg, dep)
			}
		}
	}
}

// TestArrows holds which of the assistant's packages each may reach. One that is not listed may reach the domain
// alone: adapters do not know each other.
func TestArrows(t *testing.T) {
	const domain, prefix = "assistant", module + "assistant/"
	engine := []string{domain, "limits", "feed", "chain", "stream", "guard", "media", "recorder", "think", "view", "window", "internal/schema"}
	arrows := map[string][]string{
		"window": {domain, "limits"}, "think": {}, "media": {}, "wire": {}, "stream": {}, "ws": {}, "internal/chunk": {domain},
		"openai": {domain, "openai/answer", "openai/sse", "think"}, "openai/answer": {domain, "openai/sse", "think"}, "openai/sse": {},
		"view": {domain, "limits", "stream"}, "recorder": {domain, "stream"}, "feed": {domain, "stream"}, "conversation": engine, "session": append(engine, "conversation", "wire"),
		"memory": {domain, "internal/chunk"}, "sqlite": {domain, "internal/chunk"}, "postgres": {domain, "internal/chunk"},
		"session/sessiontest": nil, "limits/limitstest": {domain, "limits", "guard"}, "assistanttest": {domain}, "assistanttest/storetest": {domain},
		"assistanttest/clustertest": {domain, "memory", "internal/chunk"}, "assistanttest/tooltest": {domain, "internal/schema"},
		"mcp": {domain, "internal/outbound", "internal/schema"}, "httptool": {domain, "internal/outbound", "internal/schema"}, "internal/outbound": {}, "internal/schema": {},
	}
	seen := 0
	for _, pkg := range dependencies(t, "./assistant/...") {
		name, ours := strings.CutPrefix(pkg, prefix)
		allowed, listed := arrows[name]
		if !ours || listed && allowed == nil {
			continue
		}
		if seen++; !listed {
			allowed = []string{domain}
		}
		for _, dep := range dependencies(t, pkg) {
			to, isOurs := strings.CutPrefix(dep, module)
			if to = strings.TrimPrefix(to, "assistant/"); isOurs && dep != pkg && !slices.Contains(allowed, to) {
				t.Errorf("%s must not reach %s", name, to)
			}
		}
	}
	if seen < 12 {
		t.Errorf("found only %d packages", seen)
	}
}

// TestRooms holds the arrows between the packages below caddymodule: which others each may reach.
func TestRooms(t *testing.T) {
	const room, setting = module + "caddymodule/", "internal/setting"
	rooms := map[string][]string{
		"command":            {"admin", "docs", "endpoint", "observe", setting},
		"admin":              {"endpoint", "observe", setting},
		"docs":               {"endpoint", "observe", setting},
		"endpoint":           {"observe", setting},
		"observe":            nil,
		"brokers":            {setting},
		"providers":          {setting},
		"tools":              {setting},
		"stores":             {setting},
		"chatpage":           {"endpoint", "observe", setting},
		setting:              nil,
		"internal/caddytest": {setting}, // for tests alone
	}
	for name, others := range rooms {
		for _, dep := range dependencies(t, "./caddymodule/"+name) {
			other, ok := strings.CutPrefix(dep+"/", room)
			other = strings.TrimSuffix(other, "/")
			if ok && other != name && !slices.Contains(others, other) {
				t.Errorf("caddymodule/%s must not reach %s", name, dep)
			}
		}
	}
	for _, dep := range dependencies(t, "./caddymodule/...") {
		name, ok := strings.CutPrefix(dep, room)
		if _, known := rooms[name]; ok && !known {
			t.Errorf("caddymodule/%s is not in this test", name)
		}
	}
}

// TestMains holds that only mains and this package import caddymodule, and that nothing outside of it imports its
// rooms.
func TestMains(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{.Name}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg, name, imports := fields[0], fields[1], fields[2:]
		for _, dep := range imports {
			switch {
			case dep == module+"caddymodule" && name != "main" && pkg != strings.TrimSuffix(module, "/"):
				t.Errorf("%s must not import %s", pkg, dep)
			case strings.HasPrefix(dep, module+"caddymodule/") && !reaches(pkg, module+"caddymodule"):
				t.Errorf("%s must not import %s", pkg, dep)
			}
		}
	}
}

// TestCommand holds that Caddy as cmd/caddy builds it has the module.
func TestCommand(t *testing.T) {
	if !slices.Contains(dependencies(t, "./cmd/caddy"), module+"caddymodule") {
		t.Error("cmd/caddy is Caddy alone")
	}
}

func dependencies(t *testing.T, pattern string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pattern).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", pattern, err)
	}
	return strings.Fields(string(out))
}

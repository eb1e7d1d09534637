package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// server is a process under test.
type server struct {
	addr  string
	pid   int
	open  func(addr, path string) (*harness.Raw, error) // opens a WebSocket; nil where clients speak HTTP
	keeps bool                                          // conversations are stored, and followed
	caddy *harness.Caddy                                // nil where it is none

	upstream upstream // of its own
}

func startFloor(t *testing.T) *server {
	t.Helper()
	u := startUpstream(t)
	addr, pid := startRole(t, "floor", "UPSTREAM="+u.addr)
	return &server{addr: addr, pid: pid, upstream: u}
}

// startFloorSockets is startFloor for clients that only want sockets.
func startFloorSockets(t *testing.T) *server {
	t.Helper()
	s := startFloor(t)
	s.open = openSocket
	return s
}

// startProxy runs the Caddy under test with nothing but Caddy's own reverse proxy.
func startProxy(t *testing.T) *server {
	t.Helper()
	u := startUpstream(t)
	return ofCaddy(harness.Start(t, metered(harness.Site("reverse_proxy "+u.addr))), u, nil)
}

// startOurs runs the assistant. Its log and its limits are the default ones.
func startOurs(t *testing.T) *server {
	t.Helper()
	u := startUpstream(t)
	return ofCaddy(harness.Start(t, metered(harness.Site(assistant(u, sqlite)))), u, openSocket)
}

// startKept is startOurs for clients whose conversations are stored.
func startKept(t *testing.T) *server {
	t.Helper()
	s := startOurs(t)
	s.keeps = true
	return s
}

// startShared is startKept with conversations in PostgreSQL.
func startShared(t *testing.T, postgres *harness.Postgres) *server {
	t.Helper()
	u := startUpstream(t)
	s := ofCaddy(harness.Start(t, metered(harness.Site(assistant(u, "postgres "+postgres.DSN)))), u, openSocket)
	s.keeps = true
	return s
}

// startSecure is startOurs by HTTPS.
func startSecure(t *testing.T, open func(addr, path string) (*harness.Raw, error)) *server {
	t.Helper()
	u := startUpstream(t)
	file := harness.Certificate(t)
	site := "https://{$SITE} {\nbind 127.0.0.1\ntls " + file + " " + file + "\n" + assistant(u, sqlite) + "}\n"
	return ofCaddy(harness.Start(t, metered(site), "GODEBUG=http2xconnect=1"), u, open)
}

const sqlite = "sqlite {$HOME}/chat.db"

func assistant(u upstream, store string) string {
	return fmt.Sprintf("assistant %s* {\nstore %s\nuser {query.user}\nprovider openai {\nbase_url %s\n}\n}\n", harness.AssistantPath, store, u.baseURL())
}

// buildGorilla builds the Caddy of the folder gorilla.
func buildGorilla(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "gorilla")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./gorilla")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build gorilla: %v\n%s", err, out)
	}
	return binary
}

func startGorilla(t *testing.T, binary string) *server {
	t.Helper()
	u := startUpstream(t)
	return ofCaddy(harness.StartBinary(t, binary, metered(harness.Site("gorilla_chat "+u.baseURL()))), u, openSocket)
}

// startNode runs the server of the folder node. Node and its packages must be there: make deps.
func startNode(t *testing.T) *server {
	t.Helper()
	u := startUpstream(t)
	cmd := exec.Command("node", "server.mjs")
	cmd.Dir = "node"
	cmd.Env = append(cmd.Environ(), "UPSTREAM="+u.baseURL())
	addr, pid := startListening(t, cmd)
	return &server{addr: addr, pid: pid, open: openSocket, upstream: u}
}

// metered is a Caddyfile with Caddy's own metrics on too.
func metered(site string) string { return "{\nmetrics\n}\n" + site }

func ofCaddy(c *harness.Caddy, u upstream, open func(addr, path string) (*harness.Raw, error)) *server {
	return &server{addr: c.Addr, pid: c.Pid(), open: open, caddy: c, upstream: u}
}

// profile writes a profile of a Caddy's admin API into the folder $PROFILE, if there is one: then it returns true.
func (s *server) profile(t *testing.T, name, query string) bool {
	t.Helper()
	folder := os.Getenv("PROFILE")
	if folder == "" || s.caddy == nil {
		return false
	}
	_, text := harness.Fetch(t, "http://"+s.caddy.Admin+"/debug/pprof/"+name+query, nil)
	file := filepath.Join(folder, strings.NewReplacer("/", "-", ",", "").Replace(t.Name())+"."+name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Error(err)
	}
	return true
}

// Package harness runs the built Caddy for tests, as its users run it: a process of its own with a
// Caddyfile, spoken to over the network.
//
// Every wait is bounded by [Patience], and ends when what it waits for has happened.
package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience bounds each single wait: it tells a stuck test from a slow one. It is long because the machine may
// be busy with other things, and no test waits so long for what does happen.
const Patience = 2 * time.Minute

// Caddy is a running server.
type Caddy struct {
	Addr  string // host and port of the site
	Admin string // host and port of the admin API
	Home  string // folder of everything that Caddy keeps: configuration and data
	Logs  *Logs

	t       testing.TB
	secure  bool     // the site is reached by HTTPS
	wrap    []string // a command that runs its arguments, before the binary
	binary  string   // in place of the one under test
	env     []string
	started bool
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the process has ended
}

// Site is a Caddyfile with one site of the given directives. Its address is {$SITE}, which [Start]
// defines.
func Site(directives string) string {
	return "http://{$SITE} {\nbind 127.0.0.1\n" + directives + "\n}\n"
}

// Start runs Caddy with the given Caddyfile and returns when it serves. In the Caddyfile {$SITE} stands
// for a free address and {$PORT} for its port. env adds "name=value" pairs to an otherwise empty environment.
//
// When the test ends Caddy is asked to stop; the test fails if it does not, does not cleanly, or has
// panicked. A failed test shows Caddy's log.
func Start(t testing.TB, caddyfile string, env ...string) *Caddy {
	t.Helper()
	return StartIn(t, nil, caddyfile, env...)
}

// StartIn is [Start] under a command that becomes the one in its arguments, such as setpriv.
func StartIn(t testing.TB, wrap []string, caddyfile string, env ...string) *Caddy {
	t.Helper()
	c := New(t)
	c.wrap = wrap
	if err := c.launch(caddyfile, env); err != nil {
		t.Fatal(err)
	}
	return c
}

// StartBinary is [Start] for another Caddy than the one under test.
func StartBinary(t testing.TB, binary, caddyfile string, env ...string) *Caddy {
	t.Helper()
	c := New(t)
	c.binary = binary
	if err := c.launch(caddyfile, env); err != nil {
		t.Fatal(err)
	}
	return c
}

// StartOrRefuse is [Start] for a configuration that may be refused: then the error is that the process has ended, and
// the log says why.
func StartOrRefuse(t testing.TB, caddyfile string, env ...string) (*Caddy, error) {
	t.Helper()
	c := New(t)
	return c, c.launch(caddyfile, env)
}

func (c *Caddy) launch(caddyfile string, env []string) error {
	c.t.Helper()
	c.env = env
	if err := os.WriteFile(filepath.Join(c.Home, "Caddyfile"), []byte(caddyfile), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return c.run()
}

// run starts the process and waits until it serves.
func (c *Caddy) run() error {
	t := c.t
	t.Helper()
	ready, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()

	// With --pingback Caddy connects to ready once it serves: nobody has to poll.
	c.cmd = c.command(c.wrap, c.env, "run", "--config", filepath.Join(c.Home, "Caddyfile"), "--adapter", "caddyfile", "--pingback", ready.Addr().String())
	c.exited = make(chan struct{})
	c.cmd.Stdin = strings.NewReader("ready")
	c.cmd.Stdout, c.cmd.Stderr = c.Logs, c.Logs
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !c.started {
		c.started = true
		t.Cleanup(c.finish)
	}
	cmd, exited := c.cmd, c.exited
	go func() {
		_ = cmd.Wait() // ProcessState tells how it ended
		close(exited)
		ready.Close()
	}()

	if err := ready.(*net.TCPListener).SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	conn, err := ready.Accept()
	if err != nil {
		return fmt.Errorf("caddy does not serve: %w", err)
	}
	return conn.Close()
}

// Kill ends the process as a crash does, without a chance to clean up, and starts it again: same
// configuration, addresses and data.
func (c *Caddy) Kill(t testing.TB) {
	t.Helper()
	c.Crash(t)
	c.Again(t)
}

// Crash ends the process as a crash does.
func (c *Caddy) Crash(t testing.TB) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatalf("kill caddy: %v", err)
	}
	<-c.exited
}

// Again starts a process that has ended: same configuration, addresses and data.
func (c *Caddy) Again(t testing.TB) {
	t.Helper()
	if c.Lives() {
		t.Fatal("caddy runs already")
	}
	if err := c.run(); err != nil {
		t.Fatal(err)
	}
}

// New reserves addresses and a folder for a Caddy and runs nothing: for [Caddy.Command].
func New(t testing.TB) *Caddy {
	t.Helper()
	addrs := freeAddrs(t, 2)
	return &Caddy{
		Addr: addrs[0], Admin: addrs[1], Home: t.TempDir(),
		Logs: new(Logs), t: t, exited: make(chan struct{}),
	}
}

// Command is the binary under test with the environment that [Start] gives it.
func (c *Caddy) Command(env []string, args ...string) *exec.Cmd {
	c.t.Helper()
	return c.command(nil, env, args...)
}

func (c *Caddy) command(wrap, env []string, args ...string) *exec.Cmd {
	c.t.Helper()
	// The test's context would kill the process before it is asked to stop.
	binary := c.binary
	if binary == "" {
		binary = Binary(c.t)
	}
	line := slices.Concat(wrap, []string{binary}, args)
	cmd := exec.CommandContext(context.Background(), line[0], line[1:]...)
	cmd.Dir = c.Home
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it ends with the test, whatever becomes of that
	_, port, _ := net.SplitHostPort(c.Addr)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + c.Home,
		"XDG_CONFIG_HOME=" + filepath.Join(c.Home, "config"),
		"XDG_DATA_HOME=" + filepath.Join(c.Home, "data"),
		"CADDY_ADMIN=" + c.Admin,
		"SITE=" + c.Addr,
		"PORT=" + port,
	}, env...)
	return cmd
}

// At is the same server at another of its addresses. It is c that ends with the test.
func (c *Caddy) At(addr string, secure bool) *Caddy {
	other := *c
	other.Addr, other.secure = addr, secure
	return &other
}

// URL is the site's URL of path.
func (c *Caddy) URL(path string) string {
	if c.secure {
		return "https://" + c.Addr + path
	}
	return "http://" + c.Addr + path
}

// Get requests a path of the site and returns the answer and its whole body.
func (c *Caddy) Get(t testing.TB, path string) (*http.Response, string) {
	t.Helper()
	return Fetch(t, c.URL(path), nil)
}

// Upload sends a file to a path with its query, and returns the status and the file's id, or why there is none.
func (c *Caddy) Upload(path string, data []byte) (status int, text string) {
	res, err := http.Post(c.URL(path), "application/octet-stream", bytes.NewReader(data))
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	var body struct {
		ID     string `json:"file_id"`
		Reason string
	}
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		return res.StatusCode, err.Error()
	}
	return res.StatusCode, body.ID + body.Reason
}

// Config returns the running configuration as the admin API shows it.
func (c *Caddy) Config(t testing.TB) string {
	t.Helper()
	response, body := Fetch(t, "http://"+c.Admin+"/config/", nil)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET /config/: %s", response.Status)
	}
	return body
}

// Reload gives the running Caddy another Caddyfile, as caddy reload does.
func (c *Caddy) Reload(t testing.TB, caddyfile string) {
	t.Helper()
	config := filepath.Join(c.Home, "Caddyfile.reload")
	if err := os.WriteFile(config, []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := c.Command(c.env, "reload", "--config", config, "--adapter", "caddyfile", "--address", c.Admin).CombinedOutput(); err != nil {
		t.Fatalf("caddy reload: %v\n%s", err, out)
	}
}

// WaitLog returns the first log entry that match accepts.
func (c *Caddy) WaitLog(t testing.TB, match func(Entry) bool) Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	entry, err := c.Logs.Wait(ctx, match)
	if err != nil {
		t.Fatalf("no such log entry: %v", err)
	}
	return entry
}

// Stop ends Caddy as caddy stop does, see [Caddy.Ended].
func (c *Caddy) Stop(t testing.TB) {
	t.Helper()
	// Not by a signal: Caddy installs its handler in a goroutine that may not have run yet.
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.Admin+"/stop", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := http.DefaultTransport.RoundTrip(request); err == nil { // or it has gone already
		response.Body.Close()
	}
	c.Ended(t)
}

// Signal sends the process a signal.
func (c *Caddy) Signal(t testing.TB, signal os.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(signal); err != nil {
		t.Fatalf("signal caddy: %v", err)
	}
}

// Exited waits for the end of the process, and returns its exit status.
func (c *Caddy) Exited(t testing.TB) int {
	t.Helper()
	select {
	case <-c.exited:
	case <-time.After(Patience):
		_ = c.cmd.Process.Kill()
		<-c.exited
		t.Errorf("caddy did not end within %s", Patience)
	}
	return c.cmd.ProcessState.ExitCode()
}

// Ended waits for the end of the process, and fails the test unless it comes soon and is clean.
func (c *Caddy) Ended(t testing.TB) {
	t.Helper()
	select {
	case <-c.exited:
		if code := c.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("caddy ended with %d (%s), want 0", code, c.cmd.ProcessState)
		}
	case <-time.After(Patience):
		_ = c.cmd.Process.Kill()
		<-c.exited
		t.Errorf("caddy did not stop within %s", Patience)
	}
}

func (c *Caddy) finish() {
	if c.Lives() {
		c.Stop(c.t)
	}
	text := c.Logs.String()
	if strings.Contains(text, "panic: ") || strings.Contains(text, `"panic"`) {
		c.t.Error("caddy's log tells of a panic")
	}
	if c.t.Failed() {
		c.t.Logf("caddy's log:\n%s", text)
	}
}

// Fetch requests url with header and returns the answer, redirects not followed, and its whole body.
func Fetch(t testing.TB, url string, header http.Header) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(request.Header, header)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(fmt.Errorf("read %s: %w", url, err))
	}
	return response, string(body)
}

// FreeAddr is a loopback address with a port that was free just now.
func FreeAddr(t testing.TB) string { t.Helper(); return freeAddrs(t, 1)[0] }

// freeAddrs are n different loopback addresses with ports that were free just now. The system gives these ports to no
// connection, since they are below its ephemeral ones (32768 on Linux): a server that is down for a while finds its
// port again.
func freeAddrs(t testing.TB, n int) []string {
	t.Helper()
	const first, last, tries = 10_000, 32_767, 1000
	var addrs []string
	for range tries {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first+1)))
		if err != nil {
			continue // somebody else's
		}
		defer listener.Close() // not before the others have theirs
		if addrs = append(addrs, listener.Addr().String()); len(addrs) == n {
			return addrs
		}
	}
	t.Fatal("no port is free")
	return nil
}

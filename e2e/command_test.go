package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/creack/pty"
)

// assistant runs "caddy assistant" with arguments and an input, and returns what it prints and its status.
func assistant(t *testing.T, c *harness.Caddy, in string, args ...string) (out, notes string, status int) {
	t.Helper()
	cmd := c.Command(nil, append([]string{"assistant"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if text := stdout.String() + stderr.String(); strings.Contains(text, canary) {
		t.Errorf("caddy assistant %s shows the key: %s", strings.Join(args, " "), text)
	}
	return stdout.String(), stderr.String(), status
}

// succeeds is for commands that must.
func succeeds(t *testing.T, c *harness.Caddy, args ...string) string {
	t.Helper()
	out, notes, status := assistant(t, c, "", args...)
	if status != 0 {
		t.Fatalf("caddy assistant %s: exit status %d\n%s%s", strings.Join(args, " "), status, out, notes)
	}
	return out
}

// fails is for commands that must not.
func fails(t *testing.T, c *harness.Caddy, want string, args ...string) {
	t.Helper()
	out, notes, status := assistant(t, c, "", args...)
	if status != 1 || !strings.Contains(notes, want) {
		t.Errorf("caddy assistant %s: exit status %d, want 1 and %q\n%s%s", strings.Join(args, " "), status, want, out, notes)
	}
}

// misuses is for command lines that are wrong.
func misuses(t *testing.T, c *harness.Caddy, want string, args ...string) {
	t.Helper()
	out, notes, status := assistant(t, c, "", args...)
	if status != 2 || !strings.Contains(notes, "Error: ") || !strings.Contains(notes, want) || !strings.Contains(notes, "\nUsage: caddy assistant") {
		t.Errorf("caddy assistant %s: exit status %d, want 2 and %q\n%s%s", strings.Join(args, " "), status, want, out, notes)
	}
}

// startChats starts a server whose model answers with escape sequences, and for ever where it is asked to.
func startChats(t *testing.T) *harness.Caddy {
	t.Helper()
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("You said: ", call.Question(), "\x1b[2J\x1b]0;owned\x07")
		if strings.Contains(call.Question(), "for ever") {
			call.UntilGone()
			return
		}
		call.Finish()
	})
	return harness.Start(t, harness.Site(strings.Replace(stored, "max_retries 0", "max_retries 0\n api_key {env.OPENAI_API_KEY}", 1)+"asyncapi /asyncapi/*"),
		"UPSTREAM="+upstream.URL, "OPENAI_API_KEY="+canary)
}

const said = "[2J]0;owned\n" // what is left of the escape sequences

// TestChatPiped is the chat as a newcomer types it, with the server found by itself.
func TestChatPiped(t *testing.T) {
	c := startChats(t)
	out, notes, status := assistant(t, c, "What is Caddy?\n", "chat")
	if out != "You said: What is Caddy?"+said || status != 0 {
		t.Errorf("echo | chat: %q, exit status %d, %s", out, status, notes)
	}
	out, _, status = assistant(t, c, "GET / 200\n", "chat", "Explain", "this:")
	if out != "You said: Explain this:\n\nGET / 200"+said || status != 0 {
		t.Errorf("chat with a question and an input: %q, exit status %d", out, status)
	}
	fails(t, c, "no question", "chat")
	fails(t, c, "no WebSocket", "chat", "Hi?", "--url", "ws://"+c.Addr+"/elsewhere")
	fails(t, c, "--url", "chat", "Hi?", "--address", "127.0.0.1:1")
	misuses(t, c, "wss://", "chat", "Hi?", "--url", c.URL("/ws/assistants/"))
	fails(t, c, "header", "chat", "Hi?", "--header", "nothing")
	fails(t, c, "no such conversation", "chat", "Hi?", "--conversation", "00000000-0000-4000-8000-000000000000")
}

// TestChatLogin passes basic_auth, by both ways to say who one is.
func TestChatLogin(t *testing.T) {
	// The hash is bcrypt's of hiccup, with the least cost.
	c := harness.Start(t, harness.Site("basic_auth {\n ann $2a$04$Jifdl7mQos.10UBpkVh5Bu1JqZirjbB.5OjGKvlCcxqRLF28CX.Hy\n}\n"+demo))
	fails(t, c, "401", "chat", "Hi?")
	for _, flags := range [][]string{{"--user", "ann:hiccup"}, {"--header", "Authorization: Basic YW5uOmhpY2N1cA=="}} {
		if out := succeeds(t, c, append([]string{"chat", "Hi?"}, flags...)...); out == "" {
			t.Errorf("chat %v: no answer", flags)
		}
	}
}

// terminal is the chat in a terminal.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	tty    *os.File
	chunks chan string
	text   string
}

func openTerminal(t *testing.T, c *harness.Caddy, args ...string) *terminal {
	t.Helper()
	cmd := c.Command([]string{"TERM=xterm"}, append([]string{"assistant", "chat"}, args...)...)
	tty, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, cmd: cmd, tty: tty, chunks: make(chan string, 1000)}
	go func() {
		defer close(term.chunks)
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			if err != nil {
				return
			}
			term.chunks <- string(buf[:n])
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // if the test has failed
		_ = tty.Close()
	})
	return term
}

// wait reads until the terminal shows text, forgets everything up to there, and returns what came before it.
func (term *terminal) wait(text string) (before string) {
	term.t.Helper()
	for deadline := time.After(harness.Patience); ; {
		if before, rest, ok := strings.Cut(term.text, text); ok {
			term.text = rest
			return before
		}
		select {
		case chunk, ok := <-term.chunks:
			if !ok {
				term.t.Fatalf("the chat ended before it showed %q, with %q", text, term.text)
			}
			if strings.ContainsAny(chunk, "\x1b\x07") {
				term.t.Errorf("an escape sequence reaches the terminal: %q", chunk)
			}
			term.text += chunk
		case <-deadline:
			term.t.Fatalf("the terminal does not show %q, but %q", text, term.text)
		}
	}
}

func (term *terminal) press(keys string) { _, _ = io.WriteString(term.tty, keys) }

// status waits for the end.
func (term *terminal) status() int {
	term.t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = term.cmd.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(harness.Patience):
		term.t.Fatal("the chat does not end")
	}
	return term.cmd.ProcessState.ExitCode()
}

// TestChatTerminal chats in a terminal: Ctrl-C stops the answer, a second one leaves, and so does Ctrl-D.
func TestChatTerminal(t *testing.T) {
	c := startChats(t)
	term := openTerminal(t, c, "--url", "ws://"+c.Addr+"/ws/assistants/?user=ann")
	term.wait("[conversation ")
	term.wait("> ")
	conversation := strings.Fields(succeeds(t, c, "conversations", "ann"))[3]
	term.press("Hello?\n")
	term.wait("You said: Hello?")
	term.wait("> ")
	term.press("Go on for ever.\n")
	term.wait("You said: Go on for ever.")
	term.press("\x03")
	term.wait("> ")
	term.press("\x04")
	if status := term.status(); status != 0 {
		t.Errorf("Ctrl-D: exit status %d", status)
	}

	term = openTerminal(t, c, "--url", "ws://"+c.Addr+"/ws/assistants/?user=ann", "--conversation", conversation)
	term.wait("> Hello?")
	term.wait("You said: Go on for ever.")
	term.wait("> ")
	term.press("Once more, for ever.\n")
	term.wait("You said: Once more")
	term.press("\x03")
	term.wait("> ")
	term.press("\x03")
	if status := term.status(); status != 130 || strings.Contains(term.text, "status") {
		t.Errorf("the second Ctrl-C: exit status %d, %q", status, term.text)
	}
}

// TestChatRestart kills the server in the middle of an answer: the chat comes back, shows no text twice, and
// goes on.
func TestChatRestart(t *testing.T) {
	c := startChats(t)
	term := openTerminal(t, c, "--url", "ws://"+c.Addr+"/ws/assistants/?user=ann")
	term.wait("> ")
	term.press("Go on for ever.\n")
	term.wait("[2J]0;owned")
	c.Kill(t)
	term.wait("connecting again")
	if again := term.wait("[the answer is not complete: interrupted]"); strings.Contains(again, "You said") {
		t.Errorf("text is shown twice: %q", again)
	}
	term.wait("> ")
	term.press("And now?\n")
	term.wait("You said: And now?")
	term.wait("> ")
	term.press("\x04")
	if status := term.status(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// TestOperate watches and steers a server as its operator types it.
func TestOperate(t *testing.T) {
	c := startChats(t)
	for _, user := range []string{"ann", "bob"} {
		succeeds(t, c, "chat", "I am "+user+".", "--url", "ws://"+c.Addr+"/ws/assistants/?user="+user)
	}
	if out := succeeds(t, c, "status"); !strings.Contains(out, "assistants  /ws/assistants/  serving  0        0        ok") {
		t.Errorf("status:\n%s", out)
	}
	if out := succeeds(t, c, "status", "--name", "assistants", "--json"); !strings.Contains(out, `"name":"assistants"`) {
		t.Errorf("status --name --json:\n%s", out)
	}
	fails(t, c, "no assistant handler has this name", "status", "--name", "other")
	misuses(t, c, "url: expected no name and password in it", "chat", "Hello", "--url", "ws://ann:"+canary+"@"+c.Addr+"/ws/assistants/")
	if out := succeeds(t, c, "providers"); !strings.Contains(out, "openai    gpt-4o  closed  0         -       -") {
		t.Errorf("providers:\n%s", out)
	}
	var item struct {
		ID string `json:"conversation_id"`
	}
	if err := json.Unmarshal([]byte(succeeds(t, c, "conversations", "ann", "--json")), &item); err != nil || item.ID == "" {
		t.Errorf("conversations --json: %v", err)
	}

	term := openTerminal(t, c, "--url", "ws://"+c.Addr+"/ws/assistants/?user=ann", "--conversation", item.ID)
	term.wait("> ")
	term.wait("> ") // the history has one too
	term.press("Go on for ever.\n")
	term.wait("You said: Go on for ever.")
	if out := succeeds(t, c, "sockets", "--user", "ann"); !strings.Contains(out, item.ID) {
		t.Errorf("sockets:\n%s", out)
	}
	var running struct {
		ID string `json:"message_id"`
	}
	if err := json.Unmarshal([]byte(succeeds(t, c, "answers", "--json")), &running); err != nil || running.ID == "" {
		t.Errorf("answers --json: %v", err)
	}
	if out := succeeds(t, c, "answers"); !strings.Contains(out, running.ID) || strings.Contains(out, "said") {
		t.Errorf("answers:\n%s", out)
	}
	succeeds(t, c, "stop", running.ID)
	term.wait("[the answer is not complete: stopped]")
	if out := succeeds(t, c, "close", "--user", "ann"); out != "1 socket closed\n" {
		t.Errorf("close: %q", out)
	}
	if status := term.status(); status != 1 {
		t.Errorf("a chat that the operator closes: exit status %d", status)
	}

	for _, path := range []string{"", "assistants", "assistants/sockets", "assistants/answers", "assistants/providers", "assistants/conversations?user=ann", "assistants/export?user=ann"} {
		if response, body := harness.Fetch(t, "http://"+c.Admin+"/assistant/"+path, nil); response.StatusCode != http.StatusOK || strings.Contains(body, canary) {
			t.Errorf("/assistant/%s: %s %s", path, response.Status, body)
		}
	}

	export := succeeds(t, c, "export", "ann")
	if strings.Count(export, "\n") != 1 || !strings.Contains(export, "I am ann.") || strings.Contains(export, "bob") {
		t.Errorf("export:\n%s", export)
	}
	file := filepath.Join(t.TempDir(), "ann.ndjson")
	succeeds(t, c, "export", "ann", "--output", file)
	if data, err := os.ReadFile(file); err != nil || string(data) != export {
		t.Errorf("the exported file: %v, %s", err, data)
	}
	fails(t, c, "exists", "export", "ann", "--output", file)

	if _, notes, status := assistant(t, c, "n\n", "erase", "ann"); status != 1 || !strings.Contains(notes, "Erase 1 conversation of ann") {
		t.Errorf("erase, no: exit status %d, %s", status, notes)
	}
	if out, _, _ := assistant(t, c, "y\n", "erase", "ann"); out != "1 conversation erased\n" {
		t.Errorf("erase, yes: %q", out)
	}
	if out := succeeds(t, c, "erase", "ann", "--yes"); out != "0 conversations erased\n" {
		t.Errorf("erase --yes: %q", out)
	}
	if out := succeeds(t, c, "export", "bob"); !strings.Contains(out, "I am bob.") {
		t.Errorf("bob has lost his: %s", out)
	}

	if out := succeeds(t, c, "drain"); out != "assistants is drained\n" {
		t.Errorf("drain: %q", out)
	}
	fails(t, c, "503", "chat", "Hi?")
	if out := succeeds(t, c, "resume"); out != "assistants is serving\n" {
		t.Errorf("resume: %q", out)
	}
	succeeds(t, c, "chat", "Hi?")

	fails(t, c, "Error: no running answer has this id\n", "stop", "nothing")
	fails(t, c, "Error: no assistant handler has this name\n", "answers", "--name", "other")
	misuses(t, c, "--user", "close")
	misuses(t, c, "<user> is missing", "export")
	misuses(t, c, `unexpected argument "bob"`, "export", "ann", "bob")
	misuses(t, c, `there is no command "exprt"; did you mean export?`, "exprt")
	misuses(t, c, "unknown flag: --nmae", "status", "--nmae", "x")
	misuses(t, c, "--config Caddyfile", "asyncapi")
	fails(t, c, "Is Caddy running here?", "status", "--address", "127.0.0.1:1")
	for _, args := range []string{"version", "--version"} {
		if out := succeeds(t, c, args); !regexp.MustCompile(`^caddy-assistant v\d+\.\d+\.\d+, Caddy v2\.\S+, go1\.\S+\n$`).MatchString(out) {
			t.Errorf("%s prints %q", args, out)
		}
	}
	fails(t, c, "connection refused", "status", "--address", "127.0.0.1:1")
	fails(t, c, "connection refused", "status", "--address", c.Addr[:strings.LastIndex(c.Addr, ":")]+":1")
}

// TestDoctor: it finds what is wrong with a model, the store, and what is in front of the socket, and says what to do.
func TestDoctor(t *testing.T) {
	c := harness.Start(t, harness.Site(strings.Replace(demo, "provider demo", "provider demo spare", 1)))
	if out := succeeds(t, c, "doctor"); strings.Count(out, "\n") != strings.Count(out, "ok ") || !strings.Contains(out, "model spare demo answers") ||
		!strings.Contains(out, "the store answers") || !strings.Contains(out, "opens for pages of its site") {
		t.Errorf("of a healthy server:\n%s", out)
	}
	broken := harness.Start(t, harness.Site(`assistant /ws/assistants/* {
		provider openai {
			api_key {env.OPENAI_API_KEY}
			base_url http://127.0.0.1:1/v1
			max_retries 0
		}
		origins https://elsewhere.example
		store postgres postgres://127.0.0.1:1/chat
	}`), "OPENAI_API_KEY="+canary)
	out, notes, status := assistant(t, broken, "", "doctor")
	for _, want := range []string{"FAULT model openai gpt-4o: provider_unavailable", "→ Is base_url right", "FAULT the store is unavailable", "is refused: 403", "→ Pages of this host may not connect"} {
		if !strings.Contains(out, want) {
			t.Errorf("the doctor does not say %q:\n%s", want, out)
		}
	}
	if status != 1 || notes != "Error: not all is well\n" {
		t.Errorf("exit status %d, %s", status, notes)
	}
	silent := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(silent.Close)
	for address, want := range map[string]string{
		"ws" + strings.TrimPrefix(silent.URL, "http") + "/ws/assistants/": "No assistant is at this path",
		"ws://127.0.0.1:1/ws/assistants/":                                 "does Caddy listen there",
		"http://" + c.Addr:                                                "Give one like wss://",
	} {
		if out, _, status := assistant(t, c, "", "doctor", "--url", address); status != 1 || !strings.Contains(out, want) {
			t.Errorf("doctor --url %s: exit status %d, no %q:\n%s", address, status, want, out)
		}
	}
}

// named is a site with a name, whose secrets are in the environment.
const named = `
chat.shop.test {
	assistant /ws/* {
		provider openai
		store postgres {env.DATABASE_URL}
	}
	asyncapi /asyncapi/* {
		contact "Example team" https://example.com/team team@example.com
		license "Apache 2.0" https://www.apache.org/licenses/LICENSE-2.0
	}
}
:9090 {
	respond hi
}
`

// TestAsyncAPICommand prints what a server with the configuration serves, without one: no secret is there, no
// connection is opened and no file made. The specification's own parser takes it.
func TestAsyncAPICommand(t *testing.T) {
	t.Parallel()
	caddyfile := "{\n log {\n output file {$HOME}/caddy.log\n }\n}\n" +
		harness.Site(strings.Replace(stored, "base_url {$UPSTREAM}", "api_key {env.OPENAI_API_KEY}", 1)+"asyncapi /asyncapi/* {\n title \"Chat of a shop\"\n}")
	c := harness.Start(t, caddyfile, "OPENAI_API_KEY="+canary)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	build := harness.New(t)
	build.Addr = c.Addr
	for query, flags := range map[string]string{
		"":                         "",
		"?format=yaml":             "--format yaml",
		"?view=client":             "--view client",
		"?view=client&format=yaml": "--format yaml --view client --channel assistants",
	} {
		_, want := c.Get(t, "/asyncapi/schema/"+query)
		args := append([]string{"asyncapi", "--config", file, "--adapter", "caddyfile"}, strings.Fields(flags)...)
		if got := succeeds(t, build, args...); got != want || got == "" {
			t.Errorf("asyncapi %s is not what /asyncapi/schema/%s serves:\n%.400s", flags, query, got)
		}
	}
	if files := list(t, build.Home); len(files) > 0 {
		t.Errorf("files were made: %q", files)
	}

	site := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(site, []byte(named), 0o600); err != nil {
		t.Fatal(err)
	}
	text := succeeds(t, build, "asyncapi", "--config", site, "--adapter", "caddyfile")
	document := filepath.Join(t.TempDir(), "asyncapi.json")
	if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "node", "asyncapi/validate.mjs", document).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	servers := func(text string) string {
		var d struct{ Servers map[string]map[string]string }
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(d.Servers)
	}
	if got := servers(text); !strings.HasPrefix(got, "map[production:map[host:chat.shop.test ") || !strings.Contains(got, "protocol:wss]") {
		t.Errorf("servers of a site with a name: %s", got)
	}
	text = succeeds(t, build, "asyncapi", "--config", site, "--adapter", "caddyfile", "--server", "ws://localhost:1234")
	if got := servers(text); !strings.HasPrefix(got, "map[development:map[host:localhost:1234 ") || !strings.Contains(got, "protocol:ws]") {
		t.Errorf("servers by --server: %s", got)
	}

	nameless := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(nameless, []byte(":8080 {\n assistant {\n provider demo\n }\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, build, "--server", "asyncapi", "--config", nameless, "--adapter", "caddyfile")
	fails(t, build, "wss://", "asyncapi", "--config", nameless, "--adapter", "caddyfile", "--server", "example.com")
	misuses(t, build, "json or yaml", "asyncapi", "--config", site, "--adapter", "caddyfile", "--format", "xml")
	misuses(t, build, "server or client", "asyncapi", "--config", site, "--adapter", "caddyfile", "--view", "x")
	fails(t, build, "no assistant handler is named", "asyncapi", "--config", site, "--adapter", "caddyfile", "--channel", "x")
	misuses(t, build, "--config", "asyncapi")
}

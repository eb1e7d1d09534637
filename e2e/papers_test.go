package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestClientOfTwentyLines: the client in docs/client.md asks in a stored conversation, and after a crash of the server shows
// the rest of what is there.
func TestClientOfTwentyLines(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("You said: ", call.Question())
		call.Finish()
	})
	c := harness.Start(t, harness.Site(stored), "UPSTREAM="+upstream.URL)
	program := fenced(t, "docs/client.md", "js")
	if n := strings.Count(program, "\n"); n > 26 {
		t.Errorf("it has %d lines", n)
	}
	program = strings.Replace(program, "wss://chat.example.com/ws/assistants/", "ws://"+c.Addr+"/ws/assistants/?user=ann", 1)
	program = "globalThis.WebSocket ??= require('ws'); // newer versions of Node have their own\n" + program + `
let subscribed = 0;
function show(action, payload) {
  console.log(JSON.stringify([action, payload?.content ?? payload?.finish_reason ?? payload?.messages?.map(({ content }) => content)]));
  if (action === 'subscribed' && ++subscribed === 1) ask('Hello?');
}
`
	folder := t.TempDir()
	if err := os.Symlink(filepath.Join(harness.Root(t), "e2e", "asyncapi", "node_modules"), filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", write(t, folder, "client.js", program))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := json.NewDecoder(out)
	var text string
	until := func(action string) (value any) {
		t.Helper()
		for {
			var line [2]any
			if err := lines.Decode(&line); err != nil {
				t.Fatalf("no %s: %v", action, err)
			}
			if line[0] == "streaming" {
				text += line[1].(string)
			}
			if line[0] == action {
				return line[1]
			}
		}
	}
	until("complete_streaming")
	if text != "You said: Hello?" {
		t.Errorf("it shows %q", text)
	}
	c.Kill(t)
	if got := fmt.Sprint(until("snapshot")); got != "[Hello? You said: Hello?]" {
		t.Errorf("after a crash it shows %s", got)
	}
}

// TestExtensions: the provider in docs/extend.md works in a Caddy that is built with it, and so does the server without
// Caddy.
func TestExtensions(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), "docs", "extend.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) != 2 {
		t.Fatalf("docs/extend.md has %d programs", len(blocks))
	}
	addr := harness.FreeAddr(t)
	main, err := os.ReadFile(filepath.Join(harness.Root(t), "cmd", "caddy", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/caddy-assistant/caddy-assistant"
	folder := t.TempDir()
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{ // folders that are there for these builds alone
		harness.Root(t) + "/extended/echo/echo.go":  write(t, folder, "echo.go", string(blocks[0][1])),
		harness.Root(t) + "/extended/caddy/main.go": write(t, folder, "caddy.go", strings.Replace(string(main), "import (", "import (\n\t_ \""+module+"/extended/echo\"", 1)),
		harness.Root(t) + "/extended/own/main.go":   write(t, folder, "own.go", strings.Replace(string(blocks[1][1]), "127.0.0.1:8080", addr, 1)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, folder, "overlay.json", string(overlay))
	for _, name := range []string{"caddy", "own"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-overlay", file, "-o", filepath.Join(folder, name), module+"/extended/"+name)
		build.Dir = harness.Root(t)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}

	c := harness.StartBinary(t, filepath.Join(folder, "caddy"), harness.Site("assistant /ws/assistants/* {\n provider echo\n}"))
	client := harness.Dial(t, c)
	client.Ask("Polly?")
	if got := harness.Answer(client.Until("complete_streaming")); got != "You said: Polly?" {
		t.Errorf("the provider answers %q", got)
	}

	startListener(t, exec.CommandContext(t.Context(), filepath.Join(folder, "own")), addr)
	client = harness.Dial(t, c.At(addr, false))
	client.Ask("Without Caddy?")
	if got := harness.Answer(client.Until("complete_streaming")); !strings.Contains(got, "Without Caddy?") {
		t.Errorf("the server of one's own answers %q", got)
	}
	if response, body := harness.Fetch(t, "http://"+addr+harness.AssistantPath, nil); response.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a request that is no handshake gets %s %q", response.Status, body)
	}
}

// commands returns the lines of all blocks of sh in the papers, without comments.
func commands(t *testing.T) (lines []string) {
	t.Helper()
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(harness.Root(t), pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?s)\n```(?:sh|bash)\n(.*?)```").FindAllSubmatch(text, -1) {
			check := exec.CommandContext(t.Context(), "bash", "-n")
			check.Stdin = bytes.NewReader(regexp.MustCompile(`<\w+>`).ReplaceAll(block[1], []byte("x")))
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", file, err, out)
			}
			for line := range strings.Lines(string(block[1])) {
				line, _, _ = strings.Cut(line, " #")
				if line = strings.TrimSpace(line); line != "" {
					lines = append(lines, line)
				}
			}
		}
	}
	return lines
}

// elsewhere are the programs whose commands no test runs: what they need is not here.
var elsewhere = regexp.MustCompile(`^(xcaddy|docker) `)

// TestCommands runs each command of the papers: those of caddy against a server with an answer under way, the backups of
// a store that is in use, and of make whether there is such a target.
func TestCommands(t *testing.T) {
	hold := make(chan struct{})
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("You said: ", call.Question())
		if strings.Contains(call.Question(), "for ever") {
			select {
			case <-hold:
			case <-call.Gone():
			}
		}
		call.Finish()
	})
	t.Cleanup(func() { close(hold) })
	// The hash is bcrypt's of hiccup, with the least cost.
	c := harness.Start(t, "http://{$SITE} {\nbind 127.0.0.1\nbasic_auth /signed/* {\n ann $2a$04$Jifdl7mQos.10UBpkVh5Bu1JqZirjbB.5OjGKvlCcxqRLF28CX.Hy\n}\n"+
		"@sockets path /ws/assistants/* /signed/*\n"+strings.Replace(stored, "/ws/assistants/*", "@sockets", 1)+"}\n", "UPSTREAM="+upstream.URL)
	database := harness.StartPostgres(t)
	harness.Start(t, harness.Site("assistant /ws/assistants/* {\n provider demo\n store postgres "+database.DSN+"\n}"))
	makefile, err := os.ReadFile(filepath.Join(harness.Root(t), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	files := harness.Start(t, harness.Site("assistant /ws/assistants/* {\n provider demo\n store memory\n user ann\n files\n}"))
	folder := t.TempDir()
	write(t, folder, "cat.png", string(photo(t, 4, 4)))
	v := create(t, c)
	ran := map[string]int{}
	for _, line := range commands(t) {
		program, _, _ := strings.Cut(line, " ")
		switch {
		case elsewhere.MatchString(line):
			ran[program]++
			continue
		case program == "make" || strings.Contains(line, " make "):
			target := regexp.MustCompile(`make ([a-z-]+)`).FindStringSubmatch(line)[1]
			if !regexp.MustCompile(`(?m)^` + target + `:`).Match(makefile) {
				t.Errorf("%s: there is no such target", line)
			}
			ran["make"]++
			continue
		}
		script := strings.Replace(line, "curl ", "curl --fail-with-body ", 1)
		script = strings.NewReplacer(
			"https://chat.example.com/", files.URL("/"),
			"wss://chat.example.com/ws/assistants/", "ws://"+c.Addr+"/signed/",
			"assistants.db", filepath.Join(c.Home, "chat", "chat.db"),
		).Replace(script)
		if strings.Contains(script, "--url") {
			script += " --user ann:hiccup"
			script = strings.Replace(script, " --user ann ", " ", 1)
		}
		if strings.HasPrefix(script, "caddy assistant chat") {
			script = strings.Replace(script, "chat", "chat Hello", 1)
		}
		if strings.Contains(script, "erase ann") {
			script += " --yes"
		}
		if strings.Contains(script, "<message_id>") {
			v.send("send_message", `{"content":"Go on for ever."}`)
			v.Until("streaming")
			var running struct {
				ID string `json:"message_id"`
			}
			if err := json.Unmarshal([]byte(succeeds(t, c, "answers", "--json")), &running); err != nil {
				t.Fatal(err)
			}
			script = strings.Replace(script, "<message_id>", running.ID, 1)
		}
		cmd := c.Command([]string{"UPSTREAM=" + upstream.URL, "DATABASE_URL=" + database.DSN, "CADDY_ADDRESS=" + c.Admin}, "unused")
		cmd.Path, cmd.Args = "/bin/bash", []string{"bash", "-euo", "pipefail", "-c", "caddy() { \"$BINARY\" \"$@\"; }\n" + script}
		cmd.Env = append(cmd.Env, "BINARY="+harness.Binary(t), "PATH="+harness.PostgresPrograms(t)+":"+os.Getenv("PATH"))
		cmd.Dir = folder
		caddyfile, err := os.ReadFile(filepath.Join(c.Home, "Caddyfile"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, folder, "Caddyfile", string(caddyfile))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if strings.Contains(script, "follow") { // it ends with the answer
			cmd.Stdout = io.MultiWriter(&out, once(func() { hold <- struct{}{} }))
		}
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, &out)
		}
		if strings.Contains(script, "follow") || strings.Contains(script, "stop") {
			v.Until("complete_streaming")
		}
		ran[program]++
	}
	if ran["caddy"] < 20 || ran["sqlite3"] == 0 || ran["pg_dump"] == 0 || ran["pg_restore"] == 0 {
		t.Errorf("ran %v", ran)
	}
}

// once is a writer that calls itself at the first write.
func once(f func()) io.Writer { return writerFunc(sync.OnceFunc(f)) }

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

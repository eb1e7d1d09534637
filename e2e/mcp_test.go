package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// everything is the reference server of the Model Context Protocol, which has a tool for each kind of result.
func everything(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := filepath.Abs("mcp/node_modules/@modelcontextprotocol/server-everything/dist/index.js")
	if err != nil {
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(node, append([]string{program}, args...)...)
}

// obedient is a model that makes the call that the question says, as a name and arguments, and tells what it got.
func obedient(c *harness.Call) {
	last := c.Messages[len(c.Messages)-1]
	name, arguments, isCall := strings.Cut(last.Content, " {")
	if last.Role != "user" || !isCall {
		c.Pieces("told: " + last.Content)
		c.Finish()
		return
	}
	call := map[string]any{"index": 0, "id": "call_0", "function": map[string]any{"name": name, "arguments": "{" + arguments}}
	data, _ := json.Marshal(map[string]any{"choices": []any{map[string]any{"index": 0, "delta": map[string]any{"tool_calls": []any{call}}, "finish_reason": "tool_calls"}}})
	c.Event(string(data))
	c.Event("[DONE]")
}

// calls asks for a call, and returns the state in which it ends, or waits, and what the answer says. One that waits is stopped.
func (v conversation) calls(t *testing.T, question string) (state, text string) {
	t.Helper()
	v.send("send_message", fmt.Sprintf(`{"content":%q}`, question))
	frames := v.Until("complete_streaming")
	for _, f := range frames {
		if f.Action != "tool_call" {
			continue
		}
		var call struct{ State string }
		decode(t, f, &call)
		state = call.State
	}
	if state == "waiting" {
		v.send("stop_streaming", "null")
		v.Until("complete_streaming")
	}
	return state, harness.Answer(frames)
}

// expect expects what comes of calls.
func (v conversation) expect(t *testing.T, calls map[string]string) {
	t.Helper()
	for question, want := range calls {
		state, text := v.calls(t, question)
		if got := state + " " + text; !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", question, got, want)
		}
	}
}

// everythingCalls are calls of its tools, and what comes of them.
var everythingCalls = map[string]string{
	`all__echo {"message":"hi"}`:                              "done told: Echo: hi",
	`all__echo {}`:                                            "failed told: The arguments are not valid: message is missing",
	`all__get-sum {"a":2,"b":3}`:                              "done told: The sum of 2 and 3 is 5.",
	`all__get-structured-content {"location":"Chicago"}`:      `"temperature"`,
	`all__get-resource-links {"count":2}`:                     "demo://resource/",
	`all__get-tiny-image {}`:                                  "[image/png, ",
	`all__get-annotated-message {"messageType":"error"}`:      "done told: Error: ",
	`all__simulate-research-query {"topic":"x"}`:              "",         // of a kind that is not offered here, or waits
	`all__toggle-simulated-logging {}`:                        "waiting ", // it does not only read
	`all__trigger-long-running-operation {"duration":1}`:      "done told: ",
	`all__nothing {}`:                                         "failed told: There is no tool of this name.",
	`all__get-resource-reference {"resourceType":"Nonsense"}`: "failed told: The arguments are not valid: resourceType",
}

// TestEverythingProgram calls the tools of the reference server, which the server starts and ends.
func TestEverythingProgram(t *testing.T) {
	program := everything(t, "stdio")
	upstream := harness.NewUpstream(t, obedient)
	c := harness.Start(t, harness.Site(fmt.Sprintf(`
	assistant /ws/assistants/* {
		provider openai {
			base_url {$UPSTREAM}
			max_retries 0
		}
		tools_for anonymous
		tools mcp all {
			command %s
			env     CANARY {env.CANARY}
			deny    gzip*
		}
	}
`, strings.Join(program.Args, " "))), "UPSTREAM="+upstream.URL, "CANARY=swordfish", "SECRET=of somebody else's")
	v := create(t, c)
	v.untilThere(t)
	v.expect(t, everythingCalls)
	state, text := v.calls(t, "all__get-env {}")
	if state != "done" || !strings.Contains(text, "PATH") || strings.Contains(text, "somebody else") {
		t.Errorf("the program's environment: %s %s", state, text)
	}
	if state, _ := v.calls(t, `all__gzip-file-as-resource {}`); state != "failed" {
		t.Errorf("a tool that is not allowed: %s", state)
	}
}

// TestEverythingServer calls the tools of the reference server over HTTP. It vanishes in the middle of a call, of which it is not
// known then whether it was made; the model does without it until it is back.
func TestEverythingServer(t *testing.T) {
	address := harness.FreeAddr(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	start := func() *exec.Cmd {
		cmd := everything(t, "streamableHttp")
		cmd.Env = append(cmd.Environ(), "PORT="+port)
		harness.StartPeer(t, cmd, func(line string) bool { return strings.Contains(line, "listening") })
		return cmd
	}
	server := start()
	upstream := harness.NewUpstream(t, obedient)
	c := harness.Start(t, harness.Site(`
	assistant /ws/assistants/* {
		provider openai {
			base_url {$UPSTREAM}
			max_retries 0
		}
		tools_for anonymous
		tools mcp all {
			url     http://{$SERVER}/mcp
			refresh 1s
		}
	}
`), "UPSTREAM="+upstream.URL, "SERVER="+address)
	v := create(t, c)
	v.untilThere(t)
	v.expect(t, everythingCalls)
	v.send("send_message", `{"content":"all__trigger-long-running-operation {\"duration\":100}"}`)
	for running := false; !running; {
		frames := v.Until("tool_call")
		running = strings.Contains(string(frames[len(frames)-1].Payload), `"running"`)
	}
	if err := syscall.Kill(-server.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	frames := v.Until("complete_streaming")
	if answer := harness.Answer(frames); !strings.Contains(answer, "It is not known whether this was done.") {
		t.Errorf("after the server had vanished: %s", answer)
	}
	v.send("send_message", `{"content":"hello"}`)
	frames = v.Until("complete_streaming")
	if answer := harness.Answer(frames); answer != "told: hello" {
		t.Errorf("without the server: %s", answer)
	}
	start()
	v.untilThere(t)
}

// untilThere waits until the server has told its tools.
func (v conversation) untilThere(t *testing.T) {
	t.Helper()
	for range 50 {
		if state, _ := v.calls(t, `all__echo {"message":"hi"}`); state == "done" {
			return
		}
	}
	t.Fatal("the server is there, and its tools are not")
}

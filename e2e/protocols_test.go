package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/coder/websocket"
)

// TestProtocols: a socket is the same by every version of HTTP, and the access log tells it as what it is.
func TestProtocols(t *testing.T) {
	c := harness.StartSecure(t, demo+"log\n")
	c.WaitLog(t, func(e harness.Entry) bool { return e["logger"] == "http.handlers.assistant" && e["on"] == true })
	for _, protocol := range harness.Protocols {
		t.Run(protocol, func(t *testing.T) {
			client := harness.DialBy(t, c, protocol)
			client.Send(`{"action":"ping"}`)
			client.Expect(`{"action":"pong","payload":null}`)
			client.Ask("Are you there?")
			if answer := harness.Answer(client.Until("complete_streaming")); !strings.Contains(answer, "Are you there?") {
				t.Errorf("the answer is %q", answer)
			}
			client.Send("\xff")
			if got, _ := client.CloseStatus(); got != websocket.StatusInvalidFramePayloadData {
				t.Errorf("closed with %d", got)
			}
			method, status := "CONNECT", 200.0
			if protocol == "HTTP/1.1" {
				method, status = "GET", 101
			}
			c.WaitLog(t, func(e harness.Entry) bool {
				request, _ := e["request"].(map[string]any)
				version := map[any]string{"HTTP/1.1": "HTTP/1.1", "HTTP/2.0": "HTTP/2", "websocket": "HTTP/3"}[request["proto"]]
				return e["msg"] == "handled request" && version == protocol && request["method"] == method && e["status"] == status
			})
		})
	}
}

// TestStopEndsEveryProtocol: an exit closes sockets of each version in order and waits for none, though Caddy
// would wait for open streams, and for connections of HTTP/3, for ever; also when nobody reads.
func TestStopEndsEveryProtocol(t *testing.T) {
	c := harness.StartSecure(t, "assistant /ws/assistants/* {\n provider demo {\n delay 1h\n}\n drain_timeout 1s\n}\n")
	clients := map[string]*harness.Client{}
	for _, protocol := range harness.Protocols {
		harness.DialBy(t, c, protocol).Send(`{"action":"ping"}`) // and then it does nothing more
		clients[protocol] = harness.DialBy(t, c, protocol)
		clients[protocol].Ask("Will you ever answer?")
		clients[protocol].Until("streaming_start")
	}
	c.Signal(t, syscall.SIGTERM)
	for protocol, client := range clients {
		if got, _ := client.CloseStatus(); got != websocket.StatusServiceRestart {
			t.Errorf("%s was closed with %d, want %d", protocol, got, websocket.StatusServiceRestart)
		}
	}
	c.Ended(t)
}

// TestBrowserOverHTTP2: Chromium opens its socket on the connection that the page came by, and sees every way
// of closing it as a clean one.
func TestBrowserOverHTTP2(t *testing.T) {
	c := harness.StartSecure(t, demo+"log\nheader Content-Type text/html\nrespond / <title>page</title>\n")
	page := harness.Open(t, c, "/")
	const open = `new Promise(done => {
		const socket = new WebSocket("wss://" + location.host + "/ws/assistants/");
		const log = [];
		socket.onopen = () => { %s };
		socket.onmessage = event => { log.push(JSON.parse(event.data).action); %s };
		socket.onclose = event => done([...new Set(log), event.code, event.wasClean].join(" "));
	})`
	for _, test := range []struct{ name, first, then, want string }{
		{"page closes", `socket.send('{"action":"ping"}')`, `socket.close(4000)`, "pong 4000 true"},
		{"server closes", `for (let i = 0; i < 20; i++) socket.send("{")`, ``, "error 1008 true"},
		{"binary", `for (let i = 0; i < 20; i++) socket.send(new Uint8Array(3))`, ``, "error 1008 true"},
		// Not always clean: the page may have more to send when the stream ends.
		{"too big", `socket.send("x".repeat(2 << 20))`, ``, "1009 "},
	} {
		if got := harness.Eval[string](page, fmt.Sprintf(open, test.first, test.then)); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	harness.Eval[bool](page, `(window.stopped = `+fmt.Sprintf(open, `window.ready = true`, ``)+`, true)`)
	page.WaitFor("window.ready")
	c.Stop(t)
	if got := harness.Eval[string](page, "window.stopped"); got != "1012 true" {
		t.Errorf("server stops: %s, want 1012 true", got)
	}
	for range 5 {
		c.WaitLog(t, func(e harness.Entry) bool {
			request, _ := e["request"].(map[string]any)
			return e["msg"] == "handled request" && request["proto"] == "HTTP/2.0" && request["method"] == "CONNECT" && e["status"] == 200.0
		})
	}
}

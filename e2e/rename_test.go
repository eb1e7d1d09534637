package e2e

import (
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestOneBlockOneStore: one block for http:// and https://, of which Caddy makes two servers, is one assistant with one
// store: what is asked through one address is answered at the other.
func TestOneBlockOneStore(t *testing.T) {
	addr := harness.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("You said: ", call.Question())
		call.Finish()
	})
	c := harness.Start(t, "{\n http_port {$PORT}\n https_port {$TLS_PORT}\n local_certs\n skip_install_trust\n}\n"+
		"http://localhost, https://localhost {\n bind 127.0.0.1\n"+stored+"}\n", "TLS_PORT="+port, "UPSTREAM="+upstream.URL)
	c.WaitLog(t, func(e harness.Entry) bool { return e["msg"] == "certificate obtained successfully" })
	_, plain, _ := net.SplitHostPort(c.Addr)
	first := create(t, c.At("localhost:"+plain, false))
	second := open(t, harness.Dial(t, c.At("localhost:"+port, true)), first.id)
	first.send("send_message", `{"content":"Are you one?"}`)
	if got := harness.Answer(second.Until("complete_streaming")); got != "You said: Are you one?" {
		t.Errorf("by https the answer is %q", got)
	}
	if out := succeeds(t, c, "status"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "serving  2 ") {
		t.Errorf("status shows not one handler with two sockets:\n%s", out)
	}
}

// TestRename gives the handler of a running server another name, by caddy reload, while it answers: no socket is closed,
// no piece is lost, the conversation goes on, and so it does after a restart.
func TestRename(t *testing.T) {
	pieces := make(chan string)
	end := sync.OnceFunc(func() { close(pieces) })
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		for piece := range pieces {
			call.Pieces(piece)
		}
		call.Pieces("The end.")
		call.Finish()
	})
	t.Cleanup(end) // or the upstream would wait for its call where the test has failed
	c := harness.Start(t, harness.Site(stored), "UPSTREAM="+upstream.URL)
	v := create(t, c)
	v.send("send_message", `{"content":"Tell me a story."}`)
	pieces <- "Once upon "
	frames := v.Until("streaming")
	renamed := harness.Site(strings.Replace(stored, "store sqlite", "name helpdesk\n\t\tstore sqlite", 1))
	c.Reload(t, renamed)
	if out := succeeds(t, c, "status"); !strings.Contains(out, "helpdesk") || strings.Contains(out, "assistants ") || !strings.Contains(out, "serving  1 ") {
		t.Errorf("status after the rename:\n%s", out)
	}
	pieces <- "a time. "
	end()
	frames = append(frames, v.Until("complete_streaming")...)
	if got := harness.Answer(frames); got != "Once upon a time. The end." {
		t.Errorf("the answer under way is %q", got)
	}
	v.send("send_message", `{"content":"Another one."}`)
	if got := harness.Answer(v.Until("complete_streaming")); got != "The end." {
		t.Errorf("the next answer is %q", got)
	}
	if err := os.WriteFile(c.Home+"/Caddyfile", []byte(renamed), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Kill(t)
	if items := open(t, harness.Dial(t, c), v.id).messages(); len(items) != 4 || items[1].Content != "Once upon a time. The end." {
		t.Errorf("after a restart: %+v", items)
	}
}

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/coder/websocket"
)

// stored is an assistant whose conversations are in a file.
const stored = `
	assistant /ws/assistants/* {
		store sqlite {$HOME}/chat/chat.db
		user {query.user}
		provider openai {
			base_url {$UPSTREAM}
			max_retries 0
		}
	}
`

type message struct {
	ID           string `json:"message_id"`
	Role         string
	Content      string
	Status       string
	FinishReason string `json:"finish_reason"`
}

// conversation is one client's view of a stored conversation.
type conversation struct {
	*harness.Client
	t     *testing.T
	id    string
	topic string
}

func create(t *testing.T, c *harness.Caddy) conversation {
	t.Helper()
	client := harness.Dial(t, c)
	return open(t, client, client.Create())
}

func open(t *testing.T, client *harness.Client, id string) conversation {
	t.Helper()
	v := conversation{client, t, id, "conversation:" + id}
	v.send("subscribe", "null")
	v.Until("subscribed")
	return v
}

func (v conversation) send(action, payload string) {
	v.t.Helper()
	v.Send(fmt.Sprintf(`{"action":%q,"topic":%q,"ref":%q,"payload":%s}`, action, v.topic, action, payload))
}

func (v conversation) messages() (items []message) {
	v.t.Helper()
	v.Send(fmt.Sprintf(`{"action":"list_messages","payload":{"conversation_id":%q}}`, v.id))
	frames := v.Until("messages")
	var page struct{ Items []message }
	decode(v.t, frames[len(frames)-1], &page)
	return page.Items
}

func decode(t *testing.T, f harness.Frame, payload any) {
	t.Helper()
	if err := json.Unmarshal(f.Payload, payload); err != nil {
		t.Fatalf("decode %s: %v", f.Text, err)
	}
}

// TestKill kills the server in the middle of an answer: after a restart the question and the partial
// answer are there, marked interrupted, at most a flush behind what was shown; and regenerate works.
func TestKill(t *testing.T) {
	pieces := make(chan string)
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		for piece := range pieces {
			call.Pieces(piece)
		}
		call.Pieces("The end.")
		call.Finish()
	})
	c := harness.Start(t, harness.Site(stored), "UPSTREAM="+upstream.URL)
	v := create(t, c)
	v.Until("snapshot")
	v.send("send_message", `{"content":"Tell me a long story.","client_id":"q1"}`)
	v.Until("streaming_start")
	shown := ""
	early := strings.Repeat("Once upon a time. ", 200) // more than a flush
	for _, piece := range []string{early, "There was a server."} {
		pieces <- piece
		frames := v.Until("streaming")
		shown += harness.Answer(frames)
	}
	waitStored(t, c.Home+"/chat/chat.db-wal", "Once upon a time")
	c.Kill(t)
	close(pieces)

	after := open(t, harness.Dial(t, c), v.id)
	after.Until("snapshot")
	items := after.messages()
	if len(items) != 2 {
		t.Fatalf("%d messages are left, want the question and the partial answer: %+v", len(items), items)
	}
	question, answer := items[0], items[1]
	if question.Content != "Tell me a long story." || question.Status != "complete" {
		t.Errorf("the question is %+v", question)
	}
	if answer.Status != "interrupted" || answer.FinishReason != "interrupted" || answer.Content == "" || !strings.HasPrefix(shown, answer.Content) {
		t.Errorf("the answer is %s (%s), %d bytes of the %d that were shown", answer.Status, answer.FinishReason, len(answer.Content), len(shown))
	}
	after.send("send_message", `{"content":"Tell me a long story.","client_id":"q1"}`) // resent: nothing is asked
	replayed := after.Until("complete_streaming")
	if text := harness.Answer(replayed); text != answer.Content {
		t.Errorf("resending gives %q", text)
	}
	if n := len(upstream.Calls); n != 1 {
		t.Errorf("the model was asked %d times, want 1", n)
	}
	after.send("regenerate", "null")
	after.Until("complete_streaming")
	if items := after.messages(); len(items) != 2 || items[1].Status != "complete" {
		t.Errorf("after regenerate: %+v", items)
	}
	info, err := os.Stat(filepath.Join(c.Home, "chat", "chat.db"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

// waitStored waits until a file holds a text: the flush that a crash must not take.
func waitStored(t *testing.T, file, text string) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(harness.Patience); ; {
		if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), text) {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("%s never holds %q", file, text)
		}
	}
}

// TestTerminate stops a server with an answer under way that does not end in time: its text is stored
// as interrupted, clients are told, and the process ends.
func TestTerminate(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("Once ", "upon ")
		call.UntilGone()
	})
	c := harness.Start(t, harness.Site(strings.Replace(stored, "user {query.user}", "drain_timeout 1s", 1)), "UPSTREAM="+upstream.URL)
	v := create(t, c)
	v.Until("snapshot")
	v.send("send_message", `{"content":"Go on for ever."}`)
	v.Until("streaming")
	started := time.Now()
	c.Signal(t, syscall.SIGTERM)
	v.Until("notice")
	if status := harness.Handshake(t, c, c.URL("")); status != http.StatusServiceUnavailable {
		t.Errorf("a new socket gets %d while the server drains, want 503", status)
	}
	v.send("send_message", `{"content":"One more?"}`)
	refused := v.Until("error")
	if text := refused[len(refused)-1].Text; !strings.Contains(text, `"draining"`) {
		t.Errorf("a new question gets %s while the server drains", text)
	}
	status, frames := v.CloseStatus()
	if status != websocket.StatusServiceRestart {
		t.Errorf("closed with %d", status)
	}
	var end struct {
		FinishReason string `json:"finish_reason"`
	}
	for _, f := range frames {
		if f.Action == "complete_streaming" {
			decode(t, f, &end)
		}
	}
	if end.FinishReason != "interrupted" {
		t.Errorf("the answer ended with %q, want interrupted", end.FinishReason)
	}
	c.Ended(t)
	t.Logf("the process ended after %v, with a drain_timeout of 1s", time.Since(started).Round(time.Millisecond))
}

package models

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// atOnce is how soon the server has to see a stop. It takes milliseconds, but the machine may be busy.
const atOnce = 10 * time.Second

// ask asks the questions of a probe and returns what became of the last one.
func (s server) ask(t *testing.T, client *harness.Client, p probe, w way) string {
	t.Helper()
	var frames []harness.Frame
	for i, question := range p.asked() {
		send(t, client, "send_message", map[string]string{"content": question})
		if p.stop && i == len(p.asked())-1 {
			return s.stop(t, client, w)
		}
		frames = client.Until("complete_streaming")
	}
	return outcome(t, frames, p.text)
}

// stop stops the answer after its first piece.
func (s server) stop(t *testing.T, client *harness.Client, w way) string {
	t.Helper()
	frames := client.Until("streaming")
	waits := make([]func(context.Context) error, len(s.watchers))
	for i, watcher := range s.watchers {
		waits[i] = watcher.watch(w.title)
	}
	ctx, cancel := context.WithTimeout(t.Context(), atOnce)
	defer cancel()
	stopped := time.Now()
	send(t, client, "stop_streaming", nil)
	frames = append(frames, client.Until("complete_streaming")...)
	said := outcome(t, frames, "")
	for i, watcher := range s.watchers {
		err, deaf := waits[i](ctx), slices.Contains(watcher.deaf, w.title)
		t.Logf("%s: %s after %v", watcher.who, time.Since(stopped), err)
		switch {
		case (err != nil) != deaf:
			t.Errorf("%s saw the stop: %t within %s", watcher.who, err == nil, atOnce)
		case deaf:
			said += "; " + watcher.who + " does not see it"
		default:
			said += "; " + watcher.who + " sees it at once"
		}
	}
	return said
}

// send sends a request of the extended protocol, on the connection's own conversation.
func send(t *testing.T, client *harness.Client, action string, payload any) {
	t.Helper()
	frame, err := json.Marshal(map[string]any{"action": action, "ref": action, "payload": payload})
	if err != nil {
		t.Fatal(err)
	}
	client.Send(string(frame))
}

// ending is what the last frames of an answer say.
type ending struct {
	Reason     string
	RetryAfter int    `json:"retry_after_ms"`
	Finish     string `json:"finish_reason"`
	Usage      struct {
		Input     int `json:"input_tokens"`
		Output    int `json:"output_tokens"`
		Total     int `json:"total_tokens"`
		Estimated bool
	}
}

// outcome says what became of an answer for which the server sent text.
func outcome(t *testing.T, frames []harness.Frame, text string) string {
	t.Helper()
	var said []string
	if reasoning := contents(frames, "reasoning"); reasoning != "" {
		said = append(said, "reasoning apart")
	}
	said = append(said, described(contents(frames, "streaming"), text, len(of(frames, "streaming")))...)
	var end ending
	for _, frame := range frames {
		if frame.Action == "error" || frame.Action == "complete_streaming" {
			if err := json.Unmarshal(frame.Payload, &end); err != nil {
				t.Fatalf("decode %s: %v", frame.Text, err)
			}
		}
	}
	switch {
	case end.Reason != "" && end.Finish != "error":
		t.Errorf("an answer that ended with the error %s has the finish reason %q", end.Reason, end.Finish)
	case end.Reason != "":
		said = append(said, "`"+end.Reason+"`")
	default:
		said = append(said, "`"+end.Finish+"`")
	}
	if end.RetryAfter > 0 {
		said = append(said, fmt.Sprintf("retry after %s", time.Duration(end.RetryAfter)*time.Millisecond))
	}
	if u := end.Usage; end.Finish == "stop" || end.Finish == "length" {
		if u.Estimated {
			said = append(said, "tokens estimated")
		} else {
			said = append(said, fmt.Sprintf("%d + %d tokens", u.Input, u.Output))
		}
	}
	return strings.Join(said, ", ")
}

// described says how much of text an answer has, which came in pieces.
func described(answer, text string, pieces int) []string {
	how := ""
	if pieces > 1 {
		how = " in pieces"
	}
	switch {
	case answer == "":
		return nil
	case text == "":
		return []string{"text"}
	case answer == text:
		return []string{"the whole text" + how}
	case strings.HasPrefix(text, answer):
		return []string{"its beginning"}
	default:
		return []string{fmt.Sprintf("%q", answer)}
	}
}

func of(frames []harness.Frame, action string) []harness.Frame {
	return slices.DeleteFunc(slices.Clone(frames), func(f harness.Frame) bool { return f.Action != action })
}

func contents(frames []harness.Frame, action string) string {
	var text strings.Builder
	for _, frame := range of(frames, action) {
		text.WriteString(frame.Content())
	}
	return text.String()
}

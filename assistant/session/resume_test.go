package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"
	"github.com/caddy-assistant/caddy-assistant/assistant/session/sessiontest"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
)

// babbler answers with random pieces at random times, and keeps what it said.
type babbler struct {
	random *rand.Rand
	said   []string
}

func (*babbler) Source() assistant.Source {
	return assistant.Source{Provider: "test", Model: "babbler"}
}

func (b *babbler) Stream(ctx context.Context, _ assistant.Request) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		var text strings.Builder
		for i := range 1 + b.random.IntN(600) {
			if b.random.IntN(4) == 0 {
				select {
				case <-time.After(time.Duration(b.random.IntN(50)) * time.Millisecond):
				case <-ctx.Done():
					yield(assistant.Delta{}, context.Cause(ctx))
					return
				}
			}
			piece := fmt.Sprintf("%d ", i)
			text.WriteString(piece)
			if !yield(assistant.Delta{Text: piece}, nil) {
				return
			}
		}
		b.said = append(b.said, text.String())
		yield(assistant.Delta{FinishReason: assistant.FinishStop}, nil)
	}
}

// viewer is a client that keeps what it knows over cuts, as the protocol tells it to.
type viewer struct {
	t       *testing.T
	server  *sessiontest.Server
	topic   string
	client  *sessiontest.Client
	epoch   string
	seq     uint64
	answers []string // texts, in order
	running string   // id of the answer under way
	starts  map[string]int
	ends    map[string]int
}

type received struct {
	Action  string
	Seq     uint64
	Payload json.RawMessage
}

func (v *viewer) join() {
	v.client = v.server.Dial("user=ann")
	subscribe := fmt.Sprintf(`{"action":"subscribe","topic":%q}`, v.topic)
	if v.epoch != "" {
		subscribe = fmt.Sprintf(`{"action":"subscribe","topic":%q,"payload":{"epoch":%q,"after":%d}}`, v.topic, v.epoch, v.seq)
	}
	v.client.Send(subscribe)
}

// cut ends the socket; what had already arrived may be lost, as on a real network.
func (v *viewer) cut(seen bool) {
	if seen {
		v.look()
	}
	v.client.Vanish()
	v.client = nil
}

func (v *viewer) look() {
	for _, frame := range v.client.Received() {
		var f received
		if err := json.Unmarshal([]byte(frame), &f); err != nil {
			v.t.Fatalf("frame %s: %v", frame, err)
		}
		v.take(f)
	}
}

func (v *viewer) take(f received) {
	var p struct {
		Epoch     string
		Recovered bool
		MessageID string `json:"message_id"`
		Content   string
		Messages  []assistant.Message
		Streaming json.RawMessage
	}
	_ = json.Unmarshal(f.Payload, &p)
	switch f.Action {
	case "subscribed":
		v.epoch = p.Epoch
		return
	case "snapshot":
		v.restore(p.Messages, p.Streaming)
		v.seq = f.Seq
		return
	}
	if f.Seq <= v.seq {
		v.t.Errorf("seq %d after %d", f.Seq, v.seq)
	}
	if f.Action != "streaming" && f.Seq != v.seq+1 {
		v.t.Errorf("gap: %s has seq %d after %d", f.Action, f.Seq, v.seq)
	}
	v.seq = f.Seq
	switch f.Action {
	case "streaming_start":
		v.running = p.MessageID
		v.starts[p.MessageID]++
		v.answers = append(v.answers, "")
	case "streaming":
		v.answers[len(v.answers)-1] += p.Content
	case "complete_streaming":
		v.ends[p.MessageID]++
		v.running = ""
	}
}

func (v *viewer) restore(messages []assistant.Message, streaming json.RawMessage) {
	v.answers, v.running = nil, ""
	for _, m := range messages {
		if m.Role == assistant.RoleAssistant {
			v.answers = append(v.answers, m.Content)
		}
	}
	var s *session.StreamingAnswer
	if json.Unmarshal(streaming, &s) == nil && s != nil {
		v.running = s.MessageID
		v.answers = append(v.answers, s.Content)
	}
}

// TestResume cuts and rejoins several sockets at random instants, with what they saw last or without,
// while answers stream: every one ends with exactly what the model said, and no seq is missing or twice.
func TestResume(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testResume(t, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

func testResume(t *testing.T, random *rand.Rand) {
	model := &babbler{random: rand.New(rand.NewPCG(random.Uint64(), 1))}
	hub := conversation.NewHub(memory.Open(memory.Config{}), nil)
	server := sessiontest.Serve(t, hub, conversation.New(hub, conversation.Config{Provider: model, Strict: random.IntN(3) == 0}), ws.Options{})
	asker := server.Dial("user=ann")
	asker.Send(`{"action":"create_conversation"}`)
	synctest.Wait()
	var created struct {
		Payload assistant.Conversation
	}
	if err := json.Unmarshal([]byte(asker.Received()[0]), &created); err != nil {
		t.Fatal(err)
	}
	topic := "conversation:" + created.Payload.ID
	asker.Send(fmt.Sprintf(`{"action":"subscribe","topic":%q}`, topic))
	viewers := make([]*viewer, 4)
	for i := range viewers {
		viewers[i] = &viewer{t: t, server: server, topic: topic, starts: map[string]int{}, ends: map[string]int{}}
		viewers[i].join()
	}
	const questions = 3
	for q := range questions {
		asker.Send(fmt.Sprintf(`{"action":"send_message","topic":%q,"payload":{"content":"q%d","client_id":"c%d"}}`, topic, q, q))
	}
	for range 60 {
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
		v := viewers[random.IntN(len(viewers))]
		if v.client == nil {
			v.join()
		} else {
			synctest.Wait()
			v.cut(random.IntN(2) == 0)
		}
	}
	time.Sleep(2 * time.Minute) // the bubble's: all answers have ended
	synctest.Wait()
	if len(model.said) != questions {
		t.Fatalf("the model was asked %d times, want %d", len(model.said), questions)
	}
	for i, v := range viewers {
		if v.client == nil {
			v.join()
		}
		synctest.Wait()
		v.look()
		if v.running != "" || strings.Join(v.answers, "|") != strings.Join(model.said, "|") {
			t.Errorf("viewer %d ended with %q, the model said %q", i, v.answers, model.said)
		}
		for id, n := range v.starts {
			if n != 1 || v.ends[id] > 1 {
				t.Errorf("viewer %d saw answer %s start %d and end %d times", i, id, n, v.ends[id])
			}
		}
		v.client.Vanish()
	}
	asker.Leave()
}

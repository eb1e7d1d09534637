package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/session/sessiontest"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
)

// doubtful is a store whose Extend fails twice of three times: once before it has done its work, and once
// after, as a database does whose connection breaks at the commit.
type doubtful struct {
	*memory.Store
	calls atomic.Int32
}

func (d *doubtful) Extend(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	n := d.calls.Add(1)
	if n%3 == 1 {
		return errors.New("no connection")
	}
	err := d.Store.Extend(ctx, c, e)
	if n%3 == 2 {
		return errors.New("connection lost at commit")
	}
	return err
}

// TestDoubtfulStore holds that the store has each piece of a running answer once, whatever its calls say.
func TestDoubtfulStore(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict %v", strict), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var script strings.Builder
				for i := range 40 {
					fmt.Fprintf(&script, "text \"%d \"\nsleep 150ms\n", i)
				}
				script.WriteString("text \"nul\\x00\"\nsleep 5s\nwait\nfinish stop\n")
				model := assistanttest.NewScript(script.String())
				store := &doubtful{Store: memory.Open(memory.Config{})}
				hub := conversation.NewHub(store, nil)
				server := sessiontest.Serve(t, hub, conversation.New(hub, conversation.Config{Provider: model, Strict: strict}), ws.Options{})
				client := server.Dial("user=ann")
				client.Send(`{"action":"create_conversation"}`)
				synctest.Wait()
				var created struct{ Payload assistant.Conversation }
				if err := json.Unmarshal([]byte(client.Received()[0]), &created); err != nil {
					t.Fatal(err)
				}
				topic := "conversation:" + created.Payload.ID
				client.Send(fmt.Sprintf(`{"action":"subscribe","topic":%q}`, topic))
				client.Send(fmt.Sprintf(`{"action":"assistant_message","payload":"count","topic":%q}`, topic))
				time.Sleep(20 * time.Second) // the bubble's
				messages, _, err := store.Messages(t.Context(), "ann", created.Payload.ID, "", 10)
				if err != nil || len(messages) != 2 {
					t.Fatalf("%d messages, %v", len(messages), err)
				}
				want := ""
				for i := range 40 {
					want += fmt.Sprintf("%d ", i)
				}
				want += "nul\uFFFD"
				if got := messages[1].Content; got != want || messages[1].Status != assistant.StatusStreaming {
					t.Errorf("the store has %q (%s), want %q", got, messages[1].Status, want)
				}
				model.Release()
				client.Leave()
			})
		})
	}
}

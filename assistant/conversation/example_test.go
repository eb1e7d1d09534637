package conversation_test

import (
	"context"
	"fmt"
	"log"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// Follow a stored conversation without any socket: give it a question, and read its events until the answer ends.
func ExampleConversation_Follow() {
	ctx := context.Background()
	hub := conversation.NewHub(memory.Open(memory.Config{}), nil)
	defer func() { _ = hub.Close(ctx) }()
	conversation.New(hub, conversation.Config{Provider: assistanttest.Echoes})
	created, err := hub.Create(ctx, "ann", "A test")
	if err != nil {
		log.Fatal(err)
	}
	c, err := hub.Open("ann", created.ID)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	wake := make(chan struct{}, 1)
	follower, position := c.Follow(nil, conversation.Listener{
		Mouth: 1,
		Wake: func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		},
		TooSlow: func() {},
	})
	defer follower.Close()
	fmt.Println("begins with", position.Snapshot.Conversation.Title)

	if _, err := c.Do(ctx, assistant.Ask{Asker: assistant.Asker{Peer: assistant.Peer{User: "ann"}}, Text: "Hello"}); err != nil {
		log.Fatal(err)
	}
	for {
		<-wake
		events, err := follower.Read(make([]assistant.Event, 0, 16))
		if err != nil {
			log.Fatal(err) // ErrGone: follower.Restart
		}
		for _, e := range events {
			fmt.Printf("%d %s %q\n", e.Seq, e.Kind, e.Text)
			if e.Kind == assistant.KindCompleted {
				return
			}
		}
	}
	// Output:
	// begins with A test
	// 1 asked ""
	// 2 started ""
	// 3 piece "Hello"
	// 4 completed ""
}

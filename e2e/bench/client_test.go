package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// client is one connection of the load. It is used by one goroutine at a time.
type client struct {
	*harness.Raw
	server *server
	topic  string // of the stored conversation that it follows
	check  checker
	first  func() // is called when the first piece of an answer has come

	// what it has received within the window
	pieces    int
	latencies []uint32 // of each piece, in microseconds
}

// openClient opens a client's connection. The user is the owner of its conversations.
func (s *server) openClient(user int) (*client, error) {
	var raw *harness.Raw
	var err error
	if s.open == nil {
		raw, err = connect(s.addr)
	} else {
		raw, err = s.open(s.addr, fmt.Sprintf("%s?user=%d", harness.AssistantPath, user))
	}
	if err != nil {
		return nil, err
	}
	return &client{Raw: raw, server: s}, nil
}

// create creates a stored conversation.
func (c *client) create() (topic string, err error) {
	m, err := c.request(`{"action":"create_conversation"}`, "conversation_created")
	if err != nil {
		return "", err
	}
	var created struct {
		ID string `json:"conversation_id"`
	}
	if err := json.Unmarshal(m.Payload, &created); err != nil {
		return "", err
	}
	return "conversation:" + created.ID, nil
}

// follow subscribes to a stored conversation, and returns when it has the snapshot.
func (c *client) follow(topic string) error {
	c.topic = topic
	_, err := c.request(fmt.Sprintf(`{"action":"subscribe","topic":%q,"ref":"s"}`, topic), "snapshot")
	return err
}

// request sends a message and takes what comes up to and with the first of the given action. It is for a client that
// has no answer under way.
func (c *client) request(text, action string) (m harness.Message, err error) {
	if err := c.Say(text); err != nil {
		return m, err
	}
	for {
		m, err = c.Receive()
		switch {
		case err != nil:
			return m, err
		case m.Action == action:
			return m, nil
		case m.Action == "error":
			return m, fmt.Errorf("%s is refused: %s", text, m.Payload)
		}
	}
}

// ask asks for an answer.
func (c *client) ask(p plan) error {
	switch {
	case c.server.open == nil:
		body := fmt.Sprintf(`{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":%q}]}`, p)
		_, err := fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.server.addr, len(body), body)
		return err
	case c.topic != "":
		return c.Say(fmt.Sprintf(`{"action":"send_message","topic":%q,"ref":"q","payload":{"content":%q}}`, c.topic, p))
	default:
		return c.Say(fmt.Sprintf(`{"action":"assistant_message","payload":%q}`, p))
	}
}

// receive takes an answer to its end, and tells when it is not whole.
func (c *client) receive(p plan, w *window) error {
	take := c.frames
	if c.server.open == nil {
		take = c.events
	}
	if err := take(w); err != nil {
		return fmt.Errorf("after %d pieces: %w", c.check.next, err)
	}
	return c.check.end(p)
}

// turn asks for an answer and takes it.
func (c *client) turn(p plan) error {
	if err := c.ask(p); err != nil {
		return err
	}
	return c.receive(p, new(window))
}

// frames takes the frames of an answer.
func (c *client) frames(w *window) error {
	for {
		text, err := c.Text()
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(text, []byte(`{"action":"complete_streaming"`)):
			return nil
		case bytes.HasPrefix(text, []byte(`{"action":"error"`)):
			return fmt.Errorf("%s", text)
		}
		if err := c.take(text, w); err != nil {
			return err
		}
	}
}

// events takes the server-sent events of an answer.
func (c *client) events(w *window) error {
	response, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	buffer := make([]byte, 32<<10)
	for {
		n, err := response.Body.Read(buffer)
		if err := c.take(buffer[:n], w); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// take takes the pieces in what has come.
func (c *client) take(text []byte, w *window) error {
	now, open := stamp(), w.open.Load()
	return c.check.take(text, func(sent uint64) {
		if c.check.next == 1 && c.first != nil {
			c.first()
		}
		if open {
			c.pieces++
		}
		if open && w.ages {
			c.latencies = append(c.latencies, age(sent, now))
		}
	})
}

// window is the time in which is measured.
type window struct {
	ages bool // latencies are of interest
	open atomic.Bool
	over atomic.Bool
}

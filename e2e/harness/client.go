package harness

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// AssistantPath is where the tests mount the assistant.
const AssistantPath = "/ws/assistants/"

// Client is a WebSocket client of the assistant. One goroutine may use it at a time.
//
// When the test ends every frame it has received is checked against the AsyncAPI document that the
// server publishes.
type Client struct {
	t    testing.TB
	conn *websocket.Conn
	seen []Frame
}

// Frame is one message of the server.
type Frame struct {
	Action  string
	Payload json.RawMessage
	Ref     string

	Text string    `json:"-"` // the whole message as it came
	At   time.Time `json:"-"` // when it came
}

// Content is the payload's "content".
func (f Frame) Content() string {
	var payload struct{ Content string }
	_ = json.Unmarshal(f.Payload, &payload)
	return payload.Content
}

// Dial opens the assistant's socket.
func Dial(t testing.TB, c *Caddy) *Client { t.Helper(); return DialBy(t, c, "HTTP/1.1") }

// DialBy opens the assistant's socket by one of the [Protocols].
func DialBy(t testing.TB, c *Caddy, protocol string) *Client {
	t.Helper()
	return dial(t, c, protocol, AssistantPath)
}

// DialPath opens the socket of the assistant at path.
func DialPath(t testing.TB, c *Caddy, path string) *Client {
	t.Helper()
	return dial(t, c, "HTTP/1.1", path)
}

func dial(t testing.TB, c *Caddy, protocol, path string) *Client {
	t.Helper()
	document := published(t)
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, c.URL(path), &websocket.DialOptions{HTTPClient: clientBy(t, protocol)})
	if err != nil {
		t.Fatalf("open socket: %v", err)
	}
	conn.SetReadLimit(-1)
	client := &Client{t: t, conn: conn}
	t.Cleanup(func() {
		client.Vanish()
		document.check(t, client.seen)
	})
	return client
}

// Handshake asks for a socket as a page of the given origin does, drops it when it gets one, and returns
// the status.
func Handshake(t testing.TB, c *Caddy, origin string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	options := &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}}
	conn, response, err := websocket.Dial(ctx, c.URL(AssistantPath), options)
	if response == nil {
		t.Fatalf("open socket: %v", err)
	}
	if err == nil {
		_ = conn.CloseNow()
	}
	return response.StatusCode
}

// Upgrade is the header of a WebSocket handshake, for requests that are to be refused.
func Upgrade(origin string) http.Header {
	return http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
		"Origin":                {origin},
	}
}

// Send writes one text message as it is.
func (c *Client) Send(text string) { c.t.Helper(); c.SendAs(websocket.MessageText, []byte(text)) }

// SendAs writes one message of the given type.
func (c *Client) SendAs(kind websocket.MessageType, data []byte) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), Patience)
	defer cancel()
	if err := c.conn.Write(ctx, kind, data); err != nil {
		c.t.Fatalf("send %.80q: %v", data, err)
	}
}

// Ask sends a question as the tutorial's client does.
func (c *Client) Ask(question string) {
	c.t.Helper()
	frame, err := json.Marshal(map[string]string{"action": "assistant_message", "payload": question})
	if err != nil {
		c.t.Fatal(err)
	}
	c.Send(string(frame))
}

// Create creates a conversation and returns its id. Nothing else may come meanwhile.
func (c *Client) Create() string {
	c.t.Helper()
	c.Send(`{"action":"create_conversation"}`)
	var created struct {
		ID string `json:"conversation_id"`
	}
	if frame := c.Next(); json.Unmarshal(frame.Payload, &created) != nil || created.ID == "" {
		c.t.Fatalf("no conversation was created: %v", frame)
	}
	return created.ID
}

// Next returns the next frame.
func (c *Client) Next() Frame {
	c.t.Helper()
	frame, err := c.read()
	if err != nil {
		c.t.Fatalf("read: %v\nframes so far:\n%s", err, transcript(c.seen))
	}
	return frame
}

// Until returns the next frames up to and with the first one of the given action.
func (c *Client) Until(action string) []Frame {
	c.t.Helper()
	var frames []Frame
	for {
		frame := c.Next()
		frames = append(frames, frame)
		if frame.Action == action {
			return frames
		}
	}
}

// Expect reads as many frames as there are in want and fails the test unless they are the same JSON values.
func (c *Client) Expect(want ...string) {
	c.t.Helper()
	for i, text := range want {
		if got := c.Next(); !SameJSON(c.t, got.Text, text) {
			c.t.Fatalf("frame %d is\n\t%s\nwant\n\t%s", i+1, got.Text, text)
		}
	}
}

// CloseStatus reads to the end of the connection and returns the close frame's status, and the frames
// that came before it. Status is -1 when there was no close frame.
func (c *Client) CloseStatus() (websocket.StatusCode, []Frame) {
	c.t.Helper()
	var frames []Frame
	for {
		frame, err := c.read()
		if errors.Is(err, context.DeadlineExceeded) {
			c.t.Fatalf("the server does not close the socket\nframes so far:\n%s", transcript(c.seen))
		}
		if err != nil {
			return websocket.CloseStatus(err), frames
		}
		frames = append(frames, frame)
	}
}

// Vanish drops the connection without a closing handshake.
func (c *Client) Vanish() { _ = c.conn.CloseNow() }

func (c *Client) read() (Frame, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), Patience)
	defer cancel()
	_, data, err := c.conn.Read(ctx)
	if err != nil {
		return Frame{}, err
	}
	frame := ParseFrame(c.t, string(data))
	frame.At = time.Now()
	c.seen = append(c.seen, frame)
	return frame, nil
}

// ParseFrame reads a message of either side.
func ParseFrame(t testing.TB, text string) Frame {
	t.Helper()
	frame := Frame{Text: text}
	if err := json.Unmarshal([]byte(text), &frame); err != nil {
		t.Fatalf("decode %.200q: %v", text, err)
	}
	return frame
}

// Answer is the text of an answer's pieces.
func Answer(frames []Frame) string {
	var text strings.Builder
	for _, frame := range frames {
		if frame.Action == "streaming" {
			text.WriteString(frame.Content())
		}
	}
	return text.String()
}

// SameJSON tells whether two texts are the same JSON value.
func SameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	return reflect.DeepEqual(decode(t, a), decode(t, b))
}

func decode(t testing.TB, text string) (value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("decode %.200q: %v", text, err)
	}
	return value
}

func transcript(frames []Frame) string {
	var text strings.Builder
	for _, frame := range frames {
		text.WriteString("\t" + frame.Text + "\n")
	}
	return text.String()
}

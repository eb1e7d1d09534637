package termchat

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/gorilla/websocket"
)

// ErrInterrupted says that the user ended the chat, or stopped its one answer.
var ErrInterrupted = errors.New("interrupted")

// Config is a chat. In, Out and Err are required.
type Config struct {
	URL    string // of the WebSocket
	Header http.Header
	TLS    *tls.Config // nil is the default

	// Conversation is the id of a stored conversation to go on with; "" makes a new one.
	Conversation string

	// Question is asked alone; where it is empty, questions are the lines of In.
	Question string
	In       io.Reader

	// Files are paths of files that the first question has.
	Files []string

	// CanDecide says that In and Err are a person's terminal: calls of tools that wait for approval are asked about there.
	// Otherwise an answer that waits ends its question with an error, which says how to decide.
	CanDecide bool

	Out io.Writer // answers
	Err io.Writer // all else: prompts, what was said before, notices

	// Interrupts has a value whenever the user wants to stop: the answer at first, then the chat.
	Interrupts <-chan struct{}
}

// retryFor is how long a lost connection is tried again.
const retryFor = time.Minute

// Run chats until the question is answered, In ends, the user interrupts, or something cannot be mended.
func Run(ctx context.Context, config Config) error {
	ctx, cancel := context.WithCancel(ctx)
	c := &chat{Config: config, ctx: ctx, lines: make(chan string), dialed: make(chan dialed)}
	defer c.work.Wait()
	defer cancel()
	var err error
	if c.link, err = dial(ctx, c.URL, c.Header, c.TLS); err != nil {
		return err
	}
	defer func() {
		if c.link != nil {
			c.link.close()
		}
	}()
	if err := c.upload(); err != nil {
		return err
	}
	if c.Question == "" {
		c.read()
	}
	c.enter()
	return c.loop()
}

// chat is a chat under way. One goroutine has all of it.
type chat struct {
	Config
	ctx  context.Context
	work sync.WaitGroup

	lines  chan string // questions and decisions; closed at the end of In
	reads  bool        // In is being read
	dialed chan dialed

	link  *link // nil while there is none
	lost  time.Time
	tries int

	epoch    string
	seq      uint64
	entering bool                // a snapshot follows
	ready    bool                // the conversation has been followed
	asked    *question           // nil: the user's turn
	attached session.Attachments // to the next question
	current  string              // the answer that is under way, whosever it is
	midline  bool                // the last line of the answer has no end yet
}

// question is one that waits for the end of its answer.
type question struct {
	id       string // as client id and ref
	content  string
	attached session.Attachments
	accepted bool
	answer   string // its message id, when it has begun
	shown    strings.Builder
	stopping bool

	states  map[string]assistant.CallState // of the calls in the answer, by their ids
	waits   []part                         // those that wait for approval
	decided bool                           // about the first one; what comes of it is not known yet
}

type dialed struct {
	link *link
	err  error
}

// loop serves one thing after the other until one of them ends the chat.
func (c *chat) loop() error {
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		var frames chan received
		if c.link != nil {
			frames = c.link.frames
		}
		lines := c.lines
		if !c.ready || c.asked != nil && !c.deciding() {
			lines = nil
		}
		var err error
		select {
		case r := <-frames:
			err = c.receive(r)
		case line, ok := <-lines:
			err = c.line(line, ok)
		case d := <-c.dialed:
			err = c.redialed(d)
		case <-c.Interrupts:
			err = c.interrupt()
		case <-ping.C:
			if c.link != nil {
				c.link.ping()
			}
		case <-c.ctx.Done():
			err = context.Cause(c.ctx)
		}
		if err != nil {
			return unlessEnded(err)
		}
	}
}

// errEnd ends the chat in order.
var errEnd = errors.New("end of chat")

func unlessEnded(err error) error {
	if errors.Is(err, errEnd) {
		return nil
	}
	return err
}

// read begins to read lines, once. Nobody waits for that: nothing ends a read of a terminal.
func (c *chat) read() {
	if !c.reads {
		c.reads = true
		go c.readLines()
	}
}

func (c *chat) readLines() {
	defer close(c.lines)
	in := bufio.NewReader(c.In)
	for {
		line, err := in.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" || err == nil {
			select {
			case c.lines <- line:
			case <-c.ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *chat) line(line string, ok bool) error {
	switch {
	case !ok:
		c.note("\n")
		if c.deciding() {
			return c.undecidedError()
		}
		return errEnd
	case c.deciding():
		c.decide(line)
	case line == "":
		c.prompt()
	default:
		c.ask(line)
	}
	return nil
}

func (c *chat) prompt() { c.note("> ") }

// note writes beside the answers.
func (c *chat) note(format string, args ...any) {
	_, _ = io.WriteString(c.Err, Printable(fmt.Sprintf(format, args...)))
}

// show writes a piece of the answer.
func (c *chat) show(text string) {
	c.asked.shown.WriteString(text)
	_, _ = io.WriteString(c.Out, Printable(text))
	c.midline = text != "" && !strings.HasSuffix(text, "\n") || text == "" && c.midline
}

func (c *chat) topic() string { return "conversation:" + c.Conversation }

// enter opens the conversation, which it makes where there is none.
func (c *chat) enter() {
	if c.Conversation == "" {
		c.link.send(request{Action: "create_conversation", Ref: refEnter})
		return
	}
	r := request{Action: "subscribe", Topic: c.topic(), Ref: refEnter}
	if c.epoch != "" {
		r.Payload = session.SubscribePayload{Epoch: c.epoch, After: c.seq}
	}
	c.link.send(r)
}

const (
	refEnter = "enter"
	refStop  = "stop"
)

func (c *chat) ask(content string) {
	c.asked = &question{id: rand.Text(), content: content, attached: c.attached}
	c.attached = nil
	c.sendQuestion()
}

func (c *chat) sendQuestion() {
	if c.link == nil {
		return // it is sent when there is one
	}
	q := c.asked
	c.link.send(request{"send_message", c.topic(), q.id, session.SendMessagePayload{Content: q.content, ClientID: q.id, Parts: q.attached}})
}

// interrupt stops the answer, or ends the chat.
func (c *chat) interrupt() error {
	q := c.asked
	if q == nil || q.stopping || c.link == nil {
		c.note("\n")
		return ErrInterrupted
	}
	q.stopping = true
	c.stop()
	return nil
}

// stop asks for the end of the answer, if it has begun.
func (c *chat) stop() {
	if q := c.asked; q.stopping && q.answer != "" && c.link != nil {
		c.link.send(request{"stop_streaming", c.topic(), refStop, session.StopStreamingPayload{MessageID: q.answer}})
	}
}

// redial connects again, in a while.
func (c *chat) redial() {
	wait := min(250*time.Millisecond<<c.tries, 5*time.Second)
	c.tries = min(c.tries+1, 10)
	c.work.Go(func() {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			return
		}
		l, err := dial(c.ctx, c.URL, c.Header, c.TLS)
		select {
		case c.dialed <- dialed{l, err}:
		case <-c.ctx.Done():
			if l != nil {
				l.close()
			}
		}
	})
}

func (c *chat) redialed(d dialed) error {
	if d.err == nil {
		c.link = d.link
		c.enter()
		return nil
	}
	refused, ok := errors.AsType[*dialError](d.err)
	if ok && refused.fatal() || time.Since(c.lost) > retryFor {
		return d.err
	}
	c.redial()
	return nil
}

// broken decides what follows from the loss of the connection.
func (c *chat) broken(err error) error {
	c.link.close()
	c.link = nil
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		switch closed.Code {
		case websocket.ClosePolicyViolation, websocket.CloseMessageTooBig, websocket.CloseUnsupportedData, websocket.CloseInvalidFramePayloadData:
			return fmt.Errorf("the server closed the connection: %d %s", closed.Code, Printable(closed.Text))
		}
	}
	switch {
	case c.lost.IsZero():
		c.lost = time.Now()
		c.note("\n[connection lost, connecting again]\n")
	case time.Since(c.lost) > retryFor:
		return fmt.Errorf("connection lost: %w", err)
	}
	c.redial()
	return nil
}

func decode[T any](f frame) (payload T) {
	_ = json.Unmarshal(f.Payload, &payload) // what does not fit is empty
	return payload
}

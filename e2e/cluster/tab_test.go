package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/cluster/history"
	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// tab is a browser's tab: it shows one conversation over one socket after another, on whatever node, and goes on from
// where it was, as the chat page does. Everything that it sends and gets is written down. It is safe for concurrent
// use, except that only one goroutine opens and closes it.
type tab struct {
	rig                *rig
	name, user, prefix string // prefix is the path of the assistant
	id                 string // of the conversation

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something below changes
	socket  *socket       // nil = none is open
	view    history.View
	fresh   bool                       // subscribed without recovered: the snapshot is on its way
	drains  bool                       // the socket's server has said that it stops
	replies map[string][]history.Frame // by ref, over all sockets
	resumes struct{ whole, anew int }
	refs    int
}

// socket is a tab's connection. err is set when ended is closed.
type socket struct {
	*harness.Raw
	node   string
	number int
	ended  chan struct{}
	err    error
}

var errNoSocket = errors.New("no socket is open")

// patience is how long a tab waits for a server that says nothing.
const patience = 5 * time.Second

// refusedError is the status of a handshake that is refused.
type refusedError int

func (r refusedError) Error() string { return fmt.Sprintf("no socket: status %d", int(r)) }

// connect opens a socket and reads from it until it ends. It does not subscribe.
func (b *tab) connect(at *harness.Caddy, node string) error {
	r, err := harness.Connect(at)
	if err != nil {
		return err
	}
	if err = r.SetDeadline(time.Now().Add(patience)); err == nil {
		var status int
		if status, err = r.Answer(harness.Request(at, b.prefix+"?user="+b.user) + "\r\n"); err == nil && status != http.StatusSwitchingProtocols {
			err = refusedError(status)
		}
	}
	if err == nil {
		err = r.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = r.Close()
		return err
	}
	s := &socket{Raw: r, node: node, number: b.rig.Socket(), ended: make(chan struct{})}
	b.write(s, history.Opened, history.Frame{})
	b.change(func() { b.socket, b.fresh, b.drains = s, false, false })
	go b.read(s)
	return nil
}

func (b *tab) read(s *socket) {
	for {
		text, err := s.Text()
		if err == nil {
			err = b.take(s, text)
		}
		if err != nil {
			b.end(s, err)
			return
		}
	}
}

func (b *tab) end(s *socket, err error) {
	_ = s.Raw.Close()
	b.write(s, history.Closed, history.Frame{Reason: err.Error()})
	b.change(func() {
		s.err = err
		if b.socket == s {
			b.socket = nil
		}
	})
	close(s.ended)
}

func (b *tab) write(s *socket, kind history.Kind, f history.Frame) {
	b.rig.Add(history.Entry{Client: b.name, User: b.user, Node: s.node, Socket: s.number, Kind: kind, Frame: f})
}

// take reads a frame: what it says of the conversation, and which request it answers.
func (b *tab) take(s *socket, text []byte) error {
	f, err := history.Decode(text)
	if err != nil {
		return err
	}
	b.change(func() {
		b.write(s, history.Received, f) // under the lock, so that it is written down before anybody acts on it
		if b.socket != s {
			return // another one has taken its place
		}
		if f.Ref != "" {
			b.replies[f.Ref] = append(b.replies[f.Ref], f)
		}
		b.drains = b.drains || f.Action == "notice" && f.Reason == "draining"
		if f.Conversation == b.id {
			b.show(f)
		}
	})
	return nil
}

// show applies a frame to the view. Whether it may come is for the checks to say.
func (b *tab) show(f history.Frame) {
	switch {
	case f.Action == "subscribed" && f.Recovered:
		b.resumes.whole++
	case f.Action == "subscribed":
		b.resumes.anew++
		b.view.Epoch, b.fresh = f.Epoch, true
	case f.Action == "snapshot" && b.fresh:
		b.view.Restore(f)
		b.fresh = false
	case f.Action == "snapshot" || f.Seq != 0:
		b.view.Apply(f)
	}
}

func (b *tab) change(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	close(b.changed)
	b.changed = make(chan struct{})
}

// cut drops the socket, if one is open, as a network does that fails.
func (b *tab) cut() {
	if s := b.current(); s != nil {
		s.Reset()
		<-s.ended
	}
}

func (b *tab) current() *socket {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.socket
}

// now is what the tab shows now.
func (b *tab) now() history.View {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view
}

// send sends a request and returns its ref. What is to be written down of it is in f.
func (b *tab) send(f history.Frame, payload any) (ref string, err error) {
	data, err := json.Marshal(payload)
	if err != nil {
		return "", err
	}
	var s *socket
	b.change(func() {
		b.refs++
		s, ref = b.socket, fmt.Sprintf("%s-%d", f.Action, b.refs)
	})
	if s == nil {
		return "", errNoSocket
	}
	f.Ref, f.Conversation = ref, b.id
	topic := `"topic":"conversation:` + b.id + `",`
	if b.id == "" || f.Action == "list_conversations" {
		topic = ""
	}
	b.write(s, history.Sent, f)
	return ref, s.Say(fmt.Sprintf(`{"action":%q,%s"ref":%q,"payload":%s}`, f.Action, topic, ref, data))
}

// subscribe asks for the conversation, from where the tab is.
func (b *tab) subscribe() (ref string, err error) {
	f := history.Frame{Action: "subscribe"}
	var payload any
	if v := b.now(); v.Epoch != "" {
		f.Epoch, f.After = v.Epoch, v.Seq
		payload = map[string]any{"epoch": v.Epoch, "after": v.Seq}
	}
	return b.send(f, payload)
}

// ask sends a question under its own client id, so that sending it again is harmless.
func (b *tab) ask(q harness.Question) (ref string, err error) {
	return b.send(history.Frame{Action: "send_message", Content: q.String(), ClientID: q.ID}, map[string]any{"content": q.String(), "client_id": q.ID})
}

func (b *tab) regenerate() (ref string, err error) {
	return b.send(history.Frame{Action: "regenerate"}, nil)
}

func (b *tab) stop() (ref string, err error) {
	return b.send(history.Frame{Action: "stop_streaming"}, nil)
}

func (b *tab) rename(title string) (ref string, err error) {
	return b.send(history.Frame{Action: "rename_conversation", Title: title}, map[string]any{"conversation_id": b.id, "title": title})
}

func (b *tab) delete() (ref string, err error) {
	return b.send(history.Frame{Action: "delete_conversation"}, map[string]any{"conversation_id": b.id})
}

func (b *tab) list() (ref string, err error) {
	return b.send(history.Frame{Action: "list_messages"}, map[string]any{"conversation_id": b.id, "limit": 100})
}

func (b *tab) listTitles() (ref string, err error) {
	return b.send(history.Frame{Action: "list_conversations"}, map[string]any{"limit": 100})
}

// wait returns nil when is does, or after at most that time an error.
func (b *tab) wait(most time.Duration, is func() bool) error {
	deadline := time.NewTimer(most)
	defer deadline.Stop()
	for {
		b.mu.Lock()
		changed, ok := b.changed, is()
		b.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-deadline.C:
			return fmt.Errorf("not within %v", most)
		}
	}
}

// The methods below are for the test's goroutine: they end the test when something does not come soon.

// at opens a socket at a node, in place of one that is open, and subscribes.
func (b *tab) at(n *harness.Node) *tab {
	b.rig.t.Helper()
	b.cut()
	if err := b.connect(n.Caddy, n.Name); err != nil {
		b.rig.t.Fatalf("%s: open a socket at %s: %v", b.name, n.Name, err)
	}
	if b.id != "" {
		if f := b.reply(b.do(b.subscribe())); f.Action != "subscribed" {
			b.rig.t.Fatalf("%s: subscribe at %s: %s %s", b.name, n.Name, f.Action, f.Reason)
		}
		b.until("its snapshot", func(history.View) bool { return !b.fresh })
	}
	return b
}

// do ends the test unless a request was sent.
func (b *tab) do(ref string, err error) string {
	b.rig.t.Helper()
	if err != nil {
		b.rig.t.Fatalf("%s: send: %v", b.name, err)
	}
	return ref
}

// reply returns the first frame that answers a request.
func (b *tab) reply(ref string) (f history.Frame) {
	b.rig.t.Helper()
	b.until("a reply to "+ref, func(history.View) bool {
		if len(b.replies[ref]) == 0 {
			return false
		}
		f = b.replies[ref][0]
		return true
	})
	return f
}

// until waits until the tab shows what is wanted.
func (b *tab) until(what string, is func(v history.View) bool) history.View {
	b.rig.t.Helper()
	if err := b.wait(soon, func() bool { return is(b.view) }); err != nil {
		b.rig.t.Fatalf("%s does not get %s: %v\n%s", b.name, what, err, b)
	}
	return b.now()
}

// untilRunning waits until the tab shows some text of the answer to that question.
func (b *tab) untilRunning(q harness.Question) history.View {
	b.rig.t.Helper()
	return b.until("text of the answer to "+q.ID, func(v history.View) bool {
		return v.Running != "" && v.Text != "" && v.Question() != nil && v.Question().Content == q.String()
	})
}

// untilAnswered waits until the tab shows the end of the answer to that question, and returns the answer.
func (b *tab) untilAnswered(q harness.Question) history.Message {
	b.rig.t.Helper()
	var answer history.Message
	b.until("the end of the answer to "+q.ID, func(v history.View) bool {
		a := answerTo(v, q)
		if a == nil || a.Finish == "" {
			return false
		}
		answer = *a
		return true
	})
	return answer
}

// answerTo is the answer that a view has to a question; nil = none.
func answerTo(v history.View, q harness.Question) *history.Message {
	for i, m := range v.Messages {
		if m.Role == "user" && m.Content == q.String() && i+1 < len(v.Messages) && v.Messages[i+1].Role == "assistant" {
			return &v.Messages[i+1]
		}
	}
	return nil
}

// String is what the tab shows.
func (b *tab) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := fmt.Sprintf("%s shows, at number %d of %.8s:", b.name, b.view.Seq, b.view.Epoch)
	if b.socket == nil {
		text = fmt.Sprintf("%s has no socket and shows:", b.name)
	}
	for _, m := range b.view.Messages {
		text += fmt.Sprintf("\n\t%s %.8s %q, %d bytes: %.60q", m.Role, m.ID, m.Finish, len(m.Content), m.Content)
	}
	if b.view.Running != "" {
		text += fmt.Sprintf("\n\trunning %.8s, %d bytes", b.view.Running, len(b.view.Text))
	}
	return text
}

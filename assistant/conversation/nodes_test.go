package conversation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/brokertest"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/clustertest"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"go.uber.org/zap"
)

// cluster is several hubs on one database, with a conversation of ann's.
type cluster struct {
	t     *testing.T
	db    *clustertest.Database
	bus   *brokertest.Bus
	nodes []*node
	id    string

	piece time.Duration // between the pieces of an answer

	mu    sync.Mutex
	seen  map[assistant.Cursor]string // what any tab has seen, by its number
	asked []string                    // what the model was asked: "history | question"
}

// node is one of the hubs.
type node struct {
	*cluster
	store *clustertest.Node
	hub   *conversation.Hub
}

// onNodes runs a test on three nodes, once with a broker that carries logs, and once with one that does not.
func onNodes(t *testing.T, test func(*testing.T, *cluster)) {
	t.Helper()
	for _, noLogs := range []bool{false, true} {
		t.Run(fmt.Sprintf("logs=%v", !noLogs), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cluster{t: t, db: clustertest.NewDatabase(), bus: brokertest.NewBus(), piece: 100 * time.Millisecond, seen: map[assistant.Cursor]string{}}
				c.bus.NoLogs = noLogs
				for range 3 {
					c.add(conversation.Config{Provider: assistanttest.Model(c.answer)})
				}
				c.create()
				test(t, c)
			})
		})
	}
}

func (c *cluster) add(config conversation.Config) *node {
	store := c.db.Open()
	return c.addOn(store, store, config)
}

// addOn adds a node whose hub has more in its store than the node.
func (c *cluster) addOn(own *clustertest.Node, store assistant.Store, config conversation.Config) *node {
	n := &node{cluster: c, store: own}
	n.hub = conversation.NewHub(store, zap.NewNop())
	conversation.New(n.hub, config)
	n.hub.Connect(func() (assistant.Broker, error) { return c.bus.Broker(), nil })
	c.nodes = append(c.nodes, n)
	c.t.Cleanup(func() { closeHub(c.t, n.hub) })
	return n
}

// create creates ann's conversation at the first node.
func (c *cluster) create() {
	c.t.Helper()
	synctest.Wait()
	created, err := c.nodes[0].hub.Create(c.t.Context(), "ann", "")
	if err != nil {
		c.t.Fatal(err)
	}
	c.id = created.ID
}

// answer is the model: ten pieces that name the question.
func (c *cluster) answer(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
	last := len(req.Turns) - 1
	var told []string
	for _, t := range req.Turns[:last] {
		told = append(told, t.Content)
	}
	question := req.Turns[last].Content
	c.mu.Lock()
	c.asked = append(c.asked, strings.Join(told, ", ")+" | "+question)
	c.mu.Unlock()
	for i := range 10 {
		if !yield(assistant.Delta{Text: fmt.Sprintf("%s%d ", question, i)}) {
			return nil
		}
		select {
		case <-time.After(c.piece):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	yield(assistanttest.Finished)
	return nil
}

// whole is the answer to a question.
func whole(question string) string {
	var b strings.Builder
	for i := range 10 {
		fmt.Fprintf(&b, "%s%d ", question, i)
	}
	return b.String()
}

// tab follows the conversation on a node, as a client does: what it shows is the last snapshot and the events after it.
type tab struct {
	*node
	c        *conversation.Conversation
	follower *conversation.Follower
	mouth    uint64
	asked    uint64
	wake     chan struct{}
	closed   chan struct{}
	ended    chan struct{}

	cursor    assistant.Cursor
	recovered bool

	mu       sync.Mutex
	title    string
	messages []assistant.Message
	running  *assistant.Message
	ends     map[string][]assistant.FinishReason
	told     []assistant.Event // for this tab alone
	resets   int
	deleted  bool
}

var mouths uint64

// left is what a tab has shown when it was cut off.
type left struct {
	cursor   assistant.Cursor
	messages []assistant.Message
	running  *assistant.Message
}

// leave cuts a tab off.
func (t *tab) leave() *left {
	synctest.Wait()
	t.close()
	return &left{t.cursor, t.messages, t.running}
}

// tab opens the conversation on the node, from where a tab has left off, or anew.
func (n *node) tab(from *left) *tab {
	n.t.Helper()
	mouths++
	t := &tab{node: n, mouth: mouths, wake: make(chan struct{}, 1), closed: make(chan struct{}), ended: make(chan struct{}), ends: map[string][]assistant.FinishReason{}}
	var err error
	if t.c, err = n.hub.Open("ann", n.id); err != nil {
		n.t.Fatal(err)
	}
	var after *assistant.Cursor
	if from != nil {
		after = &from.cursor
		t.messages, t.running = slices.Clone(from.messages), from.running
		if t.running != nil {
			t.running = new(*t.running)
		}
		t.c.Recall(*after)
	}
	var p conversation.Position
	t.follower, p = t.c.Follow(after, conversation.Listener{Mouth: t.mouth, Wake: t.poke, TooSlow: func() {}})
	t.begin(p)
	t.poke()
	go t.read()
	n.t.Cleanup(t.close)
	return t
}

func (t *tab) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *tab) close() {
	select {
	case <-t.closed:
		return
	default:
	}
	close(t.closed)
	<-t.ended
	t.follower.Close()
	t.c.Close()
}

// begin makes the tab show a position.
func (t *tab) begin(p conversation.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cursor, t.recovered = p.Cursor, p.Recovered
	s := p.Snapshot
	if s == nil {
		return
	}
	t.resets++
	t.title, t.messages, t.running = s.Conversation.Title, s.Messages, nil
	if s.Running != nil {
		t.running = &assistant.Message{ID: s.Running.ID, Content: s.Running.Content}
	}
}

func (t *tab) read() {
	defer close(t.ended)
	for {
		select {
		case <-t.wake:
		case <-t.closed:
			return
		}
		for {
			events, err := t.follower.Read(make([]assistant.Event, 0, 7))
			for _, e := range events {
				t.show(e)
			}
			if errors.Is(err, conversation.ErrGone) {
				t.begin(t.follower.Restart(nil))
			} else if len(events) == 0 {
				break
			}
		}
	}
}

func (t *tab) show(e assistant.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.Seq == 0 {
		t.told = append(t.told, e)
		return
	}
	if e.Seq != t.cursor.Seq+1 {
		t.t.Errorf("event %d comes after event %d", e.Seq, t.cursor.Seq)
	}
	t.cursor.Seq = e.Seq
	switch body := e.Body.(type) {
	case assistant.Deleted:
		t.deleted = true
		return // each node ends its own log
	case nil:
		t.running.Content += e.Text
	case assistant.Asked:
		t.messages = append(t.messages, body.Message)
	case assistant.Renamed:
		t.title = body.Conversation.Title
	case assistant.Replaced:
		t.messages = body.Snapshot.Messages
	case assistant.Started:
		t.running = &assistant.Message{ID: e.Run}
	case assistant.Completed:
		if t.running == nil || t.running.ID != e.Run {
			t.t.Errorf("the end of %s comes while %v runs", e.Run, t.running)
			break
		}
		t.ends[e.Run] = append(t.ends[e.Run], body.FinishReason)
		t.running.FinishReason = body.FinishReason
		t.messages, t.running = append(t.messages, *t.running), nil
	}
	data, err := json.Marshal(e)
	if err != nil {
		t.t.Error(err)
	}
	text := string(data)
	t.cluster.mu.Lock()
	defer t.cluster.mu.Unlock()
	if was, ok := t.seen[t.cursor]; ok && was != text {
		t.t.Errorf("event %v is\n%s\nand\n%s", t.cursor, text, was)
	}
	t.seen[t.cursor] = text
}

// texts are the messages that the tab shows; a running answer is the last, with a +.
func (t *tab) texts() (texts []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.messages {
		texts = append(texts, m.Content)
	}
	if t.running != nil {
		texts = append(texts, t.running.Content+"+")
	}
	return texts
}

func (t *tab) ask(text, clientID string) string {
	t.t.Helper()
	t.asked++
	r, err := t.c.Do(t.t.Context(), assistant.Ask{Asker: assistant.Asker{From: assistant.RequestKey{Mouth: t.mouth, N: t.asked}, Peer: assistant.Peer{User: "ann"}}, Text: text, ClientID: clientID})
	if err != nil {
		t.t.Fatal(err)
	}
	return r.Run
}

func (t *tab) do(cmd assistant.Command) error {
	_, err := t.c.Do(t.t.Context(), cmd)
	return err
}

// shows checks what tabs show, after some time.
func (c *cluster) shows(after time.Duration, want []string, tabs ...*tab) {
	c.t.Helper()
	time.Sleep(after)
	synctest.Wait()
	for i, t := range tabs {
		if got := t.texts(); !slices.Equal(got, want) {
			c.t.Errorf("tab %d shows %q, want %q", i, got, want)
		}
	}
}

// TestNodesAgree: a question at one node is seen at all, and one at another node that comes meanwhile is answered next,
// by a model that is told all.
func TestNodesAgree(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		a, b, third := c.nodes[0].tab(nil), c.nodes[1].tab(nil), c.nodes[2].tab(nil)
		a.ask("A", "")
		time.Sleep(500 * time.Millisecond)
		run := b.ask("B", "")
		c.shows(time.Hour, []string{"A", whole("A"), "B", whole("B")}, a, b, third)
		c.shows(0, []string{"A", whole("A"), "B", whole("B")}, c.nodes[2].tab(nil))
		if want := []string{" | A", "A, " + whole("A") + " | B"}; !slices.Equal(c.asked, want) {
			t.Errorf("the model was asked %q, want %q", c.asked, want)
		}
		if got := b.ends[run]; !slices.Equal(got, []assistant.FinishReason{assistant.FinishStop}) {
			t.Errorf("the asker's answer ended %v", got)
		}
		for i, tab := range []*tab{a, b, third} {
			if tab.resets != 1 || tab.title != "A" {
				t.Errorf("tab %d: %d snapshots, title %q", i, tab.resets, tab.title)
			}
		}
	})
}

// TestNodesShowAtOnce: what one node shows comes to another while it streams.
func TestNodesShowAtOnce(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		a, b := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		a.ask("A", "")
		time.Sleep(650 * time.Millisecond)
		c.shows(0, []string{"A", "A0 A1 A2 A3 A4 A5 A6 +"}, a)
		if got := b.texts(); len(got) != 2 || !strings.HasPrefix(got[1], "A0 A1 A2 A3 ") {
			t.Errorf("the other node shows %q", got)
		}
		late := c.nodes[2].tab(nil)
		if got := late.texts(); len(got) != 2 || !strings.HasPrefix(got[1], "A0 A1 A2 A3 ") {
			t.Errorf("one that comes late sees %q", got)
		}
		c.shows(time.Minute, []string{"A", whole("A")}, a, b, late)
	})
}

// TestNodesStop: a stop at any node ends the answer, and the model's request, at once.
func TestNodesStop(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		a, b := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		run := a.ask("A", "")
		time.Sleep(450 * time.Millisecond)
		if err := b.do(assistant.Stop{From: assistant.RequestKey{Mouth: b.mouth, N: 9}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.shows(0, []string{"A", "A0 A1 A2 A3 A4 "}, a)
		c.shows(time.Second, []string{"A", "A0 A1 A2 A3 A4 "}, b)
		if got := b.ends[run]; !slices.Equal(got, []assistant.FinishReason{assistant.FinishStopped}) {
			t.Errorf("it ended %v", got)
		}
		if err := b.do(assistant.Stop{}); !errors.Is(err, conversation.ErrNothingToStop) {
			t.Errorf("another stop: %v", err)
		}
	})
}

// TestNodesDelete: a deletion at one node ends the answer at another, everywhere.
func TestNodesDelete(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		a, b := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		run := a.ask("A", "")
		time.Sleep(450 * time.Millisecond)
		if err := b.do(assistant.Delete{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !a.deleted || !b.deleted {
			t.Errorf("it is gone for the tabs: %v, %v", a.deleted, b.deleted)
		}
		if got := a.ends[run]; !slices.Equal(got, []assistant.FinishReason{assistant.FinishStopped}) {
			t.Errorf("the answer ended %v", got)
		}
		for i, n := range c.nodes {
			if _, err := n.hub.Open("ann", c.id); assistant.Describe(err).Reason != assistant.ReasonNotFound {
				t.Errorf("node %d opens it: %v", i, err)
			}
		}
	})
}

// TestNodesRename: a title given at one node is shown at all, whoever answers.
func TestNodesRename(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		a, b := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		for i, title := range []string{"idle", "busy"} {
			if i == 1 {
				a.ask("A", "")
				time.Sleep(450 * time.Millisecond)
			}
			if err := b.do(assistant.Rename{Title: title}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if a.title != title || b.title != title {
				t.Errorf("the titles are %q and %q, want %q", a.title, b.title, title)
			}
		}
		if _, err := c.nodes[2].hub.Rename(t.Context(), "ann", c.id, assistant.Rename{Title: "unused"}); err != nil {
			t.Fatal(err)
		}
		c.shows(time.Minute, []string{"A", whole("A")}, a, b)
		if a.title != "unused" || b.title != "unused" || a.resets != 1 || b.resets != 1 {
			t.Errorf("the titles are %q and %q, after %d and %d snapshots", a.title, b.title, a.resets, b.resets)
		}
		b.close()
		c.nodes[1].hub.Drain(t.Context())
		synctest.Wait()
		if _, err := c.nodes[1].hub.Rename(t.Context(), "ann", c.id, assistant.Rename{Title: "late"}); assistant.Describe(err).Reason != assistant.ReasonDraining {
			t.Errorf("a node that drains says %v", err)
		}
	})
}

// TestNodesRegenerate: the last question is answered again, whichever node knew of it.
func TestNodesRegenerate(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		a, b := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		for _, q := range []string{"A", "B"} {
			a.ask(q, "")
			time.Sleep(2 * time.Second)
		}
		if err := b.do(assistant.Regenerate{Asker: assistant.Asker{Peer: assistant.Peer{User: "ann"}}}); err != nil {
			t.Fatal(err)
		}
		c.shows(time.Minute, []string{"A", whole("A"), "B", whole("B")}, a, b)
		if n := len(c.asked); n != 3 || c.asked[1] != c.asked[2] {
			t.Errorf("the model was asked %q", c.asked)
		}
	})
}

// TestNodesReplaceOld: a question is replaced that is older than what another node has in memory. That node shows, and
// tells the model, only what is left.
func TestNodesReplaceOld(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		c.piece = time.Millisecond
		a := c.nodes[0].tab(nil)
		for i := range 30 {
			a.ask(fmt.Sprint("A", i), "")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		second := a.messages[2].ID
		b := c.nodes[1].tab(nil)
		if n := len(b.texts()); n != 50 {
			t.Fatalf("the other node shows %d messages", n)
		}
		if _, err := a.c.Do(t.Context(), assistant.Ask{Asker: assistant.Asker{Peer: assistant.Peer{User: "ann"}}, Text: "B", Replaces: second}); err != nil {
			t.Fatal(err)
		}
		c.shows(time.Minute, []string{"A0", whole("A0"), "B", whole("B")}, a, b)
		b.ask("C", "")
		c.shows(time.Minute, []string{"A0", whole("A0"), "B", whole("B"), "C", whole("C")}, a, b)
		if last := c.asked[len(c.asked)-1]; last != "A0, "+whole("A0")+", B, "+whole("B")+" | C" {
			t.Errorf("the model was told %q", last)
		}
	})
}

// TestNodesStopWaiting: a question that waits for a node which is gone can be stopped, and its asker learns of that.
func TestNodesStopWaiting(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		a, b := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		a.ask("A", "")
		time.Sleep(450 * time.Millisecond)
		c.bus.Cut(c.nodes[0].store.Node(), true)
		c.nodes[0].store.Freeze(true)
		run := b.ask("B", "")
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		b.told = nil
		_ = b.do(assistant.Stop{Run: run})
		time.Sleep(time.Minute)
		synctest.Wait()
		if !slices.ContainsFunc(b.told, func(e assistant.Event) bool { return e.Kind == assistant.KindFailed && e.Run == run }) {
			t.Errorf("the asker was told %+v", b.told)
		}
	})
}

// TestNodesRegenerateRunning: a regenerate at one node waits for the answer that another gives, and replaces it, however
// long that takes.
func TestNodesRegenerateRunning(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		c.piece = 2 * time.Second
		a, b := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		first := a.ask("A", "")
		time.Sleep(time.Second)
		r, err := b.c.Do(t.Context(), assistant.Regenerate{Asker: assistant.Asker{From: assistant.RequestKey{Mouth: b.mouth, N: 1}, Peer: assistant.Peer{User: "ann"}}})
		if err != nil {
			t.Fatal(err)
		}
		c.shows(time.Hour, []string{"A", whole("A")}, a, b)
		for i, tab := range []*tab{a, b} {
			if len(tab.ends[first]) != 1 || len(tab.ends[r.Run]) != 1 {
				t.Errorf("tab %d has seen %v", i, tab.ends)
			}
		}
		if len(c.asked) != 2 {
			t.Errorf("the model was asked %q", c.asked)
		}
	})
}

// TestNodesLeave: an answer that ends with its last socket goes on while there is one at another node, and ends soon
// after that has gone, too.
func TestNodesLeave(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		c.piece = 10 * time.Second
		c.nodes[0].hub.Use(conversation.New(c.nodes[0].hub, conversation.Config{Provider: assistanttest.Model(c.answer), CancelAlone: true}))
		a, b := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		a.ask("A", "")
		time.Sleep(25 * time.Second)
		a.close()
		time.Sleep(19 * time.Second)
		c.shows(0, []string{"A", "A0 A1 A2 A3 A4 +"}, b)
		b.close()
		time.Sleep(aloneGrace + 2*time.Second)
		late := c.nodes[2].tab(nil)
		c.shows(0, []string{"A", "A0 A1 A2 A3 A4 "}, late)
	})
}

// aloneGrace is how long an answer waits for a socket at another node.
const aloneGrace = 5 * time.Second

// TestNodesResend: a question that comes again, at another node, is answered once, and who sends it again gets that
// answer, while it runs and after.
func TestNodesResend(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		a, b := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		run := a.ask("A", "q")
		time.Sleep(450 * time.Millisecond)
		again := b.ask("A", "q")
		c.shows(time.Minute, []string{"A", whole("A")}, a, b)
		if again != run && !slices.ContainsFunc(b.told, func(e assistant.Event) bool { return e.Kind == assistant.KindJoined && e.Run == run }) {
			t.Errorf("the second asker was told %+v", b.told)
		}
		b.told = nil
		b.ask("A", "q")
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(b.told); n == 0 || b.told[n-1].Kind != assistant.KindCompleted || b.told[n-1].Run != run {
			t.Errorf("the third asker was told %+v", b.told)
		}
		if len(c.asked) != 1 {
			t.Errorf("the model was asked %q", c.asked)
		}
	})
}

// TestNodesResume: a tab that comes back at another node gets what it missed as events, also after the node that answered
// has gone.
func TestNodesResume(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		a := c.nodes[0].tab(nil)
		a.ask("A", "")
		time.Sleep(450 * time.Millisecond)
		left := a.leave()
		b := c.nodes[1].tab(left)
		if !b.recovered {
			t.Error("while it runs: not recovered")
		}
		c.shows(time.Minute, []string{"A", whole("A")}, b)
		b.close()
		if err := c.nodes[0].hub.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		third := c.nodes[2].tab(left)
		if !third.recovered {
			t.Error("after it has ended: not recovered")
		}
		time.Sleep(time.Hour) // the resume window
		third.close()
		if late := c.nodes[1].tab(left); late.recovered {
			t.Error("after the resume window: recovered")
		}
	})
}

// TestNodesBurial: where the node that answers dies, or is frozen and comes back, every tab gets the stored part of the
// answer and one end, and the next question is answered.
func TestNodesBurial(t *testing.T) {
	for _, comesBack := range []bool{false, true} {
		onNodes(t, func(t *testing.T, c *cluster) {
			a, b := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
			run := a.ask("A", "")
			time.Sleep(650 * time.Millisecond)
			c.bus.Cut(c.nodes[0].store.Node(), true)
			c.nodes[0].store.Freeze(true)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if shown := a.texts()[1]; shown == whole("A") {
				t.Error("a node that cannot prove that it lives shows more")
			}
			waiting := b.ask("B", "")
			time.Sleep(time.Second)
			c.db.Bury(c.nodes[0].store)
			if comesBack {
				c.nodes[0].store.Freeze(false)
				c.bus.Cut(c.nodes[0].store.Node(), false)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			texts := b.texts()
			if len(texts) != 4 || !strings.HasPrefix(whole("A"), texts[1]) || !strings.HasPrefix(texts[1], "A0 A1 A2 A3 ") || texts[3] != whole("B") {
				t.Errorf("the other node shows %q", texts)
			}
			if got := b.ends[run]; !slices.Equal(got, []assistant.FinishReason{assistant.FinishInterrupted}) {
				t.Errorf("the answer ended %v", got)
			}
			if got := b.ends[waiting]; !slices.Equal(got, []assistant.FinishReason{assistant.FinishStop}) {
				t.Errorf("the next one ended %v", got)
			}
			if comesBack {
				c.shows(0, texts, a)
			}
			if len(c.asked) != 2 {
				t.Errorf("the model was asked %q", c.asked)
			}
		})
	}
}

// TestNodesForwardedAndBuried: a question that waits at a node which loses its claim goes back to the node that has
// forwarded it, and is answered once.
func TestNodesForwardedAndBuried(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		a, b := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		a.ask("A", "")
		time.Sleep(450 * time.Millisecond)
		waiting := b.ask("B", "")
		time.Sleep(100 * time.Millisecond)
		before := c.nodes[0].store.Claims()
		c.db.Bury(c.nodes[0].store)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.ends[waiting]; !slices.Equal(got, []assistant.FinishReason{assistant.FinishStop}) {
			t.Errorf("the question that waited ended %v", got)
		}
		if n := c.nodes[0].store.Claims() - before; n > 0 || len(c.asked) != 2 {
			t.Errorf("the node that was buried took %d claims, the model was asked %q", n, c.asked)
		}
		c.shows(0, b.texts(), a)
	})
}

// TestNodesDeletedAfterBurial: where an answer could not be stored before its node was taken for dead, and its
// conversation was deleted then, the node does not call it complete: others have shown its end already.
func TestNodesDeletedAfterBurial(t *testing.T) {
	onNodes(t, func(t *testing.T, c *cluster) {
		c.piece = 5 * time.Millisecond
		a := c.nodes[0].tab(nil)
		run := a.ask("A", "")
		time.Sleep(22 * time.Millisecond)
		c.nodes[0].store.Freeze(true) // until after the first try to store the whole answer
		time.Sleep(40 * time.Millisecond)
		c.db.Bury(c.nodes[0].store)
		if err := c.nodes[1].store.Delete(t.Context(), "ann", c.id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		c.nodes[0].store.Freeze(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := a.ends[run]; !slices.Equal(got, []assistant.FinishReason{assistant.FinishInterrupted}) || !a.deleted {
			t.Errorf("the answer ended %v, deleted: %v", got, a.deleted)
		}
	})
}

// TestAloneKeepsClaim: a node without others keeps a claim from one question to the next, gives it back after a while,
// and at once when another node comes or it ends itself.
func TestAloneKeepsClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, db: clustertest.NewDatabase(), bus: brokertest.NewBus(), piece: time.Millisecond, seen: map[assistant.Cursor]string{}}
		c.add(conversation.Config{Provider: assistanttest.Model(c.answer)})
		time.Sleep(2 * time.Second)
		created, err := c.nodes[0].hub.Create(t.Context(), "ann", "")
		if err != nil {
			t.Fatal(err)
		}
		c.id = created.ID
		a := c.nodes[0].tab(nil)
		holder := func() assistant.NodeID {
			standings, err := c.nodes[0].store.Standings(t.Context(), []string{c.id})
			if err != nil {
				t.Fatal(err)
			}
			return standings[0].Holder
		}
		first := c.nodes[0].store.Claims()
		for range 3 {
			a.ask("A", "")
			time.Sleep(time.Second)
		}
		if n := c.nodes[0].store.Claims() - first; n != 1 || holder() == 0 {
			t.Errorf("three questions took %d claims, the holder is %d", n, holder())
		}
		time.Sleep(2 * time.Minute)
		if holder() != 0 {
			t.Error("it is kept for ever")
		}
		a.ask("B", "")
		time.Sleep(time.Second)
		other := c.add(conversation.Config{Provider: assistanttest.Model(c.answer)})
		time.Sleep(3 * time.Second)
		if holder() != 0 {
			t.Error("it is kept although another node came")
		}
		b := other.tab(nil)
		b.ask("C", "")
		c.shows(time.Second, []string{"A", whole("A"), "A", whole("A"), "A", whole("A"), "B", whole("B"), "C", whole("C")}, a, b)
	})
}

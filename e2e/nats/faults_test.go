package nats

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/brokertest"
	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/nats-io/nats-server/v2/server"
	natsio "github.com/nats-io/nats.go"
)

// open opens a node and waits until it is connected.
func open(t testing.TB, url string) *brokertest.Node {
	t.Helper()
	n := brokertest.OpenNode(t, newBroker(t, url), 0)
	brokertest.Eventually(t, "the broker is up", n.Up)
	return n
}

// within fails the test when f takes longer.
func within(t *testing.T, most time.Duration, what string, f func()) {
	t.Helper()
	start := time.Now()
	if f(); time.Since(start) > most {
		t.Errorf("%s took %v, and may take %v", what, time.Since(start), most)
	}
}

// call calls until it succeeds, which it must soon.
func call(t *testing.T, from, to *brokertest.Node) {
	t.Helper()
	brokertest.Eventually(t, "a call succeeds", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := from.Call(ctx, to.ID, []byte("x"))
		return err == nil
	})
}

// TestServerAway opens brokers before there is a server.
func TestServerAway(t *testing.T) {
	nats := harness.StartNats(t)
	nats.Stop()
	var a, b *brokertest.Node
	within(t, 2*time.Second, "to open without a server", func() {
		a = brokertest.OpenNode(t, newBroker(t, nats.URL(nats.Addr)), 0)
		b = brokertest.OpenNode(t, newBroker(t, nats.URL(nats.Addr)), 0)
	})
	if _, err := a.Call(t.Context(), b.ID, nil); a.Up() || !errors.Is(err, assistant.ErrNoNode) {
		t.Errorf("without a server: up %v, a call: %v", a.Up(), err)
	}
	nats.Start(t)
	call(t, a, b)
	call(t, b, a)
}

// TestServerBlackhole opens a broker where packets are lost: Open does not wait for that, and Close neither.
func TestServerBlackhole(t *testing.T) {
	nats := harness.StartNats(t)
	link := harness.NewLink(t, nats.Addr)
	link.Cut(t)
	b := brokertest.NewNode(newBroker(t, nats.URL(link.Addr)), 0)
	within(t, 3*time.Second, "to open", func() {
		if err := b.Open(t.Context(), b.ID, b.Member); err != nil {
			t.Error(err)
		}
	})
	if b.Up() {
		t.Error("the broker is up")
	}
	within(t, 8*time.Second, "to close", func() { _ = b.Close() })
}

// TestServerRestarts stops and starts the server while logs are followed: whatever was lost is asked for again.
func TestServerRestarts(t *testing.T) {
	nats := harness.StartNats(t)
	holder, other := open(t, nats.URL(nats.Addr)), open(t, nats.URL(nats.Addr))
	var wg sync.WaitGroup
	all := followed(t, &wg, holder, other, 20)
	_, lost := other.Last("")
	for round := range 5 {
		for i := range 100 {
			if i == 50 {
				nats.Stop()
			}
			for _, l := range all {
				l.Append(fmt.Sprintf("%d.%d ", round, i))
			}
		}
		nats.Start(t)
		call(t, other, holder)
	}
	for _, l := range all {
		l.Release()
	}
	wg.Wait()
	if _, now := other.Last(""); now < lost+5 {
		t.Errorf("the node learnt %d times that it may have missed something", now-lost)
	}
}

// followed has one node hold so many logs and another follow each to its end, also where an outage ends the feed. wg is
// done when all have been read; what is missing then is an error.
func followed(t *testing.T, wg *sync.WaitGroup, holder, other *brokertest.Node, logs int) (all []*brokertest.Log) {
	for i := range logs {
		id := strconv.Itoa(i)
		l := holder.NewLog(id, 1)
		all = append(all, l)
		wg.Go(func() {
			r := brokertest.Reading{At: l.Start()}
			text := ""
			for err := assistant.ErrNoNode; errors.Is(err, assistant.ErrNoNode); text += r.Text {
				r, err = other.Read(t.Context(), t, holder.ID, id, r.At, nil)
				if err != nil && !errors.Is(err, assistant.ErrNoNode) {
					t.Errorf("log %s: %v", id, err)
				}
			}
			if text != l.Text() {
				t.Errorf("log %s: got %d bytes, want %d", id, len(text), len(l.Text()))
			}
		})
	}
	return all
}

// cutCases are what may happen to the network of one node, and how long the feeds of another node, and its own, may wait.
var cutCases = map[string]struct {
	cut              func(*testing.T, *harness.Link)
	holder, follower time.Duration
}{
	"both ways": {func(t *testing.T, l *harness.Link) { l.Cut(t) }, 8 * time.Second, 8 * time.Second},
	"replies":   {func(t *testing.T, l *harness.Link) { l.CutReplies(t) }, 17 * time.Second, 8 * time.Second},
	"refused":   {func(_ *testing.T, l *harness.Link) { l.Refuse() }, 4 * time.Second, 4 * time.Second},
}

// TestCut cuts the node that holds a log off, or the one that follows it, without a word: both sides find out, and
// when the network is back all goes on.
func TestCut(t *testing.T) {
	t.Parallel()
	for name, c := range cutCases {
		t.Run(name+" of the holder", func(t *testing.T) {
			t.Parallel()
			testCut(t, c.cut, true, c.holder)
		})
		t.Run(name+" of the follower", func(t *testing.T) {
			t.Parallel()
			testCut(t, c.cut, false, c.follower)
		})
	}
}

func testCut(t *testing.T, cut func(*testing.T, *harness.Link), holders bool, most time.Duration) {
	nats := harness.StartNats(t)
	link := harness.NewLink(t, nats.Addr)
	near, far := nats.URL(nats.Addr), nats.URL(link.Addr)
	if holders {
		near, far = far, near
	}
	holder, other := open(t, near), open(t, far)
	l := holder.NewLog("conversation", 1)
	entered := make(chan struct{}, 1)
	holder.Reply = func(ctx context.Context, _ assistant.NodeID, request []byte) []byte {
		if string(request) == "wait" {
			entered <- struct{}{}
			<-ctx.Done()
		}
		return nil
	}
	read, followed, called := make(chan struct{}, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := other.Read(t.Context(), t, holder.ID, "conversation", l.Start(), func(brokertest.Reading) bool {
			read <- struct{}{}
			return true
		})
		followed <- err
	}()
	go func() {
		_, err := other.Call(t.Context(), holder.ID, []byte("wait"))
		called <- err
	}()
	<-read
	<-entered
	cut(t, link)
	within(t, most, "the end of a feed", func() {
		if err := <-followed; !errors.Is(err, assistant.ErrNoNode) {
			t.Errorf("the feed ended with %v", err)
		}
	})
	within(t, time.Second, "another feed", func() {
		if _, err := other.Read(t.Context(), t, holder.ID, "conversation", l.Start(), nil); !errors.Is(err, assistant.ErrNoNode) {
			t.Errorf("another feed ended with %v", err)
		}
	})
	if !holders { // else the holder itself may not know
		within(t, 8*time.Second, "the end of a call", func() {
			if err := <-called; err == nil || errors.Is(err, assistant.ErrNoNode) {
				t.Errorf("the call ended with %v, want that its outcome is unknown", err)
			}
		})
		within(t, time.Second, "a call without connection", func() {
			if _, err := other.Call(t.Context(), holder.ID, nil); !errors.Is(err, assistant.ErrNoNode) {
				t.Errorf("got %v", err)
			}
		})
	}
	within(t, 17*time.Second, "that the holder frees the log", func() {
		brokertest.Eventually(t, "nobody follows any more", func() bool { return holder.Followers() == 0 })
	})
	link.Mend(t)
	call(t, other, holder)
	l.Append("more")
	brokertest.Eventually(t, "the log can be followed again", func() bool {
		r, err := other.Read(t.Context(), t, holder.ID, "conversation", l.Start(), func(r brokertest.Reading) bool { return r.At.Seq < 2 })
		return err == nil && r.At.Seq == 2
	})
}

// counted is a member that counts how often its logs were asked for.
type counted struct {
	*brokertest.Member

	asked atomic.Int32
}

func (c *counted) Events(ctx context.Context, id string, after assistant.Cursor) iter.Seq2[assistant.Batch, error] {
	c.asked.Add(1)
	return c.Member.Events(ctx, id, after)
}

// TestQuiet: a log in which nothing happens stays followed, and is not asked for again and again.
func TestQuiet(t *testing.T) {
	t.Parallel()
	_, url := startServer(t, &server.Options{})
	holder, m, other := newBroker(t, url), &counted{Member: brokertest.NewMember()}, open(t, url)
	if err := holder.Open(t.Context(), 7, m); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Close() }()
	brokertest.Eventually(t, "the broker is up", holder.Up)
	l := m.NewLog("conversation", 1)
	timer := time.AfterFunc(14*time.Second, func() { l.Append("more") }) // longer than any silence is borne
	defer timer.Stop()
	r, err := other.Read(t.Context(), t, 7, "conversation", l.Start(), func(r brokertest.Reading) bool { return r.At.Seq < 2 })
	if err != nil || r.At.Seq != 2 || m.asked.Load() != 1 {
		t.Errorf("got up to %d, %v; the log was asked for %d times", r.At.Seq, err, m.asked.Load())
	}
}

// startServer runs a server with options until the test ends.
func startServer(t *testing.T, options *server.Options) (*server.Server, string) {
	t.Helper()
	addr := harness.FreeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	options.Host, options.NoLog, options.NoSigs = host, true, true
	options.Port, _ = strconv.Atoi(port)
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(harness.Patience) {
		t.Fatal("the server does not accept connections")
	}
	return s, "nats://" + addr
}

// TestLoss loses messages of links, in one direction or both: logs are whole nevertheless, and feeds end on both sides.
func TestLoss(t *testing.T) {
	for name, subjects := range map[string][]string{"logs": {"feed"}, "controls": {"node"}, "both": {"feed", "node"}} {
		t.Run(name, func(t *testing.T) { testLoss(t, subjects) })
	}
}

func testLoss(t *testing.T, subjects []string) {
	s, url := startServer(t, &server.Options{})
	holder, other := open(t, url), open(t, url)
	lose(t, s, url, subjects)
	var wg sync.WaitGroup
	all := followed(t, &wg, holder, other, 30)
	for i := range 200 {
		for _, l := range all {
			l.Append(strings.Repeat(fmt.Sprintf("%d ", i), i))
		}
		time.Sleep(5 * time.Millisecond) // the pace of a model
	}
	for _, l := range all {
		l.Release()
	}
	wg.Wait()
	brokertest.Eventually(t, "nobody follows any more", func() bool { return holder.Followers() == 0 })
}

// lose leads a fifth of the messages astray, without a word to who sends them.
func lose(t *testing.T, s *server.Server, url string, subjects []string) {
	t.Helper()
	for _, subject := range subjects {
		all, astray := "test.prefix."+subject+".>", "astray."+subject+".>"
		if err := s.GlobalAccount().AddWeightedMappings(all, server.NewMapDest(all, 80), server.NewMapDest(astray, 20)); err != nil {
			t.Fatal(err)
		}
	}
	nc, err := natsio.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := nc.Subscribe("astray.>", func(*natsio.Msg) {}); err != nil { // or the server would say that nobody is there
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestSmallMessages: a server that takes little gets more messages.
func TestSmallMessages(t *testing.T) {
	brokertest.TestBroker(t, brokertest.Options{}, func(t *testing.T) brokertest.Cluster {
		_, url := startServer(t, &server.Options{MaxPayload: 16 << 10})
		return brokertest.Cluster{Broker: func() assistant.Broker { return newBroker(t, url) }}
	})
}

// TestSlowMember: announcements that a node takes too slowly are dropped, and it learns that.
func TestSlowMember(t *testing.T) {
	_, url := startServer(t, &server.Options{})
	n := open(t, url)
	_, lost := n.Last("")
	release := n.Hold()
	nc, err := natsio.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	m := natsio.NewMsg("test.prefix.all")
	m.Header.Set("Caddy-Assistant", "1")
	m.Data = []byte(`{"from":7,"standings":[{"c":"` + strings.Repeat("x", 200<<10) + `"}]}` + "\n")
	for range 400 { // 80 MB; more than 64 MiB do not wait
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.FlushTimeout(harness.Patience); err != nil {
		t.Fatal(err)
	}
	release()
	brokertest.Eventually(t, "the node learns that it missed something", func() bool { _, now := n.Last(""); return now > lost })
}

// TestOtherVersion: messages of another version are not read, and who sends one learns that nothing was done.
func TestOtherVersion(t *testing.T) {
	_, url := startServer(t, &server.Options{})
	n := open(t, url)
	n.Reply = func(context.Context, assistant.NodeID, []byte) []byte {
		t.Error("a call of another version was served")
		return nil
	}
	nc, err := natsio.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	m := natsio.NewMsg(fmt.Sprintf("test.prefix.node.%x", uint64(n.ID)))
	m.Header.Set("Caddy-Assistant", "2")
	m.Data = []byte(`{"from":7,"call":1}` + "\nx")
	reply, err := nc.RequestMsg(m, 5*time.Second)
	if err != nil || string(reply.Data) != `{"fault":"version"}`+"\n" {
		t.Errorf("got %s, %v", reply.Data, err)
	}
	m.Subject = "test.prefix.all"
	m.Data = []byte(`{"from":7,"standings":[{"c":"other"}]}` + "\n")
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	m.Header.Set("Caddy-Assistant", "1")
	m.Data = []byte(`{"from":7,"standings":[{"c":"ours"}]}` + "\n")
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	brokertest.Eventually(t, "the next announcement is heard", func() bool { h, _ := n.Last("ours"); return h.From == 7 })
	if h, _ := n.Last("other"); h.ID != "" {
		t.Error("an announcement of another version was read")
	}
}

// TestCloseIsKnown: once Close has returned, the server says that the node is not there.
func TestCloseIsKnown(t *testing.T) {
	_, url := startServer(t, &server.Options{})
	n := open(t, url)
	for range 100 {
		other := brokertest.NewNode(newBroker(t, url), 0)
		if err := other.Open(t.Context(), other.ID, other.Member); err != nil {
			t.Fatal(err)
		}
		brokertest.Eventually(t, "the broker is up", other.Up)
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Call(t.Context(), other.ID, nil); !errors.Is(err, assistant.ErrNoNode) {
			t.Fatalf("got %v", err)
		}
	}
}

// TestCalleeGone: a node that takes a call and goes without a word is not waited for, and may have done something.
func TestCalleeGone(t *testing.T) {
	_, url := startServer(t, &server.Options{})
	n := open(t, url)
	nc, err := natsio.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Subscribe("test.prefix.node.7", func(m *natsio.Msg) { _ = m.Sub.Unsubscribe() }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	within(t, 4*time.Second, "a call", func() {
		if _, err := n.Call(t.Context(), 7, nil); err == nil || errors.Is(err, assistant.ErrNoNode) {
			t.Errorf("got %v, want that the outcome is unknown", err)
		}
	})
}

// TestForbidden: a node that the server lets do too little is not up, and is again when it may.
func TestForbidden(t *testing.T) {
	nats := harness.StartNats(t)
	a, b := open(t, nats.URL(nats.Addr)), open(t, nats.URL(nats.Addr))
	nats.Forbid(t, true)
	brokertest.Eventually(t, "the broker notices", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := a.Call(ctx, b.ID, nil)
		return errors.Is(err, assistant.ErrNoNode) && !a.Up()
	})
	nats.Forbid(t, false)
	call(t, a, b)
}

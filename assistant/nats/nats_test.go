package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsio "github.com/nats-io/nats.go"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/brokertest"
)

// What needs a server is tested in e2e/nats.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConfig: what cannot be right is refused with words, and without secrets.
func TestConfig(t *testing.T) {
	folder := t.TempDir()
	empty := filepath.Join(folder, "empty")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(folder, "none")
	for want, c := range map[string]Config{
		"":                           {URLs: []string{"nats://127.0.0.1:1", "tls://ann:s3cret@host"}, Prefix: "a.b-c_9", User: "ann", Password: "s3cret"},
		"found nothing":              {},
		`found "http://host"`:        {URLs: []string{"http://host"}},
		"host:4222":                  {URLs: []string{"ann:s3cret@host:4222"}},
		"it is not shown":            {URLs: []string{"nats://ann:s3cret@host:port"}},
		`found "nats://"`:            {URLs: []string{"nats://"}},
		`between, found ""`:          {URLs: []string{"nats://host"}},
		`between, found "a b"`:       {URLs: []string{"nats://host"}, Prefix: "a b"},
		`between, found "a.>"`:       {URLs: []string{"nats://host"}, Prefix: "a.>"},
		"expected one of":            {URLs: []string{"nats://host"}, Prefix: "a", Token: "s3cret", User: "ann"},
		"found none":                 {URLs: []string{"nats://host"}, Prefix: "a", Password: "s3cret"},
		"found one of them":          {URLs: []string{"nats://host"}, Prefix: "a", Certificate: empty},
		"credentials: open":          {URLs: []string{"nats://host"}, Prefix: "a", Credentials: none},
		"a JWT and its key, found":   {URLs: []string{"nats://host"}, Prefix: "a", Credentials: empty},
		"the seed of an nkey, found": {URLs: []string{"nats://host"}, Prefix: "a", NKey: none},
		"rootCA":                     {URLs: []string{"nats://host"}, Prefix: "a", CA: none},
		"root certificate":           {URLs: []string{"nats://host"}, Prefix: "a", CA: empty},
		"client certificate":         {URLs: []string{"nats://host"}, Prefix: "a", Certificate: none, Key: none},
		"and user, found 2":          {URLs: []string{"nats://host"}, Prefix: "a", NKey: empty, Credentials: empty},
	} {
		b, err := New(c, nil)
		switch {
		case want == "" && (err != nil || b == nil):
			t.Errorf("%+v: %v", c, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("want %q, got %v", want, err)
		case err != nil && strings.Contains(err.Error(), "s3cret"):
			t.Errorf("the error has a secret: %v", err)
		}
	}
}

// TestRedacted hides what comes before the host.
func TestRedacted(t *testing.T) {
	for text, want := range map[string]string{
		"nats://ann:s3cret@host:4222":  "nats://…@host:4222",
		"nats://s3cret@host":           "nats://…@host",
		"nats://ann:s3c@ret@host":      "nats://…@host",
		"ann:s3cret@host":              "…@host",
		"tls://host:4222":              "tls://host:4222",
		"host":                         "host",
		"nats://ann:s3cret@host/s3@/x": "nats://…@/x",
	} {
		if got := Redacted(text); got != want {
			t.Errorf("%s is shown as %s", text, got)
		}
	}
}

// TestPlain warns where texts leave the machine without TLS.
func TestPlain(t *testing.T) {
	for urls, want := range map[string]string{
		"nats://127.0.0.1:4222 nats://localhost ws://[::1]:80": "",
		"nats://127.0.0.1 nats://10.0.0.1:4222":                "10.0.0.1:4222",
		"nats://ann:s3cret@host:4222":                          "host:4222",
		"tls://host":                                           "",
		"wss://host":                                           "",
	} {
		core, logs := observer.New(zap.WarnLevel)
		b, err := New(Config{URLs: strings.Fields(urls), Prefix: "a"}, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		if got := b.config.plain(); got != want {
			t.Errorf("%s: %q goes without TLS, want %q", urls, got, want)
		}
		if want == "" {
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Open(ctx, 1, brokertest.NewMember()); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if logs.FilterField(zap.String("host", want)).Len() != 1 {
			t.Errorf("%s: the log says %v", urls, logs.All())
		}
	}
	if got := (Config{URLs: []string{"nats://host"}, CA: "file"}).plain(); got != "" {
		t.Errorf("with a CA %q goes without TLS", got)
	}
}

// unconnected is a node without a server.
func unconnected(t testing.TB) *node {
	t.Helper()
	b, err := New(Config{URLs: []string{"nats://127.0.0.1:1"}, Prefix: "a"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Open(t.Context(), 1, brokertest.NewMember()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b.current()
}

func message(head any, data string) *natsio.Msg {
	line, _ := json.Marshal(head)
	return &natsio.Msg{Header: versioned, Data: append(append(line, '\n'), data...)}
}

// TestFrames: a message of a link whose frames do not fit its data ends the link, and one that is out of turn begins it
// anew.
func TestFrames(t *testing.T) {
	n := unconnected(t)
	after := assistant.Cursor{Epoch: "e", Seq: 4}
	for name, test := range map[string]struct {
		change func(*packet)
		data   string
		want   string // "" = it is taken
	}{
		"good":             {func(*packet) {}, "data", ""},
		"too little":       {func(*packet) {}, "dat", "ended"},
		"too much":         {func(*packet) {}, "data.", "ended"},
		"negative":         {func(p *packet) { p.Frames[0].Size = -1 }, "", "ended"},
		"out of turn":      {func(p *packet) { p.Count = 2 }, "data", "anew"},
		"a part":           {func(p *packet) { p.Number = 1 }, "data", "anew"},
		"broken":           {func(p *packet) { p.State = stateBroken }, "", "anew"},
		"closed":           {func(p *packet) { p.State = stateClosed }, "", "ended"},
		"a gap":            {func(p *packet) { p.Frames[0].First = 6 }, "data", "gone"},
		"known":            {func(p *packet) { p.Frames[0].First, p.Frames[0].Last = 3, 4 }, "data", "nothing"},
		"another feed":     {func(p *packet) { p.Frames[0].Feed = 99 }, "data", "nothing"},
		"another link":     {func(p *packet) { p.Link = 99 }, "data", "nothing"},
		"released":         {func(p *packet) { p.Frames[0] = frame{Feed: p.Frames[0].Feed, End: endReleased} }, "", "released"},
		"an unknown end":   {func(p *packet) { p.Frames[0] = frame{Feed: p.Frames[0].Feed, End: "odd"} }, "", "ended"},
		"not many numbers": {func(p *packet) { p.Frames[0].Last = 0 }, "data", "nothing"},
	} {
		f := n.links.begin(7, "conversation", after)
		k, number := f.link, f.link.number
		p := packet{From: 7, Link: number, Count: 1, Frames: []frame{{Feed: f.number, First: 5, Last: 6, Size: 4}}}
		test.change(&p)
		n.links.receive(message(p, test.data))
		queue, ended, err := n.links.take(f)
		got := "nothing"
		switch {
		case errors.Is(err, assistant.ErrNoNode):
			got = "ended"
		case errors.Is(err, assistant.ErrGone):
			got = "gone"
		case ended:
			got = "released"
		case len(queue) == 1 && string(queue[0].Data) == "data" && queue[0].First == 5 && queue[0].Last == 6 && queue[0].Epoch == "e":
			got = ""
		case k.number != number:
			got = "anew"
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		n.links.endAll()
	}
}

// TestQueue: what waits for a slow follower is bounded, and the rest is asked for when it has taken that.
func TestQueue(t *testing.T) {
	n := unconnected(t)
	f := n.links.begin(7, "conversation", assistant.Cursor{Epoch: "e"})
	k, number, data := f.link, f.number, strings.Repeat("x", 1<<18)
	defer n.links.endAll()
	for i := range uint64(100) {
		n.links.receive(message(packet{From: 7, Link: k.number, Count: i + 1, Frames: []frame{{Feed: number, First: i + 1, Last: i + 1, Size: len(data)}}}, data))
	}
	n.links.receive(message(packet{From: 7, Link: k.number, Count: 101, Frames: []frame{{Feed: number, End: endReleased}}}, ""))
	if f.bytes > maxQueued+len(data) || !f.parked {
		t.Fatalf("%d bytes wait", f.bytes)
	}
	queue, ended, err := n.links.take(f)
	last := uint64(len(queue))
	if ended || err != nil || queue[last-1].Last != last || f.at.Seq != last || f.number == number || f.parked {
		t.Errorf("%d batches, ended %v, %v; feed %d after %d", last, ended, err, f.number, f.at.Seq)
	}
	n.links.receive(message(packet{From: 7, Link: k.number, Count: 102, Frames: []frame{{Feed: f.number, First: last + 1, Last: last + 9, Size: 4}}}, "data"))
	if queue, _, _ := n.links.take(f); len(queue) != 1 || f.at.Seq != last+9 {
		t.Errorf("then %d batches, up to %d", len(queue), f.at.Seq)
	}
}

// FuzzMessages gives a node whatever may come.
func FuzzMessages(f *testing.F) {
	for _, head := range []any{
		announcement{7, []standing{{ID: "conversation"}}}, request{From: 7, Call: 1, part: part{More: true}}, request{From: 7, Call: 1, part: part{Number: 1}},
		request{From: 7, control: control{Op: opFollow, Link: 3, Count: 1, Feeds: []ask{{Feed: 2, ID: "conversation"}}}},
		request{From: 7, control: control{Op: opBye, Link: 3, Count: 1}}, reply{Fault: faultBusy}, reply{part: part{Number: 1}},
		packet{From: 7, Link: 1, Count: 1, Frames: []frame{{Feed: 2, First: 1, Last: 2, Size: 1 << 62}}},
		packet{From: 7, Link: 1, Count: 1, part: part{More: true}},
	} {
		f.Add(message(head, "data").Data)
	}
	f.Add([]byte("{}"))
	f.Add([]byte("\n"))
	n := unconnected(f)
	n.relays.receive(7, control{Link: 2, Count: 1, Op: opKeep})
	f.Fuzz(func(t *testing.T, data []byte) {
		n.links.begin(7, "conversation", assistant.Cursor{})
		number, pending := n.callers.add(7)
		m := &natsio.Msg{Header: versioned, Data: data}
		n.announcer.receive(m)
		n.serveNode(m)
		n.links.receive(m)
		n.callers.receive(number, m)
		n.callers.remove(number)
		select {
		case <-pending.done:
		default:
		}
		n.links.endAll()
	})
}

// TestUnconnectedAnnouncements: what cannot be sent takes no room for long, and others will learn that they missed it.
func TestUnconnectedAnnouncements(t *testing.T) {
	n := unconnected(t)
	for i := range 3 * maxWaiting {
		n.announcer.add([]assistant.Standing{{Owned: assistant.Owned{ID: fmt.Sprint(i)}}})
	}
	brokertest.Eventually(t, "it is forgotten", func() bool {
		n.announcer.mu.Lock()
		defer n.announcer.mu.Unlock()
		return len(n.announcer.waiting) <= maxWaiting && n.announcer.lost
	})
}

// TestAbandoned: requests of which parts are missing are forgotten, and relays whose follower is silent.
func TestAbandoned(t *testing.T) {
	n := unconnected(t)
	if data, f := n.server.join(caller{7, 1}, part{More: true}, []byte("part")); data == nil || f != "" || n.server.bytes != 4 {
		t.Fatalf("got %q, %q, %d bytes", data, f, n.server.bytes)
	}
	n.relays.receive(7, control{Link: 2, Count: 1, Op: opKeep})
	y := n.relays.relays[7]
	soon, late := time.Now().Add(abandoned/2), time.Now().Add(abandoned+time.Second)
	n.server.tick(soon)
	n.relays.tick(soon)
	if len(n.server.requests) != 1 || y.ctx.Err() != nil {
		t.Error("forgotten too soon")
	}
	n.server.tick(late)
	n.relays.tick(late)
	if len(n.server.requests) != 0 || n.server.bytes != 0 || len(n.relays.relays) != 0 || y.ctx.Err() == nil {
		t.Errorf("%d requests of %d bytes and %d relays are left", len(n.server.requests), n.server.bytes, len(n.relays.relays))
	}
	if _, f := n.server.join(caller{7, 1}, part{Number: 1}, []byte("rest")); f != faultIncomplete {
		t.Errorf("the rest of a request that is forgotten: %q", f)
	}
	for i := range uint64(100) {
		if _, f := n.server.join(caller{8, i}, part{More: true}, make([]byte, 1<<20)); (f == faultBusy) != (i >= maxJoined>>20) {
			t.Fatalf("request %d of 1 MiB: %q", i, f)
		}
	}
}

// TestBusy: one call more than can be served at once is refused, and nothing was done.
func TestBusy(t *testing.T) {
	n := unconnected(t)
	for range maxServed {
		n.server.slots <- struct{}{}
	}
	served := false
	n.member.(*brokertest.Member).Reply = func(context.Context, assistant.NodeID, []byte) []byte { served = true; return nil }
	n.serveNode(message(request{From: 7, Call: 1}, "x"))
	for range maxServed {
		<-n.server.slots
	}
	if err := faultBusy.err(); served || !errors.Is(err, assistant.ErrNoNode) {
		t.Errorf("served: %v, the caller is told %v", served, err)
	}
}

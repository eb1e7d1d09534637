package brokertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// followTests are about Follow and Events.
var followTests = []brokerCase{
	{"Follow", testFollow},
	{"FollowMuch", testFollowMuch},
	{"FollowSlowly", testFollowSlowly},
	{"FollowGone", testFollowGone},
	{"FollowReleased", testFollowReleased},
	{"FollowLeave", testFollowLeave},
	{"FollowEndsWithContext", testFollowEndsWithContext},
	{"FollowClosed", testFollowClosed},
	{"FollowOpenAgain", testFollowOpenAgain},
	{"FollowPanics", testFollowPanics},
	{"FollowMany", testFollowMany},
}

// wantFree checks that a node finds out soon that nobody follows its logs any more.
func (t *brokerTest) wantFree(holder *Node) {
	t.Helper()
	t.within("that a node frees its logs", func() {
		Eventually(t, "nobody follows any more", func() bool { return holder.Followers() == 0 })
	})
}

// testFollow follows a log that grows, from its start and from its middle, by two nodes and several times.
func testFollow(t *brokerTest) {
	holder, b, c := t.open(), t.open(), t.open()
	l := holder.NewLog("conversation", 10)
	var wg sync.WaitGroup
	for i := range 6 {
		n, after := b, l.Start()
		if i%2 == 1 {
			n = c
		}
		after.Seq = uint64(i)
		wg.Go(func() {
			r, err := n.Read(t.patient(), t, holder.ID, "conversation", after, nil)
			if err != nil {
				t.Errorf("follow: %v", err)
			}
			if want := l.Text()[i*len("piece"):]; r.Text != want {
				t.Errorf("got %d bytes, want %d", len(r.Text), len(want))
			}
		})
	}
	Eventually(t, "all follow", func() bool { return holder.Followers() == 6 })
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		l.Append(fmt.Sprintf("piece %d \u00e4\U0001F600\x00", i) + strings.Repeat("x", random.IntN(50)))
		for range random.IntN(2000) { // pauses of many lengths
			_ = random.Int()
		}
	}
	l.Release()
	wg.Wait()
	t.wantFree(holder)
}

// testFollowMuch follows a log with pieces larger than a message of any broker, with small ones between them.
func testFollowMuch(t *brokerTest) {
	holder, b := t.open(), t.open()
	l, small := holder.NewLog("conversation", 0), holder.NewLog("small", 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		if r, err := b.Read(t.patient(), t, holder.ID, "small", small.Start(), nil); err != nil || r.Text != small.Text() {
			t.Errorf("the other log: %v", err)
		}
	})
	wg.Go(func() {
		r, err := b.Read(t.patient(), t, holder.ID, "conversation", l.Start(), nil)
		if err != nil || r.Text != l.Text() {
			t.Errorf("got %d bytes, want %d; %v", len(r.Text), len(l.Text()), err)
		}
	})
	for i := range 20 {
		l.Append(strings.Repeat(string(rune('a'+i)), 1000<<min(i, 20-i))) // up to 1 MB
		small.Append("small")
	}
	l.Release()
	small.Release()
	wg.Wait()
}

// testFollowSlowly reads when everything was appended long ago. Meanwhile another follower is not kept waiting.
func testFollowSlowly(t *brokerTest) {
	holder, b := t.open(), t.open()
	l := holder.NewLog("conversation", 1)
	quick, appended := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for i, read := range []func(Reading) bool{
		func(Reading) bool { <-appended; return true },
		nil,
	} {
		wg.Go(func() {
			r, err := b.Read(t.patient(), t, holder.ID, "conversation", l.Start(), read)
			if err != nil || r.Text != l.Text() {
				t.Errorf("follower %d got %d bytes, want %d; %v", i, len(r.Text), len(l.Text()), err)
			}
			if i == 1 {
				close(quick)
			}
		})
	}
	Eventually(t, "both follow", func() bool { return holder.Followers() == 2 })
	for range 3000 {
		l.Append(strings.Repeat("piece ", 100))
	}
	l.Release()
	<-quick
	close(appended)
	wg.Wait()
}

// testFollowGone asks for what a log no longer has, and for another epoch.
func testFollowGone(t *brokerTest) {
	holder, b := t.open(), t.open()
	l := holder.NewLog("conversation", 10)
	l.Trim(5)
	for name, after := range map[string]assistant.Cursor{"trimmed": {Epoch: l.epoch, Seq: 4}, "another epoch": {Epoch: "another", Seq: 7}} {
		if r, err := b.Read(t.patient(), t, holder.ID, "conversation", after, nil); !errors.Is(err, assistant.ErrGone) || r.Batches > 0 {
			t.Errorf("%s: got %d batches, %v", name, r.Batches, err)
		}
	}
	r, err := b.Read(t.patient(), t, holder.ID, "conversation", assistant.Cursor{Epoch: l.epoch, Seq: 5}, func(r Reading) bool { return r.At.Seq < 10 })
	if err != nil || r.At.Seq != 10 {
		t.Errorf("from the first that is left: got up to %d, %v", r.At.Seq, err)
	}
}

// testFollowReleased follows a log that was released before.
func testFollowReleased(t *brokerTest) {
	holder, b := t.open(), t.open()
	l := holder.NewLog("conversation", 10)
	l.Release()
	for after := range uint64(11) {
		r, err := b.Read(t.patient(), t, holder.ID, "conversation", assistant.Cursor{Epoch: l.epoch, Seq: after}, nil)
		if err != nil || r.At.Seq != 10 {
			t.Errorf("after %d: got up to %d, %v", after, r.At.Seq, err)
		}
	}
}

// testFollowLeave leaves loops: after a batch, and many times, which frees both sides.
func testFollowLeave(t *brokerTest) {
	holder, b := t.open(), t.open()
	l := holder.NewLog("conversation", 10)
	for range 100 {
		r, err := b.Read(t.patient(), t, holder.ID, "conversation", l.Start(), func(Reading) bool { return false })
		if err != nil || r.Batches != 1 {
			t.Errorf("got %d batches, %v", r.Batches, err)
		}
	}
	t.wantFree(holder)
}

// testFollowEndsWithContext ends contexts while a log is silent.
func testFollowEndsWithContext(t *brokerTest) {
	holder, b := t.open(), t.open()
	l := holder.NewLog("conversation", 1)
	errGone := errors.New("follower has gone")
	ctx, cancel := context.WithCancelCause(t.patient())
	ended := make(chan error, 1)
	read := make(chan struct{}, 1)
	go func() {
		_, err := b.Read(ctx, t, holder.ID, "conversation", l.Start(), func(Reading) bool { read <- struct{}{}; return true })
		ended <- err
	}()
	<-read
	cancel(errGone)
	t.within("the end of a loop whose context ends", func() {
		if err := <-ended; !errors.Is(err, errGone) {
			t.Errorf("got %v", err)
		}
	})
	t.wantFree(holder)
}

// testFollowClosed closes the node that holds a log, and the one that follows it.
func testFollowClosed(t *brokerTest) {
	for name, end := range map[string]func(holder, follower *Node) error{
		"the holder":   func(holder, _ *Node) error { return holder.Close() },
		"the follower": func(_, follower *Node) error { return follower.Close() },
	} {
		holder, b := t.open(), t.open()
		l := holder.NewLog("conversation", 1)
		read, ended := make(chan struct{}, 1), make(chan error, 1)
		go func() {
			_, err := b.Read(t.patient(), t, holder.ID, "conversation", l.Start(), func(Reading) bool { read <- struct{}{}; return true })
			ended <- err
		}()
		<-read
		t.within("the close of "+name, func() { t.must(end(holder, b)) })
		t.within("the end of a loop when "+name+" closes", func() {
			if err := <-ended; !errors.Is(err, assistant.ErrNoNode) {
				t.Errorf("%s closed: got %v", name, err)
			}
		})
		t.wantFree(holder)
	}
}

// testFollowOpenAgain follows a node that comes back under another id, and by one.
func testFollowOpenAgain(t *brokerTest) {
	holder, b := t.open(), t.open()
	l := holder.NewLog("conversation", 10)
	for range 3 {
		for _, n := range []*Node{holder, b} {
			r, err := b.Read(t.patient(), t, holder.ID, "conversation", l.Start(), func(r Reading) bool { return r.At.Seq < 10 })
			if err != nil || r.At.Seq != 10 {
				t.Errorf("got up to %d, %v", r.At.Seq, err)
			}
			t.must(n.Close())
			t.reopen(n)
		}
	}
}

// testFollowPanics follows a log whose reading panics: the loop ends with an error, and another log can be followed.
func testFollowPanics(t *brokerTest) {
	holder, b := t.open(), t.open()
	l := holder.NewLog("conversation", 10)
	if _, err := b.Read(t.patient(), t, holder.ID, "a log that is not there", l.Start(), nil); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if r, err := b.Read(t.patient(), t, holder.ID, "conversation", l.Start(), func(r Reading) bool { return r.At.Seq < 10 }); err != nil || r.At.Seq != 10 {
		t.Errorf("got up to %d, %v", r.At.Seq, err)
	}
}

// testFollowMany follows a thousand logs at once.
func testFollowMany(t *brokerTest) {
	holder, b := t.open(), t.open()
	const many = 1000
	logs := make([]*Log, many)
	for i := range logs {
		logs[i] = holder.NewLog(fmt.Sprint(i), 1)
	}
	var wg sync.WaitGroup
	for i, l := range logs {
		wg.Go(func() {
			r, err := b.Read(t.patient(), t, holder.ID, fmt.Sprint(i), l.Start(), func(r Reading) bool { return i%2 == 0 || r.At.Seq < 6 })
			if err != nil || r.Text != l.Text() {
				t.Errorf("log %d: got %d bytes, want %d; %v", i, len(r.Text), len(l.Text()), err)
			}
		})
	}
	Eventually(t, "all follow", func() bool { return holder.Followers() == many })
	for range 5 {
		for _, l := range logs {
			l.Append("more")
		}
	}
	for i, l := range logs {
		if i%2 == 0 {
			l.Release()
		}
	}
	wg.Wait()
	t.wantFree(holder)
}

// testNoLogs holds that a broker that carries no logs says so at once.
func testNoLogs(t *brokerTest) {
	holder, b := t.open(), t.open()
	l := holder.NewLog("conversation", 10)
	if r, err := b.Read(t.patient(), t, holder.ID, "conversation", l.Start(), nil); !errors.Is(err, assistant.ErrNoNode) || r.Batches > 0 {
		t.Errorf("got %d batches, %v", r.Batches, err)
	}
}

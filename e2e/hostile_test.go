package e2e

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

var update = flag.Bool("update", false, "rewrite docs/hardening.md with what happens now")

// effort multiplies the loads of TestHostile: make hardening sets it.
var effort = func() int {
	if os.Getenv("HARDENING") != "" {
		return 10
	}
	return 1
}()

// hostile is one thing that an attacker, the model's server or the store does.
type hostile struct {
	input  string                // what it does; a row of the table
	peak   int                   // MiB that the process may have resident at most meanwhile
	attack func(s *siege) string // does it and returns what happened to it: always the same
}

// groups are the parts of the table.
var groups = []struct {
	title string
	cases []hostile
}{
	{"Clients", hostileClients},
	{"The model's server", hostileUpstreams},
}

// fortress is the server under attack: an assistant for honest users, and one without patience.
const fortress = `
	log
	assistant /ws/assistants/* {
		name honest
		store sqlite {$HOME}/chat.db
		user {query.user}
		write_rate 100000/1m
		max_message_size 64KiB
		import patient
	}
	assistant /ws/impatient/* {
		name impatient
		user {query.user}
		ping_interval 500ms
		write_timeout 500ms
		max_message_size 64KiB
		max_answer 8000000
		import impatient
	}
	assistant /ws/compressed/* {
		name compressed
		compression on
		max_message_size 64KiB
		import patient
	}
	assistant /ws/limited/* {
		name limited
		user {query.user}
		rate 5/1h
		max_connections 100 per_user 10
		import patient
	}
	assistant /ws/large/* {
		name large
		import patient
	}
`

// models are one server, which is given the time it needs, or none.
const models = `(model) {
	provider openai {
		base_url {$UPSTREAM}
		api_key {env.OPENAI_API_KEY}
		max_retries 0
		timeout {args[0]}
		stall_timeout {args[1]}
		max_duration {args[2]}
	}
}
(patient) {
	import model 30s 30s 1m
}
(impatient) {
	import model 2s 1s 3s
}
`

// TestHostile does everything in groups, one after the other, to one process, beside a user who chats and
// must be served. The process lives on; its memory stays within the bound of the case; afterwards its
// goroutines and files are back; its log tells of no panic and no secret; what was stored is exact.
//
// What happened to each is the table in docs/hardening.md, which -update rewrites.
func TestHostile(t *testing.T) {
	upstream := harness.NewUpstream(t, answerAny)
	c := harness.Start(t, "{\n servers {\n timeouts {\n read_header 1s\n }\n }\n}\n"+models+harness.Site(fortress),
		"UPSTREAM="+upstream.URL, "OPENAI_API_KEY="+canary)
	table := &hardening{t: t}
	for _, group := range groups {
		table.title(group.title)
		for _, h := range group.cases {
			t.Run(h.input, func(t *testing.T) { table.add(h, withstand(t, c, h)) })
		}
	}
	table.title("The store")
	for _, h := range hostileStores {
		t.Run(h.input, func(t *testing.T) { table.add(hostile{input: h.input, peak: h.peak}, h.run(t)) })
	}
	table.compare()
}

// siege is a case while it runs.
type siege struct {
	*harness.Caddy
	t      *testing.T
	logged int // bytes of the log that were there before
}

// withstand runs a case and returns what happened.
func withstand(t *testing.T, c *harness.Caddy, h hostile) string {
	t.Helper()
	before, logged := c.Usage(t), c.Logs.Len()
	c.ForgetPeak(t)
	user := newHonest(t, c)
	user.round() // all is well
	outcome := make(chan string, 1)
	go func() { outcome <- h.attack(&siege{Caddy: c, t: t, logged: logged}) }()
	var happened string
	for pace := time.NewTicker(50 * time.Millisecond); happened == ""; {
		user.round()
		select {
		case happened = <-outcome:
		case <-pace.C:
		}
	}
	user.round()
	user.leave()
	peak := c.Peak(t)
	after := settled(t, c, before)
	t.Logf("%s; %d answers beside; peak %d MiB; goroutines %d to %d, files %d to %d, heap %.1f to %.1f MiB", happened, user.rounds, peak>>20,
		before.Goroutines, after.Goroutines, before.Files, after.Files, mib(before.Heap), mib(after.Heap))
	if peak > h.peak<<20 {
		t.Errorf("the process had %d MiB resident, more than %d", peak>>20, h.peak)
	}
	if !c.Lives() {
		t.Fatal("the process has ended")
	}
	text := c.Logs.Since(logged)
	for _, bad := range []string{"panic", canary} {
		if i := strings.Index(text, bad); i >= 0 {
			t.Errorf("the log has %q: %.1000s", bad, text[i:])
		}
	}
	return happened
}

func mib(n int) float64 { return float64(n) / (1 << 20) }

// slack is how many goroutines or files more than before are no leak: connections to the model's server and
// to the database that wait for their next use.
const slack = 16

// settled waits until nothing of an attack is left.
func settled(t *testing.T, c *harness.Caddy, before harness.Usage) (now harness.Usage) {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(harness.Patience); ; {
		now = c.Usage(t)
		if now.Goroutines <= before.Goroutines+slack && now.Files <= before.Files+slack {
			return now
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Errorf("something is left: before %+v, now %+v", before, now)
			return now
		}
	}
}

// honest is a user who chats.
type honest struct {
	conversation
	name   string
	rounds int
}

func newHonest(t *testing.T, c *harness.Caddy) *honest {
	t.Helper()
	u := &honest{conversation: create(t, c), name: t.Name()}
	u.Until("snapshot")
	return u
}

// round asks one question: its answer comes whole, and a ping meanwhile is answered.
func (u *honest) round() {
	u.t.Helper()
	u.rounds++
	question := fmt.Sprintf("honest question %d of %s", u.rounds, u.name)
	u.send("send_message", fmt.Sprintf(`{"content":%q}`, question))
	u.Send(`{"action":"ping"}`)
	pongs := 0
	frames := u.Until("complete_streaming")
	for frame := range slices.Values(frames) {
		if frame.Action == "pong" {
			pongs++
		}
	}
	if pongs == 0 {
		frames = append(frames, u.Until("pong")...)
	}
	if got := harness.Answer(frames); got != tale(question) {
		u.t.Errorf("the answer to %q is %q", question, got)
	}
}

// leave holds what is stored against what was asked, and ends the socket.
func (u *honest) leave() {
	u.t.Helper()
	items := u.messages()
	want := min(2*u.rounds, 50) // a page
	if len(items) != want {
		u.t.Errorf("%d messages are stored, want %d", len(items), want)
	}
	for i, m := range items {
		question := fmt.Sprintf("honest question %d of %s", u.rounds-(len(items)-1-i)/2, u.name)
		if i%2 == 0 && m.Content != question || i%2 == 1 && m.Content != tale(question) || m.Status != "complete" {
			u.t.Errorf("message %d is stored as %q (%s)", i, m.Content, m.Status)
		}
	}
	u.Vanish()
}

// tale is the whole answer to an honest question.
func tale(question string) string { return strings.Join(taleOf(question), "") }

func taleOf(question string) (pieces []string) {
	for i := range 10 {
		pieces = append(pieces, fmt.Sprintf("%d: %s. ", i, question))
	}
	return pieces
}

// answerAny tells the tale of honest questions, and what a case wants to the others.
func answerAny(call *harness.Call) {
	call.Writer.Header().Set("Connection", "close") // so that nothing is left of it
	if misbehave, ok := misbehaviours[call.Question()]; ok {
		misbehave(call)
		return
	}
	call.Pieces(taleOf(call.Question())...)
	call.Finish()
}

// each runs f for as many attackers as effort asks for, workers at a time, and returns the one thing that
// happened to all of them; or all things, where they differ.
func (s *siege) each(n, workers int, f func(i int) string) string {
	var mu sync.Mutex
	happened := map[string]int{}
	var wg sync.WaitGroup
	jobs := make(chan int)
	for range workers {
		wg.Go(func() {
			for i := range jobs {
				outcome := f(i)
				mu.Lock()
				happened[outcome]++
				mu.Unlock()
			}
		})
	}
	for i := range n * effort {
		jobs <- i
	}
	close(jobs)
	wg.Wait()
	var outcomes []string
	for outcome, n := range happened {
		outcomes = append(outcomes, outcome)
		if len(happened) > 1 {
			s.t.Errorf("%d times: %s", n, outcome)
		}
	}
	slices.Sort(outcomes)
	return strings.Join(outcomes, "; or ")
}

// ending reads until a socket ends and returns how it did.
func ending(r *harness.Raw) string {
	for {
		_, err := r.Receive()
		closed, ok := errors.AsType[harness.ClosedError](err)
		switch {
		case ok:
			return closed.Error()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return "nothing"
		case err != nil:
			return "dropped"
		}
	}
}

// hardening is the table that a run makes.
type hardening struct {
	t    *testing.T
	rows bytes.Buffer
	last string // title
	runs int
}

func (h *hardening) title(title string) {
	if title != h.last {
		h.last = title
		fmt.Fprintf(&h.rows, "\n### %s\n\n| input | what happened | memory at most |\n|---|---|---|\n", title)
	}
}

func (h *hardening) add(row hostile, happened string) {
	h.runs++
	fmt.Fprintf(&h.rows, "| %s | %s | %d MiB |\n", row.input, happened, row.peak)
}

const tableStart, tableEnd = "<!-- made by TestHostile -->\n", "<!-- end -->\n"

// compare holds the table against the document, unless only some cases were run.
func (h *hardening) compare() {
	h.t.Helper()
	all := len(hostileStores)
	for _, group := range groups {
		all += len(group.cases)
	}
	if h.runs < all || h.t.Failed() {
		return
	}
	file := filepath.Join(harness.Root(h.t), "docs", "hardening.md")
	text, err := os.ReadFile(file)
	if err != nil {
		h.t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), tableStart)
	old, after, ended := strings.Cut(rest, tableEnd)
	switch {
	case !found || !ended:
		h.t.Fatalf("%s has no place for the table", file)
	case old == h.rows.String():
	case !*update:
		h.t.Errorf("%s is not what happens; rewrite it with -update\n--- got\n%s", file, h.rows.String())
	default:
		if err := os.WriteFile(file, []byte(before+tableStart+h.rows.String()+tableEnd+after), 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
}

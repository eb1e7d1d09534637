package e2e

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// soak is a long run: its loads and how long it goes on.
type soak struct {
	duration        time.Duration
	idle, streaming int           // sockets
	pace            time.Duration // between two pieces of an answer
	reloads         time.Duration // between two
	outages         time.Duration // of PostgreSQL, between two
	outage          time.Duration // how long one is
	heap            int           // MiB that the server may have in use more than at the start
}

// plan is a short soak, or the one that $SOAK tells the duration of: make soak.
func plan(t *testing.T) soak {
	long := os.Getenv("SOAK")
	if long == "" {
		return soak{10 * time.Second, 200, 24, 20 * time.Millisecond, 2 * time.Second, 5 * time.Second, time.Second, 12}
	}
	duration, err := time.ParseDuration(long)
	if err != nil {
		t.Fatalf("SOAK: %v", err)
	}
	return soak{duration, 5000, 500, 100 * time.Millisecond, 20 * time.Second, time.Minute, 3 * time.Second, 12}
}

// soaked is generation n of the settings. Their changes reach sockets that are open.
func soaked(upstream string, n int) string {
	handler := func(name, path, store string) string {
		return fmt.Sprintf(`
			assistant %s* {
				name %s
				store %s
				user {query.user}
				instructions "Generation %d."
				max_pending %d
				context 1000
				resume_window 5s
				provider openai {
					base_url %s
					api_key {env.OPENAI_API_KEY}
				}
			}
		`, path, name, store, n, 4+n%5, upstream)
	}
	return harness.Site(handler("files", harness.AssistantPath, "sqlite {$HOME}/chat.db") + handler("database", databasePath, "postgres {env.DSN}"))
}

const databasePath = "/ws/database/"

// TestSoak lets idle sockets and streaming ones live for long, with cuts of every kind, reloads with other
// settings, and a database that is killed and comes back. No idle socket is ever lost. Each answer is shown
// and stored exactly as the model told it, each question is asked once, and no seq is missing or comes twice.
// In the end goroutines, files and heap are back.
func TestSoak(t *testing.T) {
	p := plan(t)
	upstream := harness.NewUpstream(t, func(call *harness.Call) { tellStory(call, p.pace) })
	postgres := harness.StartPostgres(t)
	c := harness.Start(t, soaked(upstream.URL, 0), "OPENAI_API_KEY="+canary, "DSN="+postgres.DSN)
	start, pid := c.Usage(t), c.Pid()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), p.duration)
	defer cancel()
	s := &soaking{soak: p, t: t, c: c}
	var clients sync.WaitGroup
	s.hold(&clients)
	for i := range p.streaming {
		clients.Go(func() { s.chat(ctx, i) })
	}
	reloads, outages := s.disturb(ctx, postgres, upstream)
	s.over.Store(true) // from now on idle sockets may end
	s.leave()
	clients.Wait()

	upstream.CloseConnections()
	end := s.settled(start)
	if c.Pid() != pid || !c.Lives() {
		t.Error("the process is another one")
	}
	if n := s.answers.Load(); n < int64(p.streaming) {
		t.Errorf("only %d answers", n)
	}
	t.Logf("soak of %s: %d sockets idle, %d streaming\n"+
		"  answers, each shown and stored exactly   %d, of which the store was away at the end of %d\n"+
		"  cuts                                     %d, of which resumed whole %d, by a snapshot %d\n"+
		"  questions refused while the store was away %d\n"+
		"  reloads, outages of PostgreSQL           %d, %d\n"+
		"  idle sockets lost                        %d\n"+
		"  goroutines                               %d at the start, %d at the end\n"+
		"  files                                    %d at the start, %d at the end\n"+
		"  heap after GC                            %.1f MiB at the start, %.1f MiB at the end\n"+
		"  resident at most                         %d MiB",
		time.Since(began).Round(time.Second), p.idle, p.streaming,
		s.answers.Load(), s.failed.Load(), s.cuts.Load(), s.whole.Load(), s.anew.Load(), s.refused.Load(), reloads, outages, s.lost.Load(),
		start.Goroutines, end.Goroutines, start.Files, end.Files, mib(start.Heap), mib(end.Heap), c.Peak(t)>>20)
}

// soaking is a soak while it runs.
type soaking struct {
	soak
	t    *testing.T
	c    *harness.Caddy
	over atomic.Bool

	answers, failed, cuts, whole, anew, refused, lost atomic.Int64

	mu     sync.Mutex
	held   []*harness.Raw
	errors int
}

// hold opens the idle sockets and answers their pings until they end.
func (s *soaking) hold(clients *sync.WaitGroup) {
	s.t.Helper()
	var dialling sync.WaitGroup
	todo := make(chan int)
	for range 32 {
		dialling.Go(func() {
			for range todo {
				r, err := harness.DialRaw(s.c, harness.AssistantPath)
				if err != nil {
					s.report("open an idle socket: %v", err)
					continue
				}
				_ = r.SetDeadline(time.Time{})
				s.mu.Lock()
				s.held = append(s.held, r)
				s.mu.Unlock()
				clients.Go(func() {
					_, err := r.Receive()
					if !s.over.Load() {
						s.lost.Add(1)
						s.report("an idle socket ended: %v", err)
					}
				})
			}
		})
	}
	for i := range s.idle {
		todo <- i
	}
	close(todo)
	dialling.Wait()
}

func (s *soaking) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.held {
		_ = r.Close()
	}
}

// report fails the test, with the first few reasons.
func (s *soaking) report(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errors++; s.errors <= 20 {
		s.t.Errorf(format, args...)
	}
}

// disturb reloads, and takes the database away and gives it back, until the time is over.
func (s *soaking) disturb(ctx context.Context, postgres *harness.Postgres, upstream *harness.Upstream) (reloads, outages int) {
	reload, outage := time.NewTicker(s.reloads), time.NewTicker(s.outages)
	defer reload.Stop()
	defer outage.Stop()
	for {
		select {
		case <-reload.C:
			reloads++
			s.c.Reload(s.t, soaked(upstream.URL, reloads))
		case <-outage.C:
			outages++
			postgres.Kill(s.t)
			select {
			case <-time.After(s.outage):
			case <-ctx.Done():
			}
			postgres.Start(s.t)
		case <-ctx.Done():
			return reloads, outages
		}
	}
}

// settled waits until the server is as it was at the start, within bounds.
func (s *soaking) settled(start harness.Usage) (now harness.Usage) {
	s.t.Helper()
	const more = 32 // goroutines and files: pools of connections
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(harness.Patience); ; {
		now = s.c.Usage(s.t)
		if now.Goroutines <= start.Goroutines+more && now.Files <= start.Files+more && now.Heap <= start.Heap+s.heap<<20 {
			return now
		}
		select {
		case <-poll.C:
		case <-deadline:
			s.t.Errorf("something is left: at the start %+v, now %+v", start, now)
			return now
		}
	}
}

// tellStory is the model: what it says follows from the question alone.
func tellStory(call *harness.Call, pace time.Duration) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for _, piece := range storyOf(call.Question()) {
		call.Pieces(piece)
		select {
		case <-ticker.C:
		case <-call.Gone():
			return
		}
	}
	call.Finish()
}

func storyOf(question string) (pieces []string) {
	n := 0
	for _, b := range []byte(question) {
		n = (n*31 + int(b)) % 1000
	}
	for i := range 20 + n%60 {
		pieces = append(pieces, fmt.Sprintf("%s, sentence %d. ", question, i))
	}
	return pieces
}

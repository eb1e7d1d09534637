package conversation_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// mouth is a second mouth on the engine's door, without any frame: it follows a conversation and gathers what it
// reads.
type mouth struct {
	t        *testing.T
	follower *conversation.Follower
	cursor   assistant.Cursor
	texts    map[string]string // of each answer
	ends     map[string]assistant.FinishReason
	events   []assistant.Event
}

func newMouth(t *testing.T) *mouth {
	return &mouth{t: t, texts: map[string]string{}, ends: map[string]assistant.FinishReason{}}
}

// follow begins anew where the mouth left off.
func (m *mouth) follow(c *conversation.Conversation) (recovered bool) {
	if m.follower != nil {
		m.follower.Close()
	}
	var p conversation.Position
	m.follower, p = c.Follow(&m.cursor, conversation.Listener{Mouth: 1, Wake: func() {}, TooSlow: func() {}})
	m.cursor = p.Cursor
	if s := p.Snapshot; s != nil {
		for _, answer := range s.Messages {
			m.texts[answer.ID], m.ends[answer.ID] = answer.Content, answer.FinishReason
		}
		if s.Running != nil {
			m.texts[s.Running.ID] = s.Running.Content
		}
	}
	return p.Recovered
}

// read reads what is there, at most n events.
func (m *mouth) read(n int) {
	m.t.Helper()
	events, err := m.follower.Read(make([]assistant.Event, 0, n))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range events {
		if m.events = append(m.events, e); e.Seq == 0 {
			continue
		}
		if e.Seq != m.cursor.Seq+1 {
			m.t.Fatalf("event %d comes after event %d", e.Seq, m.cursor.Seq)
		}
		m.cursor.Seq = e.Seq
		switch body := e.Body.(type) {
		case nil:
			if e.Kind == assistant.KindPiece {
				m.texts[e.Run] += e.Text
			}
		case assistant.Completed:
			if m.ends[e.Run] != "" {
				m.t.Fatalf("answer %s has two ends", e.Run)
			}
			m.ends[e.Run] = body.FinishReason
		}
	}
}

// world is a hub with a stored conversation of ann's that is open.
type world struct {
	t     *testing.T
	hub   *conversation.Hub
	store assistant.Store
	id    string
	c     *conversation.Conversation
	asked uint64
}

// closeHub stops all that runs there.
func closeHub(t *testing.T, hub *conversation.Hub) {
	t.Helper()
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if err := hub.Close(stopped); err != nil {
		t.Error(err)
	}
}

func newWorld(t *testing.T, store assistant.Store, config conversation.Config) *world {
	t.Helper()
	w := &world{t: t, hub: conversation.NewHub(store, nil), store: store}
	conversation.New(w.hub, config)
	t.Cleanup(func() { closeHub(t, w.hub) })
	created, err := w.hub.Create(t.Context(), "ann", "")
	if err != nil {
		t.Fatal(err)
	}
	w.id = created.ID
	w.c = w.open()
	return w
}

func (w *world) open() *conversation.Conversation {
	w.t.Helper()
	c, err := w.hub.Open("ann", w.id)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// ask asks and waits for the end, as far as the bubble's clock must not go on for it.
func (w *world) ask(text string) string {
	w.t.Helper()
	w.asked++
	r, err := w.c.Do(w.t.Context(), assistant.Ask{Asker: assistant.Asker{From: assistant.RequestKey{Mouth: 1, N: w.asked}, Peer: assistant.Peer{User: "ann"}}, Text: text})
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	return r.Run
}

// TestFollowerWithoutFrames holds what resuming promises, for a mouth that knows no frame: whenever and however
// often it is cut, it reads each event once and in order, and ends with what the model said.
func TestFollowerWithoutFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{Provider: assistanttest.Model(
			func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
				for i := range 200 {
					time.Sleep(time.Millisecond)
					if !yield(assistant.Delta{Text: fmt.Sprintf("%d ", i)}) {
						return nil
					}
				}
				yield(assistanttest.Finished)
				return nil
			})})
		want := ""
		for i := range 200 {
			want += fmt.Sprintf("%d ", i)
		}
		for range 20 {
			m := newMouth(t)
			m.follow(w.c)
			run := w.ask("count")
			for m.ends[run] == "" {
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
				switch random.IntN(4) {
				case 0:
					m.follow(w.c)
				case 1:
					m.cursor.Epoch = "lost" // what it has seen no longer counts
					m.follow(w.c)
				default:
					m.read(1 + random.IntN(50))
				}
			}
			if m.texts[run] != want || m.ends[run] != assistant.FinishStop {
				t.Fatalf("read %q, %s", m.texts[run], m.ends[run])
			}
			m.follower.Close()
		}
	})
}

// heap is what is in use, in bytes.
func heap() int {
	var stats runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// TestMemoryOfShortTurns holds that a short turn which has ended costs at most 1 KB once the resume window is over,
// what the memory store keeps included: with a follower, and without.
func TestMemoryOfShortTurns(t *testing.T) {
	for _, followed := range []bool{true, false} {
		t.Run(fmt.Sprint("followed ", followed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const turns = 1000
				w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{Provider: assistanttest.Echoes})
				idle := newMouth(t)
				if followed {
					idle.follow(w.c)
				}
				before := heap()
				for range turns {
					w.asked++
					c := w.open()
					f, _ := c.Follow(nil, conversation.Listener{Mouth: w.asked, Wake: func() {}, TooSlow: func() {}})
					w.ask("ab")
					f.Close()
					c.Close()
				}
				if !followed {
					w.c.Close()
				}
				time.Sleep(3 * time.Hour)
				if per := (heap() - before) / turns; per > 1024 {
					t.Errorf("%d bytes for each turn", per)
				}
				if followed {
					idle.cursor.Seq = 1
					if idle.follow(w.c) {
						t.Error("the log still has what is three hours old")
					}
					idle.follower.Close()
				}
				if n := w.hub.InUse(); n > 0 != followed {
					t.Errorf("%d conversations are in use", n)
				}
				runtime.KeepAlive(w)
			})
		})
	}
}

// TestRenameFlood holds that a log is bounded in bytes, whatever floods it.
func TestRenameFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 16 << 20
		w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{Provider: assistanttest.Echoes})
		m := newMouth(t)
		m.follow(w.c)
		before := heap()
		title := strings.Repeat("x", 100)
		for i := range 100_000 {
			if _, err := w.c.Do(t.Context(), assistant.Rename{Title: fmt.Sprint(i, title)}); err != nil {
				t.Fatal(err)
			}
		}
		if grown := heap() - before; grown > bound*5/4 {
			t.Errorf("%d bytes more, the bound is %d", grown, bound)
		}
		if _, err := m.follower.Read(make([]assistant.Event, 0, 1)); !errors.Is(err, conversation.ErrGone) {
			t.Errorf("a follower that lags got %v", err)
		}
		if p := m.follower.Restart(nil); p.Snapshot == nil || !strings.HasPrefix(p.Snapshot.Conversation.Title, "99999") {
			t.Errorf("and then %+v", p)
		}
		time.Sleep(time.Hour)
		if grown := heap() - before; grown > bound/10 {
			t.Errorf("%d bytes more after the resume window", grown)
		}
	})
}

// TestResumeWindow holds that events are kept for the resume window after the end of their answer, and no longer,
// also while the conversation is followed; and that those of a running answer are kept however long it takes.
func TestResumeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{ResumeWindow: time.Minute, Provider: assistanttest.Model(
			func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
				yield(assistant.Delta{Text: "a"})
				if strings.Contains(req.Turns[len(req.Turns)-1].Content, "slow") {
					time.Sleep(time.Hour)
				}
				yield(assistanttest.Finished)
				return nil
			})})
		m := newMouth(t)
		m.follow(w.c)
		w.ask("quick")
		m.cursor.Seq = 1
		time.Sleep(59 * time.Second)
		if !m.follow(w.c) {
			t.Error("the events are gone before the window is over")
		}
		time.Sleep(2 * time.Second)
		m.cursor.Seq = 1
		if m.follow(w.c) {
			t.Error("the events are there after the window")
		}
		began := m.cursor
		w.ask("slow")
		time.Sleep(30 * time.Minute)
		m.cursor = began
		if !m.follow(w.c) {
			t.Error("the events of a running answer are gone")
		}
		time.Sleep(time.Hour) // let it end
	})
}

// TestMessagesAreLetGo holds that a followed conversation keeps no more messages in memory than a snapshot has and
// the model receives.
func TestMessagesAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, discards{memory.Open(memory.Config{})}, conversation.Config{Provider: assistanttest.Echoes, Context: 4000, ResumeWindow: time.Second})
		before := heap()
		for range 2000 {
			w.ask(strings.Repeat("x", 5000))
			time.Sleep(2 * time.Second)
		}
		if grown := heap() - before; grown > 4<<20 { // 20 MB were said
			t.Errorf("%d bytes more", grown)
		}
	})
}

// discards is a store that forgets texts: what is in memory is the engine's.
type discards struct{ assistant.Store }

func (s discards) Begin(ctx context.Context, c assistant.Claim, b assistant.Beginning) error {
	b.Question = &assistant.Message{ID: b.Question.ID, Role: b.Question.Role, Status: b.Question.Status}
	return s.Store.Begin(ctx, c, b)
}

func (s discards) Extend(context.Context, assistant.Claim, assistant.Extension) error { return nil }

func (s discards) Finish(ctx context.Context, c assistant.Claim, e assistant.Ending) error {
	for i := range e.Messages {
		e.Messages[i].SetParts(nil)
	}
	return s.Store.Finish(ctx, c, e)
}

// TestRaisedContext holds that a Context which a reload raises counts for conversations that are open: the model
// is told all that fits, also what was let go before.
func TestRaisedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const turns = 150
		told := 0
		model := assistanttest.Model(func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
			told = len(req.Turns)
			_ = yield(assistant.Delta{Text: "an answer"}) && yield(assistanttest.Finished)
			return nil
		})
		w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{Provider: model, Context: 200})
		for range turns {
			w.ask("a question")
		}
		few := told
		w.hub.Use(conversation.New(w.hub, conversation.Config{Provider: model}))
		w.ask("a question")
		if want := 2*turns + 1; few >= want/3 || told != want {
			t.Errorf("the model was told %d, then %d messages, want %d", few, told, want)
		}
	})
}

// TestRenameWins holds that a title which a user gives while the model is asked for one stays.
func TestRenameWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{ModelTitles: true, Provider: assistanttest.Model(
			func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
				if req.Instructions != "" { // it is asked for a title
					time.Sleep(time.Second)
				}
				_ = yield(assistant.Delta{Text: "The model's"}) && yield(assistanttest.Finished)
				return nil
			})})
		w.ask("what?")
		if _, err := w.hub.Rename(t.Context(), "ann", w.id, assistant.Rename{Title: "The user's"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		m := newMouth(t)
		m.follow(w.c)
		stored, err := w.store.Conversation(t.Context(), "ann", w.id)
		p := m.follower.Restart(nil)
		if err != nil || stored.Title != "The user's" || p.Snapshot.Conversation.Title != "The user's" {
			t.Errorf("stored is %q, %v; shown is %q", stored.Title, err, p.Snapshot.Conversation.Title)
		}
	})
}

// TestDeletedWhileFollowed holds that retention and erasing end a conversation that is open: followers see it, and
// it cannot be opened or asked any more.
func TestDeletedWhileFollowed(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"retention": func(w *world) { w.hub.Sweep(w.t.Context(), time.Hour) },
		"erase": func(w *world) {
			if n, err := w.hub.Erase(w.t.Context(), "ann"); n != 1 || err != nil {
				w.t.Errorf("erased %d, %v", n, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{Provider: assistanttest.Echoes})
				m := newMouth(t)
				m.follow(w.c)
				w.ask("x")
				time.Sleep(2 * time.Hour)
				m.follow(w.c)
				end(w)
				synctest.Wait()
				m.events = nil
				m.read(10)
				if len(m.events) != 1 || m.events[0].Body != (assistant.Deleted{ID: w.id}) {
					t.Errorf("the follower read %+v", m.events)
				}
				if _, err := w.hub.Open("ann", w.id); assistant.Describe(err).Reason != assistant.ReasonNotFound {
					t.Errorf("opened again: %v", err)
				}
				_, err := w.c.Do(t.Context(), assistant.Ask{Text: "still there?"})
				if assistant.Describe(err).Reason != assistant.ReasonUnknownTopic {
					t.Errorf("asked again: %v", err)
				}
			})
		})
	}
}

// TestSnapshotBytes holds that a snapshot is bounded in bytes: the newest messages that fit, and at least one.
func TestSnapshotBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const half = 400_000
		w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{Provider: assistanttest.Echoes, Context: 1 << 30, MaxAnswer: 1 << 30})
		snapshot := func() *assistant.Snapshot {
			m := newMouth(t)
			m.follow(w.c)
			defer m.follower.Close()
			return m.follower.Restart(nil).Snapshot
		}
		for range 3 {
			w.ask(strings.Repeat("x", half))
		}
		if s := snapshot(); len(s.Messages) != 2 || !s.HasMore {
			t.Errorf("%d messages, more: %v", len(s.Messages), s.HasMore)
		}
		w.ask(strings.Repeat("x", 3*half))
		if s := snapshot(); len(s.Messages) != 1 || !s.HasMore || len(s.Messages[0].Content) != 3*half {
			t.Errorf("%d messages, more: %v", len(s.Messages), s.HasMore)
		}
		page, more, err := w.hub.Messages(t.Context(), "ann", w.id, "", 100)
		if len(page) != 1 || !more || err != nil {
			t.Errorf("a page of %d messages, more: %v, %v", len(page), more, err)
		}
	})
}

// TestReasoningKeptOrLive holds what is stored of a model's reasoning.
func TestReasoningKeptOrLive(t *testing.T) {
	for _, live := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{ReasoningLive: live, Provider: assistanttest.Model(
				func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
					yield(assistant.Delta{Reasoning: "because "})
					yield(assistant.Delta{Reasoning: "of"})
					yield(assistant.Delta{Text: "so"})
					time.Sleep(time.Second) // it is stored as far as it is
					yield(assistanttest.Finished)
					return nil
				})})
			want := assistant.Parts{assistant.ReasoningPart{Text: "because of"}, assistant.TextPart{Text: "so"}}
			if live {
				want = assistant.Parts{assistant.TextPart{Text: "so"}}
			}
			w.ask("why?")
			for range 2 { // while it streams, and after
				time.Sleep(500 * time.Millisecond)
				messages, _, err := w.store.Messages(t.Context(), "ann", w.id, "", 10)
				if err != nil || len(messages) != 2 || fmt.Sprint(messages[1].AllParts()) != fmt.Sprint(want) || messages[1].Model != "model" || messages[1].Provider != "test" {
					t.Errorf("stored is %+v, %v", messages, err)
				}
				time.Sleep(time.Second)
			}
		})
	}
}

// TestRenameMeetsOpening holds that a conversation which is opened while its new title is being stored shows that title.
func TestRenameMeetsOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		w := newWorld(t, slowRename{memory.Open(memory.Config{}), gate}, conversation.Config{Provider: assistanttest.Echoes})
		w.c.Close()
		time.Sleep(time.Hour) // it is no longer in use
		renamed := make(chan error, 1)
		go func() {
			_, err := w.hub.Rename(t.Context(), "ann", w.id, assistant.Rename{Title: "new"})
			renamed <- err
		}()
		synctest.Wait()
		w.c = w.open()
		m := newMouth(t)
		m.follow(w.c)
		close(gate)
		if err := <-renamed; err != nil {
			t.Fatal(err)
		}
		m.read(10)
		if title := m.follower.Restart(nil).Snapshot.Conversation.Title; title != "new" || len(m.events) != 1 || m.events[0].Kind != assistant.KindRenamed {
			t.Errorf("the title is %q after %+v", title, m.events)
		}
	})
}

// slowRename renames when it may.
type slowRename struct {
	assistant.Store
	gate chan struct{}
}

func (s slowRename) Rename(ctx context.Context, owner, id, title string, was *string) (assistant.Conversation, error) {
	<-s.gate
	return s.Store.Rename(ctx, owner, id, title, was)
}

// TestMaxAnswer holds that an answer ends at its bound, to the character, whatever its pieces are, and that the model's
// request ends with it.
func TestMaxAnswer(t *testing.T) {
	for _, test := range []struct {
		name   string
		deltas []assistant.Delta
		text   string
		ended  assistant.FinishReason
	}{
		{"shorter", []assistant.Delta{{Text: "123456789"}, {FinishReason: assistant.FinishStop}}, "123456789", assistant.FinishStop},
		{"just so long", []assistant.Delta{{Text: "123456"}, {Text: "7890"}, {FinishReason: assistant.FinishStop}}, "1234567890", assistant.FinishStop},
		{"longer", []assistant.Delta{{Text: "123456"}, {Text: "78901"}, {Text: "never shown"}}, "1234567890", assistant.FinishLength},
		{"longer, with an end", []assistant.Delta{{Text: "12345678901", FinishReason: assistant.FinishStop}}, "1234567890", assistant.FinishLength},
		{"characters of several bytes", []assistant.Delta{{Text: strings.Repeat("😀", 11)}}, strings.Repeat("😀", 10), assistant.FinishLength},
		{"reasoning counts", []assistant.Delta{{Reasoning: "1234567"}, {Text: "8901"}}, "890", assistant.FinishLength},
		{"reasoning alone", []assistant.Delta{{Reasoning: "12345678901", Text: "x"}}, "", assistant.FinishLength},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				provider := assistanttest.Model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
					for _, d := range test.deltas {
						asked++
						if !yield(d) {
							return nil
						}
					}
					return nil
				})
				w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{Provider: provider, MaxAnswer: 10})
				run := w.ask("x")
				page, _, err := w.hub.Messages(t.Context(), "ann", w.id, "", 10)
				if err != nil {
					t.Fatal(err)
				}
				if a := page[len(page)-1]; a.ID != run || a.Content != test.text || a.FinishReason != test.ended {
					t.Errorf("stored %q, %s", a.Content, a.FinishReason)
				}
				if last := test.deltas[len(test.deltas)-1].Text; last == "never shown" && asked == len(test.deltas) {
					t.Error("the model was asked for more")
				}
			})
		})
	}
}

// TestMemoryOfLongAnswer holds that the text of an answer is in memory once while it streams, with what the memory store
// keeps of it twice, besides the events that the log has for those who follow.
func TestMemoryOfLongAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pieces, size = 1000, 4000
		held := make(chan struct{})
		provider := assistanttest.Model(func(_ context.Context, _ assistant.Request, yield func(assistant.Delta) bool) error {
			for i := range pieces {
				yield(assistant.Delta{Text: fmt.Sprintf("%-*d", size, i)})
			}
			<-held
			yield(assistant.Delta{FinishReason: assistant.FinishStop})
			return nil
		})
		w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{Provider: provider, MaxAnswer: pieces * size})
		before := heap()
		if _, err := w.c.Do(t.Context(), assistant.Ask{Text: "x"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		streaming := heap() - before
		if limit := pieces*size*2 + pieces*size/4; streaming > limit {
			t.Errorf("an answer of %d bytes holds %d while it streams, want at most %d", pieces*size, streaming, limit)
		}
		close(held)
		time.Sleep(2 * time.Hour)
		if ended := heap() - before; ended > pieces*size*2+pieces*size/4 {
			t.Errorf("after its end it holds %d", ended)
		}
		runtime.KeepAlive(w)
	})
}

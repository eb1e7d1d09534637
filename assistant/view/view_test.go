package view_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/view"
)

// script makes events as a conversation has them, at random.
type script struct {
	random  *rand.Rand
	n       int
	running string
	asked   []string // ids of questions that are there
}

func (s *script) id(prefix string) string {
	s.n++
	return fmt.Sprintf("%s%d", prefix, s.n)
}

// next are the events of one step.
func (s *script) next() []assistant.Event {
	at := time.Date(2026, 1, 1, 0, 0, s.n, 0, time.UTC)
	switch r := s.random.IntN(20); {
	case s.running == "" && r < 10:
		return s.start(at)
	case s.running != "" && r < 12:
		kind := assistant.KindPiece
		if s.random.IntN(4) == 0 {
			kind = assistant.KindReasoning
		}
		return []assistant.Event{{Kind: kind, Run: s.running, Text: s.id("text€ ")}}
	case s.running != "" && r == 12:
		return []assistant.Event{{Kind: assistant.KindFellBack, Run: s.running, Body: assistant.Source{Provider: "other", Model: s.id("model")}}}
	case s.running != "" && r < 16:
		return s.end(at)
	case r == 16:
		return []assistant.Event{{Kind: assistant.KindRenamed, Body: assistant.Renamed{Conversation: assistant.Conversation{ID: "c", Title: s.id("title")}}}}
	}
	return []assistant.Event{{Kind: assistant.KindNotice, Run: s.running, Body: assistant.Notice{Reason: assistant.NoticeContextTrimmed}}}
}

func (s *script) start(at time.Time) (events []assistant.Event) {
	if len(s.asked) > 0 && s.random.IntN(3) == 0 {
		i := s.random.IntN(len(s.asked))
		events = append(events, assistant.Event{Kind: assistant.KindReplaced, Body: assistant.Replaced{From: s.asked[i]}})
		s.asked = s.asked[:i]
	}
	question := s.id("q")
	s.asked, s.running = append(s.asked, question), s.id("a")
	return append(events,
		assistant.Event{Kind: assistant.KindAsked, Run: s.running, Body: assistant.Asked{Message: assistant.Message{ID: question, Role: assistant.RoleUser, Content: question, Status: assistant.StatusComplete, ClientID: s.id("client")}}},
		assistant.Event{Kind: assistant.KindStarted, Run: s.running, Body: assistant.Started{Source: assistant.Source{Provider: "p", Model: "m"}, At: at, ReasoningLive: s.random.IntN(2) == 0}})
}

func (s *script) end(at time.Time) (events []assistant.Event) {
	finish := assistant.FinishStop
	if s.random.IntN(3) == 0 {
		finish = assistant.FinishError
		events = append(events, assistant.Event{Kind: assistant.KindFailed, Run: s.running, Body: assistant.Failed{Reason: assistant.ReasonProviderTimeout}})
	}
	events = append(events, assistant.Event{Kind: assistant.KindCompleted, Run: s.running, Body: assistant.Completed{FinishReason: finish, Usage: &assistant.Usage{InputTokens: s.n}, At: at}})
	s.running = ""
	return events
}

// TestMirror: a view that gets the events of another one in batches, of whatever size, some of them twice, is the same
// after each of them, and has the same log. One that begins later, of the state at that time, is the same, too.
func TestMirror(t *testing.T) {
	for seed := range uint64(100) {
		s := &script{random: rand.New(rand.NewPCG(seed, 1))}
		state := assistant.State{Conversation: assistant.Conversation{ID: "c"}, Cursor: assistant.Cursor{Epoch: "e", Seq: seed % 3}}
		holder, mirror := view.New(state), view.New(state)
		views := []*view.View{mirror}
		for range 60 {
			for _, e := range s.next() {
				holder.Apply(e)
			}
			if s.random.IntN(3) == 0 {
				continue
			}
			for i, v := range views {
				mirrored(t, v, holder, s.random)
				same(t, fmt.Sprintf("seed %d, view %d", seed, i), v, holder)
			}
			if s.random.IntN(20) == 0 && holder.Running == nil {
				views = append(views, view.New(assistant.State{Conversation: holder.Info, Cursor: holder.Cursor(), Messages: append([]assistant.Message(nil), holder.Messages...)}))
			}
		}
	}
}

// mirrored brings v to where the holder is.
func mirrored(t *testing.T, v, holder *view.View, random *rand.Rand) {
	t.Helper()
	for v.Log.Last() < holder.Log.Last() {
		after := v.Log.Last() - min(v.Log.Last()-v.Log.First(), random.Uint64N(3))
		var events []assistant.Event
		size := 1 + random.IntN(5)
		if err := holder.Log.Each(after, func(seq uint64, e assistant.Event) bool {
			e.Seq = seq
			events = append(events, e)
			return len(events) < size
		}); err != nil {
			t.Fatal(err)
		}
		b, err := assistant.NewBatch(holder.Epoch, events)
		if err != nil {
			t.Fatal(err)
		}
		if events, err = b.Events(); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Seq == v.Log.Last()+1 {
				e.Seq = 0
				v.Apply(e)
			}
		}
	}
}

func same(t *testing.T, name string, got, want *view.View) {
	t.Helper()
	for _, pair := range [][2]any{{got.Snapshot(), want.Snapshot()}, {got.Messages, want.Messages}, {tail(t, got, got.Log.First()), tail(t, want, got.Log.First())}} {
		a, _ := json.Marshal(pair[0])
		b, _ := json.Marshal(pair[1])
		if string(a) != string(b) {
			t.Fatalf("%s:\n%s\nis not\n%s", name, a, b)
		}
	}
}

func tail(t *testing.T, v *view.View, after uint64) (events []assistant.Event) {
	t.Helper()
	if err := v.Log.Each(after, func(_ uint64, e assistant.Event) bool {
		events = append(events, e)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return events
}

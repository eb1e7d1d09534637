package session_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"
)

// FuzzSubscribe lets a client come back to a conversation with any payload, in the middle of its second
// answer: early pieces before, late ones after. With current, the payload is {epoch, after} of the
// conversation as it is. With aged, the first answer has left the log.
//
// The client is answered by an error and follows nothing; or it gets exactly the events after the one that
// it has seen; or a snapshot that says what a socket was told that has been there all the time. Then it
// sees the same as that one, and stays open.
func FuzzSubscribe(f *testing.F) {
	for _, payload := range []string{
		"null", `{"epoch":"","after":0}`, `{"epoch":"x","after":18446744073709551615}`, `{"after":1}`, `{"epoch":"x"}`, `[]`, `"`, `{"epoch":"x","after":-1}`,
		`{"epoch":"x","after":1e3}`, `{"epoch":"x","after":1.5}`, `{"epoch":null,"after":null}`, `{"epoch":"x","after":1,"after":2}`, `{"epoch":"x","after":18446744073709551616}`,
		`null},{"action":"ping"`, `null,"topic":"conversation:x"`,
	} {
		f.Add(payload, uint64(0), false, false, uint8(3), uint8(2))
	}
	for _, after := range []uint64{0, 1, 4, 7, 8, 9, 11, 12, 13, 1 << 63, 1<<64 - 1} {
		f.Add("", after, true, false, uint8(3), uint8(2))
		f.Add("", after, true, true, uint8(3), uint8(90))
	}
	f.Fuzz(func(t *testing.T, payload string, after uint64, current, aged bool, early, late uint8) {
		synctest.Test(t, func(t *testing.T) {
			c := comeback{T: t, early: int(early % 100), late: int(late % 100), gate: make(chan struct{})}
			c.run(payload, after, current, aged)
		})
	})
}

type comeback struct {
	*testing.T
	early, late int
	gate        chan struct{} // closed when the late pieces may come
}

func (c comeback) run(payload string, after uint64, current, aged bool) {
	s := newServer(c, model(c.answer))
	always, topic := s.dialStored()
	defer leave(always)
	for _, question := range []string{"first", "second"} {
		always.in <- fmt.Sprintf(`{"action":"send_message","topic":%q,"payload":{"content":%q}}`, topic, question)
		synctest.Wait()
		if aged && question == "first" {
			time.Sleep(time.Hour)
		}
	}
	told := c.received(always)

	p := s.serve(newPipe(), assistant.Peer{User: "ann"})
	defer leave(p)
	if current {
		p.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q}`, topic)
		synctest.Wait()
		payload = fmt.Sprintf(`{"epoch":%q,"after":%d}`, c.subscribed(c.received(p)[0]).Epoch, after)
	}
	p.in <- fmt.Sprintf(`{"action":"subscribe","topic":%q,"payload":%s}`, topic, payload)
	synctest.Wait()
	close(c.gate)
	synctest.Wait()
	all := slices.Concat(told, c.received(always))
	if whole := c.whole(); !slices.Equal(c.texts(all), []string{whole, whole}) {
		c.Fatalf("a socket that has been there was told %q", c.texts(all))
	}
	if p.closes != nil {
		c.Fatalf("%s closes the socket: %v", payload, p.closes)
	}
	c.compare(payload, c.received(p), told, all, current, aged)
}

// compare holds what the client that came back was told against what the other socket was: told by the
// time it came, and all.
func (c comeback) compare(payload string, got, told, all []received, current, aged bool) {
	if len(got) == 0 {
		c.Fatalf("%s gets no answer", payload)
	}
	first, rest := got[0], got[1:]
	if first.Action == "error" {
		if current || len(rest) > 0 {
			c.Fatalf("%s is answered %s, and then %d frames come", payload, first.Payload, len(rest))
		}
		return
	}
	subscribed, last := c.subscribed(first), told[len(told)-1].Seq
	if subscribed.Seq != last || subscribed.Streaming == nil {
		c.Fatalf("%s is answered %s at %d", payload, first.Payload, last)
	}
	var seen []received // by the client, before what comes now
	var after uint64
	if subscribed.Recovered {
		var from session.SubscribePayload
		if err := json.Unmarshal([]byte(payload), &from); err != nil || from.Epoch != subscribed.Epoch || from.After > last {
			c.Fatalf("%s is recovered at %d in %s", payload, last, subscribed.Epoch)
		}
		after = from.After
		seen = all[:seqsUpTo(all, after)]
		if aged && len(c.texts(seen)) == 0 {
			c.Fatalf("%s is recovered from what has left the log", payload)
		}
	} else {
		if len(rest) == 0 || rest[0].Action != "snapshot" || rest[0].Seq != last {
			c.Fatalf("%s: no snapshot of %d follows", payload, last)
		}
		after, seen, rest = last, rest[:1], rest[1:]
		if got := c.texts(seen); !slices.Equal(got, c.texts(told)) {
			c.Fatalf("%s: the snapshot says %q, the other socket was told %q", payload, got, c.texts(told))
		}
	}
	for _, f := range rest {
		if f.Seq <= after || f.Action != "streaming" && f.Seq != after+1 {
			c.Fatalf("%s: %s has seq %d after %d", payload, f.Action, f.Seq, after)
		}
		after = f.Seq
	}
	if got := c.texts(slices.Concat(seen, rest)); after != all[len(all)-1].Seq || !slices.Equal(got, c.texts(all)) {
		c.Fatalf("%s: ends at %d with %q, the other socket at %d with %q", payload, after, got, all[len(all)-1].Seq, c.texts(all))
	}
}

// answer says the same to both questions; in the second one the late pieces and the end wait for the gate.
func (c comeback) answer(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
	for i := range c.early + c.late + 1 {
		if i == c.early && question(req) == "second" {
			select {
			case <-c.gate:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if i < c.early+c.late && !yield(assistant.Delta{Text: fmt.Sprintf("<%d>", i)}) {
			return nil
		}
	}
	yield(finished)
	return nil
}

func (c comeback) whole() string {
	var b strings.Builder
	for i := range c.early + c.late {
		fmt.Fprintf(&b, "<%d>", i)
	}
	return b.String()
}

// received are the frames since the last call.
func (c comeback) received(p *pipe) (frames []received) {
	for _, f := range p.frames(c) {
		r := received{}
		if err := json.Unmarshal([]byte(f.text), &r); err != nil {
			c.Fatal(err)
		}
		frames = append(frames, r)
	}
	return frames
}

func (c comeback) subscribed(f received) (p session.SubscribedPayload) {
	if err := json.Unmarshal(f.Payload, &p); err != nil || f.Action != "subscribed" {
		c.Fatalf("%s %s is no subscribed", f.Action, f.Payload)
	}
	return p
}

// texts are the answers that the frames tell of.
func (c comeback) texts(frames []received) []string {
	v := viewer{t: c.T, starts: map[string]int{}, ends: map[string]int{}}
	for _, f := range frames {
		v.seq = f.Seq - 1 // gaps are looked for elsewhere
		v.take(f)
	}
	return v.answers
}

// seqsUpTo counts the frames up to a seq.
func seqsUpTo(frames []received, seq uint64) (n int) {
	for n < len(frames) && frames[n].Seq <= seq {
		n++
	}
	return n
}

func leave(p *pipe) { p.left <- errors.New("gone") }

// FuzzListCursor asks for a list of conversations with any cursor. It is refused; or what comes is the end
// of the user's own list, whole and in order, however many of them a page may have.
func FuzzListCursor(f *testing.F) {
	const many = 7
	f.Add("", uint8(0), uint8(1))
	for _, cursor := range []string{"x", "MSAx", "\x00", "====", strings.Repeat("A", 200), strings.Repeat("A", 201)} {
		f.Add(cursor, uint8(0), uint8(3))
	}
	for from := range uint8(many + 1) {
		f.Add("", from, uint8(2))
	}
	for _, micros := range []string{"0", "-1", "253402300799999999", "253402300800000000", "9223372036854775807", "-9223372036854775808", "-62135596800000001"} {
		cursor := micros + " 00000000-0000-4000-8000-000000000000"
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(cursor)), uint8(0), uint8(3))
	}
	f.Fuzz(func(t *testing.T, cursor string, from, limit uint8) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, echoes)
			p, other := s.serve(newPipe(), assistant.Peer{User: "ann"}), s.serve(newPipe(), assistant.Peer{User: "bob"})
			defer leave(p)
			defer leave(other)
			for i := range many {
				p.in <- `{"action":"create_conversation"}`
				other.in <- `{"action":"create_conversation","payload":{"title":"foreign"}}`
				time.Sleep(time.Duration(i%2) * time.Millisecond) // some at the same time
				synctest.Wait()
			}
			p.frames(t)
			own, _ := list(t, p, "", 100)
			if len(own) != many {
				t.Fatalf("%d conversations, want %d", len(own), many)
			}
			if n := int(from) % (many + 1); cursor == "" && n > 0 {
				_, cursor = list(t, p, "", n) // one of the server's own; "" after the last
			}
			var got []string
			for first := true; first || cursor != ""; first = false {
				page, next := list(t, p, cursor, int(limit)%100+1)
				if page == nil && first {
					return // refused
				}
				got, cursor = append(got, page...), next
			}
			if len(got) > many || !slices.Equal(got, own[many-len(got):]) {
				t.Fatalf("got %v, the whole list is %v", got, own)
			}
		})
	})
}

// list asks for a page; nil where that is refused.
func list(t *testing.T, p *pipe, cursor string, limit int) (ids []string, next string) {
	text, err := json.Marshal(cursor)
	if err != nil {
		t.Fatal(err)
	}
	p.in <- fmt.Sprintf(`{"action":"list_conversations","payload":{"cursor":%s,"limit":%d}}`, text, limit)
	synctest.Wait()
	frames := p.frames(t)
	if len(frames) != 1 {
		t.Fatalf("%d frames, want 1", len(frames))
	}
	if frames[0].Action == "error" {
		return nil, ""
	}
	var page struct {
		Payload session.ConversationsPayload
	}
	if err := json.Unmarshal([]byte(frames[0].text), &page); err != nil || frames[0].Action != "conversations" {
		t.Fatalf("%s: %v", frames[0].text, err)
	}
	ids = []string{}
	for _, item := range page.Payload.Items {
		if item.Title != "" {
			t.Fatalf("a foreign conversation is listed: %s", frames[0].text)
		}
		ids = append(ids, item.ID)
	}
	return ids, page.Payload.NextCursor
}

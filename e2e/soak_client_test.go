package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// chatter is one client of the soak that chats.
type chatter struct {
	*soaking
	*follower
	id, name, path string
	database       bool // its store is the one that is taken away
	random         *rand.Rand
	left           int       // frames until the next cut
	told           []message // what it was told, all of it: question, answer, question, …
}

// chat asks one question after the other in a conversation, over sockets that are cut at random, until ctx
// is done and the last question is answered. Then it holds the stored history against what it was told.
func (s *soaking) chat(ctx context.Context, i int) {
	ch := &chatter{soaking: s, name: fmt.Sprint("client", i), database: i%2 == 1, random: rand.New(rand.NewPCG(uint64(i), 1))}
	ch.path = harness.AssistantPath + "?user=" + ch.name
	if ch.database {
		ch.path = databasePath + "?user=" + ch.name
	}
	defer func() {
		if ch.follower != nil && ch.Raw != nil {
			ch.Reset()
		}
	}()
	if err := ch.begin(); err != nil {
		s.report("%s: %v", ch.name, err)
		return
	}
	for n := 0; ctx.Err() == nil; n++ {
		if err := ch.ask(fmt.Sprintf("%s asks %d", ch.name, n)); err != nil {
			s.report("%s, question %d: %v", ch.name, n, err)
			return
		}
	}
	if err := ch.history(); err != nil {
		s.report("%s: %v", ch.name, err)
	}
	s.whole.Add(int64(ch.resumes.whole))
	s.anew.Add(int64(ch.resumes.anew))
}

func (ch *chatter) begin() error {
	return ch.insist(func() error {
		r, err := ch.dial()
		if err != nil {
			return err
		}
		defer r.Reset()
		ch.id, err = newConversation(r)
		ch.follower = newFollower(ch.id, nil)
		return err
	})
}

func (ch *chatter) dial() (*harness.Raw, error) {
	return harness.DialRaw(ch.c, ch.path)
}

// insist tries again what the network or the store has kept from happening. A breach of the protocol is final.
func (ch *chatter) insist(try func() error) error {
	for deadline := time.Now().Add(harness.Patience); ; {
		err := try()
		final := errors.As(err, new(breach)) || time.Now().After(deadline)
		if err == nil || final {
			return err
		}
		time.Sleep(100 * time.Millisecond) // as a client waits before it tries again
	}
}

// ask asks until the question is answered, and keeps what it was told.
func (ch *chatter) ask(question string) error {
	err := ch.insist(func() error {
		if ch.Raw == nil {
			r, err := ch.dial()
			if err != nil {
				return err
			}
			ch.Raw, ch.left = r, 1+ch.random.IntN(150)
			if err := ch.subscribe(); err != nil {
				return ch.cut(err)
			}
		}
		if err := ch.untilTold(question); err != nil {
			return ch.cut(err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return ch.check(question)
}

// errCut is a cut of the client's own making.
var errCut = errors.New("cut")

// errRefused is a question that was not accepted.
var errRefused = errors.New("refused")

// untilTold asks the question, unless the conversation has it already, and reads its answer.
func (ch *chatter) untilTold(question string) error {
	if !ch.has(question) {
		if err := ch.send(question, question); err != nil { // its own client id: asking again is harmless
			return err
		}
	}
	for !ch.has(question) || !ch.answered() {
		if err := ch.SetDeadline(time.Now().Add(harness.Patience)); err != nil {
			return err
		}
		m, err := ch.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return breach("silence in the middle of an answer")
		case err != nil:
			return err
		case m.Action == "error" && m.Seq == 0:
			return ch.refusedAs(m)
		}
		if ch.left--; ch.left == 0 {
			return errCut
		}
	}
	return nil
}

// refusedAs is a refusal that must not be, or errRefused.
func (ch *chatter) refusedAs(m harness.Message) error {
	if !ch.database || !strings.Contains(string(m.Payload), "storage_unavailable") {
		return breach(fmt.Sprintf("refused: %s", m.Payload))
	}
	ch.refused.Add(1)
	return errRefused
}

func (ch *chatter) has(question string) bool {
	for i := len(ch.messages) - 1; i >= 0 && i >= len(ch.messages)-2; i-- {
		if m := ch.messages[i]; m.Role == "user" && m.Content == question {
			return true
		}
	}
	return false
}

// cut ends the socket because of err, in one of the ways that sockets end. A breach stays one.
func (ch *chatter) cut(err error) error {
	if errors.Is(err, errRefused) {
		return err
	}
	ch.cuts.Add(1)
	switch r := ch.Raw; ch.random.IntN(3) {
	case 0:
		r.Reset()
	case 1:
		_ = r.Close()
	default:
		_ = r.Frame(harness.Fin|harness.OpClose, []byte{0x03, 0xe8}) // 1000
		_ = r.Close()
	}
	ch.Raw = nil
	return err
}

// check holds the answer against what the model tells.
func (ch *chatter) check(question string) error {
	answer, whole := *ch.last(), strings.Join(storyOf(question), "")
	switch {
	case answer.FinishReason == "stop" && answer.Content == whole:
	case ch.database && answer.FinishReason == "error" && answer.Content == whole: // its end could not be stored
		ch.failed.Add(1)
	default:
		return fmt.Errorf("told %d bytes, %q, of %d; they end with %.80q", len(answer.Content), answer.FinishReason, len(whole), answer.Content[max(0, len(answer.Content)-80):])
	}
	ch.answers.Add(1)
	ch.told = append(ch.told, message{Role: "user", Content: question}, answer)
	return nil
}

// history reads the whole conversation from the store, and compares it with what was told. An end that could
// not be stored is stored later.
func (ch *chatter) history() error {
	return ch.insist(func() error {
		if ch.Raw == nil {
			var err error
			if ch.Raw, err = ch.dial(); err != nil {
				return err
			}
		}
		if err := ch.SetDeadline(time.Now().Add(harness.Patience)); err != nil {
			return err
		}
		var all []message
		for more := true; more; {
			page, older, err := ch.page(all)
			if err != nil {
				return err
			}
			all, more = append(page, all...), older
		}
		if len(all) != len(ch.told) {
			return fmt.Errorf("%d messages are stored, %d were told", len(all), len(ch.told))
		}
		for i, m := range all {
			want := ch.told[i]
			if m.Role != want.Role || m.Content != want.Content || m.FinishReason != want.FinishReason {
				return fmt.Errorf("message %d is stored as %s %q (%s), was told as %s %q (%s)", i, m.Role, m.Content, m.FinishReason, want.Role, want.Content, want.FinishReason)
			}
		}
		return nil
	})
}

func (ch *chatter) page(after []message) (page []message, more bool, err error) {
	before := ""
	if len(after) > 0 {
		before = fmt.Sprintf(`,"before":%q`, after[0].ID)
	}
	if err := ch.Say(fmt.Sprintf(`{"action":"list_messages","payload":{"conversation_id":%q,"limit":100%s}}`, ch.id, before)); err != nil {
		return nil, false, err
	}
	for {
		m, err := ch.Receive()
		switch {
		case err != nil:
			return nil, false, ch.cut(err)
		case m.Action == "error":
			return nil, false, refused(m)
		case m.Action == "messages":
			var p struct {
				Items   []message
				HasMore bool `json:"has_more"`
			}
			err := json.Unmarshal(m.Payload, &p)
			return p.Items, p.HasMore, err
		}
	}
}

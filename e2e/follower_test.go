package e2e

import (
	"encoding/json"
	"fmt"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// follower follows one stored conversation, over one socket after another, as the protocol tells clients to.
// Whatever breaks a promise of the protocol is an error: a seq that is missing or comes twice, an event out
// of its place. Errors of the network are returned too; then [follower.rejoin] goes on with another socket.
type follower struct {
	*harness.Raw
	topic string

	epoch    string
	seq      uint64
	messages []message // as the client knows them
	running  bool
	failure  string // the reason of the error before an answer's end
	refs     int
	resumes  struct{ whole, anew int }
}

func newFollower(id string, r *harness.Raw) *follower {
	return &follower{Raw: r, topic: "conversation:" + id}
}

// breach is a promise that was broken.
type breach string

func (b breach) Error() string { return string(b) }

// newConversation creates a stored conversation.
func newConversation(r *harness.Raw) (id string, err error) {
	if err := r.Say(`{"action":"create_conversation"}`); err != nil {
		return "", err
	}
	m, err := r.Receive()
	var created struct {
		ID string `json:"conversation_id"`
	}
	if err == nil {
		err = json.Unmarshal(m.Payload, &created)
	}
	if err == nil && created.ID == "" {
		err = refused(m)
	}
	return created.ID, err
}

func refused(m harness.Message) error { return fmt.Errorf("%s %s", m.Action, m.Payload) }

// request sends an action about the conversation, and returns the first answer to it; what comes before
// that is taken.
func (f *follower) request(action, payload string) (harness.Message, error) {
	f.refs++
	ref := fmt.Sprint(action, f.refs)
	if err := f.Say(fmt.Sprintf(`{"action":%q,"topic":%q,"ref":%q,"payload":%s}`, action, f.topic, ref, payload)); err != nil {
		return harness.Message{}, err
	}
	for {
		m, err := f.Receive()
		if err != nil || m.Ref == ref {
			return m, err
		}
		if err := f.take(m); err != nil {
			return m, err
		}
	}
}

// subscribe goes on from where the follower is.
func (f *follower) subscribe() error {
	payload := "null"
	if f.epoch != "" {
		payload = fmt.Sprintf(`{"epoch":%q,"after":%d}`, f.epoch, f.seq)
	}
	m, err := f.request("subscribe", payload)
	if err != nil {
		return err
	}
	if m.Action != "subscribed" {
		return refused(m)
	}
	var subscribed struct {
		Epoch     string
		Recovered bool
	}
	if err := json.Unmarshal(m.Payload, &subscribed); err != nil {
		return err
	}
	if subscribed.Recovered {
		f.resumes.whole++
		if subscribed.Epoch != f.epoch {
			return breach("recovered in another epoch")
		}
		return nil
	}
	f.resumes.anew++
	f.epoch = subscribed.Epoch
	if m, err = f.Receive(); err != nil {
		return err
	}
	if m.Action != "snapshot" {
		return breach("no snapshot but " + m.Action)
	}
	return f.take(m)
}

func (f *follower) unsubscribe() error {
	m, err := f.request("unsubscribe", "null")
	if err == nil && m.Action != "unsubscribed" {
		err = refused(m)
	}
	return err
}

// send asks a question; to ask it again with the same client id is harmless.
func (f *follower) send(content, clientID string) error {
	f.refs++
	return f.Say(fmt.Sprintf(`{"action":"send_message","topic":%q,"ref":"q%d","payload":{"content":%q,"client_id":%q}}`, f.topic, f.refs, content, clientID))
}

// next receives a frame and takes it.
func (f *follower) next() (harness.Message, error) {
	m, err := f.Receive()
	if err == nil {
		err = f.take(m)
	}
	return m, err
}

// take is what the client learns from a frame.
func (f *follower) take(m harness.Message) error {
	if m.Topic != f.topic || m.Seq == 0 {
		return nil // a direct answer
	}
	if m.Action == "snapshot" {
		return f.restore(m)
	}
	if merges := m.Action == "streaming" || m.Action == "reasoning"; m.Seq <= f.seq || !merges && m.Seq != f.seq+1 {
		return breach(fmt.Sprintf("%s has seq %d after %d", m.Action, m.Seq, f.seq))
	}
	f.seq = m.Seq
	var p struct {
		message
		Reason string
	}
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		return err
	}
	if f.running == (m.Action == "streaming_start" || m.Action == "user_message") {
		if m.Action != "conversation_updated" && m.Action != "notice" {
			return breach("out of place: " + m.Action)
		}
	}
	switch m.Action {
	case "user_message":
		f.messages = append(f.messages, message{ID: p.ID, Role: "user", Content: p.Content, Status: "complete"})
	case "streaming_start":
		f.running, f.failure = true, ""
		f.messages = append(f.messages, message{ID: p.ID, Role: "assistant"})
	case "streaming":
		f.last().Content += p.Content
	case "error":
		f.failure = p.Reason
	case "complete_streaming":
		if f.last().ID != p.ID {
			return breach("the end of another answer")
		}
		f.running, f.last().FinishReason = false, p.FinishReason
	}
	return nil
}

func (f *follower) last() *message { return &f.messages[len(f.messages)-1] }

func (f *follower) restore(m harness.Message) error {
	var snapshot struct {
		Messages  []message
		Streaming *message
	}
	if err := json.Unmarshal(m.Payload, &snapshot); err != nil {
		return err
	}
	f.seq, f.messages, f.running = m.Seq, snapshot.Messages, snapshot.Streaming != nil
	if f.running {
		snapshot.Streaming.Role = "assistant"
		f.messages = append(f.messages, *snapshot.Streaming)
	}
	return nil
}

// answered tells whether the last message is an answer that has ended.
func (f *follower) answered() bool {
	return !f.running && len(f.messages) > 0 && f.last().Role == "assistant"
}

// untilAnswered takes frames until the last question is answered.
func (f *follower) untilAnswered() error {
	for !f.answered() {
		if _, err := f.next(); err != nil {
			return err
		}
	}
	return nil
}

package session

import (
	"slices"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// maxSubscriptions is how many stored conversations a session may follow at once.
const maxSubscriptions = 64

const topicPrefix = "conversation:"

func topicOf(id string) string { return topicPrefix + id }

// subscription is a conversation that a session follows.
type subscription struct {
	conversation *conversation.Conversation
	topic        string // "" for the connection's own conversation
	follower     *conversation.Follower

	// under the session's order
	ready     []assistant.Event // read, and still to be written
	catchUpTo uint64            // up to here it is catching up: pieces are merged
	streaming bool              // an answer is under way
	ended     bool

	// the request of the last event, by its answer: one look-up serves many pieces
	run        string
	generation int
	envelope   wire.Envelope
	mine       bool
}

func (s *Session) listener() conversation.Listener {
	l := conversation.Listener{Mouth: s.mouth, Wake: s.wake, TooSlow: func() { s.cancel(conversation.ErrTooSlow) }}
	if s.trier != nil {
		l.Work = s.work
	}
	return l
}

// subscribe follows a stored conversation from where its client left off, or anew. What the client is
// told first comes before the events, also where the session has followed the conversation already.
func (s *Session) subscribe(e wire.Envelope, id string, from *SubscribePayload) error {
	topic := topicOf(id)
	var after *assistant.Cursor
	if from != nil {
		after = &assistant.Cursor{Epoch: from.Epoch, Seq: from.After}
	}
	if sub := s.followed(topic); sub != nil && after != nil {
		sub.conversation.Recall(*after)
	}
	if s.resubscribe(e, topic, after) {
		return nil
	}
	if len(s.subscriptions()) >= maxSubscriptions {
		return assistant.Refuse(assistant.ReasonBusy)
	}
	c, err := s.hub.Open(s.peer.User, id)
	if err != nil {
		return err
	}
	if after != nil {
		c.Recall(*after)
	}
	sub := &subscription{conversation: c, topic: topic}
	s.order.Lock()
	defer s.order.Unlock()
	var p conversation.Position
	sub.follower, p = c.Follow(after, s.listener())
	if p.Deleted {
		sub.follower.Close()
		c.Close()
		return assistant.Refuse(assistant.ReasonUnknownTopic)
	}
	s.beginLocked(sub, p, e)
	s.mu.Lock()
	s.addLocked(sub)
	s.mu.Unlock()
	s.wake()
	return nil
}

// resubscribe lets a subscription that is there begin anew; false where there is none.
func (s *Session) resubscribe(e wire.Envelope, topic string, after *assistant.Cursor) bool {
	s.order.Lock()
	defer s.order.Unlock()
	sub := s.followed(topic)
	if sub != nil {
		s.beginLocked(sub, sub.follower.Restart(after), e)
	}
	return sub != nil
}

// beginLocked lets a subscription begin at p, and says so to the client. order is held.
func (s *Session) beginLocked(sub *subscription, p conversation.Position, e wire.Envelope) {
	for _, f := range s.beginsAt(sub, p) {
		f.Ref = e.Ref
		s.push(f)
	}
}

// beginsAt makes p the place where a subscription begins, and returns the frames that say so. Events for this session
// alone stay. A snapshot ends the requests whose last frames it skips. order is held.
func (s *Session) beginsAt(sub *subscription, p conversation.Position) []wire.Frame {
	sub.ready = slices.DeleteFunc(sub.ready, func(e assistant.Event) bool { return e.Seq != 0 })
	sub.catchUpTo, sub.streaming = p.Last, p.Running != ""
	subscribed := SubscribedPayload{Epoch: p.Epoch, Seq: p.Last, Recovered: p.Recovered, Files: s.settings().FilesInfo(s.peer)}
	if p.Running != "" {
		subscribed.Streaming = &p.Running
	}
	frames := []wire.Frame{msgSubscribed.With(subscribed)}
	if p.Snapshot != nil {
		s.forgetLocked(sub.topic, s.keptLocked(sub, p))
		snapshot := msgSnapshot.With(snapshotPayload(*p.Snapshot))
		snapshot.Seq = p.Seq
		frames = append(frames, snapshot)
	}
	for i := range frames {
		frames[i].Topic = sub.topic
	}
	return frames
}

// unsubscribe ends a subscription, if there is one, and forgets what the session asked there.
func (s *Session) unsubscribe(topic string) {
	s.order.Lock()
	defer s.order.Unlock()
	s.unsubscribeLocked(topic)
}

func (s *Session) unsubscribeLocked(topic string) {
	s.mu.Lock()
	sub := s.followedLocked(topic)
	s.subs = slices.DeleteFunc(slices.Clone(s.subs), func(other *subscription) bool { return other == sub })
	s.mu.Unlock()
	if sub != nil {
		sub.ended = true
		sub.follower.Close()
		sub.conversation.Close()
	}
	s.forgetLocked(topic, nil)
}

// releaseAll ends all subscriptions: the session is over.
func (s *Session) releaseAll() {
	for _, sub := range s.subscriptions() {
		s.unsubscribe(sub.topic)
	}
	s.unfollowList()
}

// subscriptions are those that there are now.
func (s *Session) subscriptions() []*subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subs
}

// addLocked adds a subscription. mu is held.
func (s *Session) addLocked(sub *subscription) { s.subs = append(slices.Clip(s.subs), sub) }

// followed returns the subscription of that topic, nil when there is none.
func (s *Session) followed(topic string) *subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.followedLocked(topic)
}

func (s *Session) followedLocked(topic string) *subscription {
	for _, sub := range s.subs {
		if sub.topic == topic {
			return sub
		}
	}
	return nil
}

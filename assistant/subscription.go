package assistant

// maxSubscriptions is how many stored conversations a session may follow at once.
const maxSubscriptions = 64

// subscription is a conversation that a session follows.
type subscription struct {
	conversation *conversation
	topic        string // "" for the connection's own conversation
	unwatch      func()

	// the writer's
	cursor    uint64 // number of the last event written
	catchUpTo uint64 // up to here it is catching up: pieces are merged
	streaming bool   // an answer is under way
}

func topicOf(id string) string { return topicPrefix + id }

// topic is the one of its subscriptions.
func (c *conversation) topic() string {
	if !c.stored() {
		return ""
	}
	return topicOf(c.id)
}

const topicPrefix = "conversation:"

// subscribe follows a stored conversation from where its client left off, or anew. What the client is
// told first is put before the events, also where the session has followed the conversation already.
func (s *Session) subscribe(r *request, id string, from *SubscribePayload) error {
	topic := topicOf(id)
	s.mu.Lock()
	sub, count := s.subs[topic], len(s.subs)
	s.mu.Unlock()
	if sub == nil && count >= maxSubscriptions {
		return refusal{ReasonBusy}
	}
	var c *conversation
	if sub != nil {
		c = s.unsubscribe(topic) // its follower is taken over
	} else {
		var err error
		if c, err = s.assistant.hub.open(s.peer.User, id, s.settings().Context); err != nil {
			return storeFailed(err)
		}
	}
	cursor, subscribed, snapshot := c.resume(s, from)
	envelope := r.envelope
	envelope.Topic = topic
	if err := s.reply(envelope, msgSubscribed.With(subscribed)); err != nil {
		c.unfollow()
		return err
	}
	if snapshot != nil {
		f := msgSnapshot.With(*snapshot)
		f.Seq = cursor
		if err := s.reply(envelope, f); err != nil {
			c.unfollow()
			return err
		}
	}
	s.follow(&subscription{conversation: c, topic: topic, cursor: cursor, catchUpTo: subscribed.Seq, streaming: subscribed.Streaming != nil})
	return nil
}

// follow adds a subscription. Its events come after what is in the outbox.
func (s *Session) follow(sub *subscription) {
	sub.unwatch = sub.conversation.log.Watch(s.wake)
	s.mu.Lock()
	s.subs[sub.topic] = sub
	s.mu.Unlock()
	s.wake()
}

// unfollow ends a subscription, if there is one, and forgets what the session asked there.
func (s *Session) unfollow(topic string) {
	if c := s.unsubscribe(topic); c != nil {
		c.unfollow()
	}
	s.forget(topic)
}

// unsubscribe ends a subscription and returns its conversation, of which the caller is a follower now; nil
// when there is none.
func (s *Session) unsubscribe(topic string) *conversation {
	s.mu.Lock()
	sub := s.subs[topic]
	delete(s.subs, topic)
	s.mu.Unlock()
	if sub == nil {
		return nil
	}
	sub.unwatch()
	return sub.conversation
}

// releaseAll ends all subscriptions: the session is over.
func (s *Session) releaseAll() {
	for _, sub := range s.subscriptions(nil) {
		s.unfollow(sub.topic)
	}
}

// subscriptions appends the subscriptions to dst.
func (s *Session) subscriptions(dst []*subscription) []*subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		dst = append(dst, sub)
	}
	return dst
}

// subscribed tells whether sub is still there.
func (s *Session) subscribed(sub *subscription) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subs[sub.topic] == sub
}

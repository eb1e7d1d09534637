package session

import (
	"errors"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// listTopic is the topic of the list of the user's conversations.
const listTopic = "conversations"

// followList follows the user's list. Where it is followed already, only the answer comes again.
func (s *Session) followList(e wire.Envelope) error {
	s.order.Lock()
	defer s.order.Unlock()
	if s.list == nil {
		list, err := s.hub.FollowList(s.peer.User, s.wake)
		if errors.Is(err, conversation.ErrAnonymous) {
			return assistant.Refuse(assistant.ReasonUnauthorized)
		}
		s.list = list
	}
	s.reply(e, msgSubscribed.With(SubscribedPayload{Files: s.settings().FilesInfo(s.peer)}))
	return nil
}

// unfollowList ends what followList began, if it did.
func (s *Session) unfollowList() {
	s.order.Lock()
	defer s.order.Unlock()
	if s.list != nil {
		s.list.Close()
		s.list = nil
	}
}

// takeList adds what became of the user's list. A client that lags too far is told to list again, by another
// subscribed. order is held.
func (s *Session) takeList(b *batch) {
	if s.list == nil {
		return
	}
	if b.full() {
		stream.Wake(s.signal)
		return
	}
	changes, err := s.list.Read(batchEvents)
	if len(changes) == batchEvents {
		stream.Wake(s.signal)
	}
	for _, c := range changes {
		b.add(aboutList(changeFrame(c)))
	}
	if err != nil {
		b.add(aboutList(msgSubscribed.With(SubscribedPayload{})))
	}
}

func aboutList(f wire.Frame) wire.Frame {
	f.Topic = listTopic
	return f
}

func changeFrame(c assistant.Change) wire.Frame {
	switch c.Kind {
	case assistant.ChangeCreated:
		return msgConversationCreated.With(c.Conversation)
	case assistant.ChangeDeleted:
		return msgConversationDeleted.With(ConversationDeletedPayload{c.Conversation.ID})
	default:
		return msgConversationUpdated.With(c.Conversation)
	}
}

package session

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
)

// Socket is an open session, as operators see it.
type Socket struct {
	ID            uint64     `json:"socket_id"` // grows; differs from those of other processes
	User          string     `json:"user"`      // "" = anonymous
	RemoteAddr    string     `json:"remote_addr"`
	ClientIP      netip.Addr `json:"client_ip,omitzero"` // behind proxies, that of their client
	Since         time.Time  `json:"since"`
	Conversations []string   `json:"conversations"` // the stored ones that it follows
	Received      int        `json:"messages_in"`
	Sent          int        `json:"messages_out"`
}

// Sockets lists at most limit open sessions, the oldest first, that came after the one of that id. keep
// chooses by the user; nil keeps all.
func Sockets(hub *conversation.Hub, after uint64, limit int, keep func(user string) bool) []Socket {
	sessions := sessionsOf(hub, keep)
	sessions = slices.DeleteFunc(sessions, func(s *Session) bool { return s.id <= after })
	slices.SortFunc(sessions, func(a, b *Session) int { return cmp.Compare(a.id, b.id) })
	sockets := make([]Socket, min(limit, len(sessions)))
	for i := range sockets {
		sockets[i] = sessions[i].describe()
	}
	return sockets
}

// CloseSocket closes a session with 1008. It returns false when there is none.
func CloseSocket(hub *conversation.Hub, id uint64) bool {
	found := slices.DeleteFunc(sessionsOf(hub, nil), func(s *Session) bool { return s.id != id })
	return closeSessions(found) > 0
}

// CloseSockets closes all sessions of a user's with 1008 and returns how many there were. Answers of stored
// conversations go on as on_disconnect says.
func CloseSockets(hub *conversation.Hub, user string) int {
	return closeSessions(sessionsOf(hub, func(u string) bool { return u == user }))
}

func closeSessions(sessions []*Session) int {
	for _, s := range sessions {
		s.End(errDisconnected)
	}
	return len(sessions)
}

func sessionsOf(hub *conversation.Hub, keep func(user string) bool) []*Session {
	var sessions []*Session
	for _, m := range hub.Mouths() {
		if s, ok := m.(*Session); ok && (keep == nil || keep(s.peer.User)) {
			sessions = append(sessions, s)
		}
	}
	return sessions
}

func (s *Session) describe() Socket {
	d := Socket{ID: s.id, User: s.peer.User, RemoteAddr: s.peer.RemoteAddr, ClientIP: s.peer.ClientIP, Since: s.since.UTC(), Conversations: []string{},
		Received: s.received.load().Messages, Sent: s.sent.load().Messages}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subs {
		if id, ok := strings.CutPrefix(sub.topic, topicPrefix); ok {
			d.Conversations = append(d.Conversations, id)
		}
	}
	slices.Sort(d.Conversations)
	return d
}

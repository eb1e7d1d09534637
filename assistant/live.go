package assistant

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// errDisconnected is why a session ends that the operator closes. Its code tells clients not to come back
// by themselves.
var errDisconnected = disconnected{}

type disconnected struct{}

func (disconnected) Error() string  { return "closed by the operator" }
func (disconnected) CloseCode() int { return closePolicyViolation }

// Socket is an open session, as operators see it.
type Socket struct {
	ID            uint64    `json:"socket_id"` // counts the sockets of a process
	User          string    `json:"user"`      // "" = anonymous
	RemoteAddr    string    `json:"remote_addr"`
	Since         time.Time `json:"since"`
	Conversations []string  `json:"conversations"` // the stored ones that it follows
	Received      int       `json:"messages_in"`
	Sent          int       `json:"messages_out"`
}

// Answer is a running answer, as operators see it.
type Answer struct {
	ID           string    `json:"message_id"`
	Conversation string    `json:"conversation_id,omitempty"` // absent for a socket's own
	User         string    `json:"user"`                      // "" = anonymous
	Provider     string    `json:"provider"`
	Model        string    `json:"model"`
	Since        time.Time `json:"since"`
	Waiting      int       `json:"waiting"` // questions behind it
}

// Activity is what a Hub is doing.
type Activity struct {
	State   State `json:"state"`
	Sockets int   `json:"sockets"`
	Answers int   `json:"answers"`
}

// State tells whether a Hub takes sockets and questions.
type State string

// The states.
const (
	StateServing  State = "serving"
	StateDraining State = "draining" // nothing new; answers are running
	StateDrained  State = "drained"  // and sockets are closed
)

// Activity counts what is alive.
func (h *Hub) Activity() Activity {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := Activity{StateServing, len(h.sessions), len(h.answering)}
	switch {
	case h.draining != nil && h.draining.over:
		a.State = StateDrained
	case h.draining != nil:
		a.State = StateDraining
	}
	return a
}

// Sockets lists at most limit open sessions, the oldest first, that came after the one of that id. keep
// chooses by the user; nil keeps all.
func (h *Hub) Sockets(after uint64, limit int, keep func(user string) bool) []Socket {
	sessions := h.sessionsOf(keep)
	sessions = slices.DeleteFunc(sessions, func(s *Session) bool { return s.id <= after })
	slices.SortFunc(sessions, func(a, b *Session) int { return cmp.Compare(a.id, b.id) })
	sockets := make([]Socket, min(limit, len(sessions)))
	for i := range sockets {
		sockets[i] = sessions[i].describe()
	}
	return sockets
}

// CloseSocket closes a session with 1008. It returns false when there is none.
func (h *Hub) CloseSocket(id uint64) bool {
	found := slices.DeleteFunc(h.sessionsOf(nil), func(s *Session) bool { return s.id != id })
	return closeSessions(found) > 0
}

// CloseSockets closes all sessions of a user's with 1008 and returns how many there were. Answers of stored
// conversations go on as on_disconnect says.
func (h *Hub) CloseSockets(user string) int {
	return closeSessions(h.sessionsOf(func(u string) bool { return u == user }))
}

func closeSessions(sessions []*Session) int {
	for _, s := range sessions {
		s.cancel(errDisconnected)
	}
	return len(sessions)
}

func (h *Hub) sessionsOf(keep func(user string) bool) []*Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	var sessions []*Session
	for s := range h.sessions {
		if keep == nil || keep(s.peer.User) {
			sessions = append(sessions, s)
		}
	}
	return sessions
}

func (s *Session) describe() Socket {
	d := Socket{ID: s.id, User: s.peer.User, RemoteAddr: s.peer.RemoteAddr, Since: s.since.UTC(), Conversations: []string{},
		Received: s.received.load().Messages, Sent: s.sent.load().Messages}
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic := range s.subs {
		if id, ok := strings.CutPrefix(topic, topicPrefix); ok {
			d.Conversations = append(d.Conversations, id)
		}
	}
	slices.Sort(d.Conversations)
	return d
}

// Answers lists at most limit running answers, in the order of their ids, that come after that id. keep
// chooses by the user; nil keeps all.
func (h *Hub) Answers(after string, limit int, keep func(user string) bool) []Answer {
	h.mu.Lock()
	running := maps.Clone(h.answering)
	h.mu.Unlock()
	answers := []Answer{}
	for t, c := range running {
		if t.id > after && (keep == nil || keep(c.owner)) {
			answers = append(answers, c.describe(t))
		}
	}
	slices.SortFunc(answers, func(a, b Answer) int { return cmp.Compare(a.ID, b.ID) })
	return answers[:min(limit, len(answers))]
}

func (c *conversation) describe(t *turn) Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Answer{t.id, c.id, c.owner, t.source.Provider, t.source.Model, t.started, len(c.pending)}
}

// StopAnswer stops a running answer as its clients can. It returns false when there is none of that id.
func (h *Hub) StopAnswer(id string) (stopped bool) {
	h.mu.Lock()
	var c *conversation
	for t, of := range h.answering {
		if t.id == id {
			c = of
		}
	}
	h.mu.Unlock()
	if c != nil {
		c.stop(id, func(*turn) { stopped = true })
	}
	return stopped
}

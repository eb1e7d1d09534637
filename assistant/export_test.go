package assistant

import (
	"math"
	"time"
)

// Left is what a Hub has when nobody is there: nothing, unless it has lost count.
type Left struct {
	Conversations, Answers, Sessions int
	Connections, Uses, InFlight      int // of all accounts
}

// Left counts it.
func (h *Hub) Left() (l Left) {
	h.inUseMu.Lock()
	l.Conversations = len(h.inUse)
	h.inUseMu.Unlock()
	a := h.Activity()
	l.Answers, l.Sessions = a.Answers, a.Sockets
	h.accounts.mu.Lock()
	defer h.accounts.mu.Unlock()
	l.Connections = h.accounts.connections
	for _, a := range h.accounts.byPayer {
		l.Connections += a.connections
		l.Uses += a.uses
		l.InFlight += a.inFlight
	}
	return l
}

// Expected is how many answers the open sessions wait for.
func (h *Hub) Expected() (n int) {
	for _, s := range h.sessionsOf(nil) {
		s.mu.Lock()
		n += len(s.asked)
		s.mu.Unlock()
	}
	return n
}

// Asked is how many questions of a user's count, where hardly any have become free again.
func (h *Hub) Asked(user string) int {
	a := h.accounts.use(Peer{User: user}.payer())
	defer h.accounts.leave(a)
	if a.questions == nil {
		return 0
	}
	return int(math.Ceil(float64(a.questions.Burst()) - a.questions.TokensAt(time.Now())))
}

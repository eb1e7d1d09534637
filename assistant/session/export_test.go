package session

import "github.com/caddy-assistant/caddy-assistant/assistant/conversation"

// Expected is how many answers the open sessions of a hub wait for.
func Expected(hub *conversation.Hub) (n int) {
	for _, s := range sessionsOf(hub, nil) {
		s.order.Lock()
		n += len(s.asked)
		s.order.Unlock()
	}
	return n
}

package observe

import "github.com/caddy-assistant/caddy-assistant/assistant"

// The metrics of nodes that share a store.
var (
	brokerUp       = gauge("broker_up", "1 where the broker reaches other nodes; 0 = events and commands go through the store, some tenths of a second later.", "handler", "broker")
	leaseLeft      = gauge("lease_seconds_left", "Time until other nodes may take this one for dead, if it does not renew its lease. Below 0 it shows nothing while others live.", "handler")
	otherNodes     = gauge("other_nodes", "Other nodes that live and share the store.", "handler")
	nodesShare     = gauge("shared_conversations", "Conversations in use: held = this node writes to them, mirrored = another node does and this one shows them, lent = this node does and another shows them.", "handler", "place")
	claimsLost     = counter("lost_claims_total", "Writes that were refused since another node has taken the conversation over.", "handler")
	burialsOfNodes = counter("burials_total", "Times that other nodes have taken this one for dead: its answers were interrupted.", "handler")
)

// Clustered sets how the node stands.
func (o *observer) Clustered(s assistant.NodeState) {
	if s.Node == 0 {
		return
	}
	if s.Broker != "" {
		up := 0.0
		if s.Up {
			up = 1
		}
		brokerUp.WithLabelValues(o.handler, s.Broker).Set(up)
	}
	leaseLeft.WithLabelValues(o.handler).Set(s.Lease.Seconds())
	otherNodes.WithLabelValues(o.handler).Set(float64(s.Others))
	for place, n := range map[string]int{"held": s.Held, "mirrored": s.Mirrored, "lent": s.Lent} {
		nodesShare.WithLabelValues(o.handler, place).Set(float64(n))
	}
}

// Buried counts that the node was taken for dead.
func (o *observer) Buried() { burialsOfNodes.WithLabelValues(o.handler).Inc() }

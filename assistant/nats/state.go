package nats

import (
	"errors"
	"net"
	"time"

	natsio "github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// Dial implements natsio.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	dial := net.Dialer{Timeout: connectTimeout}
	return dial.DialContext(d.ctx, network, address)
}

// connected is called when a connection is there, and disconnected when it is lost, one after the other.
func (n *node) connected() {
	nc := n.conn.Load()
	_ = nc.FlushTimeout(openPatience) // then the server knows what we subscribe to
	n.limit.Store(min(maxData, nc.MaxPayload()/2))
	n.denied.Store(!nc.HeadersSupported())
	n.mu.Lock()
	n.said, n.down, n.again = "", time.Time{}, time.Time{}
	n.mu.Unlock()
	n.up.Store(true)
	if n.denied.Load() {
		n.trouble("NATS server is too old", natsio.ErrHeadersNotSupported)
		return
	}
	n.log.Info("connected to NATS", zap.String("server", nc.ConnectedAddr()))
	n.missed()
	n.links.resetAll()
	n.announcer.kick()
	n.relays.kick()
}

func (n *node) disconnected(err error) {
	if !n.up.Swap(false) {
		return
	}
	n.mu.Lock()
	n.down = time.Now()
	n.mu.Unlock()
	n.callers.fail(errDown)
	if n.ctx.Err() == nil {
		n.trouble("connection to NATS was lost", err)
	}
}

// failed is called when the server refuses something, or messages have been dropped.
func (n *node) failed(sub *natsio.Subscription, err error) {
	switch {
	case errors.Is(err, natsio.ErrPermissionViolation):
		n.denied.Store(true)
		n.mu.Lock()
		n.again = time.Now().Add(deniedFor)
		n.mu.Unlock()
		n.trouble("NATS server does not permit what is needed: to publish and subscribe to "+
			n.subjects.prefix+".> and _INBOX_"+n.subjects.prefix+".>", err)
		n.callers.fail(errDown)
		n.links.endAll()
	case errors.Is(err, natsio.ErrSlowConsumer) && sub != nil:
		n.trouble("messages from NATS were dropped", err)
		switch sub.Subject {
		case n.subjects.all():
			n.missed()
		case n.subjects.feed(n.me):
			n.links.resetAll()
		}
	default:
		n.trouble("NATS", err)
	}
}

// missed tells the member that announcements may have been lost.
func (n *node) missed() { n.guard("announcements", func() { n.member.Standings(0, nil) }) }

// trouble logs what is wrong, once.
func (n *node) trouble(what string, err error) {
	text := "closed"
	if err != nil {
		text = n.broker.config.scrub(err)
	}
	n.mu.Lock()
	again := n.said == what+text
	n.said = what + text
	n.mu.Unlock()
	if !again && n.ctx.Err() == nil {
		n.log.Warn(what, zap.String("error", text))
	}
}

// tickLoop looks after what may wait for ever.
func (n *node) tickLoop() {
	ticker := time.NewTicker(beat / 2)
	defer ticker.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case now := <-ticker.C:
			n.tick(now)
			n.links.tick(now)
			n.relays.tick(now)
			n.server.tick(now)
			if waiting, silent := n.callers.tick(now), n.links.areSilent(now); n.usable() && (waiting || silent) {
				n.probe()
			}
		}
	}
}

// tick ends what has waited for a connection for too long, and asks again for permissions.
func (n *node) tick(now time.Time) {
	n.mu.Lock()
	lost := !n.down.IsZero() && now.Sub(n.down) > grace
	again := !n.again.IsZero() && now.After(n.again)
	if again {
		n.again = time.Time{}
	}
	n.mu.Unlock()
	if lost {
		n.links.endAll()
	}
	if again {
		_ = n.conn.Load().ForceReconnect()
	}
}

// probe asks the server for a sign of life, and gives the connection up where there is none.
func (n *node) probe() {
	nc := n.conn.Load()
	if err := nc.FlushTimeout(beat); errors.Is(err, natsio.ErrTimeout) && n.ctx.Err() == nil {
		n.trouble("NATS server is silent", err)
		_ = nc.ForceReconnect()
	}
}

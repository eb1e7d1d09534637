package nats

import (
	"cmp"
	"errors"
	"sync"
	"time"

	natsio "github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// maxServed is how many calls are served at once; one more finds the node not reachable.
const maxServed = 256

// server serves the calls of other nodes.
type server struct {
	node  *node
	slots chan struct{} // one for each call that is served

	mu       sync.Mutex
	requests map[caller]*joining // of which parts are missing
	bytes    int
}

// caller names a call.
type caller struct {
	node assistant.NodeID
	call uint64
}

type joining struct {
	joined
	since time.Time
}

func newServer(n *node) *server {
	return &server{node: n, slots: make(chan struct{}, maxServed), requests: map[caller]*joining{}}
}

// serveNode takes what other nodes send to this one.
func (n *node) serveNode(m *natsio.Msg) {
	var head request
	data, err := n.read(m, &head)
	if err == nil {
		n.links.heard(head.From)
	}
	switch {
	case errors.Is(err, errVersion):
		n.server.reply(m.Reply, reply{Fault: faultVersion}, nil)
	case err != nil:
		n.trouble("message was not understood", err)
	case head.Call != 0:
		n.server.receive(m.Reply, head, data)
	case head.Link != 0:
		n.relays.receive(head.From, head.control)
	default: // somebody asks whether we are here: we are
	}
}

// receive takes a part of a request, and has a request served that is complete.
func (s *server) receive(inbox string, head request, data []byte) {
	data, f := s.join(caller{head.From, head.Call}, head.part, data)
	if f == "" && head.More {
		return
	}
	if f == "" && s.node.ctx.Err() == nil {
		select {
		case s.slots <- struct{}{}:
			s.node.work.Go(func() {
				defer func() { <-s.slots }()
				s.serve(inbox, head.From, data)
			})
			return
		default:
		}
	}
	s.reply(inbox, reply{Fault: cmp.Or(f, faultBusy)}, nil)
}

// join adds a part to its request. It returns all of it with the last one.
func (s *server) join(from caller, p part, data []byte) ([]byte, fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Number == 0 {
		s.dropLocked(from)
		s.requests[from] = &joining{since: time.Now()}
	}
	r := s.requests[from]
	switch {
	case r == nil:
		return nil, faultIncomplete
	case s.bytes+len(data) > maxJoined:
		s.dropLocked(from)
		return nil, faultBusy
	case !r.add(p, data):
		s.dropLocked(from)
		return nil, faultIncomplete
	}
	s.bytes += len(data)
	if !p.More {
		s.dropLocked(from)
	}
	return r.data, ""
}

func (s *server) dropLocked(from caller) {
	if r := s.requests[from]; r != nil {
		s.bytes -= len(r.data)
		delete(s.requests, from)
	}
}

// serve serves a call and replies.
func (s *server) serve(inbox string, from assistant.NodeID, data []byte) {
	n := s.node
	served := false
	defer func() {
		if v := recover(); v != nil {
			n.log.Error("serving a call panicked", zap.Any("panic", v), zap.Stack("stack"))
		}
		if !served {
			s.reply(inbox, reply{Fault: faultFailed}, nil)
		}
	}()
	answer := n.member.Serve(n.ctx, from, data)
	served = true
	_ = split(answer, int(n.limit.Load()), func(p part, data []byte) error {
		s.reply(inbox, reply{part: p}, data)
		return nil
	})
}

// reply sends a part of a reply. Where it is lost, the caller's context ends its waiting.
func (s *server) reply(inbox string, head reply, data []byte) {
	_ = s.node.publish(inbox, "", head, data)
}

// tick forgets requests of which parts are missing.
func (s *server) tick(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for from, r := range s.requests {
		if now.Sub(r.since) > abandoned {
			s.dropLocked(from)
		}
	}
}

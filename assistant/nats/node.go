package nats

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsio "github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

var (
	errClosed = errors.New("broker was closed")
	errDown   = errors.New("connection was lost")
)

// node is a broker from Open to Close.
//
//	run: connects; nats.go's goroutines then call ──► announcer.heard, serveNode, links.receive, callers.receive
//	announcer.loop: publishes what was announced
//	tick: signs of life, and what has waited too long
//	a goroutine for each call that is served, for each log that is followed by another node, and for each such node
type node struct {
	// fixed
	broker   *Broker
	log      *zap.Logger
	me       assistant.NodeID
	member   assistant.Member
	subjects subjects
	ctx      context.Context // ends with close
	end      context.CancelCauseFunc
	work     group         // all that calls the member
	tried    chan struct{} // closed after the first try to connect
	ended    chan struct{} // closed when run has ended

	announcer *announcer
	callers   *callers
	server    *server
	links     *links
	relays    *relays

	conn    atomic.Pointer[natsio.Conn]
	serving atomic.Pointer[natsio.Subscription] // to the subject of this node
	limit   atomic.Int64                        // bytes of data in a message
	up      atomic.Bool
	denied  atomic.Bool // the server lets us do less than we must

	mu    sync.Mutex
	said  string    // the last trouble that was logged
	down  time.Time // when the connection was lost; zero = it is there
	again time.Time // when to connect again, where the server permits too little; zero = it does not
}

func newNode(b *Broker, me assistant.NodeID, m assistant.Member) *node {
	n := &node{
		broker: b, log: b.log.With(zap.Int64("node", int64(me))), me: me, member: m, subjects: subjectsOf(b.config.Prefix, me),
		tried: make(chan struct{}), ended: make(chan struct{}), down: time.Now(),
	}
	n.limit.Store(maxData)
	n.ctx, n.end = context.WithCancelCause(context.Background())
	n.announcer, n.callers, n.server, n.links, n.relays = newAnnouncer(n), newCallers(n), newServer(n), newLinks(n), newRelays(n)
	n.work.Go(n.announcer.loop)
	n.work.Go(n.tickLoop)
	go n.run()
	return n
}

// close ends all work while the connection is there, so that others learn it, and then the connection.
func (n *node) close() {
	n.end(errClosed)
	n.links.endAll()
	n.unsubscribe()
	n.work.Close()
	if nc := n.conn.Load(); nc != nil {
		if n.usable() {
			_ = nc.FlushTimeout(time.Second)
		}
		nc.Close()
	}
	<-n.ended
}

// usable reports whether others can be reached.
func (n *node) usable() bool { return n.up.Load() && !n.denied.Load() }

// run connects. nats.go connects again by itself, but for errors of the server that it does not know.
func (n *node) run() {
	defer close(n.ended)
	first := sync.OnceFunc(func() { close(n.tried) })
	defer first()
	for n.ctx.Err() == nil {
		closed := make(chan struct{})
		if err := n.connect(closed, first); err != nil {
			n.trouble("connecting to NATS failed", err)
		} else {
			<-closed
		}
		first()
		n.disconnected(nil)
		select {
		case <-n.ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// connect begins to connect and subscribes. First is called when the first try has ended, closed is closed when the
// connection is given up.
func (n *node) connect(closed chan<- struct{}, first func()) error {
	subscribed := make(chan struct{})
	defer close(subscribed)
	options := append([]natsio.Option{
		natsio.SetCustomDialer(dialer{n.ctx}),
		natsio.ConnectHandler(func(*natsio.Conn) {
			<-subscribed
			n.work.Do(n.connected)
			first()
		}),
		natsio.ReconnectHandler(func(*natsio.Conn) { n.work.Do(n.connected) }),
		natsio.DisconnectErrHandler(func(_ *natsio.Conn, err error) { n.work.Do(func() { n.disconnected(err) }) }),
		natsio.ReconnectErrHandler(func(_ *natsio.Conn, err error) { n.trouble("connecting to NATS failed", err) }),
		natsio.ErrorHandler(func(_ *natsio.Conn, sub *natsio.Subscription, err error) { n.work.Do(func() { n.failed(sub, err) }) }),
		natsio.ClosedHandler(func(*natsio.Conn) { close(closed) }),
	}, n.broker.options...)
	nc, err := natsio.Connect(strings.Join(n.broker.config.URLs, ","), options...)
	if err != nil {
		return err
	}
	n.conn.Store(nc)
	err = n.subscribe(nc)
	if err != nil || n.ctx.Err() != nil { // close may have come before the connection
		nc.Close()
	}
	if !nc.IsConnected() {
		first()
	}
	return err
}

func (n *node) subscribe(nc *natsio.Conn) error {
	for subject, handle := range map[string]func(*natsio.Msg){
		n.subjects.all():      n.announcer.receive,
		n.subjects.node(n.me): n.serveNode,
		n.subjects.feed(n.me): n.links.receive,
		n.subjects.replies():  n.receiveReply,
	} {
		sub, err := nc.Subscribe(subject, func(m *natsio.Msg) {
			n.work.Do(func() { n.guard(subject, func() { handle(m) }) })
		})
		if err == nil {
			err = sub.SetPendingLimits(-1, maxJoined)
		}
		if subject == n.subjects.node(n.me) {
			n.serving.Store(sub)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unsubscribe lets the server tell callers from now on that there is no such node.
func (n *node) unsubscribe() {
	sub := n.serving.Load()
	if sub == nil || !n.usable() {
		return
	}
	drained := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(drained) })
	if sub.Drain() == nil {
		select {
		case <-drained:
		case <-time.After(openPatience):
		}
	}
}

// guard runs f, which may panic: a fault in what another node has sent, or in the member.
func (n *node) guard(what string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			n.log.Error("message was not taken", zap.String("subject", what), zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	f()
}

// receiveReply takes replies to calls, and what the server says of nodes that are not there.
func (n *node) receiveReply(m *natsio.Msg) {
	switch kind, number := n.subjects.kind(m.Subject); {
	case kind == "call":
		n.callers.receive(number, m)
	case kind == "link": // whatever it says, our messages are not taken
		n.links.missing(number)
	}
}

// publish sends a message.
func (n *node) publish(subject, reply string, head any, data []byte) error {
	message, err := encode(head, data)
	if err != nil {
		return err
	}
	nc := n.conn.Load()
	if nc == nil || !n.usable() {
		return errDown
	}
	return nc.PublishMsg(&natsio.Msg{Subject: subject, Reply: reply, Header: versioned, Data: message})
}

// unsent reports whether an error of publish says that nothing has left this process.
func unsent(err error) bool {
	return errors.Is(err, errDown) || errors.Is(err, natsio.ErrReconnectBufExceeded) || errors.Is(err, natsio.ErrConnectionClosed) ||
		errors.Is(err, natsio.ErrMaxPayload) || errors.Is(err, natsio.ErrHeadersNotSupported)
}

// dialer is interrupted by the end of the node.
type dialer struct{ ctx context.Context }

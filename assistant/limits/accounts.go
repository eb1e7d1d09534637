package limits

import (
	"cmp"
	"container/list"
	"math"
	"net/netip"
	"sync"
	"time"
)

// maxIdleAccounts is how many users without a connection or a running answer are remembered, and, apart
// from them, how many networks of anonymous clients. Beyond it the one is forgotten that has been idle
// longest, as if it had asked nothing: a flood of addresses costs bounded memory, shuts no one out, and
// makes no user forgotten.
const maxIdleAccounts = 1 << 16

// Payer is whom limits count: a user, or the network of an anonymous client.
type Payer struct {
	user    string
	network netip.Prefix // the zero Prefix for all anonymous clients without an IP address
}

// String returns the user's name, or the network.
func (p Payer) String() string {
	if p.user != "" {
		return p.user
	}
	return p.network.String()
}

// Networks says what the network of an anonymous client is. An IPv4 address is one. Of an IPv6 address the first
// Prefix bits name a network: its hosts choose the others as they like. As some sites have many of these networks, all
// that share the first Wider bits may together do Times as much as one of them, questions and changes; 0 Times is no
// such limit. The zero Networks is {64, 0, 0}.
type Networks struct{ Prefix, Wider, Times int }

// Client is whom the limits of one client count: its payer, and the wider network that the payer is in.
type Client struct {
	Payer Payer
	wider Payer
	times int // 0 = no wider network
}

// ClientOf returns whom limits count. user is "" where the client is anonymous.
func (n Networks) ClientOf(user string, addr netip.Addr) Client {
	if user != "" {
		return Client{Payer: Payer{user: user}}
	}
	addr = addr.Unmap()
	c := Client{Payer: Payer{network: prefix(addr, cmp.Or(n.Prefix, 64))}}
	if n.Times > 0 && addr.Is6() {
		c.wider, c.times = Payer{network: prefix(addr, n.Wider)}, n.Times
	}
	return c
}

// prefix returns so many bits of an IPv6 address, and all of any other.
func prefix(addr netip.Addr, bits int) netip.Prefix {
	if !addr.Is6() {
		bits = addr.BitLen()
	}
	network, _ := addr.Prefix(bits) // the zero Prefix for the zero Addr
	return network
}

// Accounts are the accounts of all payers of a server.
type Accounts struct {
	mu          sync.Mutex // the last to be taken but that of an account
	byPayer     map[Payer]*account
	idleUsers   list.List // of *account, the last used first
	idleOthers  list.List
	connections int // of all
}

// NewAccounts returns accounts in which nothing was used.
func NewAccounts() *Accounts { return &Accounts{byPayer: make(map[Payer]*account)} }

// use returns the payer's account, which is not forgotten until leave.
func (as *Accounts) use(p Payer) *account {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.useLocked(p)
}

func (as *Accounts) useLocked(p Payer) *account {
	a := as.byPayer[p]
	if a == nil {
		a = &account{payer: p}
		as.byPayer[p] = a
	}
	if a.idle != nil {
		as.idleOf(a).Remove(a.idle)
		a.idle = nil
	}
	a.uses++
	return a
}

func (as *Accounts) leave(a *account) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.leaveLocked(a)
}

func (as *Accounts) leaveLocked(a *account) {
	if a.uses--; a.uses > 0 {
		return
	}
	idle, now := as.idleOf(a), time.Now()
	a.idle = idle.PushFront(a)
	if a.isNew(now) {
		as.forgetLocked(a)
	}
	for last := idle.Back(); last != nil && (idle.Len() > maxIdleAccounts || last.Value.(*account).isNew(now)); last = idle.Back() {
		as.forgetLocked(last.Value.(*account))
	}
}

func (as *Accounts) forgetLocked(a *account) {
	as.idleOf(a).Remove(a.idle)
	delete(as.byPayer, a.payer)
}

func (as *Accounts) idleOf(a *account) *list.List {
	if a.payer.user != "" {
		return &as.idleUsers
	}
	return &as.idleOthers
}

// Connect takes a place among total connections and among perPayer of the payer's; 0 is no limit. release
// gives it back, once. The error is [ErrConnections] or [ErrUserConnections].
func (as *Accounts) Connect(p Payer, total, perPayer int) (release func(), err error) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if total > 0 && as.connections >= total {
		return nil, ErrConnections
	}
	a := as.useLocked(p)
	if perPayer > 0 && a.connections >= perPayer {
		as.leaveLocked(a)
		return nil, ErrUserConnections
	}
	as.connections++
	a.connections++
	return func() { as.disconnect(a) }, nil
}

func (as *Accounts) disconnect(a *account) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.connections--
	a.connections--
	as.leaveLocked(a)
}

// Open is what is counted of connections and answers under way, over all payers.
type Open struct {
	Connections int
	Uses        int // of accounts, by connections and answers
	InFlight    int // tokens
}

// Open counts it. Everything is 0 when no connection is open and no answer runs.
func (as *Accounts) Open() (o Open) {
	as.mu.Lock()
	defer as.mu.Unlock()
	o.Connections = as.connections
	for _, a := range as.byPayer {
		o.Uses += a.uses
		a.mu.Lock()
		o.InFlight += a.inFlight
		a.mu.Unlock()
	}
	return o
}

// Asked returns how many questions of the payer count now.
func (as *Accounts) Asked(p Payer) int {
	a := as.use(p)
	defer as.leave(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	limiter := a.limiters[questions]
	if limiter == nil {
		return 0
	}
	return int(math.Ceil(float64(limiter.Burst()) - limiter.TokensAt(time.Now())))
}

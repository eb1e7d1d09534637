package assistant

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// maxIdleAccounts is how many users without a connection or a running answer are remembered, and, apart
// from them, how many networks of anonymous clients. Beyond it the one is forgotten that has been idle
// longest, as if it had asked nothing: a flood of addresses costs bounded memory, shuts nobody out, and
// makes no user forgotten.
const maxIdleAccounts = 1 << 16

// payer is whom limits count: a user, or the network of an anonymous client. That is one IPv4 address, or
// the 64 bits of an IPv6 address which name a site's network; its hosts choose the others as they like.
type payer struct {
	user    string
	network netip.Prefix // the zero Prefix for all anonymous clients without an IP address
}

func (p Peer) payer() payer {
	if p.User != "" {
		return payer{user: p.User}
	}
	addr := p.ClientIP.Unmap()
	network, _ := addr.Prefix(min(addr.BitLen(), 64)) // cannot fail
	return payer{network: network}
}

// accounts are those of a Hub's payers. They outlive every generation of settings.
type accounts struct {
	mu          sync.Mutex // the last to be taken but that of an account
	byPayer     map[payer]*account
	idleUsers   list.List // of *account, the last used first
	idleOthers  list.List
	connections int // of all
}

func newAccounts() *accounts { return &accounts{byPayer: make(map[payer]*account)} }

// use returns the payer's account, which is not forgotten until leave.
func (as *accounts) use(p payer) *account {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.useLocked(p)
}

func (as *accounts) useLocked(p payer) *account {
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

func (as *accounts) leave(a *account) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.leaveLocked(a)
}

func (as *accounts) leaveLocked(a *account) {
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

func (as *accounts) forgetLocked(a *account) {
	as.idleOf(a).Remove(a.idle)
	delete(as.byPayer, a.payer)
}

func (as *accounts) idleOf(a *account) *list.List {
	if a.payer.user != "" {
		return &as.idleUsers
	}
	return &as.idleOthers
}

// connect takes a place among total connections and among perPayer of the payer's; 0 is no limit.
func (as *accounts) connect(p payer, total, perPayer int) (release func(), err error) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if total > 0 && as.connections >= total {
		return nil, errConnections
	}
	a := as.useLocked(p)
	if perPayer > 0 && a.connections >= perPayer {
		as.leaveLocked(a)
		return nil, errUserConnections
	}
	as.connections++
	a.connections++
	return func() { as.disconnect(a) }, nil
}

func (as *accounts) disconnect(a *account) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.connections--
	a.connections--
	as.leaveLocked(a)
}

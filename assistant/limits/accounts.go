package limits

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// maxIdleAccounts is how many users without a connection or a running answer are remembered, and, apart
// from them, how many networks of anonymous clients. Beyond it the one is forgotten that has been idle
// longest, as if it had asked nothing: a flood of addresses costs bounded memory, shuts no one out, and
// makes no user forgotten. What a ledger has of it stays there.
const maxIdleAccounts = 1 << 16

// Accounts are the accounts of all payers of a server.
type Accounts struct {
	link *link // nil where there is no ledger; set by Share

	mu          sync.Mutex // the last to be taken but that of an account
	byPayer     map[Payer]*account
	idleUsers   list.List // of *account, the last used first
	idleOthers  list.List
	connections int        // of all
	queue       []*account // the ledger is to be told of these
	tellers     int        // goroutines that do so
}

// NewAccounts returns accounts in which nothing was used.
func NewAccounts() *Accounts { return &Accounts{byPayer: make(map[Payer]*account)} }

// use returns the payer's account, which is not forgotten until leave.
func (as *Accounts) use(p Payer) *account {
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.byPayer[p]
	if a == nil {
		a = newAccount(p)
		as.byPayer[p] = a
	}
	as.useLocked(a)
	return a
}

func (as *Accounts) useLocked(a *account) {
	if a.idle != nil {
		as.idleOf(a).Remove(a.idle)
		a.idle = nil
	}
	a.uses++
}

func (as *Accounts) leave(a *account) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if a.uses--; a.uses > 0 {
		return
	}
	idle, now, isShared := as.idleOf(a), time.Now(), as.isShared()
	a.idle = idle.PushFront(a)
	if a.isNew(now, isShared) {
		as.forgetLocked(a)
	}
	for last := idle.Back(); last != nil && (idle.Len() > maxIdleAccounts || last.Value.(*account).isNew(now, isShared)); last = idle.Back() {
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

// connectTimeout bounds how long a connection waits for the ledger.
const connectTimeout = time.Second

// Connect takes a place among total connections of this node and among perPayer of the payer's on all nodes; 0 is no
// limit. release gives it back, once. The error is [ErrConnections] or [ErrUserConnections]. Where the payer's are
// limited, it waits for the ledger, a second at most.
func (as *Accounts) Connect(ctx context.Context, p Payer, total, perPayer int) (release func(), err error) {
	if !as.place(total) {
		return nil, ErrConnections
	}
	a := as.use(p)
	if err := as.connect(ctx, a, perPayer); err != nil {
		as.giveUpPlace()
		as.leave(a)
		return nil, err
	}
	return func() { as.disconnect(a) }, nil
}

func (as *Accounts) place(total int) bool {
	as.mu.Lock()
	defer as.mu.Unlock()
	if total > 0 && as.connections >= total {
		return false
	}
	as.connections++
	return true
}

func (as *Accounts) giveUpPlace() {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.connections--
}

// connect counts a connection of the payer's.
func (as *Accounts) connect(ctx context.Context, a *account, perPayer int) error {
	count := func(s *state, m *share, _ time.Time) error {
		if perPayer > 0 && s.sockets() >= perPayer {
			return ErrUserConnections
		}
		m.Sockets++
		return nil
	}
	switch {
	case perPayer == 0:
		return a.change(count)
	case a.hasConnected(perPayer):
		return ErrUserConnections
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	isAlone, err := as.count(ctx, a, count, count)
	if err != nil && !isAlone {
		a.mu.Lock()
		defer a.mu.Unlock()
		until := time.Now().Add(socketTrusted)
		f := a.refusals()
		f.sockets, f.taken = perPayer, refusal{until, until}
	}
	return err
}

// hasConnected reports whether the payer has so many connections, as far as is known without a question to the ledger.
func (a *account) hasConnected(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.share().Sockets >= n || a.refused.socket(n, time.Now())
}

func (as *Accounts) disconnect(a *account) {
	as.giveUpPlace()
	a.mu.Lock()
	m := a.share()
	m.Sockets--
	isDue := a.knownShare().Sockets > m.Sockets && as.link.Ctx.Err() == nil // of a node that stops, all are dropped
	if a.refused != nil {
		a.refused.taken = refusal{}
	}
	a.mu.Unlock()
	if isDue {
		as.tell(a)
	}
	as.leave(a)
}

// Open is what is counted of connections and answers under way at this node, over all payers.
type Open struct {
	Connections int
	Uses        int // of accounts, by connections and answers, and by what a ledger is to be told
	InFlight    int // tokens
}

// Open counts it. Everything is 0 when no connection is open and no answer runs, and a ledger knows that.
func (as *Accounts) Open() (o Open) {
	as.mu.Lock()
	defer as.mu.Unlock()
	o.Connections = as.connections
	for _, a := range as.byPayer {
		o.Uses += a.uses
		a.mu.Lock()
		o.InFlight += a.share().Reserved
		a.mu.Unlock()
	}
	return o
}

// Asked returns how many questions of the payer count now at this node.
func (as *Accounts) Asked(p Payer) int {
	a := as.use(p)
	defer as.leave(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.Questions.taken(time.Now())
}

package limits

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"go.uber.org/zap"
)

// Ledger is what accounts are shared through: an [assistant.Ledger] with the nodes that share it. Account returns
// [assistant.ErrNoLedger] where there is none, and does not call change once it has returned.
type Ledger interface {
	Account(ctx context.Context, payer string, change func(state []byte, now time.Time) ([]byte, error)) error
	ForgetAccounts(ctx context.Context, idle time.Duration, limit int) (int, error)
	// Node returns who this node is; 0 where it is the only one. Account may call it in change.
	Node() assistant.NodeID
	// Nodes returns all nodes that live. It is not called where Node is 0.
	Nodes(ctx context.Context) ([]assistant.Node, error)
}

// Sharing says what accounts are shared through, and what that needs.
type Sharing struct {
	Ledger Ledger
	// Ctx ends when the server stops.
	Ctx context.Context
	// Go runs f on a goroutine that the server waits for. It returns false, and does nothing, where it is too late for one.
	Go func(f func()) bool
	// Observer returns who learns whether limits are shared.
	Observer func() assistant.Observer
	Log      *zap.Logger
}

// Share has a ledger keep the accounts, too. It is called once, before anything is counted.
func (as *Accounts) Share(s Sharing) {
	as.link = &link{Sharing: s, accounts: as, alone: assistant.NodeID(rand.Int64N(1<<62) + 1), lives: make(map[assistant.NodeID]bool)} //nolint:gosec // a name, no secret
}

// isShared reports whether a ledger keeps the accounts, be it away or not.
func (as *Accounts) isShared() bool { return as.link != nil && !as.link.isNone.Load() }

// change is one change of an account: of its state here, or of that in the ledger, where m is the account's share. What it
// has done to a state of the ledger does not count where it returns an error.
type change func(s *state, m *share, now time.Time) error

// errAlone says that the ledger has not made a change, as far as is known.
var errAlone = errors.New("counted on this node alone")

const (
	// patience is how long a call of the ledger may take. One that takes longer is taken for away.
	patience = time.Second
	// maxWait bounds how long a change waits for others of its account.
	maxWait = 10 * time.Second
)

// count makes a change in the ledger or, where that is away, the change alone here. It returns which, and the change's
// error.
func (as *Accounts) count(ctx context.Context, a *account, shared, alone change) (isAlone bool, err error) {
	if err = as.ask(ctx, a, shared); !errors.Is(err, errAlone) {
		return false, err
	}
	err = a.change(alone)
	as.tell(a)
	return true, err
}

// ask makes a change in the ledger, and brings what that does not know yet of the account. Its error is that of the change,
// or errAlone.
func (as *Accounts) ask(ctx context.Context, a *account, do change) error {
	l := as.link
	if l == nil || l.isNone.Load() || l.isAsleep() {
		return errAlone
	}
	turn := a.queue()
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return errAlone
	}
	defer func() { <-turn }()
	if !l.isOn() { // which those before may have found out
		return errAlone
	}
	others, err := l.change(ctx, a, do)
	if len(others) > 0 && l.look(ctx, others) && err != nil && !errors.Is(err, errAlone) {
		_, err = l.change(ctx, a, do) // without what the dead have
	}
	return err
}

// background is the context of changes that no client waits for.
func background() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), maxWait)
}

package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// moodyStore fails or panics now and then, before or after it has done what it should. It keeps accounts, too.
type moodyStore struct {
	assistant.Store
	calm atomic.Bool

	mu       sync.Mutex
	accounts map[string][]byte
}

func (s *moodyStore) mood(do func() error) error {
	if s.calm.Load() {
		return do()
	}
	switch rand.IntN(30) {
	case 0:
		return errors.New("the disk is full")
	case 1:
		_ = do()
		return errors.New("the connection broke")
	case 2:
		panic("out of order")
	}
	return do()
}

func (s *moodyStore) Begin(ctx context.Context, c assistant.Claim, b assistant.Beginning) error {
	return s.mood(func() error { return s.Store.Begin(ctx, c, b) })
}

func (s *moodyStore) Extend(ctx context.Context, c assistant.Claim, e assistant.Extension) error {
	return s.mood(func() error { return s.Store.Extend(ctx, c, e) })
}

func (s *moodyStore) Finish(ctx context.Context, c assistant.Claim, e assistant.Ending) error {
	return s.mood(func() error { return s.Store.Finish(ctx, c, e) })
}

func (s *moodyStore) Delete(ctx context.Context, owner, id string) error {
	return s.mood(func() error { return s.Store.Delete(ctx, owner, id) })
}

func (s *moodyStore) Account(_ context.Context, payer string, change func([]byte, time.Time) ([]byte, error)) error {
	return s.mood(func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		state, err := change(s.accounts[payer], time.Now().UTC())
		if err == nil {
			s.accounts[payer] = state
		}
		return err
	})
}

func (s *moodyStore) ForgetAccounts(context.Context, time.Duration, int) (int, error) { return 0, nil }

// underWay is what is kept of accounts that have something under way.
func (s *moodyStore) underWay() (states []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for payer, state := range s.accounts {
		if strings.Contains(string(state), "reserved") || strings.Contains(string(state), "sockets") {
			states = append(states, fmt.Sprintf("%s: %s", payer, state))
		}
	}
	return states
}

func (s *moodyStore) Conversation(ctx context.Context, owner, id string) (c assistant.Conversation, err error) {
	return c, s.mood(func() error { c, err = s.Store.Conversation(ctx, owner, id); return err })
}

func (s *moodyStore) Messages(ctx context.Context, owner, id, before string, limit int) (page []assistant.Message, more bool, err error) {
	return page, more, s.mood(func() error { page, more, err = s.Store.Messages(ctx, owner, id, before, limit); return err })
}

// moody is a provider that fails or panics now and then.
func moody(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
	if rand.IntN(20) == 0 {
		panic("out of order")
	}
	return flaky(teller)(ctx, req, yield)
}

// TestCounts lets users, operators, stores and models do anything at any time, and then all go: nothing is left,
// no count has drifted, each answer that began has ended once, and those are the questions that count.
func TestCounts(t *testing.T) {
	began := 0
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t, rand.New(rand.NewPCG(seed, 7)))
				c.run()
				began += len(c.watch.answers)
			})
		})
	}
	if began < 3000 {
		t.Errorf("only %d answers began", began)
	}
}

// crowd are the sockets of two users, who may have two conversations each.
type crowd struct {
	*testing.T
	*rand.Rand
	store  *moodyStore
	server *server
	watch  *watcher
	pipes  []*pipe
	users  map[*pipe]string
}

var usersOfCrowd = []string{"ann", "bob"}

func newCrowd(t *testing.T, random *rand.Rand) *crowd {
	c := &crowd{T: t, Rand: random, store: &moodyStore{Store: memory.Open(memory.Config{}), accounts: map[string][]byte{}}, watch: &watcher{}, users: make(map[*pipe]string)}
	c.server = newServerOn(t, c.store, c.settings(), nil)
	c.server.hub.Use(c.server.Assistant)
	return c
}

func (c *crowd) settings() conversation.Config {
	return conversation.Config{
		Provider: newChain(c.T, model(moody), flaky(teller), model(tells)), Observer: c.watch, MaxPending: 4, MaxMessages: 30,
		Strict: c.IntN(2) == 0, CancelAlone: c.IntN(2) == 0, FinishAlone: time.Second, ModelTitles: c.IntN(2) == 0,
		Rate: limits.Rate{Count: 10_000, Per: 1_000_000 * time.Hour}, Budget: limits.Budget{Tokens: 20_000, Per: time.Minute},
		MaxConnections: 8, MaxConnectionsPerUser: 6,
	}
}

func conversationOf(user string, n int) string {
	return fmt.Sprintf("00000000-0000-4000-8000-%03d%09d", n, user[0])
}

func (c *crowd) run() {
	for range 1000 {
		c.step()
	}
	c.store.calm.Store(true)
	time.Sleep(time.Hour) // the bubble's: longer than answers take
	if n := session.Expected(c.server.hub); n > 0 {
		c.Errorf("sessions wait for %d answers", n)
	}
	for _, p := range c.pipes {
		c.leave(p)
	}
	time.Sleep(time.Hour) // longer than logs are kept
	if left := leftOf(c.server.hub); left != (leftovers{}) {
		c.Errorf("left: %+v", left)
	}
	if states := c.store.underWay(); len(states) > 0 || len(c.store.accounts) != len(usersOfCrowd) {
		c.Errorf("accounts of %d users, under way is %q", len(c.store.accounts), states)
	}
	c.watch.expectGauges(c.T, 0)
	began := map[string]int{}
	for i, a := range c.watch.answers {
		if began[a.start.Peer.User]++; len(a.ends) != 1 {
			c.Errorf("answer %d has %d ends", i, len(a.ends))
		}
	}
	for _, user := range usersOfCrowd {
		if asked := c.server.hub.Accounts().Asked(limits.Networks{}.ClientOf(user, netip.Addr{}).Payer); asked != began[user] {
			c.Errorf("%d questions of %s count, of which %d began", asked, user, began[user])
		}
	}
}

func (c *crowd) step() {
	c.pipes = slices.DeleteFunc(c.pipes, func(p *pipe) bool { return len(p.ended) > 0 })
	user := usersOfCrowd[c.IntN(2)]
	hub, id := c.server.hub, conversationOf(user, c.IntN(2))
	switch c.IntN(20) {
	case 0, 1, 2:
		c.dial(user)
	case 3:
		hub.Use(conversation.New(hub, c.settings()))
	case 4:
		for _, a := range hub.Answers("", 1, nil) {
			hub.StopAnswer(a.ID)
		}
	case 5:
		c.seldom(user)
	case 6, 7, 8:
		_ = c.store.Store.Create(c.Context(), user, assistant.Conversation{ID: id, CreatedAt: time.Now(), UpdatedAt: time.Now()})
	case 9, 10:
		time.Sleep(time.Duration(c.IntN(1000)) * time.Millisecond)
	default:
		c.send()
	}
}

// seldom does what would end most things if it came often.
func (c *crowd) seldom(user string) {
	hub := c.server.hub
	switch c.IntN(8) {
	case 0:
		session.CloseSockets(hub, user)
	case 1:
		_, _ = hub.Erase(c.Context(), user) // or a part
	case 2:
		_, _ = c.store.DeleteBefore(c.Context(), time.Now(), 10)
	case 3:
		patience := time.Duration(c.IntN(2000)) * time.Millisecond
		hub.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			hub.Drain(ctx)
			hub.Resume()
		})
	}
}

func (c *crowd) dial(user string) {
	release, err := c.server.Admit(c.Context(), assistant.Peer{User: user})
	if err != nil {
		return
	}
	p := newPipe()
	c.pipes, c.users[p] = append(c.pipes, p), user
	hub := c.server.hub
	hub.Go(func() {
		defer release()
		p.ended <- session.Serve(hub.Using(), p, assistant.Peer{User: user})
	})
	for n := range 2 {
		c.tell(p, fmt.Sprintf(`{"action":"subscribe","topic":"conversation:%s"}`, conversationOf(user, n)))
	}
}

func (c *crowd) leave(p *pipe) {
	select {
	case p.left <- io.EOF:
	default: // it does already
	}
}

// tell sends a frame, unless the socket is gone.
func (c *crowd) tell(p *pipe, frame string) {
	select {
	case p.in <- frame:
	case <-p.closed:
	}
}

// send lets somebody say something about a conversation of theirs, or leave.
func (c *crowd) send() {
	if len(c.pipes) == 0 {
		return
	}
	p := c.pipes[c.IntN(len(c.pipes))]
	id := conversationOf(c.users[p], c.IntN(2))
	topic := fmt.Sprintf(`"topic":"conversation:%s"`, id)
	if c.IntN(3) == 0 {
		topic = `"topic":null`
	}
	var frame string
	switch c.IntN(12) {
	case 0:
		if c.IntN(3) == 0 {
			c.leave(p)
		}
		return
	case 1:
		frame = fmt.Sprintf(`{"action":"delete_conversation","payload":{"conversation_id":%q}}`, id)
	case 2:
		frame = `{"action":"stop_streaming",` + topic + `}`
	case 3:
		frame = `{"action":"unsubscribe",` + topic + `}`
	case 4:
		frame = `{"action":"regenerate",` + topic + `}`
	case 5, 6:
		frame = fmt.Sprintf(`{"action":"send_message",%s,"ref":"r%d","payload":{"content":"once %d","client_id":"%d"}}`, topic, c.IntN(9), c.IntN(9), c.IntN(9))
	case 7, 8:
		frame = `{"action":"subscribe",` + topic + `}`
	default:
		frame = fmt.Sprintf(`{"action":"assistant_message",%s,"payload":"q%d"}`, topic, c.IntN(9))
	}
	c.tell(p, frame)
}

// leftovers are what a hub has when no one is there: nothing, unless it has lost count.
type leftovers struct {
	activity conversation.Activity
	inUse    int
	open     limits.Open
}

func leftOf(hub *conversation.Hub) leftovers {
	a := hub.Activity()
	a.State = ""
	return leftovers{a, hub.InUse(), hub.Accounts().Open()}
}

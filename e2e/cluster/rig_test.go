// Package cluster tests several nodes of the built binary with clients that go from one to another: what they are shown
// must be what one server would show. See [history] for what is checked.
//
// The tests have a quick form, which make test runs, and a full one:
//
//	CLUSTER=full   more clients and rounds
//	BROKERS=…      the brokers that are tested: none, local, postgres, nats [postgres nats]; none writes no line
//	CHAOS=1h       how long random faults are made [1m]
//	SEED=…         of the random faults [a new one, which is printed]
//	NODES=1        [3] all tabs at one node: what one node does right must pass, which tests the tests; not for
//	               TestHolder and TestPgBouncer, whose tabs go elsewhere
//
// A test that finds a promise broken leaves all that happened in history.json, which go test -artifacts keeps.
package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/cluster/history"
	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// soon bounds each wait for what is to be there at once, such as another node's pieces. It is long because the machine
// may be busy; no test waits so long for what does happen.
const soon = 15 * time.Second

// full tells whether the full form was asked for.
var full = os.Getenv("CLUSTER") == "full"

// or is the first in the quick form and the second in the full one.
func or[T any](quick, whole T) T {
	if full {
		return whole
	}
	return quick
}

// nodes is how many each cluster has.
var nodes = must(strconv.Atoi(cmp.Or(os.Getenv("NODES"), "3")))

// brokers are those to test.
func brokers() []string {
	return strings.Fields(cmp.Or(os.Getenv("BROKERS"), "postgres nats"))
}

// firstBroker is the one for tests in which the broker is no matter.
func firstBroker() string { return brokers()[0] }

// rig is a cluster with everything that is written down about it.
type rig struct {
	*harness.Cluster
	*history.Recorder
	teller *harness.Teller
	limits history.Limits

	t    testing.TB
	tabs []*tab
}

// setup is what a rig has besides three nodes.
type setup struct {
	broker     string // "none" writes no line
	settings   string // of the assistant
	links      bool
	balancer   bool
	postgres   *harness.Postgres
	assistants []harness.Assistant // further ones; their model is the rig's
	dsn        string              // "" = a database of its own
}

// newRig starts a cluster.
func newRig(t testing.TB, s setup) *rig {
	t.Helper()
	r := &rig{t: t, Recorder: &history.Recorder{Began: time.Now()}}
	r.teller = harness.NewTeller(t, r.Began)
	assistants := append([]harness.Assistant{{Name: "main", Path: harness.AssistantPath, Settings: s.settings, DSN: s.dsn}}, s.assistants...)
	for i := range assistants {
		assistants[i].Upstream = r.teller.URL
	}
	if s.broker == "none" {
		s.broker = ""
	}
	r.Cluster = harness.StartCluster(t, harness.ClusterConfig{
		Nodes: nodes, Broker: s.broker, Links: s.links, Balancer: s.balancer, Postgres: s.postgres, Assistants: assistants,
	})
	t.Cleanup(func() {
		for _, b := range r.tabs {
			b.cut()
		}
	})
	return r
}

// with lets a subtest use the rig, with a history of its own.
func (r *rig) with(t testing.TB) *rig {
	sub := *r
	sub.t, sub.tabs, sub.Recorder = t, nil, &history.Recorder{Began: r.Began}
	t.Cleanup(func() {
		for _, b := range sub.tabs {
			b.cut()
		}
		sub.revive()
	})
	return &sub
}

// revive ends all faults and starts the nodes that have ended.
func (r *rig) revive() {
	r.t.Helper()
	r.Heal()
	for _, n := range r.Nodes {
		if !n.Lives() {
			n.Again(r.t)
		}
	}
}

// node is a node by its number, counted from 1. After the last comes the first again.
func (r *rig) node(number int) *harness.Node { return r.Nodes[(number-1)%len(r.Nodes)] }

// id is a name that nothing else has.
func (r *rig) id(name string) string { return fmt.Sprint(name, names.Add(1)) }

var names atomic.Int64

// long is a question whose answer goes on until [harness.Teller.End].
func (r *rig) long() harness.Question {
	return harness.Question{ID: r.id("long"), Pace: 20 * time.Millisecond}
}

// short is a question that is answered at once.
func (r *rig) short() harness.Question {
	return harness.Question{ID: r.id("short"), Pieces: 5, Pace: time.Millisecond}
}

// tab is a new tab of a user.
func (r *rig) tab(name, user, prefix, conversation string) *tab {
	name = fmt.Sprint(name, "#", len(r.tabs)+1)
	b := &tab{rig: r, name: name, user: user, prefix: prefix, id: conversation, changed: make(chan struct{}), replies: make(map[string][]history.Frame)}
	r.tabs = append(r.tabs, b)
	return b
}

// create makes a conversation at a node and returns its id.
func (r *rig) create(n *harness.Node, user, prefix string) string {
	r.t.Helper()
	b := r.tab("creator", user, prefix, "").at(n)
	defer b.cut()
	f := b.reply(b.do(b.send(history.Frame{Action: "create_conversation"}, map[string]any{"title": "Title"})))
	if f.Action != "conversation_created" {
		r.t.Fatalf("create a conversation: %s %s", f.Action, f.Reason)
	}
	return f.Conversation
}

// open makes a conversation and opens a tab at each of the nodes. The user is the test's own.
func (r *rig) open(nodes ...int) []*tab {
	r.t.Helper()
	return r.openAt(harness.AssistantPath, nodes...)
}

func (r *rig) openAt(prefix string, nodes ...int) (tabs []*tab) {
	r.t.Helper()
	user := r.id("user")
	id := r.create(r.node(1), user, prefix)
	for i, n := range nodes {
		tabs = append(tabs, r.tab(fmt.Sprint("tab", i+1), user, prefix, id).at(r.node(n)))
	}
	return tabs
}

// stored reads what is stored for users, through the admin API of a node that lives.
func (r *rig) stored(handler string, users []string) (all []history.Conversation, err error) {
	i := slices.IndexFunc(r.Nodes, func(n *harness.Node) bool { return n.Lives() })
	for _, user := range users {
		conversations, err := r.export(r.Nodes[i], handler, user)
		if err != nil {
			return nil, err
		}
		all = append(all, conversations...)
	}
	return all, nil
}

func (r *rig) export(n *harness.Node, handler, user string) (conversations []history.Conversation, err error) {
	response, err := http.Get("http://" + n.Admin + "/assistant/" + handler + "/export?user=" + user)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("export: %s", response.Status)
	}
	for d := json.NewDecoder(response.Body); d.More(); {
		var c struct {
			ID       string `json:"conversation_id"`
			Messages []history.Message
		}
		if err := d.Decode(&c); err != nil {
			return nil, err
		}
		conversations = append(conversations, history.Conversation{ID: c.ID, Owner: user, Messages: c.Messages})
	}
	return conversations, nil
}

// history returns what has happened to the tabs of the rig, once it has come to rest, or after a while as it is.
func (r *rig) history() history.History {
	r.t.Helper()
	mine := make(map[string]bool)
	for _, b := range r.tabs {
		mine[b.user] = true
	}
	var h history.History
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(soon); ; {
		h = r.sofar(mine)
		if r.rests(h) {
			return h
		}
		select {
		case <-poll.C:
		case <-deadline:
			r.t.Error("the cluster does not come to rest")
			return h
		}
	}
}

// sofar is what has happened until now.
func (r *rig) sofar(users map[string]bool) (h history.History) {
	handlers := make(map[string]string)
	for _, b := range r.tabs {
		handlers[b.user] = handlerAt(b.prefix)
	}
	questions := make(map[string]bool)
	for _, e := range r.Entries() {
		if users[e.User] {
			h.Entries = append(h.Entries, e)
			questions[e.Content] = questions[e.Content] || e.Kind == history.Sent
		}
	}
	for _, told := range r.teller.Tellings() {
		if questions[told.Question.String()] {
			h.Calls = append(h.Calls, call(told))
		}
	}
	for user, handler := range handlers {
		stored, err := r.stored(handler, []string{user})
		if err != nil {
			r.t.Logf("read what is stored: %v", err)
		}
		h.Stored = append(h.Stored, stored...)
	}
	return h
}

// handlerAt is the name of the handler at a path.
func handlerAt(prefix string) string {
	if prefix == harness.AssistantPath {
		return "main"
	}
	return filepath.Base(prefix)
}

func call(told harness.Telling) history.Call {
	c := history.Call{Question: told.Question.String(), Began: told.Began, Ended: told.Ended, Text: told.Text, Finished: told.Finished}
	for _, m := range told.Messages {
		c.Told = append(c.Told, history.Message{Role: m.Role, Content: m.Content})
	}
	return c
}

// rests reports whether nothing is under way.
func (r *rig) rests(h history.History) bool {
	for _, c := range h.Calls {
		if c.Ended == 0 {
			return false
		}
	}
	for _, c := range h.Stored {
		if slices.ContainsFunc(c.Messages, func(m history.Message) bool { return m.Status == "streaming" }) {
			return false
		}
	}
	for _, b := range r.tabs {
		if v := b.now(); b.current() != nil && v.Running != "" && !v.Deleted {
			return false
		}
	}
	return !slices.ContainsFunc(history.Check(h, r.limits), func(v history.Violation) bool { return v.Invariant == "I13" })
}

// check holds what has happened against all promises.
func (r *rig) check() {
	r.t.Helper()
	h := r.history()
	found := append(history.Check(h, r.limits), history.Linearizable(h, time.Minute)...)
	for _, v := range found {
		r.t.Error(v)
	}
	if len(found) > 0 {
		r.keep(h)
	}
}

// keep writes a history to a file, for whoever looks for the reason.
func (r *rig) keep(h history.History) {
	data, err := json.MarshalIndent(h, "", "\t")
	if err == nil {
		err = os.WriteFile(filepath.Join(r.t.ArtifactDir(), "history.json"), data, 0o600)
	}
	if err != nil {
		r.t.Logf("write the history: %v", err)
	}
}

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/cluster/history"
	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestNodes is what went wrong with two nodes on one database until November 2026, with nothing broken and one tab at
// each: the scenarios 1.1 to 1.14 of the design. 1.9 and 1.11 are in TestHolder, 1.15 is TestPgBouncer.
func TestNodes(t *testing.T) {
	t.Parallel()
	for _, broker := range brokers() {
		t.Run(broker, func(t *testing.T) {
			t.Parallel()
			title := make(chan struct{})
			r := newRig(t, setup{broker: broker, assistants: []harness.Assistant{
				{Name: "leaving", Path: "/ws/leaving/", Settings: "on_disconnect cancel"},
				{Name: "titled", Path: "/ws/titled/", Settings: "titles model"},
				{Name: "rated", Path: "/ws/rated/", Settings: "rate 2/1h"},
				{Name: "single", Path: "/ws/single/", Settings: "max_connections 0 per_user 1"},
			}})
			r.teller.Title = func(call *harness.Call) {
				select {
				case <-title:
					call.Pieces("By the model")
					call.Finish()
				case <-call.Gone():
				}
			}
			for _, test := range []struct {
				name string
				run  func(*rig)
			}{
				{"1.1 every tab sees every turn, and the model is told all", everyTurn},
				{"1.2 a regenerate elsewhere removes no turn", regenerateElsewhere},
				{"1.3 one answer at a time", oneAtATime},
				{"1.4 a question that is sent again elsewhere is followed", resendElsewhere},
				{"1.5 a deletion ends everything everywhere", deleteElsewhere},
				{"1.5 an erasure ends everything everywhere", eraseElsewhere},
				{"1.6 a stop reaches the answer", stopElsewhere},
				{"1.7 a regenerate waits for the answer that runs elsewhere", regenerateRunning},
				{"1.8 a follower elsewhere gets text and end", followElsewhere},
				{"1.10 moving to another node is not leaving", moving},
				{"1.12 a name given elsewhere is shown and stays", func(r *rig) { renameElsewhere(r, title) }},
				{"1.13 a rate holds over all nodes", rateOverAll},
				{"1.13 the number of a user's sockets holds over all nodes", socketsOverAll},
				{"1.14 the operator sees and stops answers of all nodes", operatorElsewhere},
			} {
				t.Run(test.name, func(t *testing.T) { test.run(r.with(t)) })
			}
		})
	}
}

func everyTurn(r *rig) {
	tabs := r.open(1, 2)
	a, b := tabs[0], tabs[1]
	q1, q2, q3 := r.short(), r.short(), r.short()
	b.do(b.ask(q1))
	b.untilAnswered(q1)
	a.untilAnswered(q1)
	late := r.tab("late", a.user, a.prefix, a.id).at(r.node(1))
	late.untilAnswered(q1)
	a.do(a.ask(q2))
	b.untilAnswered(q2)
	b.do(b.ask(q3))
	a.untilAnswered(q3)
	late.untilAnswered(q3)
	r.check()
}

func regenerateElsewhere(r *rig) {
	tabs := r.open(1, 2)
	a, b := tabs[0], tabs[1]
	q1, q2, q3 := r.short(), r.short(), r.short()
	a.do(a.ask(q1))
	a.untilAnswered(q1)
	b.at(r.node(2)) // it may not have been told
	for _, q := range []harness.Question{q2, q3} {
		b.do(b.ask(q))
		b.untilAnswered(q)
	}
	a.reply(a.do(a.regenerate())) // without looking at what the tab shows
	a.until("its end", func(v history.View) bool { return v.Running == "" })
	r.check()
	if n := len(r.mustExport(a.user)); n != 6 {
		r.t.Errorf("%d messages are stored, want 6", n)
	}
}

// mustExport returns what is stored of a user's only conversation.
func (r *rig) mustExport(user string) []history.Message {
	r.t.Helper()
	stored, err := r.stored("main", []string{user})
	if err != nil || len(stored) != 1 {
		r.t.Fatalf("%d conversations are stored, %v", len(stored), err)
	}
	return stored[0].Messages
}

func oneAtATime(r *rig) {
	tabs := r.open(1, 2)
	a, b := tabs[0], tabs[1]
	q1, q2 := r.long(), r.short()
	a.do(a.ask(q1))
	a.untilRunning(q1)
	if f := b.reply(b.do(b.ask(q2))); f.Action != "notice" || f.Reason != "queued" {
		r.t.Errorf("a question while another node answers gets %s %s, want the notice that it is queued", f.Action, f.Reason)
	}
	r.teller.End(q1.ID)
	b.untilAnswered(q2)
	a.untilAnswered(q2)
	r.check()
	first, second := r.teller.Of(q1.ID), r.teller.Of(q2.ID)
	if second[0].Began < first[0].Ended {
		r.t.Errorf("the model was asked the second question %v before it had answered the first", first[0].Ended-second[0].Began)
	}
}

func resendElsewhere(r *rig) {
	a := r.open(1)[0]
	q := r.long()
	a.do(a.ask(q))
	a.untilRunning(q)
	a.at(r.node(2))
	ref := a.do(a.ask(q))
	a.reply(ref)
	r.teller.End(q.ID)
	var end history.Frame
	a.until("the end of the answer, for the question that was sent again", func(history.View) bool {
		end = a.replies[ref][len(a.replies[ref])-1]
		return end.Action == "complete_streaming"
	})
	if end.Finish != "stop" {
		r.t.Errorf("for the question that was sent again the answer ends with %q, want stop", end.Finish)
	}
	a.untilAnswered(q)
	r.check()
}

func deleteElsewhere(r *rig) {
	tabs := r.open(1, 2)
	a, b := tabs[0], tabs[1]
	q := r.long()
	a.do(a.ask(q))
	a.untilRunning(q)
	if f := b.reply(b.do(b.delete())); f.Action != "conversation_deleted" {
		r.t.Errorf("a deletion gets %s %s", f.Action, f.Reason)
	}
	r.gone(a, q)
}

func eraseElsewhere(r *rig) {
	a := r.open(1)[0]
	q := r.long()
	a.do(a.ask(q))
	a.untilRunning(q)
	r.erase(r.node(2), a)
	r.gone(a, q)
}

// erase erases all of the tab's user through a node's admin API.
func (r *rig) erase(n *harness.Node, b *tab) {
	r.t.Helper()
	// It is a request like others for the checks, whose outcome nobody is shown.
	r.Add(history.Entry{Client: "operator", User: b.user, Node: n.Name, Kind: history.Sent, Frame: history.Frame{Action: "delete_conversation", Conversation: b.id}})
	if status, body := r.admin(n, http.MethodDelete, "/main/conversations?user="+b.user); status != http.StatusOK {
		r.t.Fatalf("erase: %d %s", status, body)
	}
}

// admin calls the admin API of a node.
func (r *rig) admin(n *harness.Node, method, path string) (status int, body string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), soon)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+n.Admin+"/assistant"+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer json.RawMessage
	_ = json.NewDecoder(response.Body).Decode(&answer) // there may be none
	return response.StatusCode, string(answer)
}

// gone holds that nothing is left of a conversation whose answer to q was running: not for a tab, not for a new one at
// whatever node, and not at the model.
func (r *rig) gone(b *tab, q harness.Question) {
	r.t.Helper()
	defer r.teller.End(q.ID) // in the end, whatever became of it
	if !r.teller.Wait(soon, func([]harness.Telling) bool { return r.teller.Of(q.ID)[0].Ended != 0 }) {
		r.t.Error("the model goes on with an answer in a conversation that is deleted")
	}
	if err := b.wait(soon, func() bool { return b.view.Deleted }); err != nil {
		r.t.Errorf("%s is not told of the deletion: %v", b.name, err)
	}
	for _, n := range r.Nodes {
		late := r.tab("late", b.user, b.prefix, "").at(n)
		late.id = b.id
		if f := late.reply(late.do(late.subscribe())); f.Action != "error" || f.Reason != "unknown_topic" {
			r.t.Errorf("a new tab at %s gets %s %s of a conversation that is deleted", n.Name, f.Action, f.Reason)
		}
		late.cut()
	}
	r.check()
}

func stopElsewhere(r *rig) {
	tabs := r.open(1, 2)
	a, b := tabs[0], tabs[1]
	q := r.long()
	defer r.teller.End(q.ID)
	a.do(a.ask(q))
	a.untilRunning(q)
	ref := b.do(b.stop())
	var f history.Frame
	b.until("an answer to its stop", func(history.View) bool {
		for _, f = range b.replies[ref] {
			if f.Action == "complete_streaming" || f.Seq == 0 { // its end, or a refusal
				return true
			}
		}
		return false
	})
	if f.Action != "complete_streaming" || f.Finish != "stopped" {
		r.t.Errorf("a stop gets %s %s%s", f.Action, f.Reason, f.Finish)
	}
	if answer := a.untilAnswered(q); answer.Finish != "stopped" {
		r.t.Errorf("the answer ends with %q", answer.Finish)
	}
	b.untilAnswered(q)
	r.check()
}

func regenerateRunning(r *rig) {
	tabs := r.open(1, 2)
	a, b := tabs[0], tabs[1]
	q := r.long()
	a.do(a.ask(q))
	a.untilRunning(q)
	if f := b.reply(b.do(b.regenerate())); f.Reason == "nothing_to_regenerate" { // it was faster than the news
		b.untilRunning(q)
		f = b.reply(b.do(b.regenerate()))
		if f.Action == "error" {
			r.t.Errorf("a regenerate is refused: %s", f.Reason)
		}
	}
	r.teller.End(q.ID)
	for _, b := range tabs {
		b.until("the second answer", func(v history.View) bool {
			answer := answerTo(v, q)
			return answer != nil && answer.Finish == "stop" && answer.Content == q.Piece(2, 1)
		})
	}
	r.check()
}

func followElsewhere(r *rig) {
	tabs := r.open(1, 2)
	a, b := tabs[0], tabs[1]
	q := r.long()
	a.do(a.ask(q))
	a.untilRunning(q)
	late := r.tab("late", a.user, a.prefix, a.id).at(r.node(3))
	if v := late.now(); v.Running == "" || slices.ContainsFunc(v.Messages, func(m history.Message) bool { return m.Role == "assistant" }) {
		r.t.Errorf("the snapshot of a conversation with a running answer: %v", late)
	}
	b.untilRunning(q)
	late.untilRunning(q)
	r.teller.End(q.ID)
	for _, b := range append(tabs, late) {
		if answer := b.untilAnswered(q); answer.Finish != "stop" {
			r.t.Errorf("%s sees the end %q", b.name, answer.Finish)
		}
	}
	r.check()
}

func moving(r *rig) {
	a := r.openAt("/ws/leaving/", 1)[0]
	q := r.long()
	defer r.teller.End(q.ID)
	a.do(a.ask(q))
	a.untilRunning(q)
	there := r.tab("there", a.user, a.prefix, a.id).at(r.node(2))
	before := len(r.teller.Of(q.ID)[0].Text)
	a.cut()
	const further = 300 // pieces: longer than the grace of five seconds for one who comes back
	r.teller.Wait(soon, func([]harness.Telling) bool {
		told := r.teller.Of(q.ID)[0]
		return told.Ended != 0 || len(told.Text) > before+further*len(q.Piece(1, 1))
	})
	if told := r.teller.Of(q.ID)[0]; told.Ended != 0 {
		r.t.Errorf("the answer was given up after %d pieces, while a tab at another node shows it", (len(told.Text)-before)/len(q.Piece(1, 1)))
	}
	there.cut()
	if !r.teller.Wait(soon, func([]harness.Telling) bool { return r.teller.Of(q.ID)[0].Ended != 0 }) {
		r.t.Error("the answer goes on although no tab is left")
	}
	r.check()
}

func renameElsewhere(r *rig, title chan struct{}) {
	user := r.id("user")
	creator := r.tab("creator", user, "/ws/titled/", "").at(r.node(1))
	id := creator.reply(creator.do(creator.send(history.Frame{Action: "create_conversation"}, nil))).Conversation
	a := r.tab("a", user, "/ws/titled/", id).at(r.node(1))
	b := r.tab("b", user, "/ws/titled/", id).at(r.node(2))
	q1, q2 := r.short(), r.short()
	a.do(a.ask(q1))
	a.untilAnswered(q1) // now the model is asked for a title
	b.reply(b.do(b.rename("MINE")))
	a.until("the name that was given at another node", func(v history.View) bool { return v.Title == "MINE" })
	close(title)
	a.do(a.ask(q2))
	a.untilAnswered(q2)
	for _, b := range []*tab{a, b} {
		b.reply(b.do(b.listTitles()))
	}
	r.check()
	if v := b.now(); v.Title != "MINE" {
		r.t.Errorf("the name is %q, want MINE", v.Title)
	}
}

func rateOverAll(r *rig) {
	tabs := r.openAt("/ws/rated/", 1, 2, 3)
	accepted := 0
	for i := range 5 {
		b, q := tabs[i%3], r.short()
		f := b.reply(b.do(b.ask(q)))
		switch {
		case f.Action == "error" && f.Reason == "rate_limited":
		case f.Action == "error":
			r.t.Errorf("question %d: %s", i+1, f.Reason)
		default:
			accepted++
			b.untilAnswered(q)
		}
	}
	if accepted != 2 {
		r.t.Errorf("%d questions were accepted, the rate is 2 an hour", accepted)
	}
	r.check()
}

func socketsOverAll(r *rig) {
	first := r.tab("first", r.id("user"), "/ws/single/", "").at(r.node(1))
	for _, n := range r.Nodes {
		second := r.tab("second", first.user, first.prefix, "")
		if err := second.connect(n.Caddy, n.Name); err == nil {
			r.t.Errorf("a second socket is opened at %s, where a user may have one", n.Name)
			second.cut()
		}
	}
	first.cut()
	again := r.tab("again", first.user, first.prefix, "")
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(soon); ; {
		err := again.connect(r.node(2).Caddy, r.node(2).Name)
		if err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			r.t.Fatalf("the user's only socket has ended, and another is refused: %v", err)
		}
	}
}

func operatorElsewhere(r *rig) {
	a := r.open(1)[0]
	q := r.long()
	defer r.teller.End(q.ID)
	a.do(a.ask(q))
	v := a.untilRunning(q)
	_, answers := r.admin(r.node(2), http.MethodGet, "/main/answers?user="+a.user)
	if n := items(answers); n != 1 {
		r.t.Errorf("node2 lists %d answers while node1 answers: %s", n, answers)
	}
	_, sockets := r.admin(r.node(2), http.MethodGet, "/main/sockets?user="+a.user)
	if n := items(sockets); n != 1 {
		r.t.Errorf("node2 lists %d sockets of a user who has one at node1: %s", n, sockets)
	}
	if status, body := r.admin(r.node(2), http.MethodDelete, "/main/answers/"+v.Running); status != http.StatusNoContent {
		r.t.Fatalf("node2 stops an answer of node1 with %d %s", status, body)
	}
	if answer := a.untilAnswered(q); answer.Finish != "stopped" {
		r.t.Errorf("the answer ends with %q", answer.Finish)
	}
	r.check()
}

// items counts what is in a list of the admin API.
func items(list string) int {
	var p struct{ Items []json.RawMessage }
	if err := json.Unmarshal([]byte(list), &p); err != nil {
		return -1
	}
	return len(p.Items)
}

// TestBudget: users on three nodes spend one budget. It may be overspent by what each answer under way reserves.
func TestBudget(t *testing.T) {
	t.Parallel()
	const budget, bound = 10_000, 3 * 2048
	r := newRig(t, setup{broker: firstBroker(), settings: fmt.Sprintf("budget %d/1h", budget)})
	r.limits = history.Limits{Budget: budget, Overshoot: bound}
	r.teller.Usage = func(pieces int) (input, output int) { return 100, 10 * pieces }
	user := r.id("user")
	var askers []*tab
	for i := range 6 {
		n := r.node(i + 1)
		askers = append(askers, r.tab("asker", user, harness.AssistantPath, r.create(n, user, harness.AssistantPath)).at(n))
	}
	spent := make(chan bool)
	for _, b := range askers {
		go func() { spent <- b.spend(t) }()
	}
	for range askers {
		if !<-spent {
			t.Error("an asker never comes to the end of the budget")
		}
	}
	r.check()
	used := 0
	for _, c := range must(r.stored("main", []string{user})) {
		for _, m := range c.Messages {
			if m.Usage != nil {
				used += m.Usage.Total
			}
		}
	}
	if used < budget/2 {
		t.Errorf("only %d tokens of %d could be used", used, budget)
	}
	t.Logf("%d tokens were used of a budget of %d over three nodes", used, budget)
}

// spend asks until the budget is used up, or tells that it never is. Each question costs 600 tokens.
func (b *tab) spend(t *testing.T) bool {
	for i := range 60 {
		q := harness.Question{ID: fmt.Sprintf("%s-%s-%d", b.id, b.name, i), Pieces: 50, Pace: time.Millisecond}
		ref, err := b.ask(q)
		if err != nil {
			t.Errorf("%s: %v", b.name, err)
			return false
		}
		var end history.Frame
		if err := b.wait(soon, func() bool {
			for _, f := range b.replies[ref] {
				if f.Action == "error" && f.Seq == 0 || f.Action == "complete_streaming" {
					end = f
					return true
				}
			}
			return false
		}); err != nil {
			t.Errorf("%s: a question gets neither an answer nor a refusal: %v", b.name, err)
			return false
		}
		if end.Reason == "budget_exceeded" || end.Finish == "budget" {
			return true
		}
	}
	return false
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/cluster/history"
	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// BenchmarkElsewhere measures what another node adds: a question is asked at node1, followed at node2 and stopped at
// node3; local is all of it at node1. Medians, in milliseconds: from the question to its first piece in the other tab,
// from a piece in the asker's tab to the same in the other, from the stop to the end of the model's request, and from
// the stop to the end in the asker's tab.
func BenchmarkElsewhere(b *testing.B) {
	for _, broker := range append([]string{"local"}, brokers()...) {
		b.Run(broker, func(b *testing.B) {
			r := newRig(b, setup{broker: map[bool]string{true: firstBroker(), false: broker}[broker == "local"]})
			at := []int{1, 2, 3}
			if broker == "local" {
				at = []int{1, 1, 1}
			}
			tabs := r.open(at...)
			measured := make(map[string][]time.Duration)
			for range 30 * b.N {
				r.measure(tabs[0], tabs[1], tabs[2], measured)
			}
			b.ReportMetric(0, "ns/op")
			for name, all := range measured {
				slices.Sort(all)
				b.ReportMetric(all[len(all)/2].Seconds()*1000, name+"_ms")
			}
		})
	}
}

// measure asks one question, and stops its answer once the other tab has some of it.
func (r *rig) measure(asker, other, stopper *tab, measured map[string][]time.Duration) {
	q := r.long()
	asker.do(asker.ask(q))
	const pieces = 20
	for _, b := range []*tab{other, stopper} {
		b.until("pieces", func(v history.View) bool {
			return v.Running != "" && v.Question().Content == q.String() && len(v.Text) > pieces*len(q.Piece(1, 1))
		})
	}
	stopper.do(stopper.stop())
	for _, b := range []*tab{asker, other, stopper} {
		b.untilAnswered(q)
	}
	r.teller.Wait(soon, func([]harness.Telling) bool { return r.teller.Of(q.ID)[0].Ended != 0 })
	note := func(name string, d time.Duration) { measured[name] = append(measured[name], d) }
	r.times(q, asker, other, stopper, note)
	note("stop_to_model", r.teller.Of(q.ID)[0].Ended-r.last(stopper, history.Sent, "stop_streaming").At)
}

// times notes how long things took, by what was written down.
func (r *rig) times(q harness.Question, asker, other, stopper *tab, note func(string, time.Duration)) {
	asked := r.last(asker, history.Sent, "send_message").At
	shown := make(map[uint64]time.Duration) // at the asker, by seq
	first := true
	for _, e := range r.Entries() {
		if e.At < asked || e.Kind != history.Received || e.Action != "streaming" {
			continue
		}
		switch e.Client {
		case asker.name:
			shown[e.Seq] = e.At
		case other.name:
			if first {
				note("question_to_other_tab", e.At-asked)
				first = false
			}
			if at, ok := shown[e.Seq]; ok {
				note("piece_to_other_tab", e.At-at)
			}
		}
	}
	note("stop_to_asker", r.last(asker, history.Received, "complete_streaming").At-r.last(stopper, history.Sent, "stop_streaming").At)
}

// last is the last entry of that kind.
func (r *rig) last(b *tab, kind history.Kind, action string) history.Entry {
	entries := r.Entries()
	for _, e := range slices.Backward(entries) {
		if e.Client == b.name && e.Kind == kind && e.Action == action {
			return e
		}
	}
	r.t.Fatalf("%s has no %s %s", b.name, kind, action)
	return history.Entry{}
}

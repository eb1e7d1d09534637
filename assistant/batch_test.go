package assistant

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// TestBatch: a stretch of a log comes back from a batch as it was, each piece apart, whatever is between them.
func TestBatch(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		var events []Event
		for seq := seed + 1; seq < seed+2+random.Uint64N(30); seq++ {
			e := Event{Seq: seq, Kind: KindPiece, Run: "r", Text: strings.Repeat("ä€😀x", random.IntN(3)) + "\x00\n"}
			switch random.IntN(8) {
			case 0:
				e.Kind = KindReasoning
			case 1:
				e.Run = "s"
			case 2:
				e = Event{Seq: seq, Kind: KindNotice, Run: "r", Body: Notice{NoticeQueued}}
			case 3:
				e = Event{Seq: seq, Kind: KindReplaced, Run: "r", Body: Replaced{From: "m"}}
			}
			events = append(events, e)
		}
		b, err := NewBatch("epoch", events)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Events()
		if err != nil || !reflect.DeepEqual(got, events) {
			t.Fatalf("seed %d: %v\n%s\ncame back as\n%+v\nnot\n%+v", seed, err, b.Data, got, events)
		}
	}
}

// TestBatchInvalidText: a piece that is no valid UTF-8 does not move the others, not even where two make a character.
func TestBatchInvalidText(t *testing.T) {
	b, err := NewBatch("", []Event{{Seq: 1, Kind: KindPiece, Text: "a\xff"}, {Seq: 2, Kind: KindPiece, Text: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Events()
	if err != nil || got[0].Text != "a\uFFFD" || got[1].Text != "b" {
		t.Errorf("got %+v, %v", got, err)
	}
	b, err = NewBatch("", []Event{{Seq: 1, Kind: KindPiece, Text: "a\xc3"}, {Seq: 2, Kind: KindPiece, Text: "\xa9"}, {Seq: 3, Kind: KindPiece, Text: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err = b.Events()
	if err != nil || got[0].Text != "a\uFFFD" || got[1].Text != "\uFFFD" || got[2].Text != "b" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestBatchOfMany: many pieces are joined without a copy for each.
func TestBatchOfMany(t *testing.T) {
	events := make([]Event, 100_000)
	for i := range events {
		events[i] = Event{Seq: uint64(i + 1), Kind: KindPiece, Text: "piece"}
	}
	allocs := testing.AllocsPerRun(1, func() {
		if _, err := NewBatch("", events); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 1000 {
		t.Errorf("%d pieces took %v allocations", len(events), allocs)
	}
}

// TestBatchBad: a gap is refused when a batch is made, and what does not fit its numbers when it is read.
func TestBatchBad(t *testing.T) {
	if _, err := NewBatch("", []Event{{Seq: 1, Kind: KindPiece}, {Seq: 3, Kind: KindPiece}}); err == nil {
		t.Error("a gap was taken")
	}
	for _, data := range []string{`{`, `[]`, `[{"kind":"piece","text":"ab","cuts":[1,2]}]`, `[{"kind":"piece","text":"ab","cuts":[-1,2]}]`,
		`[{"kind":"piece","text":"ab","cuts":[1,1]},{"kind":"piece"}]`, `[{"kind":"hologram"}]`} {
		if got, err := (Batch{First: 1, Last: 2, Data: []byte(data)}).Events(); err == nil {
			t.Errorf("%s was read as %d events", data, len(got))
		}
	}
}

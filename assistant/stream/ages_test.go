package stream

import (
	"testing"
	"time"
)

// TestAges holds that ages are kept as precisely as asked for, and are forgotten oldest first.
func TestAges(t *testing.T) {
	var a Ages
	start := time.Unix(0, 0)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	if _, ok := a.Oldest(); ok || a.Forget(at(0)) != 0 {
		t.Error("an empty one has ages")
	}
	for n := range 100 { // ten entries have one age, that of the last
		a.Note(uint64(n+1), at(n), 10*time.Second)
	}
	if len(a.marks) != 10 {
		t.Errorf("%d ages are kept", len(a.marks))
	}
	for _, test := range []struct {
		until  int
		seq    uint64
		oldest int
	}{{8, 0, 9}, {9, 10, 19}, {30, 30, 39}, {30, 0, 39}} {
		if seq := a.Forget(at(test.until)); seq != test.seq {
			t.Errorf("until %d: %d, want %d", test.until, seq, test.seq)
		}
		if oldest, _ := a.Oldest(); !oldest.Equal(at(test.oldest)) {
			t.Errorf("until %d: the oldest is of %v", test.until, oldest)
		}
	}
	if a.Forget(at(1000)) != 100 || a.marks != nil {
		t.Error("something is left")
	}
}

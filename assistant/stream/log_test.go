package stream_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/caddy-assistant/caddy-assistant/assistant/stream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func length(s string) int { return len(s) }

// read returns all that log holds after a number, at most room entries.
func read(log *stream.Log[string], after uint64, room int) ([]string, error) {
	entries, err := log.Read(after, make([]stream.Entry[string], 0, room))
	var values []string
	for i, e := range entries {
		if e.Seq != after+uint64(i)+1 {
			return nil, errors.New("numbers have a gap")
		}
		values = append(values, e.Value)
	}
	return values, err
}

func TestAppendRead(t *testing.T) {
	log := stream.New(100, length)
	if got := log.Last(); got != 0 {
		t.Errorf("last of an empty log is %d", got)
	}
	for i, value := range []string{"a", "b", "", "d"} {
		if seq := log.Append(value); seq != uint64(i)+1 || log.Last() != seq {
			t.Errorf("%q has number %d, last is %d", value, seq, log.Last())
		}
	}
	for _, test := range []struct {
		after uint64
		room  int
		want  []string
	}{
		{0, 10, []string{"a", "b", "", "d"}},
		{0, 2, []string{"a", "b"}},
		{2, 10, []string{"", "d"}},
		{3, 1, []string{"d"}},
		{4, 10, nil},
		{5, 10, nil},      // beyond the end: not there yet
		{1 << 63, 1, nil}, // far beyond
		{0, 0, nil},       // no room
	} {
		if got, err := read(log, test.after, test.room); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("after %d with room for %d: got %q, %v; want %q", test.after, test.room, got, err, test.want)
		}
	}
}

// TestReadAppends shows that Read fills the free capacity of dst and keeps its contents.
func TestReadAppends(t *testing.T) {
	log := stream.New(100, length)
	log.Append("a")
	log.Append("b")
	dst := append(make([]stream.Entry[string], 0, 2), stream.Entry[string]{Seq: 99, Value: "kept"})
	got, err := log.Read(0, dst)
	want := []stream.Entry[string]{{Seq: 99, Value: "kept"}, {Seq: 1, Value: "a"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestTrim(t *testing.T) {
	log := stream.New(100, length)
	log.Trim(5) // of an empty log: nothing happens
	for _, value := range []string{"a", "b", "c"} {
		log.Append(value)
	}
	log.Trim(2)
	log.Trim(1) // already gone
	for after := range uint64(2) {
		if got, err := read(log, after, 9); !errors.Is(err, stream.ErrGone) || got != nil {
			t.Errorf("after %d: got %q, %v", after, got, err)
		}
	}
	if got, err := read(log, 2, 9); err != nil || !slices.Equal(got, []string{"c"}) {
		t.Errorf("got %q, %v", got, err)
	}
	log.Trim(1 << 63) // more than there is: drops all, and no number is used twice
	if got, err := read(log, 3, 9); err != nil || got != nil || log.Last() != 3 {
		t.Errorf("got %q, %v; last is %d", got, err, log.Last())
	}
	if seq := log.Append("d"); seq != 4 {
		t.Errorf("numbers go on with %d", seq)
	}
	if got, err := read(log, 3, 9); err != nil || !slices.Equal(got, []string{"d"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestHolds shows that Holds agrees with Read about whether everything after a number is there.
func TestHolds(t *testing.T) {
	log := stream.New(100, length)
	if !log.Holds(0) {
		t.Error("an empty log lacks something")
	}
	for _, value := range []string{"a", "b", "c"} {
		log.Append(value)
	}
	log.Trim(2)
	for after := range uint64(6) {
		if _, err := read(log, after, 9); log.Holds(after) != (err == nil) || log.Holds(after) != (after >= 2) {
			t.Errorf("after %d: holds %v, read says %v", after, log.Holds(after), err)
		}
	}
}

// TestBound shows which entries are kept at the bound: the newest that fit, and always the newest one.
func TestBound(t *testing.T) {
	log := stream.New(10, length)
	for _, step := range []struct {
		value string
		want  []string
	}{
		{"aaaa", []string{"aaaa"}},
		{"bbbbbb", []string{"aaaa", "bbbbbb"}}, // exactly at the bound
		{"", []string{"aaaa", "bbbbbb", ""}},
		{"c", []string{"bbbbbb", "", "c"}},
		{"dddddddddd", []string{"dddddddddd"}},
		{"eeeeeeeeeeeeeeeeeeee", []string{"eeeeeeeeeeeeeeeeeeee"}}, // alone, though too large
		{"", []string{""}},
		{"fffff", []string{"", "fffff"}},
		{"ggggg", []string{"", "fffff", "ggggg"}},
	} {
		seq := log.Append(step.value)
		first := seq - uint64(len(step.want))
		if got, err := read(log, first, 99); err != nil || !slices.Equal(got, step.want) {
			t.Errorf("after %q: got %q, %v; want %q", step.value, got, err, step.want)
		}
		if first > 0 {
			if _, err := read(log, first-1, 99); !errors.Is(err, stream.ErrGone) {
				t.Errorf("after %q: number %d is not gone: %v", step.value, first, err)
			}
		}
	}
}

// TestBoundAfterTrim shows that trimming makes room.
func TestBoundAfterTrim(t *testing.T) {
	log := stream.New(3, length)
	for range 100 {
		log.Append("x")
		log.Append("y")
		if got, err := read(log, log.Last()-2, 9); err != nil || !slices.Equal(got, []string{"x", "y"}) {
			t.Fatalf("got %q, %v", got, err)
		}
		log.Trim(log.Last() - 1)
		if got, err := read(log, log.Last()-1, 9); err != nil || !slices.Equal(got, []string{"y"}) {
			t.Fatalf("got %q, %v", got, err)
		}
		log.Trim(log.Last())
	}
}

func TestWatch(t *testing.T) {
	log := stream.New(100, length)
	var a, b int
	stopA := log.Watch(func() { a++ })
	log.Append("1")
	stopB := log.Watch(func() {
		b++
		if _, err := read(log, 0, 9); err != nil { // a watcher may use the log
			t.Error(err)
		}
	})
	log.Append("2")
	stopA()
	stopA() // a second call does nothing
	log.Append("3")
	stopB()
	log.Append("4")
	if a != 2 || b != 2 {
		t.Errorf("watchers were notified %d and %d times, want 2 and 2", a, b)
	}
}

// TestWatchSameFunc shows that stopping one of two equal watchers leaves the other.
func TestWatchSameFunc(t *testing.T) {
	log := stream.New(100, length)
	n := 0
	count := func() { n++ }
	stop := log.Watch(count)
	defer log.Watch(count)()
	log.Append("1")
	stop()
	log.Append("2")
	if n != 3 {
		t.Errorf("notified %d times, want 3", n)
	}
}

// TestWatchFromWatcher shows that a watcher may add and stop watchers.
func TestWatchFromWatcher(t *testing.T) {
	log := stream.New(100, length)
	outer, inner := 0, 0
	var stop func()
	stop = log.Watch(func() {
		outer++
		stop()
		log.Watch(func() { inner++ })
	})
	log.Append("1")
	log.Append("2")
	if outer != 1 || inner != 1 {
		t.Errorf("notified %d and %d times, want once each", outer, inner)
	}
}

// TestFollowers checks the package's promise with many appenders and readers at once. Every reader sees every
// number once and in order, or gets ErrGone. All readers see the same entry under a number. A watcher that
// is notified can read the new entry.
func TestFollowers(t *testing.T) {
	for _, test := range []struct {
		name     string
		maxBytes int
		gone     bool // readers may be too slow
	}{
		{"all is kept", 1 << 30, false},
		{"bounded", 64, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { follow(t, test.maxBytes, test.gone) })
		})
	}
}

const (
	appenders = 4
	readers   = 8
	each      = 500 // values of one appender
)

type value struct{ appender, n int }

func follow(t *testing.T, maxBytes int, mayBeGone bool) {
	t.Helper()
	log := stream.New(maxBytes, func(value) int { return 1 })
	var seen [appenders*each + 1]atomic.Pointer[value]
	var followers, writers sync.WaitGroup
	for range readers {
		signal := make(chan struct{}, 1)
		stop := log.Watch(func() {
			select {
			case signal <- struct{}{}:
			default:
			}
		})
		followers.Go(func() {
			defer stop()
			dst := make([]stream.Entry[value], 0, 1+rand.IntN(50))
			next := [appenders]int{}
			for cursor := uint64(0); cursor < appenders*each; {
				entries, err := log.Read(cursor, dst)
				if errors.Is(err, stream.ErrGone) && mayBeGone {
					cursor = log.Last() - 1 // skip the lost entries and go on with the newest
					continue
				}
				if err != nil {
					t.Errorf("read after %d: %v", cursor, err)
					return
				}
				for _, e := range entries {
					if e.Seq != cursor+1 {
						t.Errorf("number %d after %d", e.Seq, cursor)
						return
					}
					cursor = e.Seq
					v := e.Value
					if first := seen[e.Seq].Swap(&v); first != nil && *first != v {
						t.Errorf("number %d is %v and %v", e.Seq, *first, v)
					}
					if expected := next[v.appender]; v.n < expected || v.n > expected && !mayBeGone {
						t.Errorf("value %d of an appender where %d belongs", v.n, expected)
					}
					next[v.appender] = v.n + 1
				}
				if len(entries) == 0 {
					<-signal // synctest reports a deadlock if a watcher is not notified
				}
			}
		})
	}
	var numbers [appenders*each + 1]atomic.Int32
	for i := range appenders {
		writers.Go(func() {
			last := uint64(0)
			for n := range each {
				seq := log.Append(value{i, n})
				if numbers[seq].Add(1) != 1 || seq <= last {
					t.Errorf("number %d after %d was given %d times", seq, last, numbers[seq].Load())
				}
				last = seq
			}
		})
	}
	writers.Wait()
	followers.Wait()
	if got := log.Last(); got != appenders*each {
		t.Errorf("last is %d, want %d", got, appenders*each)
	}
}

// TestTrimWhileReading checks that no reader loses its place when several readers trim at once.
func TestTrimWhileReading(t *testing.T) {
	log := stream.New(1<<30, length)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				log.Trim(log.Append("x") - 1)
			}
		})
	}
	wg.Wait()
	if got, err := read(log, log.Last(), 9); err != nil || got != nil || log.Last() != 2000 {
		t.Errorf("got %q, %v; last is %d", got, err, log.Last())
	}
}

// TestDroppedIsFree checks that the log does not keep dropped entries alive.
func TestDroppedIsFree(t *testing.T) {
	log := stream.New(1<<20, func(*[64]byte) int { return 64 })
	var entries []weak.Pointer[[64]byte]
	for range 10 {
		e := new([64]byte)
		entries = append(entries, weak.Make(e))
		log.Append(e)
	}
	log.Trim(9)
	runtime.GC()
	for i, e := range entries {
		if dropped := i < 9; (e.Value() == nil) != dropped {
			t.Errorf("entry %d: dropped %v, freed %v", i+1, dropped, e.Value() == nil)
		}
	}
	runtime.KeepAlive(log)
}

// BenchmarkAppendFollow appends pieces that a number of followers read, each woken by its watcher.
func BenchmarkAppendFollow(b *testing.B) {
	for _, bench := range []struct {
		name      string
		followers int
	}{{"0", 0}, {"1", 1}, {"10", 10}} {
		b.Run(bench.name, func(b *testing.B) {
			log := stream.New(1<<20, length)
			var wg sync.WaitGroup
			end := make(chan struct{})
			for range bench.followers {
				signal := make(chan struct{}, 1)
				stop := log.Watch(func() {
					select {
					case signal <- struct{}{}:
					default:
					}
				})
				wg.Go(func() {
					defer stop()
					dst := make([]stream.Entry[string], 0, 256)
					for cursor := uint64(0); ; {
						entries, err := log.Read(cursor, dst)
						switch {
						case err != nil:
							cursor = log.Last()
						case len(entries) > 0:
							cursor = entries[len(entries)-1].Seq
						default:
							select {
							case <-signal:
							case <-end:
								return
							}
						}
					}
				})
			}
			b.ReportAllocs()
			for b.Loop() {
				log.Append(" piece")
			}
			close(end)
			wg.Wait()
		})
	}
}

// TestNewAt: a log may begin after any number, and what is before it can be put back.
func TestNewAt(t *testing.T) {
	log := stream.NewAt(3, 10, length)
	if log.Last() != 3 || log.First() != 3 || log.Holds(2) || !log.Holds(3) {
		t.Errorf("it begins at %d, ends at %d", log.First(), log.Last())
	}
	if seq := log.Append("d"); seq != 4 {
		t.Errorf("the first entry has number %d", seq)
	}
	if _, err := read(log, 2, 9); !errors.Is(err, stream.ErrGone) {
		t.Errorf("before its begin: %v", err)
	}
	for _, test := range []struct {
		before  uint64
		entries []string
		done    bool
	}{
		{2, []string{"b"}, false},                // another place
		{3, []string{"0123456789"}, false},       // too large
		{3, []string{"", "", "", "", ""}, false}, // more than there can be
		{3, []string{"b", "c"}, true},
		{1, nil, true},
	} {
		if done := log.Prepend(test.before, test.entries); done != test.done {
			t.Errorf("prepend %q before %d: %v", test.entries, test.before, done)
		}
	}
	if got, err := read(log, 1, 9); err != nil || !slices.Equal(got, []string{"b", "c", "d"}) {
		t.Errorf("got %q, %v", got, err)
	}
	log.Append("12345678") // the bound counts what was put back
	if log.Holds(1) || !log.Holds(2) {
		t.Error("the bound does not count what was put back")
	}
}

// TestEnd: a log that has ended holds nothing for anybody, and its watchers are told.
func TestEnd(t *testing.T) {
	log := stream.New(10, length)
	log.Append("a")
	told := 0
	log.Watch(func() { told++ })
	log.End()
	if _, err := read(log, 0, 9); !errors.Is(err, stream.ErrGone) || told != 1 || log.Holds(1) {
		t.Errorf("reading returns %v; told %d times", err, told)
	}
	if err := log.Each(1, func(uint64, string) bool { return true }); !errors.Is(err, stream.ErrGone) {
		t.Errorf("reading returns %v", err)
	}
}

// TestWatchAndWork holds who is told what: nobody by Put, all by Append, and by Notify(true) the first 16 may work,
// after the others were woken.
func TestWatchAndWork(t *testing.T) {
	log := stream.New(1000, length)
	var calls []string
	for i := range 20 {
		log.WatchAndWork(func() { calls = append(calls, fmt.Sprint("wake ", i)) }, func() { calls = append(calls, fmt.Sprint("work ", i)) })
	}
	if log.Put("1"); len(calls) > 0 {
		t.Errorf("Put told %q", calls)
	}
	log.Notify(true)
	if len(calls) != 20 || calls[3] != "wake 16" || calls[4] != "work 15" || calls[19] != "work 0" {
		t.Errorf("Notify told %q", calls)
	}
	calls = nil
	log.Append("2")
	if len(calls) != 20 || slices.ContainsFunc(calls, func(c string) bool { return strings.HasPrefix(c, "work") }) {
		t.Errorf("Append told %q", calls)
	}
}

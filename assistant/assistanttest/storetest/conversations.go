package storetest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// conversationTests are about conversations as a whole: how they are owned, listed and removed.
var conversationTests = []storeCase{
	{"Create", testCreate},
	{"List", testList},
	{"ListOwners", testListOwners},
	{"Rename", testRename},
	{"RenameFrom", testRenameFrom},
	{"Delete", testDelete},
	{"DeleteBefore", testDeleteBefore},
	{"Owners", testOwners},
	{"OddIDs", testOddIDs},
	{"OddOwners", testOddOwners},
	{"Times", testTimes},
	{"Cancelled", testCancelled},
	{"Closed", testClosed},
}

func testCreate(t storeTest) {
	c := assistant.Conversation{ID: uuid.NewString(), Title: "A title", CreatedAt: at(1), UpdatedAt: at(2)}
	t.must(t.Create(t.Context(), "alice", c))
	t.same(t.load("alice", c.ID), conversation{c, []assistant.Message{}})

	other := c
	other.Title = "Another"
	for _, owner := range []string{"alice", "bob"} {
		if err := t.Create(t.Context(), owner, other); err == nil {
			t.Errorf("%s created an id that exists", owner)
		}
	}
	t.same(t.load("alice", c.ID).Conversation, c)
}

func testList(t storeTest) {
	var want []assistant.Conversation // the last updated first; three share each time
	for n := range 12 {
		want = append(want, t.create("alice", n/3))
	}
	newestFirst(want)
	for _, limit := range []int{1, 2, 3, 5, 11, 12, 13, 1000} {
		got := []assistant.Conversation{}
		var after assistant.Conversation
		for {
			page, err := t.List(t.Context(), "alice", after, limit)
			t.must(err)
			got = append(got, page...)
			if len(page) > limit || len(got) > len(want) {
				t.Fatalf("limit %d: got %d, %d in all", limit, len(page), len(got))
			}
			if len(page) < limit {
				break
			}
			after = page[len(page)-1]
		}
		t.same(got, want)
	}

	// The cursor is a position: what it names may be gone, and nothing else of it is looked at.
	t.must(t.Delete(t.Context(), "alice", want[4].ID))
	page, err := t.List(t.Context(), "alice", assistant.Conversation{ID: want[4].ID, UpdatedAt: want[4].UpdatedAt}, 3)
	t.must(err)
	t.same(page, want[5:8])

	// The one that was updated last comes first.
	_, a := t.ask("alice", want[11].ID, "Hi", "", 50)
	first, err := t.List(t.Context(), "alice", assistant.Conversation{}, 1)
	t.must(err)
	want[11].UpdatedAt = at(50)
	t.same(first, want[11:])
	t.finish("alice", want[11].ID, a, "Hello", 60)
	first, err = t.List(t.Context(), "alice", assistant.Conversation{}, 1)
	t.must(err)
	want[11].UpdatedAt = at(60)
	t.same(first, want[11:])
}

func testListOwners(t storeTest) {
	alice, bob := t.create("alice", 1), t.create("bob", 2)
	t.create("", 3)
	for owner, want := range map[string][]assistant.Conversation{"alice": {alice}, "bob": {bob}, "": {}, "carol": {}, "Alice": {}, "alice ": {}} {
		got, err := t.List(t.Context(), owner, assistant.Conversation{}, 10)
		t.must(err)
		t.same(listed(got), want)
	}
}

func testRename(t storeTest) {
	c := t.create("alice", 1)
	for _, title := range []string{"Round trip", "", "Umläute, 漢字, \U0001F600, e\u0301, \"quotes\", 'n' \\ back\nlines"} {
		got, err := t.Rename(t.Context(), "alice", c.ID, title, nil)
		t.must(err)
		c.Title = title
		t.same(got, c)
		t.same(t.load("alice", c.ID).Conversation, c)
	}
}

// testRenameFrom renames only where the title is still the one that was read.
func testRenameFrom(t storeTest) {
	c := t.create("alice", 1)
	for _, title := range []string{"First", "ünd", "", "First", "First"} {
		for _, wrong := range []string{c.Title + " ", "first", "%", "\x00", "\uFFFD"} {
			_, err := t.Rename(t.Context(), "alice", c.ID, title, &wrong)
			t.want(assistant.ErrStale, err)
			t.same(t.load("alice", c.ID).Conversation, c)
		}
		got, err := t.Rename(t.Context(), "alice", c.ID, title, new(c.Title))
		t.must(err)
		c.Title = title
		t.same(got, c)
		t.same(t.load("alice", c.ID).Conversation, c)
	}
}

func testDelete(t storeTest) {
	c, other := t.create("alice", 1), t.create("alice", 2)
	t.ask("alice", c.ID, "Hi", "client-1", 3)
	t.ask("alice", other.ID, "Hi", "client-1", 3)
	before := t.load("alice", other.ID)
	t.must(t.Delete(t.Context(), "alice", c.ID))
	t.want(assistant.ErrNotFound, t.Delete(t.Context(), "alice", c.ID))
	for _, v := range verbs { // the claim was taken before
		t.want(assistant.ErrNotFound, v.call(t.Context(), t, target{owner: "alice", id: c.ID, message: uuid.NewString()}))
	}
	t.same(t.load("alice", other.ID), before)

	// Nothing is left of it that a new one would inherit.
	t.must(t.Create(t.Context(), "bob", c))
	t.holds("bob", c.ID)
	t.ask("bob", c.ID, "Hi", "client-1", 4)
}

func testDeleteBefore(t storeTest) {
	old := make(map[string]string) // id → owner
	for range 20 {
		for _, owner := range []string{"alice", "bob", ""} {
			old[t.create(owner, 1).ID] = owner
		}
	}
	finished, streaming := t.create("alice", 0), t.create("alice", 0)
	_, a := t.ask("alice", finished.ID, "Hi", "", 1)
	t.finish("alice", finished.ID, a, "Hello", 1)
	old[finished.ID] = "alice"
	_, a = t.ask("alice", streaming.ID, "Hi", "", 1)
	boundary, young := t.create("alice", 2), t.create("", 3)

	for _, limit := range []int{0, 1, 10, 39, 11, 11} { // 61 are to go
		want := min(limit, len(old))
		for _, c := range t.deleteBefore(2, limit, want) {
			t.same(c.Owner, old[c.ID])
			_, err := t.Conversation(t.Context(), c.Owner, c.ID)
			t.want(assistant.ErrNotFound, err)
			delete(old, c.ID)
		}
		for id, owner := range old {
			t.load(owner, id)
		}
	}
	t.load("alice", boundary.ID)
	t.load("", young.ID)
	t.finish("alice", streaming.ID, a, "Hello", 1)
	t.same(t.deleteBefore(2, 5, 1), []assistant.Owned{{Owner: "alice", ID: streaming.ID}})
	t.deleteBefore(2, 5, 0)
}

// deleteBefore deletes what was updated less than n seconds after storeEpoch, and returns it. It is to be so many.
func (t storeTest) deleteBefore(n, limit, want int) []assistant.Owned {
	t.Helper()
	deleted, err := t.DeleteBefore(t.Context(), at(n), limit)
	t.must(err)
	slices.SortFunc(deleted, byID)
	if len(slices.Compact(slices.Clone(deleted))) != want {
		t.Fatalf("deleted %v, want %d", deleted, want)
	}
	return deleted
}

func byID(a, b assistant.Owned) int { return cmp.Compare(a.ID, b.ID) }

// testOwners tries every method on a conversation of another owner, on an anonymous one and on none.
func testOwners(t storeTest) {
	for _, owner := range []string{"alice", ""} {
		c := t.create(owner, 1)
		q, a := t.ask(owner, c.ID, "Hi", "client-1", 2)
		t.extend(owner, c.ID, &a, text("Hel"))
		before := t.load(owner, c.ID)
		for _, v := range verbs {
			for _, stranger := range []string{"bob", "", "alice", "Alice", "alice\x00"} {
				if stranger == owner {
					continue
				}
				for _, messageID := range []string{q.ID, a.ID} {
					if err := v.call(t.Context(), t, target{stranger, c.ID, messageID, a.ID}); !errors.Is(err, assistant.ErrNotFound) {
						t.Errorf("%s of %q by %q: got error %v", v.name, owner, stranger, err)
					}
				}
			}
			if err := v.call(t.Context(), t, target{owner, uuid.NewString(), a.ID, a.ID}); !errors.Is(err, assistant.ErrNotFound) {
				t.Errorf("%s of nothing: got error %v", v.name, err)
			}
		}
		t.same(t.load(owner, c.ID), before)
	}
}

// oddIDs are what clients may send where an ID belongs.
var oddIDs = []string{
	"", " ", "1", "%", "_", "null", "' OR '1'='1", `"; DROP TABLE conversation; --`, "$1", "?", "\x00", "a\x00b", "\xff\xfe", "\U0001F600",
	"00000000-0000-0000-0000-000000000000", strings.Repeat("x", 100_000),
}

func testOddIDs(t storeTest) {
	c := t.create("alice", 1)
	q, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	before := t.load("alice", c.ID)
	for _, id := range append([]string{strings.ToUpper(c.ID), c.ID + "\x00", c.ID + " ", q.ID, c.ID[:35] + "%"}, oddIDs...) {
		for _, v := range verbs {
			if err := v.call(t.Context(), t, target{"alice", id, a.ID, a.ID}); !errors.Is(err, assistant.ErrNotFound) {
				t.Errorf("%s of %.20q: got error %v", v.name, id, err)
			}
		}
	}
	for _, id := range append([]string{strings.ToUpper(a.ID), a.ID + "\x00", a.ID + " ", c.ID}, oddIDs...) {
		for _, v := range verbs {
			switch {
			case id == "" && !strings.HasPrefix(v.name, "Extend") && v.name != "Finish": // no message is meant
			case v.name == "Messages before", v.name == "Begin dropping", strings.HasPrefix(v.name, "Extend"), v.name == "Finish":
				if err := v.call(t.Context(), t, target{"alice", c.ID, id, a.ID}); !errors.Is(err, assistant.ErrNotFound) {
					t.Errorf("%s at %.20q: got error %v", v.name, id, err)
				}
			}
		}
	}
	t.same(t.load("alice", c.ID), before)
}

func testOddOwners(t storeTest) {
	owners := []string{
		"a", "A", "a ", "ä", "a\u0308", "a%", "'", "' OR '1'='1", "\U0001F600", strings.Repeat("x", 2000),
		"\uFFFD", "\x00", "\x00\x00", "a\x00", "a\uFFFD", "\xff", "\xfe",
	}
	mine := make(map[string]assistant.Conversation)
	for n, owner := range owners {
		c := assistant.Conversation{ID: uuid.NewString(), CreatedAt: at(n), UpdatedAt: at(n)}
		if err := t.Create(t.Context(), owner, c); err == nil {
			mine[owner] = c
		} else if n < 10 {
			t.Errorf("create for %q: %v", owner, err)
		}
	}
	for owner, c := range mine {
		t.same(t.load(owner, c.ID).Conversation, c)
		list, err := t.List(t.Context(), owner, assistant.Conversation{}, 100)
		t.must(err)
		t.same(list, []assistant.Conversation{c})
		for _, stranger := range owners {
			if _, err := t.Conversation(t.Context(), stranger, c.ID); stranger != owner && err == nil {
				t.Errorf("%q reads what is %q's", stranger, owner)
			}
		}
	}
}

// testTimes stores times of another zone and with more digits.
func testTimes(t storeTest) {
	zone := time.FixedZone("", -3*3600-1800)
	fine := time.Date(2026, 10, 25, 1, 2, 3, 456_789_123, zone)
	c := assistant.Conversation{ID: uuid.NewString(), CreatedAt: fine, UpdatedAt: fine.Add(time.Hour)}
	t.must(t.Create(t.Context(), "alice", c))
	b := assistant.Beginning{Question: question("Hi", "", 0), Answer: answer(0)}
	b.Question.CreatedAt, b.Answer.CreatedAt = fine, fine.Add(2*time.Hour)
	near := func(got, want time.Time) {
		t.Helper()
		if d := want.Sub(got).Abs(); d >= time.Millisecond || got.Location() != time.UTC {
			t.Errorf("got %v, want %v", got, want.UTC())
		}
	}
	near(t.load("alice", c.ID).CreatedAt, fine)
	near(t.load("alice", c.ID).UpdatedAt, fine.Add(time.Hour))
	t.must(t.begin("alice", c.ID, b))
	loaded := t.load("alice", c.ID)
	near(loaded.UpdatedAt, fine.Add(2*time.Hour))
	near(loaded.Messages[0].CreatedAt, fine)
	near(loaded.Messages[1].CreatedAt, fine.Add(2*time.Hour))
	b.Answer.Status = assistant.StatusComplete
	t.must(t.ledger.finish(t.Context(), t.Store, "alice", c.ID, assistant.Ending{At: fine.Add(3 * time.Hour), Messages: []assistant.Message{b.Answer}}))
	loaded = t.load("alice", c.ID)
	near(loaded.UpdatedAt, fine.Add(3*time.Hour))

	// What was read is a cursor, no matter how many digits were cut off.
	list, err := t.List(t.Context(), "alice", loaded.Conversation, 1)
	t.must(err)
	t.same(listed(list), []assistant.Conversation{})
}

// testCancelled calls every method with a context that is done.
func testCancelled(t storeTest) {
	c := t.create("alice", 1)
	_, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	before := t.load("alice", c.ID)
	errGone := errors.New("caller has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errGone)
	for _, v := range verbs {
		if err := v.call(ctx, t, target{"alice", c.ID, a.ID, a.ID}); !errors.Is(err, errGone) {
			t.Errorf("%s: got error %v", v.name, err)
		}
	}
	fresh := assistant.Conversation{ID: uuid.NewString(), CreatedAt: at(1), UpdatedAt: at(1)}
	t.want(errGone, t.Create(ctx, "alice", fresh))
	_, err := t.List(ctx, "alice", assistant.Conversation{}, 1)
	t.want(errGone, err)
	_, err = t.DeleteBefore(ctx, at(100), 10)
	t.want(errGone, err)

	_, err = t.Conversation(t.Context(), "alice", fresh.ID)
	t.want(assistant.ErrNotFound, err)
	t.same(t.load("alice", c.ID), before)
}

// testClosed calls every method after Close, and Close again.
func testClosed(t storeTest) {
	c := t.create("alice", 1)
	_, a := t.ask("alice", c.ID, "Hi", "client-1", 2)
	t.must(t.Close())
	for _, v := range verbs {
		if err := v.call(t.Context(), t, target{"alice", c.ID, a.ID, a.ID}); err == nil || errors.Is(err, assistant.ErrNotFound) {
			t.Errorf("%s: got error %v", v.name, err)
		}
	}
	if err := t.Create(t.Context(), "alice", assistant.Conversation{ID: uuid.NewString()}); err == nil {
		t.Error("created in a closed store")
	}
	if _, err := t.List(t.Context(), "alice", assistant.Conversation{}, 1); err == nil {
		t.Error("listed a closed store")
	}
	if _, err := t.DeleteBefore(t.Context(), at(100), 10); err == nil {
		t.Error("deleted from a closed store")
	}
}

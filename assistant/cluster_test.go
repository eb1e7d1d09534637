package assistant

import "testing"

// TestStandingOver: one announcement for two says no less than both.
func TestStandingOver(t *testing.T) {
	ann := Owned{Owner: "ann", ID: "1"}
	at := func(seq uint64, change ChangeKind) Standing {
		return Standing{Owned: ann, Cursor: Cursor{Epoch: "e", Seq: seq}, Holder: 7, Change: change}
	}
	deleted := Standing{Owned: ann, Deleted: true, Change: ChangeDeleted}
	for name, test := range map[string]struct{ before, next, want Standing }{
		"the first":             {Standing{}, at(1, ""), at(1, "")},
		"further":               {at(1, ""), at(2, ""), at(2, "")},
		"a change stays":        {at(1, ChangeCreated), at(2, ""), at(2, ChangeCreated)},
		"a change is newer":     {at(1, ChangeCreated), at(2, ChangeUpdated), at(2, ChangeUpdated)},
		"a place stays":         {at(1, ""), Standing{Owned: ann, Change: ChangeUpdated}, at(1, ChangeUpdated)},
		"deleted":               {at(1, ChangeUpdated), deleted, deleted},
		"deleted stays deleted": {deleted, Standing{Owned: ann}, deleted},
	} {
		if got := test.next.Over(test.before); got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}

package assistant

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// TestPartsJSON: every type of part comes back from its JSON as it was, its type first.
func TestPartsJSON(t *testing.T) {
	parts := Parts{
		TextPart{"<b> & \"x\""}, ReasoningPart{"because"}, ImagePart{"i", "image/png", "cat.png", 1, 2, 3}, FilePart{"f", "text/csv", "a.csv", 4, 0},
		SourcePart{"1", "https://example.com", "", "Example", 0, 5}, ToolCallPart{"c", "add", "Add", json.RawMessage(`{"a":1}`), "client", CallWaiting, WaitingForInput, time.Time{}, true, []Input{{"size", "Which?", json.RawMessage(`{}`), "https://example.com"}}, &Progress{1, 2, "half"}, true, true},
		ToolResultPart{"c", "2", json.RawMessage(`[2]`), false, true, FileParts{FilePart{"g", "application/pdf", "b.pdf", 5, 2}}},
	}
	_, variants := parts.Variants()
	if len(variants) != len(parts) {
		t.Fatalf("%d types of parts, the test has %d", len(variants), len(parts))
	}
	data, err := json.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	var got Parts
	if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, parts) {
		t.Errorf("%s came back as %+v, %v", data, got, err)
	}
	for i, p := range parts {
		if one, err := json.Marshal(p); err != nil || string(one[:9+len(p.Type())+1]) != `{"type":"`+p.Type()+`"` {
			t.Errorf("part %d: %s, %v", i, one, err)
		}
		if reflect.TypeOf(variants[i]) != reflect.TypeOf(p) {
			t.Errorf("part %d: %T is listed as %T", i, p, variants[i])
		}
	}
	if err := json.Unmarshal([]byte(`[{"type":"hologram"}]`), &got); err == nil {
		t.Error("an unknown type is taken")
	}
}

// TestSetParts: Content is the joined text, and Parts stays nil where it says no more.
func TestSetParts(t *testing.T) {
	for _, test := range []struct {
		name    string
		parts   Parts
		content string
		kept    bool
	}{
		{"nothing", nil, "", false},
		{"one text", Parts{TextPart{"a"}}, "a", false},
		{"two texts", Parts{TextPart{"a"}, TextPart{"b"}}, "ab", true},
		{"reasoning alone", Parts{ReasoningPart{"r"}}, "", true},
		{"reasoning and text", Parts{ReasoningPart{"r"}, TextPart{"a"}}, "a", true},
	} {
		var m Message
		m.SetParts(test.parts)
		if m.Content != test.content || (m.Parts != nil) != test.kept || !reflect.DeepEqual(m.AllParts(), test.parts) {
			t.Errorf("%s: %q, %v; all: %v", test.name, m.Content, m.Parts, m.AllParts())
		}
	}
}

// TestEventJSON: every kind of event comes back from its JSON as it was.
func TestEventJSON(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	c, key := Conversation{"c", "title", at, at}, RequestKey{1 << 63, 42}
	m := Message{ID: "m", Role: RoleAssistant, Content: "a", Parts: Parts{ReasoningPart{"r"}, TextPart{"a"}}, Model: "x", Status: StatusFailed,
		FinishReason: FinishError, Reason: ReasonProviderTimeout, Usage: &Usage{1, 2, 3, true}, CreatedAt: at}
	events := []Event{
		{1, KindAsked, "run", RequestKey{}, "", Asked{m}}, {2, KindStarted, "run", key, "", Started{Source{"p", "m"}, at, true, true}},
		{3, KindFellBack, "run", RequestKey{}, "", Source{"p", "m"}}, {4, KindReasoning, "run", RequestKey{}, "r", nil}, {5, KindPiece, "run", RequestKey{}, "<a>", nil},
		{6, KindNotice, "run", RequestKey{}, "", Notice{NoticeContextTrimmed}}, {0, KindFailed, "run", key, "", Failed{ReasonBusy, time.Second}},
		{8, KindCompleted, "run", RequestKey{}, "", Completed{FinishStop, &Usage{1, 2, 3, false}, at}}, {9, KindRenamed, "", key, "", Renamed{c}},
		{10, KindReplaced, "run", RequestKey{}, "", Replaced{"m", Snapshot{c, []Message{m}, true, &Running{"run", "a", "r", Parts{TextPart{"a"}}}}}}, {11, KindDeleted, "", key, "", Deleted{"c"}}, {0, KindJoined, "run", key, "", nil},
		{12, KindToolCall, "run", key, "", ToolCall{ToolCallPart{"c", "add", "Add", json.RawMessage(`{"a":1}`), "server", CallWaiting, WaitingForApproval, at, true, nil, nil, false, true}, true}},
		{13, KindToolArgs, "run", RequestKey{}, "", ToolArgs{"c", `{"a`}}, {15, KindPart, "run", RequestKey{}, "", Added{SourcePart{"1", "https://example.com", "", "Example", 0, 5}}}, {14, KindToolResult, "run", RequestKey{}, "", ToolResult{ToolResultPart{CallID: "c", Content: "2"}, time.Second, true}},
	}
	if len(events) != len(kindNames)-1 {
		t.Fatalf("%d kinds, the test has %d", len(kindNames)-1, len(events))
	}
	for _, e := range events {
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var got Event
		if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s came back as %+v, %v", data, got, err)
		}
	}
	for _, bad := range []string{`{"kind":"hologram"}`, `{"kind":"piece","from":"x-y"}`, `{"kind":"started","body":[]}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), new(Event)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

package endpoint

import (
	"slices"
	"strings"
	"testing"
)

// TestQuery: the document has the URL parameters that the configuration looks at, by either of their
// placeholders, each once.
func TestQuery(t *testing.T) {
	for _, test := range []struct {
		user, conversation string
		want               []string
	}{
		{"{http.auth.user.id}", "", nil},
		{"{http.auth.user.id}", "{http.request.uri.query.conversation}", []string{"conversation"}},
		{"{query.user}", "{query.tenant}-{query.room}", []string{"tenant", "room", "user"}},
		{"{query.id}", "{query.id}", []string{"id"}},
		{"{http.request.header.X-User}", "{http.request.uri.path.1}", nil},
	} {
		h := &Handler{User: test.user, Conversation: test.conversation}
		var got []string
		for _, p := range h.query() {
			got = append(got, p.Name)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("user %s, conversation %s: %q, want %q", test.user, test.conversation, got, test.want)
		}
	}
}

// TestHeaders: the document says which origins may connect.
func TestHeaders(t *testing.T) {
	for _, test := range []struct {
		origins []string
		want    string
	}{
		{nil, "Allowed: the site's own."},
		{[]string{"*"}, "Allowed: any."},
		{[]string{"https://a.example", "https://b.example"}, "Allowed: `https://a.example`, `https://b.example`."},
	} {
		got := (&Handler{Origins: test.origins}).headers()
		if len(got) != 1 || got[0].Name != "Origin" || !strings.HasSuffix(got[0].Schema.Description, test.want) {
			t.Errorf("origins %q: %v, want %s", test.origins, got[0].Schema.Description, test.want)
		}
	}
}

// TestRefusals: only a connection that can be bound can be refused for its conversation.
func TestRefusals(t *testing.T) {
	for conversation, want := range map[string]bool{"": false, "{query.c}": true} {
		if _, got := (&Handler{Conversation: conversation}).refusals()[404]; got != want {
			t.Errorf("conversation %q: 404 is documented: %t, want %t", conversation, got, want)
		}
	}
}

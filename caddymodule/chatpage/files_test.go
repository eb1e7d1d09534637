package chatpage

import "testing"

// TestFind finds files in folders too, wherever the page is.
func TestFind(t *testing.T) {
	all := files{"": {}, "a.js": {}, "texts/de.js": {}, "de.js": {}}
	for _, test := range []struct{ mount, path, want string }{
		{"", "/", ""},
		{"", "/chat/", ""},
		{"", "/chat/a.js", "a.js"},
		{"", "/a.js", "a.js"},
		{"", "/chat/texts/de.js", "texts/de.js"},
		{"", "/texts/de.js", "texts/de.js"},
		{"", "/chat/de.js", "de.js"},
		{"", "/chat/b.js", "none"},
		{"", "/chat", "none"},
		{"", "", "none"},
		{"/chat/", "/chat", ""},
		{"/chat/", "/chat/", ""},
		{"/chat/", "/chat/texts/de.js", "texts/de.js"},
		{"/chat/", "/chat/texts/", "none"},
		{"/chat/", "/chat/x/a.js", "none"},
		{"/chat/", "/chatter", "none"},
		{"/chat/", "/a.js", "none"},
		{"/", "/", ""},
		{"/", "/texts/de.js", "texts/de.js"},
		{"/", "/x/", "none"},
	} {
		name, found := (&ChatPage{Path: test.mount, files: all}).find(test.path)
		if found == nil {
			name = "none"
		}
		if name != test.want || found != all[name] {
			t.Errorf("%s at %q is %q, want %q", test.path, test.mount, name, test.want)
		}
	}
}

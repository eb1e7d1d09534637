package mcp

import (
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	good := func(change func(*Config)) Config {
		c := Config{Label: "shop", URL: "https://example.org/mcp"}
		change(&c)
		return c
	}
	command := func(c *Config) { c.URL, c.Command = "", []string{"npx", "server"} }
	for _, test := range []struct {
		change func(*Config)
		want   string // part of the error; "" = none
	}{
		{func(*Config) {}, ""},
		{command, ""},
		{func(c *Config) { c.Label = "my_Shop-2" }, ""},
		{func(c *Config) { c.Label = "" }, "label: expected"},
		{func(c *Config) { c.Label = "my__shop" }, "label: expected"},
		{func(c *Config) { c.Label = "shop_" }, "label: expected"},
		{func(c *Config) { c.Label = strings.Repeat("x", 33) }, "label: expected"},
		{func(c *Config) { c.URL = "" }, "found neither"},
		{func(c *Config) { c.Command = []string{"npx"} }, "found both"},
		{func(c *Config) { c.URL, c.Command = "", []string{""} }, "command: expected a program"},
		{func(c *Config) { c.URL = "https://user:canary@example.org" }, "url: expected"},
		{func(c *Config) { c.URL = "file:///canary" }, "url: expected"},
		{func(c *Config) { c.Env = map[string]string{"A": "canary"} }, "env: expected only with command"},
		{func(c *Config) { command(c); c.Env = map[string]string{"A": "canary"} }, ""},
		{func(c *Config) { command(c); c.Env = map[string]string{"A=B": "canary"} }, "env: expected a name"},
		{func(c *Config) { command(c); c.Env = map[string]string{"A": "canary\x00"} }, "env A: expected no NUL"},
		{func(c *Config) { command(c); c.Header = map[string]string{"A": "canary"} }, "header: expected only with url"},
		{func(c *Config) { c.Header = map[string]string{"Mcp-Session-Id": "canary"} }, "header: expected a name that is none of"},
		{func(c *Config) { c.Header = map[string]string{"X": "canary\n"} }, "header X: expected no control"},
		{func(c *Config) { c.Allow = []string{""} }, "allow: expected the names"},
		{func(c *Config) { c.Deny = []string{""} }, "deny: expected the names"},
		{func(c *Config) { c.Repeatable = []string{""} }, "repeatable: expected the names"},
		{func(c *Config) { c.Approve = []Rule{{Mode: "sometimes"}} }, "approve: expected never, always or writes"},
		{func(c *Config) { c.Approve = []Rule{{Mode: always, Tools: []string{""}}} }, "approve: expected the names"},
		{func(c *Config) { c.Timeout = -1 }, "timeout: expected no negative"},
		{func(c *Config) { c.Refresh = -1 }, "refresh: expected no negative"},
	} {
		_, err := New(good(test.change))
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("error %v, want %q", err, test.want)
		case err != nil && strings.Contains(err.Error(), "canary"):
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func TestNameOf(t *testing.T) {
	for tool, want := range map[string]string{
		"echo": "shop__echo", "A_b-9": "shop__A_b-9", "_x": "shop___x",
		strings.Repeat("x", 58): "shop__" + strings.Repeat("x", 58),
		strings.Repeat("x", 59): "shop__" + strings.Repeat("x", 49) + "_6e20a119",
		"a.b":                   "shop__a_b_2e7336dc", "a/b": "shop__a_b_c14cddc0", "": "shop___e3b0c442", "ü": "shop____607474ca",
	} {
		if got := nameOf("shop", tool); got != want {
			t.Errorf("%q: got %q, want %q", tool, got, want)
		}
	}
}

// FuzzNameOf expects that two tools never have one name, unless one is called like the other's changed name.
func FuzzNameOf(f *testing.F) {
	f.Add("a.b", "a_b")
	f.Add(strings.Repeat("x", 70), strings.Repeat("x", 71))
	f.Fuzz(func(t *testing.T, one, other string) {
		a, b := nameOf("shop", one), nameOf("shop", other)
		if len(a) > maxName || unfit.MatchString(a) {
			t.Errorf("%q: %q is no name", one, a)
		}
		if a == b && one != other && a != "shop__"+one && b != "shop__"+other {
			t.Errorf("%q and %q are both called %q", one, other, a)
		}
	})
}

func TestGlobs(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true}, {"*", "a/b.c", true}, {"get_*", "get_order", true}, {"get_*", "xget_order", false}, {"get", "get_order", false},
		{"?", "ü", true}, {"?", "ab", false}, {"a.c", "abc", false}, {"[ab]", "a", false}, {"[ab]", "[ab]", true}, {"*", "a\nb", true},
	} {
		if got := newGlobs([]string{test.pattern}).match(test.name); got != test.want {
			t.Errorf("%q matches %q: %v", test.pattern, test.name, got)
		}
	}
}

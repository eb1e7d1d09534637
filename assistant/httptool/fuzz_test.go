package httptool

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// fuzzed returns a call whose arguments are two texts and a JSON value, for a user of a name.
func fuzzed(a, b string, raw json.RawMessage, user string) assistant.Call {
	arguments, _ := json.Marshal(map[string]any{"a": a, "b": b, "any": raw})
	return assistant.Call{ID: "call_1", Name: "refund", Arguments: arguments, Peer: assistant.Peer{Resolve: strings.NewReplacer("{assistant.user}", user).Replace}}
}

// sent returns a text as JSON can say it.
func sent(text string) (back string) {
	encoded, _ := json.Marshal(text)
	_ = json.Unmarshal(encoded, &back)
	return back
}

var nasty = []string{
	"", ".", "..", "/", "a/b", "../..", `..\..`, "%2e%2e", "%2F", "?", "#", "&", "=", "a&b=c", ";", "@", ":", "//evil.example", `"`, `\`, `","x":"`,
	"\n", "\r\nX: y", "\x00", "\u2028", "é", "\xff", "{args.b}", "{assistant.user}", "}", "null", "1",
}

func seed(f *testing.F) {
	for i, a := range nasty {
		f.Add(a, nasty[(i+7)%len(nasty)], []byte(`{"a":[1,"x"]}`), nasty[(i+3)%len(nasty)])
	}
}

// FuzzURL expects that no value changes anything of a URL but its own place.
func FuzzURL(f *testing.F) {
	seed(f)
	address, err := newAddress("https://api.example.org:8443/v1/{args.a}/items/x{args.b}/{assistant.user}?q={args.a}&f=x-{args.b}&u={assistant.user}&j={args.any}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b string, raw []byte, user string) {
		if !json.Valid(raw) || user == "{assistant.user}" {
			return
		}
		v, err := newValues(fuzzed(a, b, raw, user))
		if err != nil {
			t.Fatal(err)
		}
		u, err := address.fill(v)
		if err != nil {
			return // refused
		}
		if u.Scheme != "https" || u.Host != "api.example.org:8443" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
			t.Fatalf("%s", u)
		}
		a, b, user = sent(a), sent(b), strings.ToValidUTF8(user, "\ufffd")
		segments := strings.Split(u.EscapedPath(), "/")
		if want := []string{"", "v1", escape(a), "items", "x" + escape(b), escape(user)}; !slices.Equal(segments, want) {
			t.Errorf("the path is %q, want %q", segments, want)
		}
		if strings.Count(path.Clean(strings.ReplaceAll(u.Path, `\`, "/")), "/") < 5 {
			t.Errorf("a server may take the path for %s", path.Clean(u.Path))
		}
		query, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			t.Fatal(err)
		}
		want := url.Values{"q": {a}, "f": {"x-" + b}, "u": {user}}
		delete(query, "j")
		if !reflect.DeepEqual(query, want) {
			t.Errorf("the query is %q, want %q", query, want)
		}
		if strings.ContainsFunc(u.String(), func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q is no URL", u)
		}
	})
}

// FuzzJSON expects that no value changes anything of a JSON body but its own place.
func FuzzJSON(f *testing.F) {
	seed(f)
	content, err := newJSON(parse(`{"s": "x {args.a} y", "v": {args.any}, "list": ["{args.b}", {args.a}, {"in": "{assistant.user}"}]}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b string, raw []byte, user string) {
		if !json.Valid(raw) || user == "{assistant.user}" {
			return
		}
		c := fuzzed(a, b, raw, user)
		v, err := newValues(c)
		if err != nil {
			t.Fatal(err)
		}
		text, err := content(v, c)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&got); err != nil || decoder.More() {
			t.Fatalf("%s: %v", text, err)
		}
		var value any
		decoder = json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
		a, b, user = sent(a), sent(b), strings.ToValidUTF8(user, "\ufffd")
		want := map[string]any{"s": "x " + a + " y", "v": value, "list": []any{b, a, map[string]any{"in": user}}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the body is %s, want %v", text, want)
		}
	})
}

// FuzzForm expects that no value changes anything of form fields but its own place.
func FuzzForm(f *testing.F) {
	seed(f)
	content, err := newForm(parse("q={args.a}&x=1&f=x-{args.b}&u={assistant.user}"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b string, _ []byte, user string) {
		if user == "{assistant.user}" {
			return
		}
		c := fuzzed(a, b, nil, user)
		v, err := newValues(c)
		if err != nil {
			t.Fatal(err)
		}
		text, err := content(v, c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := url.ParseQuery(string(text))
		a, b, user = sent(a), sent(b), strings.ToValidUTF8(user, "\ufffd")
		if want := (url.Values{"q": {a}, "x": {"1"}, "f": {"x-" + b}, "u": {user}}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("the body is %s, want %v, error %v", text, want, err)
		}
	})
}

// FuzzHeader expects that a header is refused, or has exactly what its value says.
func FuzzHeader(f *testing.F) {
	seed(f)
	template := parse("x {args.a}")
	f.Fuzz(func(t *testing.T, a, b string, _ []byte, user string) {
		v, err := newValues(fuzzed(a, b, nil, user))
		if err != nil {
			t.Fatal(err)
		}
		text, err := template.render(v, writeHeader)
		if _, refused := errors.AsType[*argumentError](err); refused {
			return
		}
		if err != nil || text != "x "+sent(a) || strings.ContainsAny(text, "\r\n\x00,;\"\\") {
			t.Errorf("the header is %q, error %v", text, err)
		}
	})
}

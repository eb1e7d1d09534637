package httptool

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
)

// address is a URL with placeholders in its path and query.
type address struct {
	origin string     // scheme://host:port
	path   []template // the segments behind each slash; nil = no path
	query  []template // the pairs; nil = no query
}

// beginning matches a URL up to its path or query.
var beginning = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+`)

func newAddress(text string) (*address, error) {
	t := parse(text)
	if len(t) == 0 || !t[0].isText() {
		return nil, errors.New("url: expected an http or https URL, found none that begins with its scheme and host")
	}
	a := &address{origin: beginning.FindString(t[0].text)}
	rest := t[0].text[len(a.origin):]
	if _, err := outbound.ParseURL(a.origin); err != nil {
		return nil, err
	}
	if rest == "" && len(t) > 1 {
		return nil, errors.New("url: expected placeholders only behind the host and port, in the path and query")
	}
	t[0].text = rest
	parts := t.split("?")
	a.path = parts[0].split("/")[1:] // it begins with a slash, or is empty
	if len(parts) > 1 {
		a.query = joined(parts[1:], "?").split("&")
	}
	return a, a.check()
}

// joined undoes split.
func joined(parts []template, separator string) template {
	var t template
	for i, part := range parts {
		if i > 0 {
			t = append(t, piece{text: separator})
		}
		t = append(t, part...)
	}
	return t
}

// check expects that the address is one whatever the values are. The sample is no part of any escape.
func (a *address) check() error {
	sample := func(piece, value) (string, error) { return "x", nil }
	text, err := a.render(values{}.sampled(), sample)
	u, parseErr := outbound.ParseURL(text)
	if err == nil && parseErr == nil {
		_, err = url.PathUnescape(u.RawQuery)
	}
	if err != nil || parseErr != nil || strings.Contains(text, "#") {
		return errors.New("url: expected an http or https URL without user and fragment, in which no placeholder is part of an escape")
	}
	return nil
}

// fill returns the address for one call.
func (a *address) fill(v values) (*url.URL, error) {
	text, err := a.render(v, func(_ piece, v value) (string, error) { return escape(v.text), nil })
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil || !strings.EqualFold(u.Scheme+"://"+u.Host, a.origin) {
		return nil, errors.New("url: the values change more than themselves")
	}
	return u, nil
}

func (a *address) render(v values, write func(piece, value) (string, error)) (string, error) {
	var text strings.Builder
	text.WriteString(a.origin)
	for _, segment := range a.path {
		filled, err := segment.render(v, write)
		if err == nil && !segment.isText() {
			err = checkSegment(segment, filled)
		}
		if err != nil {
			return "", err
		}
		text.WriteString("/" + filled)
	}
	var pairs []string
	for _, pair := range a.query {
		if v.misses(pair) {
			continue
		}
		filled, err := pair.render(v, write)
		if err != nil {
			return "", err
		}
		pairs = append(pairs, filled)
	}
	if len(pairs) > 0 {
		text.WriteString("?" + strings.Join(pairs, "&"))
	}
	return text.String(), nil
}

// checkSegment expects that a segment with values stays one: it is not empty, and there is no dot segment in it, nor
// anything that takes one away, not even for a server that takes %2F for a slash and two slashes for one.
func checkSegment(segment template, filled string) error {
	var first piece
	for _, p := range segment {
		if !p.isText() {
			first = p
			break
		}
	}
	decoded, err := url.PathUnescape(filled)
	switch {
	case err != nil:
		return errorOf(first, "cannot be in the path")
	case decoded == "":
		return errorOf(first, "must not be empty")
	case strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errorOf(first, "must not have control characters")
	}
	for part := range strings.SplitSeq(strings.ReplaceAll(decoded, `\`, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return errorOf(first, "must not have an empty part between slashes, or a part . or ..")
		}
	}
	return nil
}

// misses reports whether a pair has arguments, and none of them is there.
func (v values) misses(pair template) bool {
	missing := false
	for _, p := range pair {
		if p.argument == "" {
			continue
		}
		if filled, err := v.of(p); err != nil || filled.set {
			return false
		}
		missing = true
	}
	return missing
}

const hexDigits = "0123456789ABCDEF"

// escape writes every byte as an escape but those that mean nothing anywhere in a URL or a form (RFC 3986 section 2.3).
func escape(text string) string {
	var out strings.Builder
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			out.WriteByte(c)
			continue
		}
		out.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
	}
	return out.String()
}

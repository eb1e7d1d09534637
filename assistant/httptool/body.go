package httptool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// body makes the body of a call, nil where it has none.
type body func(v values, c assistant.Call) ([]byte, error)

// newBody returns the body, and its media type where the header does not say it.
func newBody(c Config) (content body, kind string, err error) {
	t := parse(c.Body)
	configured := c.contentTypeOf()
	isJSON := configured == "" || configured == "application/json" || strings.HasSuffix(configured, "+json")
	switch {
	case c.Body == "" && (c.method() == http.MethodGet || c.method() == http.MethodDelete):
		return nil, "", nil
	case c.Body == "" && !isJSON:
		return nil, "", fmt.Errorf("body: expected one, since the arguments are no %s", configured)
	case c.Body == "":
		return arguments, "application/json", nil
	case isJSON:
		content, err = newJSON(t)
		return content, "application/json", err
	case configured == "application/x-www-form-urlencoded":
		content, err = newForm(t)
		return content, "", err
	case t.isText():
		return func(values, assistant.Call) ([]byte, error) { return []byte(c.Body), nil }, "", nil
	}
	return nil, "", fmt.Errorf("body: expected placeholders only in JSON and form fields, found some in %s", configured)
}

// arguments is the body that is nothing but the arguments.
func arguments(_ values, c assistant.Call) ([]byte, error) {
	if len(bytes.TrimSpace(c.Arguments)) == 0 {
		return []byte("{}"), nil
	}
	return c.Arguments, nil
}

// newForm is a body of form fields.
func newForm(t template) (body, error) {
	pairs := &address{query: t.split("&")}
	sample, err := pairs.render(values{}.sampled(), func(piece, value) (string, error) { return "x", nil })
	if err == nil {
		_, err = url.ParseQuery(strings.TrimPrefix(sample, "?"))
	}
	if err != nil {
		return nil, errors.New("body: expected form fields, found something else")
	}
	return func(v values, _ assistant.Call) ([]byte, error) {
		text, err := pairs.render(v, func(_ piece, v value) (string, error) { return escape(v.text), nil })
		return []byte(strings.TrimPrefix(text, "?")), err
	}, nil
}

// keySample is found where a placeholder is part of a name. It is no part of any escape.
const keySample = "xxxxxxxx"

// newJSON is a body of JSON.
func newJSON(t template) (body, error) {
	t.markQuoted()
	sample, err := t.render(values{}.sampled(), func(p piece, _ value) (string, error) {
		if p.quoted {
			return keySample, nil
		}
		return "null", nil // it makes no value together with what is beside it
	})
	if err != nil || !json.Valid([]byte(sample)) {
		return nil, errors.New("body: expected JSON, with placeholders in strings or as values, found something else")
	}
	if named(sample) {
		return nil, errors.New("body: expected placeholders only in values, found one in a name")
	}
	return func(v values, _ assistant.Call) ([]byte, error) {
		text, err := t.render(v, writeJSON)
		return []byte(text), err
	}, nil
}

func writeJSON(p piece, v value) (string, error) {
	if !p.quoted {
		return string(v.json), nil
	}
	encoded, err := json.Marshal(v.text)
	if err != nil {
		return "", err
	}
	return string(encoded[1 : len(encoded)-1]), nil
}

// markQuoted finds out which placeholders stand in a string.
func (t template) markQuoted() {
	quoted, escaped := false, false
	for i := range t {
		t[i].quoted = quoted
		for _, c := range []byte(t[i].text) {
			switch {
			case escaped:
				escaped = false
			case quoted && c == '\\':
				escaped = true
			case c == '"':
				quoted = !quoted
			}
		}
	}
}

// named reports whether a name in a JSON text has the sample.
func named(text string) bool {
	decoder := json.NewDecoder(strings.NewReader(text))
	var inObject []bool // of the values around
	isName := false     // what comes next is a name
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			return true
		}
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{', '[':
				inObject = append(inObject, token == '{')
			default:
				inObject = inObject[:len(inObject)-1]
			}
			isName = len(inObject) > 0 && inObject[len(inObject)-1]
			continue
		case string:
			if isName && strings.Contains(token, keySample) {
				return true
			}
		}
		isName = !isName && len(inObject) > 0 && inObject[len(inObject)-1]
	}
}

// sampled returns values that are all there, to check a template with.
func (v values) sampled() values {
	v.peer.Resolve = func(string) string { return "x" }
	v.sample = true
	return v
}

package httptool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// template is a text with placeholders.
type template []piece

// piece is a text, an argument or another placeholder.
type piece struct {
	text        string
	argument    string // the name; "" = none
	placeholder string // with its braces; "" = none
	quoted      bool   // it stands in a JSON string
}

func (p piece) isText() bool { return p.argument == "" && p.placeholder == "" }

var placeholders = regexp.MustCompile(`\{[a-z_]+\.[^{}\s"]+\}`)

func parse(text string) template {
	var t template
	end := 0
	for _, at := range placeholders.FindAllStringIndex(text, -1) {
		if at[0] > end {
			t = append(t, piece{text: text[end:at[0]]})
		}
		found := text[at[0]:at[1]]
		if name, ok := strings.CutPrefix(found, "{args."); ok {
			t = append(t, piece{argument: strings.TrimSuffix(name, "}")})
		} else {
			t = append(t, piece{placeholder: found})
		}
		end = at[1]
	}
	if end < len(text) {
		t = append(t, piece{text: text[end:]})
	}
	return t
}

func (t template) isText() bool {
	for _, p := range t {
		if !p.isText() {
			return false
		}
	}
	return true
}

// split cuts a template at a separator in its texts. Values cannot contain it.
func (t template) split(separator string) []template {
	parts := []template{nil}
	for _, p := range t {
		if !p.isText() {
			parts[len(parts)-1] = append(parts[len(parts)-1], p)
			continue
		}
		for i, text := range strings.Split(p.text, separator) {
			if i > 0 {
				parts = append(parts, nil)
			}
			if text != "" {
				parts[len(parts)-1] = append(parts[len(parts)-1], piece{text: text})
			}
		}
	}
	return parts
}

// render fills a template; write says how each value is written.
func (t template) render(v values, write func(piece, value) (string, error)) (string, error) {
	var out strings.Builder
	for _, p := range t {
		if p.isText() {
			out.WriteString(p.text)
			continue
		}
		filled, err := v.of(p)
		if err != nil {
			return "", err
		}
		text, err := write(p, filled)
		if err != nil {
			return "", err
		}
		out.WriteString(text)
	}
	return out.String(), nil
}

// values are what placeholders stand for in one call.
type values struct {
	arguments map[string]json.RawMessage
	peer      assistant.Peer
	sample    bool // any argument is there
}

// newValues reads the arguments, which may be missing.
func newValues(c assistant.Call) (values, error) {
	v := values{peer: c.Peer}
	if len(bytes.TrimSpace(c.Arguments)) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(c.Arguments, &v.arguments); err != nil || v.arguments == nil {
		return v, errors.New("the arguments are no JSON object")
	}
	return v, nil
}

// value is what one placeholder stands for.
type value struct {
	text string
	json json.RawMessage
	set  bool // false where an argument is missing or null
}

// argumentError says that an argument cannot stand where the template has it. It is for the model.
type argumentError struct{ name, fault string }

func (e *argumentError) Error() string { return fmt.Sprintf("argument %s %s", e.name, e.fault) }

// errorOf returns an error about a value: the model's where it is an argument, and otherwise the operator's.
func errorOf(p piece, fault string) error {
	if p.argument != "" {
		return &argumentError{p.argument, fault}
	}
	return fmt.Errorf("%s %s", p.placeholder, fault)
}

func (v values) of(p piece) (value, error) {
	if p.argument == "" {
		text := v.peer.Resolved(p.placeholder)
		if text == p.placeholder {
			return value{}, errorOf(p, "stands for nothing")
		}
		return textValue(text), nil
	}
	if v.sample {
		return textValue("x"), nil
	}
	raw := v.arguments[p.argument]
	if len(raw) == 0 || string(raw) == "null" {
		return value{json: json.RawMessage("null")}, nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return textValue(text), nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return value{}, errorOf(p, "is no JSON")
	}
	return value{compact.String(), compact.Bytes(), true}, nil
}

func textValue(text string) value {
	text = strings.ToValidUTF8(text, "\ufffd")
	encoded, _ := json.Marshal(text) // a string always can be
	return value{text, encoded, true}
}

package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how deep the objects and arrays of a frame may nest.
const MaxDepth = 64

// MaxRef is the longest ref, in characters.
const MaxRef = 64

// Envelope is what stands around the payload of a client's frame.
type Envelope struct {
	Action string
	Topic  string // "" = none: the connection's own conversation
	Ref    string // "" = none
}

// Extended reports whether the answers carry envelope keys and the extended payload keys.
func (e Envelope) Extended() bool { return e.Ref != "" || e.Topic != "" }

// decodeEnvelope reads the outermost object. It returns what could be read also with an error, so that
// the error can be addressed.
func decodeEnvelope(data []byte) (Envelope, jsontext.Value, error) {
	var e Envelope
	members, err := topLevel(data)
	if err != nil {
		return e, nil, err
	}
	var items []Item
	e.Ref = readText(members["ref"], "ref", MaxRef, &items)
	e.Topic = readText(members["topic"], "topic", 0, &items)
	checkVersion(members["version"], &items)
	action, ok := members["action"]
	switch {
	case !ok:
		return e, nil, malformed(tagNotFound("action", []string{}))
	case action.Kind() != '"':
		return e, nil, malformed(Item{"string_type", []string{"action"}, "Input should be a valid string"})
	case items != nil:
		return e, nil, &ValidationError{Items: items}
	}
	e.Action = unquote(action)
	return e, members["payload"], nil
}

// topLevel splits a frame into the raw members of its object.
func topLevel(data []byte) (map[string]jsontext.Value, error) {
	if deeperThan(data, MaxDepth) {
		return nil, malformed(invalidJSON(fmt.Sprintf("nested deeper than %d levels", MaxDepth)))
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data))
	value, err := readValue(dec, data)
	if err == nil {
		if _, err = dec.ReadToken(); err == nil {
			return nil, malformed(invalidJSON("data after the top-level value"))
		}
	}
	if !errors.Is(err, io.EOF) || value == nil {
		return nil, malformed(invalidJSON(syntaxProblem(err)))
	}
	if value.Kind() != '{' {
		return nil, malformed(Item{"model_type", []string{}, "Input should be a valid dictionary or instance of Envelope"})
	}
	return membersOf(value), nil
}

// membersOf splits an object that has already been checked.
func membersOf(object jsontext.Value) map[string]jsontext.Value {
	dec := jsontext.NewDecoder(bytes.NewBuffer(object), jsontext.AllowDuplicateNames(true))
	members := make(map[string]jsontext.Value, 4)
	_, _ = dec.ReadToken()
	for dec.PeekKind() == '"' {
		key, _ := dec.ReadToken()
		name := key.String()
		members[name], _ = readValue(dec, object)
	}
	return members
}

// readValue returns the next value of dec as a part of data, which dec reads.
func readValue(dec *jsontext.Decoder, data []byte) (jsontext.Value, error) {
	value, err := dec.ReadValue() // valid only until the next read
	if err != nil {
		return nil, err
	}
	end := int(dec.InputOffset())
	return data[end-len(value) : end], nil
}

// syntaxProblem says what is wrong without repeating any input.
func syntaxProblem(err error) string {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return "duplicate key"
	}
	if se, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return "at byte " + strconv.FormatInt(se.ByteOffset, 10)
	}
	return "empty frame"
}

// deeperThan scans data without parsing it; strings are skipped, so that text may hold any bracket.
func deeperThan(data []byte, limit int) bool {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// readText reads an optional string of the envelope; limit 0 means none.
func readText(v jsontext.Value, key string, limit int, items *[]Item) string {
	if v == nil || v.Kind() == 'n' {
		return ""
	}
	if v.Kind() != '"' {
		*items = append(*items, Item{"string_type", []string{key}, "Input should be a valid string"})
		return ""
	}
	text := unquote(v)
	if limit > 0 && utf8.RuneCountInString(text) > limit {
		*items = append(*items, tooLong(limit, []string{key}))
		return ""
	}
	return text
}

func checkVersion(v jsontext.Value, items *[]Item) {
	switch {
	case v == nil || v.Kind() == 'n' || isInteger(v):
	case v.Kind() == '"':
		*items = append(*items, Item{"int_parsing", []string{"version"}, "Input should be a valid integer, unable to parse string as an integer"})
	default:
		*items = append(*items, Item{"int_type", []string{"version"}, "Input should be a valid integer"})
	}
}

func isInteger(v jsontext.Value) bool {
	_, err := strconv.ParseInt(string(v), 10, 64)
	return err == nil
}

// unquote returns the text of a JSON string that has already been checked.
func unquote(v jsontext.Value) string {
	text, _ := jsontext.AppendUnquote(nil, v)
	return string(text)
}

// decode reads raw into dst, which is addressable and of the type that s was made from. Every problem
// is added to items; loc is where raw stands.
func (s *shape) decode(raw jsontext.Value, dst reflect.Value, loc []string, items *[]Item) {
	switch {
	case raw == nil && !s.nullable:
		*items = append(*items, Item{"missing", loc, "Field required"})
	case raw == nil, raw.Kind() == 'n' && s.nullable:
	case s.kind == reflect.Pointer:
		dst.Set(reflect.New(dst.Type().Elem()))
		s.elem.decode(raw, dst.Elem(), loc, items)
	case s.free:
		s.decodeFree(raw, dst, loc, items)
	case s.kind == reflect.Slice:
		s.decodeList(raw, dst, loc, items)
	case s.kind == reflect.Interface:
		s.union.decode(raw, dst, loc, items)
	case s.kind == reflect.Struct:
		if raw.Kind() != '{' {
			*items = append(*items, noObject(dst.Type(), loc))
			return
		}
		s.decodeMembers(membersOf(raw), dst, loc, items)
	default:
		s.decodeScalar(raw, dst, loc, items)
	}
}

func (s *shape) decodeScalar(raw jsontext.Value, dst reflect.Value, loc []string, items *[]Item) {
	report := func(kind, msg string) { *items = append(*items, Item{kind, loc, msg}) }
	switch s.kind {
	case reflect.String:
		switch {
		case s.named != nil && (raw.Kind() != '"' || !slices.Contains(s.named.Enum, unquote(raw))):
			*items = append(*items, literalError(s.named.Enum, loc))
		case raw.Kind() != '"':
			report("string_type", "Input should be a valid string")
		default:
			dst.SetString(unquote(raw))
		}
	case reflect.Bool:
		if raw.Kind() != 't' && raw.Kind() != 'f' {
			report("bool_type", "Input should be a valid boolean")
			return
		}
		dst.SetBool(raw.Kind() == 't')
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			report("int_type", "Input should be a valid integer")
			return
		}
		dst.SetInt(n)
	case reflect.Uint64:
		n, err := strconv.ParseUint(string(raw), 10, 64)
		if err != nil {
			report("int_type", "Input should be a valid integer")
			return
		}
		dst.SetUint(n)
	}
}

// decodeMembers reads the members of an object into the struct dst.
func (s *shape) decodeMembers(members map[string]jsontext.Value, dst reflect.Value, loc []string, items *[]Item) {
	for _, m := range s.fields {
		at := append(slices.Clone(loc), m.Name)
		before := len(*items)
		value := members[m.Name]
		m.shape.decode(value, dst.Field(m.index), at, items)
		if len(*items) == before && value != nil && value.Kind() != 'n' {
			m.Schema.check(dst.Field(m.index), at, items)
		}
	}
}

// check applies the limits of a field to its decoded value.
func (s *Schema) check(v reflect.Value, loc []string, items *[]Item) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	report := func(kind, msg string) { *items = append(*items, Item{kind, loc, msg}) }
	switch v.Kind() {
	case reflect.String:
		n := utf8.RuneCountInString(v.String())
		if s.MinLength != nil && n < *s.MinLength {
			*items = append(*items, tooShort(*s.MinLength, loc))
		}
		if s.MaxLength != nil && n > *s.MaxLength {
			*items = append(*items, tooLong(*s.MaxLength, loc))
		}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		n := integer(v)
		if s.Minimum != nil && n < *s.Minimum {
			report("greater_than_equal", fmt.Sprintf("Input should be greater than or equal to %d", *s.Minimum))
		}
		if s.Maximum != nil && n > *s.Maximum {
			report("less_than_equal", fmt.Sprintf("Input should be less than or equal to %d", *s.Maximum))
		}
	}
}

// integer returns v for comparison with limits, which are int64.
func integer(v reflect.Value) int64 {
	if v.CanUint() {
		return int64(min(v.Uint(), math.MaxInt64))
	}
	return v.Int()
}

// count counts things as pydantic does in its messages.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

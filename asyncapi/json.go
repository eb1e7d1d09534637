package asyncapi

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// object is a JSON object whose members keep their order. Members without a value are left out: nil, "", and
// empty lists and maps. Zero and false are values.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSONTo writes o.
func (o object) MarshalJSONTo(enc *jsontext.Encoder) error {
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, m := range o {
		if empty(reflect.ValueOf(m.value)) {
			continue
		}
		if err := enc.WriteToken(jsontext.String(m.name)); err != nil {
			return err
		}
		if err := json.MarshalEncode(enc, m.value); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndObject)
}

func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer:
		return v.IsNil()
	case reflect.String, reflect.Slice, reflect.Map:
		return v.Len() == 0
	default:
		return false
	}
}

// ref returns a reference to the object at path.
func ref(path ...string) object {
	return object{{"$ref", "#/" + strings.Join(path, "/")}}
}

// marshal returns indented JSON. Maps are sorted, and invalid UTF-8 becomes U+FFFD.
func marshal(v any) ([]byte, error) {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true), jsontext.WithIndent("  "))
	return append(b, '\n'), err
}

// toYAML converts JSON to YAML, with the members in the same order.
func toYAML(document []byte) ([]byte, error) {
	node, err := yamlNode(jsontext.NewDecoder(bytes.NewReader(document)))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(node); err != nil {
		return nil, err
	}
	return b.Bytes(), enc.Close()
}

// yamlNode turns the next JSON value into a YAML node.
func yamlNode(dec *jsontext.Decoder) (*yaml.Node, error) {
	token, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Value: token.String()}
	switch token.Kind() {
	case '"':
		node.Tag = "!!str"
		if ambiguous.MatchString(node.Value) {
			node.Style = yaml.DoubleQuotedStyle
		}
		return node, nil
	case '{':
		node.Kind = yaml.MappingNode
	case '[':
		node.Kind = yaml.SequenceNode
	default:
		return node, nil
	}
	node.Value = ""
	for dec.PeekKind() != '}' && dec.PeekKind() != ']' {
		child, err := yamlNode(dec)
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, child)
	}
	_, err = dec.ReadToken()
	return node, err
}

// ambiguous matches texts that yaml would not quote although YAML 1.1 reads them as a boolean or a number
// to the base 60. It also matches texts whose leading space yaml loses when they have several lines.
var ambiguous = regexp.MustCompile(`^((?i:y|n|yes|no|on|off)$|[-+.]*[0-9]|\s)`)

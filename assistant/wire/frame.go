package wire

import (
	"reflect"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Version is the protocol's version, sent on frames that carry a ref or a topic.
const Version = 1

// Sendable is a message that the server may send: an [Out] of any payload.
type Sendable interface {
	declared() declaration
}

// Out is the declaration of a message with payload T that the server may send.
type Out[T any] struct{ declaration }

// declaration is what is said of a message of either side.
type declaration struct {
	action, description string
	shape               *shape
	example             any
	topic               string // of the example
}

func (d declaration) declared() declaration { return d }

// Sends declares a message. Two declarations of one action are alternatives: the document shows one
// message whose payload is any of theirs. The example must be a valid payload; it is shown in documents.
func Sends[T any](action, description string, example T) Out[T] {
	return Out[T]{declaration{action: action, description: description, shape: shapeOf(reflect.TypeFor[T]()), example: example}}
}

// About gives the example a topic, as the message has it in practice.
func (o Out[T]) About(topic string) Out[T] {
	o.topic = topic
	return o
}

// With makes a frame of the message.
func (o Out[T]) With(payload T) Frame { return Frame{action: o.action, payload: payload} }

// WithContent makes a frame whose payload is an object with the member content alone. It needs no allocation:
// there is one for each piece of each answer.
func (o Out[T]) WithContent(content string) Frame {
	return Frame{action: o.action, payload: contentOnly{}, content: content}
}

// contentOnly is the payload of frames that have their content beside it.
type contentOnly struct{}

// Frame is one message to a client. The exported fields are the envelope; zero values are left out.
type Frame struct {
	action  string
	payload any
	content string // where payload is contentOnly

	Topic string
	Ref   string
	Seq   uint64
}

// Action is the frame's action.
func (f Frame) Action() string { return f.action }

// Append appends the frame as compact JSON to dst: valid UTF-8, with <, > and & as they are. Types within
// the payload may write themselves by MarshalJSON, as the variants of a [Union] do.
func (f Frame) Append(dst []byte) ([]byte, error) {
	dst = append(dst, `{"action":"`...)
	dst = append(dst, f.action...)
	dst = append(dst, `","payload":`...)
	switch p := f.payload.(type) {
	case Null:
		dst = append(dst, "null"...)
	case contentOnly:
		dst = append(dst, `{"content":`...)
		dst = append(AppendString(dst, f.content), '}')
	default:
		payload, err := json.Marshal(p, jsontext.AllowInvalidUTF8(true))
		if err != nil {
			return nil, err
		}
		dst = append(dst, payload...)
	}
	if f.Ref != "" || f.Topic != "" {
		dst = append(dst, `,"version":`...)
		dst = strconv.AppendInt(dst, Version, 10)
	}
	dst = appendMember(dst, "topic", f.Topic)
	dst = appendMember(dst, "ref", f.Ref)
	if f.Seq > 0 {
		dst = append(dst, `,"seq":`...)
		dst = strconv.AppendUint(dst, f.Seq, 10)
	}
	return append(dst, '}'), nil
}

func appendMember(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, `,"`...)
	dst = append(dst, key...)
	dst = append(dst, `":`...)
	return AppendString(dst, value)
}

// AppendString appends s as a JSON string; bytes that are no UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // an error means only that bytes were replaced
	return dst
}

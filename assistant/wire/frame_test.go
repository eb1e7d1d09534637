package wire_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"github.com/go-json-experiment/json/jsontext"
)

// Piece has one text, as the payload of streaming does.
type Piece struct {
	Content string `json:"content"`
}

// Plain is the same payload, encoded by reflection.
type Plain struct {
	Content string   `json:"content"`
	Loc     []string `json:"loc"`
	After   int64    `json:"after,omitzero"`
	Note    *string  `json:"note,omitempty"`
}

// Unruly is a payload whose encoding fails.
type Unruly struct {
	Content string `json:"content"`
}

func (Unruly) MarshalJSON() ([]byte, error) { return nil, errors.New("unruly") }

var (
	pong  = wire.Sends("pong", "An answer.", wire.Null{})
	text  = wire.Sends("text", "A text.", "hello")
	piece = wire.Sends("piece", "A piece of text.", Piece{"Hel"})
	plain = wire.Sends("plain", "The same by reflection.", Plain{Content: "Hel"})
	items = wire.Sends("error", "What is wrong.", []wire.Item{{Type: "missing", Loc: []string{"ask"}, Msg: "Field required"}})
)

func TestFrameAppend(t *testing.T) {
	addressed := func(f wire.Frame, topic, ref string, seq uint64) wire.Frame {
		f.Topic, f.Ref, f.Seq = topic, ref, seq
		return f
	}
	for _, test := range []struct {
		name  string
		frame wire.Frame
		want  string
	}{
		{"null", pong.With(wire.Null{}), `{"action":"pong","payload":null}`},
		{"text", text.With("<a>&'\u2028"), "{\"action\":\"text\",\"payload\":\"<a>&'\u2028\"}"},
		{"empty", piece.With(Piece{}), `{"action":"piece","payload":{"content":""}}`},
		{"content alone", piece.WithContent("<a href=\"/?a&b\">\\\n\x00\U0001F600"), `{"action":"piece","payload":{"content":"<a href=\"/?a&b\">\\\n\u0000😀"}}`},
		{"reflection", plain.With(Plain{Content: "<a href=\"/?a&b\">\\\n\x00\U0001F600"}), `{"action":"plain","payload":{"content":"<a href=\"/?a&b\">\\\n\u0000😀","loc":[]}}`},
		{"optional fields", plain.With(Plain{Loc: []string{"a"}, After: 7, Note: new(string)}), `{"action":"plain","payload":{"content":"","loc":["a"],"after":7}}`},
		{"a list", items.With([]wire.Item{{"string_type", []string{"ask", "payload"}, "<no text>"}}), `{"action":"error","payload":[{"type":"string_type","loc":["ask","payload"],"msg":"<no text>"}]}`},
		{"invalid UTF-8, content alone", piece.WithContent("a\xffb\xc0\xafc\xed\xa0\x80"), `{"action":"piece","payload":{"content":"a` + "\uFFFDb\uFFFD\uFFFDc\uFFFD\uFFFD\uFFFD" + `"}}`},
		{"invalid UTF-8, reflection", plain.With(Plain{Content: "a\xffb"}), `{"action":"plain","payload":{"content":"a` + "\uFFFDb" + `","loc":[]}}`},
		// The envelope, in its fixed order.
		{"ref", addressed(pong.With(wire.Null{}), "", "r", 0), `{"action":"pong","payload":null,"version":1,"ref":"r"}`},
		{"topic", addressed(pong.With(wire.Null{}), "t", "", 0), `{"action":"pong","payload":null,"version":1,"topic":"t"}`},
		{"all", addressed(pong.With(wire.Null{}), "t", "r", 18446744073709551615), `{"action":"pong","payload":null,"version":1,"topic":"t","ref":"r","seq":18446744073709551615}`},
		{"seq alone makes no version", addressed(pong.With(wire.Null{}), "", "", 1), `{"action":"pong","payload":null,"seq":1}`},
		{"escapes in the envelope", addressed(pong.With(wire.Null{}), "<\"\x01>", "\xff&", 0), `{"action":"pong","payload":null,"version":1,"topic":"<\"\u0001>","ref":"` + "\uFFFD" + `&"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.frame.Append([]byte("before "))
			if err != nil || string(got) != "before "+test.want {
				t.Errorf("got  %s, %v\nwant before %s", got, err, test.want)
			}
		})
	}
}

func TestFrameAction(t *testing.T) {
	if got := piece.With(Piece{}).Action(); got != "piece" {
		t.Errorf("got %q", got)
	}
}

func TestFrameAppendError(t *testing.T) {
	unruly := wire.Sends("unruly", "", Unruly{})
	if got, err := unruly.With(Unruly{}).Append(nil); err == nil {
		t.Errorf("got %s without an error", got)
	}
}

// TestFrameAppendNoAlloc holds the hot path: a piece costs no allocation.
func TestFrameAppendNoAlloc(t *testing.T) {
	buf := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() {
		f := piece.WithContent("a piece of text")
		f.Ref, f.Seq = "q1", 12345
		_, _ = f.Append(buf)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzFrameAppend holds that whatever a frame appends is strict JSON (RFC 8259, unique names, valid
// UTF-8) that means what encoding/json would have made of the same values.
func FuzzFrameAppend(f *testing.F) {
	f.Add("text", "conversation:1", "ref", uint64(7))
	f.Add("<a>&\u2028\"\\\x00\x1f\x7f", "", "\ud7ff\U0010FFFF", uint64(0))
	f.Add("\xff\xc0\xaf\xed\xa0\x80", "\xf0\x90\x80", "\x80", uint64(1)<<63)
	f.Fuzz(func(t *testing.T, content, topic, ref string, seq uint64) {
		for _, frame := range []wire.Frame{
			text.With(content),
			piece.With(Piece{content}),
			plain.With(Plain{Content: content, Loc: []string{topic, ref}, Note: &ref}),
			items.With([]wire.Item{{content, []string{ref}, topic}}),
		} {
			frame.Topic, frame.Ref, frame.Seq = topic, ref, seq
			got, err := frame.Append(nil)
			if err != nil || !jsontext.Value(got).IsValid() {
				t.Fatalf("not valid: %q, %v", got, err)
			}
			if strings.ContainsAny(content, "<>&") && utf8.ValidString(content) && !strings.ContainsAny(string(got), "<>&") {
				t.Errorf("escaped more than needed: %q", got)
			}
			var read struct {
				Version    int
				Topic, Ref string
				Seq        uint64
			}
			if err := json.Unmarshal(got, &read); err != nil {
				t.Fatalf("decode %q: %v", got, err)
			}
			if read.Topic != valid(topic) || read.Ref != valid(ref) || read.Seq != seq || (read.Version == 1) != (topic+ref != "") {
				t.Errorf("%q reads %+v", got, read)
			}
		}
		got, _ := piece.With(Piece{content}).Append(nil)
		var read struct{ Payload Piece }
		if err := json.Unmarshal(got, &read); err != nil || read.Payload.Content != valid(content) {
			t.Errorf("%q became %q, %v", content, read.Payload.Content, err)
		}
	})
}

// valid is s with each byte that is no UTF-8 replaced.
func valid(s string) string { return string([]rune(s)) }

// BenchmarkFrameAppend compares one frame of an answer with what encoding/json does.
func BenchmarkFrameAppend(b *testing.B) {
	type envelope struct {
		Action  string    `json:"action"`
		Payload reflected `json:"payload"`
		Version int       `json:"version,omitempty"`
		Ref     string    `json:"ref,omitempty"`
		Seq     uint64    `json:"seq,omitempty"`
	}
	const content, ref = " and then the <b>piece</b> goes on", "q-1"
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			f := piece.With(Piece{content})
			f.Ref, f.Seq = ref, 12345
			buf, _ = f.Append(buf[:0])
		}
	})
	b.Run("encoding_json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(envelope{"piece", reflected{content}, 1, ref, 12345}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// reflected is a Piece that does not write its own JSON.
type reflected struct {
	Content string `json:"content"`
}

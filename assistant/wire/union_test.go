package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"github.com/go-json-experiment/json/jsontext"
)

// A payload with lists, unions, enumerations and free JSON, for both directions.
type (
	Mail struct {
		Parts   Parts           `json:"parts" minItems:"1" maxItems:"3" doc:"What it holds."`
		To      []string        `json:"to,omitempty" minItems:"2" maxItems:"2"`
		Urgency Urgency         `json:"urgency,omitempty"`
		Extra   json.RawMessage `json:"extra,omitzero" doc:"Anything."`
	}
	Part  interface{ isPart() }
	Parts []Part
	Image struct {
		FileID string `json:"file_id" maxLength:"4"`
		Width  int    `json:"width,omitzero" minimum:"1"`
	}
	Call struct {
		Arguments jsontext.Value  `json:"arguments" jsonType:"object" doc:"By name."`
		Result    json.RawMessage `json:"result" doc:"Anything, null too."`
		Files     []Pinned        `json:"files,omitzero" maxItems:"1"`
	}
	Pinned struct {
		Image Part `json:"image" doc:"What is pinned."`
	}
	Urgency string
)

func (Parts) Variants() (tag string, variants []any)  { return "type", []any{Image{}, Call{}} }
func (Pinned) Variants() (tag string, variants []any) { return "type", []any{Image{}} }

func (Image) isPart() {}
func (Call) isPart()  {}

func (p Image) MarshalJSON() ([]byte, error) {
	type plain Image
	return tagged("image", plain(p))
}

func (p Call) MarshalJSON() ([]byte, error) {
	type plain Call
	return tagged("call", plain(p))
}

// tagged writes an object that has members, with its type first.
func tagged(tag string, plain any) ([]byte, error) {
	text, err := json.Marshal(plain)
	return append([]byte(`{"type":"`+tag+`",`), text[1:]...), err
}

func (Urgency) Values() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		_ = yield("low", "some day") && yield("mid", "soon") && yield("high", "now")
	}
}

func (r *recorder) onMail(_ context.Context, p Mail) error { return r.called("mail", p) }

const (
	image    = `{"type":"image","file_id":"f"}`
	call     = `{"type":"call","arguments":{},"result":null}`
	noPart   = `Input should be a valid dictionary or instance of Part`
	expected = ` found using 'type' does not match any of the expected tags: 'call', 'image'`
)

// mailFrames are payloads of mail, and what becomes of them.
var mailFrames = []struct{ name, payload, want string }{
	// Lists.
	{"one part", `{"parts":[` + image + `]}`, `mail {"parts":[` + image + `]}`},
	{"as many as may be", `{"parts":[` + image + `,` + call + `, ` + image + ` ]}`, `mail {"parts":[` + image + `,` + call + `,` + image + `]}`},
	{"list missing", `{}`, `missing at mail.payload.parts: Field required`},
	{"list null", `{"parts":null}`, `list_type at mail.payload.parts: Input should be a valid list`},
	{"list is an object", `{"parts":{"0":` + image + `}}`, `list_type at mail.payload.parts: Input should be a valid list`},
	{"list is a text", `{"parts":"[]"}`, `list_type at mail.payload.parts: Input should be a valid list`},
	{"too few", `{"parts":[]}`, `too_short at mail.payload.parts: List should have at least 1 item after validation, not 0`},
	{"too many", `{"parts":[` + strings.Repeat(image+",", 3) + image + `]}`, `too_long at mail.payload.parts: List should have at most 3 items after validation, not 4`},
	{"too many, whatever they are", `{"parts":[1,{},"",null,[]]}`, `too_long at mail.payload.parts: List should have at most 3 items after validation, not 5`},
	{"optional list null", `{"parts":[` + image + `],"to":null}`, `mail {"parts":[` + image + `]}`},
	{"optional list", `{"parts":[` + image + `],"to":["a","b"]}`, `mail {"parts":[` + image + `],"to":["a","b"]}`},
	{"optional list too short", `{"parts":[` + image + `],"to":["a"]}`, `too_short at mail.payload.to: List should have at least 2 items after validation, not 1`},
	{"faults in a list that is too short", `{"parts":[` + image + `],"to":[1]}`, `string_type at mail.payload.to.0: Input should be a valid string`},
	{"null in a list", `{"parts":[` + image + `],"to":["a",null]}`, `string_type at mail.payload.to.1: Input should be a valid string`},

	// Unions.
	{"tag last", `{"parts":[{"file_id":"f","x":0,"type":"image"}]}`, `mail {"parts":[` + image + `]}`},
	{"tag escaped", `{"parts":[{"\u0074ype":"im\u0061ge","file_id":"f"}]}`, `mail {"parts":[` + image + `]}`},
	{"element is no object", `{"parts":[7,"image",[]]}`, "model_type at mail.payload.parts.0: " + noPart + "\nmodel_type at mail.payload.parts.1: " + noPart + "\nmodel_type at mail.payload.parts.2: " + noPart},
	{"element null", `{"parts":[null]}`, "model_type at mail.payload.parts.0: " + noPart},
	{"no tag", `{"parts":[{"file_id":"f"}]}`, `union_tag_not_found at mail.payload.parts.0: Unable to extract tag using discriminator 'type'`},
	{"tag in other case", `{"parts":[{"Type":"image"}]}`, `union_tag_not_found at mail.payload.parts.0: Unable to extract tag using discriminator 'type'`},
	{"unknown tag", `{"parts":[` + image + `,{"type":"Image"}]}`, `union_tag_invalid at mail.payload.parts.1: Input tag 'Image'` + expected},
	{"long tag", `{"parts":[{"type":"` + strings.Repeat("é", 65) + `"}]}`, `union_tag_invalid at mail.payload.parts.0: Input tag '` + strings.Repeat("é", 64) + `…'` + expected},
	{"long number as tag", `{"parts":[{"type":` + strings.Repeat("1", 65) + `}]}`, `union_tag_invalid at mail.payload.parts.0: Input tag '` + strings.Repeat("1", 64) + `…'` + expected},
	{"tag null, true", `{"parts":[{"type":null},{"type":true}]}`, `union_tag_invalid at mail.payload.parts.0: Input tag 'None'` + expected + "\n" + `union_tag_invalid at mail.payload.parts.1: Input tag 'True'` + expected},
	{"tag false, a number", `{"parts":[{"type":false},{"type":1.5}]}`, `union_tag_invalid at mail.payload.parts.0: Input tag 'False'` + expected + "\n" + `union_tag_invalid at mail.payload.parts.1: Input tag '1.5'` + expected},
	{"tag an object, a list", `{"parts":[{"type":{"x":1}},{"type":["image"]}]}`, `union_tag_invalid at mail.payload.parts.0: Input tag '{}'` + expected + "\n" + `union_tag_invalid at mail.payload.parts.1: Input tag '[]'` + expected},
	{"field of a variant missing", `{"parts":[{"type":"image"}]}`, `missing at mail.payload.parts.0.file_id: Field required`},
	{
		"faults in variants", `{"parts":[{"type":"image","file_id":"12345","width":0},{"type":"image","file_id":1}]}`,
		"string_too_long at mail.payload.parts.0.file_id: String should have at most 4 characters\n" +
			"greater_than_equal at mail.payload.parts.0.width: Input should be greater than or equal to 1\n" +
			"string_type at mail.payload.parts.1.file_id: Input should be a valid string",
	},
	{"fields of another variant", `{"parts":[{"type":"image","file_id":"f","arguments":7}]}`, `mail {"parts":[` + image + `]}`},
	{"variant in a field", `{"parts":[{"type":"call","arguments":{},"result":0,"files":[{"image":` + image + `}]}]}`, `mail {"parts":[{"type":"call","arguments":{},"result":0,"files":[{"image":` + image + `}]}]}`},
	{"variant missing in a field", `{"parts":[{"type":"call","arguments":{},"result":0,"files":[{}]}]}`, `missing at mail.payload.parts.0.files.0.image: Field required`},
	{"variant of another union", `{"parts":[{"type":"call","arguments":{},"result":0,"files":[{"image":` + call + `}]}]}`, `union_tag_invalid at mail.payload.parts.0.files.0.image: Input tag 'call' found using 'type' does not match any of the expected tags: 'image'`},

	// Enumerations.
	{"a value", `{"parts":[` + image + `],"urgency":"high"}`, `mail {"parts":[` + image + `],"urgency":"high"}`},
	{"optional value null", `{"parts":[` + image + `],"urgency":null}`, `mail {"parts":[` + image + `]}`},
	{"another value", `{"parts":[` + image + `],"urgency":"High"}`, `literal_error at mail.payload.urgency: Input should be 'low', 'mid' or 'high'`},
	{"empty value", `{"parts":[` + image + `],"urgency":""}`, `literal_error at mail.payload.urgency: Input should be 'low', 'mid' or 'high'`},
	{"value is no text", `{"parts":[` + image + `],"urgency":1}`, `literal_error at mail.payload.urgency: Input should be 'low', 'mid' or 'high'`},

	// Free JSON.
	{"anything", `{"parts":[` + image + `],"extra":{"a":[1.50,null,"\u0061"]}}`, `mail {"parts":[` + image + `],"extra":{"a":[1.50,null,"\u0061"]}}`},
	{"optional null is none", `{"parts":[` + image + `],"extra":null}`, `mail {"parts":[` + image + `]}`},
	{"duplicate inside", `{"parts":[` + image + `],"extra":{"a":1,"a":2}}`, notJSON + `duplicate key`},
	{"objects are demanded", `{"parts":[{"type":"call","arguments":[],"result":[]},{"type":"call","arguments":null,"result":"x"}]}`, "dict_type at mail.payload.parts.0.arguments: Input should be a valid dictionary\ndict_type at mail.payload.parts.1.arguments: Input should be a valid dictionary"},
	{"free JSON missing", `{"parts":[{"type":"call"}]}`, "missing at mail.payload.parts.0.arguments: Field required\nmissing at mail.payload.parts.0.result: Field required"},
}

func mailFrame(payload string) string { return `{"action":"mail","payload":` + payload + `}` }

func TestDispatchMail(t *testing.T) {
	protocol := newProtocol()
	for _, test := range mailFrames {
		t.Run(test.name, func(t *testing.T) {
			r := &recorder{}
			_, err := protocol.Dispatch(t.Context(), r, []byte(mailFrame(test.payload)))
			if got := outcome(r, err); got != test.want {
				t.Errorf("%.200s\ngot  %s\nwant %s", test.payload, got, test.want)
			}
		})
	}
}

// TestItemLoc shows that places in lists are texts, as all of Loc.
func TestItemLoc(t *testing.T) {
	_, err := newProtocol().Dispatch(t.Context(), &recorder{}, []byte(mailFrame(`{"parts":[{"type":"image"}]}`)))
	invalid, ok := errors.AsType[*wire.ValidationError](err)
	if want := []string{"mail", "payload", "parts", "0", "file_id"}; !ok || !slices.Equal(invalid.Items[0].Loc, want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestFreeJSONIsCopied shows that payloads keep nothing of the frame, whose memory is used again.
func TestFreeJSONIsCopied(t *testing.T) {
	var got Mail
	protocol := wire.New((*recorder).admit, wire.On("mail", func(_ *recorder, _ context.Context, p Mail) error {
		got = p
		return nil
	}))
	frame := []byte(mailFrame(`{"parts":[{"type":"call","arguments":{"a":1},"result":[2]}],"to":["me","you"],"extra":"x"}`))
	if _, err := protocol.Dispatch(t.Context(), &recorder{}, frame); err != nil {
		t.Fatal(err)
	}
	before := asJSON(got)
	clear(frame)
	if after := asJSON(got); after != before {
		t.Errorf("got %s, and then %s", before, after)
	}
}

// TestFrameAppendUnion shows that variants write their tag first, and that what they write is as plain as
// all the rest of a frame.
func TestFrameAppendUnion(t *testing.T) {
	mail := wire.Sends("mail_sent", "", Mail{})
	pinned := wire.Sends("pinned", "", Pinned{Image{}})
	for _, test := range []struct {
		frame wire.Frame
		want  string
	}{
		{mail.With(Mail{Parts: Parts{Image{FileID: "<&>\xff"}}}), `{"action":"mail_sent","payload":{"parts":[{"type":"image","file_id":"<&>` + "\uFFFD" + `"}]}}`},
		{mail.With(Mail{Parts: Parts{Call{Arguments: jsontext.Value(` { } `)}}}), `{"action":"mail_sent","payload":{"parts":[{"type":"call","arguments":{},"result":null}]}}`},
		{mail.With(Mail{Extra: json.RawMessage(`{"a": "<\u0061>"}`)}), `{"action":"mail_sent","payload":{"parts":[],"extra":{"a":"<a>"}}}`},
		{pinned.With(Pinned{Image{FileID: "f"}}), `{"action":"pinned","payload":{"image":{"type":"image","file_id":"f"}}}`},
	} {
		if got, err := test.frame.Append(nil); err != nil || string(got) != test.want {
			t.Errorf("got  %s, %v\nwant %s", got, err, test.want)
		}
	}
	if got, err := mail.With(Mail{Extra: json.RawMessage(`{`)}).Append(nil); err == nil {
		t.Errorf("got %s for what is no JSON", got)
	}
}

func TestDescribeUnion(t *testing.T) {
	want := []string{
		`Image{type: string "Selects this kind." const=image, file_id: string maxLength=4, width?: integer minimum=1}`,
		`Pinned{image: Image "What is pinned."}`,
		`Call{type: string "Selects this kind." const=call, arguments: object "By name.", result: any "Anything, null too.", files?: [Pinned] maxItems=1}`,
		`Urgency = low | mid | high`,
		`Mail{parts: [Image | Call] "What it holds." minItems=1 maxItems=3, to?: [string] minItems=2 maxItems=2, urgency?: Urgency, extra?: any "Anything."}`,
		`Options{message_id?: string maxLength=4}`,
	}
	sent := wire.Sends("mail_sent", "", Mail{})
	description := wire.New((*recorder).admit,
		wire.On("mail", (*recorder).onMail).Takes("A mail.", Mail{}).Answers(sent, wire.Sends("parts", "", Parts{}), wire.Sends("parts", "", Parts{})),
		wire.On("stop", (*recorder).onStop)).Describe()
	var got []string
	for _, s := range description.Schemas {
		got = append(got, definition(s))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	last := description.Messages[len(description.Messages)-1]
	if got := fmt.Sprint(last.Key, " ", brief(last.Payload)); got != "parts_message [Image | Call]" {
		t.Errorf("the last message is %s", got)
	}
}

// Unions with mistakes.
type (
	Untagged  struct{}
	Misplaced struct{}
	Broken    struct{}
	Twice     struct {
		Type string `json:"type"`
	}
	Loop struct {
		Parts loops `json:"parts" maxItems:"1"`
	}

	noStructs []any
	noParts   []Part
	untagged  []any
	misplaced []any
	broken    []any
	twice     []any
	same      []any
	loops     []any
)

func (Misplaced) MarshalJSON() ([]byte, error) { return []byte(`{"size":1,"type":"late"}`), nil }
func (Broken) MarshalJSON() ([]byte, error)    { return nil, errors.New("broken") }
func (Twice) MarshalJSON() ([]byte, error)     { return tagged("twice", Options{"m"}) }
func (Loop) MarshalJSON() ([]byte, error)      { return tagged("loop", Options{"m"}) }

func (noStructs) Variants() (tag string, variants []any) { return "type", []any{&Image{}} }
func (noParts) Variants() (tag string, variants []any)   { return "type", []any{Options{}} }
func (untagged) Variants() (tag string, variants []any)  { return "type", []any{Untagged{}} }
func (misplaced) Variants() (tag string, variants []any) { return "type", []any{Misplaced{}} }
func (broken) Variants() (tag string, variants []any)    { return "type", []any{Broken{}} }
func (twice) Variants() (tag string, variants []any)     { return "type", []any{Twice{}} }
func (same) Variants() (tag string, variants []any)      { return "type", []any{Image{}, Image{}} }
func (loops) Variants() (tag string, variants []any)     { return "type", []any{Loop{}} }

// TestBadUnions holds that a table with a mistake in a union, a list or free JSON cannot be built.
func TestBadUnions(t *testing.T) {
	type (
		Lost struct {
			Part Part `json:"part"`
		}
		Around struct {
			Lost Lost `json:"lost"`
		}
		Endless struct {
			Names []string `json:"names"`
		}
		Nested struct {
			Names [][]string `json:"names" maxItems:"3"`
		}
		Array struct {
			List json.RawMessage `json:"list" jsonType:"array"`
		}
		Text struct {
			Text string `json:"text" jsonType:"object"`
		}
	)
	for name, build := range map[string]func(){
		"Part cannot be part of a payload: nothing":    func() { wire.On("x", handles[Lost]) },
		"Part cannot be part of a payload":             func() { wire.On("x", handles[Around]) },
		"interface {} cannot be part of a payload":     func() { wire.On("x", handles[any]) },
		"*wire_test.Image is no struct":                func() { wire.Sends("x", "", noStructs{}) },
		"Options is no struct that is a wire":          func() { wire.Sends("x", "", noParts{}) },
		"Untagged does not begin with a text \"type\"": func() { wire.Sends("x", "", untagged{}) },
		"Misplaced does not begin with a text":         func() { wire.Sends("x", "", misplaced{}) },
		"encode wire_test.Broken":                      func() { wire.Sends("x", "", broken{}) },
		"Twice has a field for its tag":                func() { wire.Sends("x", "", twice{}) },
		"have the type image":                          func() { wire.Sends("x", "", same{}) },
		"Loop contains itself":                         func() { wire.Sends("x", "", loops{}) },
		"Endless has a list without maxItems":          func() { wire.On("x", handles[Endless]) },
		"Nested has a list without maxItems":           func() { wire.On("x", handles[Nested]) },
		"[]string has a list without maxItems":         func() { wire.On("x", handles[[]string]) },
		`jsonType:"array"`:                             func() { wire.On("x", handles[Array]) },
		`jsonType:"object": only raw JSON`:             func() { wire.On("x", handles[Text]) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, name) {
					t.Errorf("panic %q, want one with %q", got, name)
				}
			}()
			build()
		})
	}
}

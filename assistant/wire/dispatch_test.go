package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// The payloads of the test's table: every kind of type that a client may send.
type (
	Question struct {
		Content  string  `json:"content" doc:"The question." minLength:"1" maxLength:"5"`
		ClientID string  `json:"client_id,omitempty" maxLength:"4"`
		Limit    int     `json:"limit,omitzero" minimum:"1" maximum:"100"`
		After    uint64  `json:"after,omitzero" minimum:"3"`
		Quiet    bool    `json:"quiet,omitzero"`
		Place    *Place  `json:"place,omitempty"`
		Note     *string `json:"note,omitempty" maxLength:"3"`

		Internal string `json:"-"`
		private  string //nolint:unused // must be left alone
	}
	Place struct {
		Room  string `json:"room"`
		Floor int64  `json:"floor" maximum:"9"`
		Side  Side   `json:"side,omitzero"`
	}
	Side struct {
		Window string `json:",omitempty"` // named by the field
	}
	Options struct {
		MessageID string `json:"message_id,omitempty" maxLength:"4"`
	}
)

// recorder is the session: it remembers what it was asked.
type recorder struct {
	calls    []string
	admitted []string
	refuse   error
	fail     error
}

func (r *recorder) admit(_ context.Context, e wire.Envelope, payload any) error {
	r.admitted = append(r.admitted, fmt.Sprintf("%s topic=%q ref=%q %s", e.Action, e.Topic, e.Ref, asJSON(payload)))
	return r.refuse
}

func (r *recorder) called(action string, payload any) error {
	r.calls = append(r.calls, action+" "+asJSON(payload))
	return r.fail
}

func (r *recorder) onPing(_ context.Context, p wire.Null) error { return r.called("ping", p) }
func (r *recorder) onSay(_ context.Context, p string) error     { return r.called("say", p) }
func (r *recorder) onAsk(_ context.Context, p Question) error   { return r.called("ask", p) }
func (r *recorder) onStop(_ context.Context, p *Options) error  { return r.called("stop", p) }
func (r *recorder) onCount(_ context.Context, p int64) error    { return r.called("count", p) }
func (r *recorder) onQuiet(_ context.Context, p bool) error     { return r.called("quiet", p) }

func newProtocol() *wire.Protocol[*recorder] {
	return wire.New((*recorder).admit,
		wire.On("say", (*recorder).onSay),
		wire.On("ping", (*recorder).onPing),
		wire.On("ask", (*recorder).onAsk),
		wire.On("stop", (*recorder).onStop),
		wire.On("count", (*recorder).onCount),
		wire.On("quiet", (*recorder).onQuiet),
		wire.On("mail", (*recorder).onMail),
	)
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// outcome is what became of a frame, as one line for each thing that happened.
func outcome(r *recorder, err error) string {
	lines := slices.Clone(r.calls)
	if invalid, ok := errors.AsType[*wire.ValidationError](err); ok {
		for _, item := range invalid.Items {
			line := fmt.Sprintf("%s at %s: %s", item.Type, strings.Join(item.Loc, "."), item.Msg)
			if invalid.Malformed {
				line = "malformed, " + line
			}
			lines = append(lines, line)
		}
	} else if err != nil {
		lines = append(lines, "error: "+err.Error())
	}
	return strings.Join(lines, "\n")
}

const (
	notJSON  = "malformed, json_invalid at : Invalid JSON: "
	noAction = "malformed, union_tag_not_found at : Unable to extract tag using discriminator 'action'"
	noObject = "malformed, model_type at : Input should be a valid dictionary or instance of Envelope"
)

var frames = []struct {
	name, frame, want string
}{
	// Envelopes.
	{"the least", `{"action":"ping"}`, `ping {}`},
	{"payload null", `{"action":"ping","payload":null}`, `ping {}`},
	{"any order and whitespace", " \t\r\n{ \"payload\" : null , \"action\" : \"ping\" } ", `ping {}`},
	{"escaped names and values", `{"\u0061ction":"p\u0069ng"}`, `ping {}`},
	{"unknown keys", `{"action":"ping","x":{"y":[1,{"z":null}]},"Payload":5}`, `ping {}`},
	{"whole envelope", `{"action":"ping","version":1,"topic":"t","ref":"r","seq":"ignored"}`, `ping {}`},
	{"null for absent", `{"action":"ping","version":null,"topic":null,"ref":null}`, `ping {}`},
	{"any version", `{"action":"ping","version":-9223372036854775808}`, `ping {}`},
	{"longest ref, in characters", `{"action":"ping","ref":"` + strings.Repeat("ü", wire.MaxRef) + `"}`, `ping {}`},
	{"ref too long", `{"action":"ping","ref":"` + strings.Repeat("ü", wire.MaxRef+1) + `"}`, `string_too_long at ref: String should have at most 64 characters`},
	{"ref of another type", `{"action":"ping","ref":7}`, `string_type at ref: Input should be a valid string`},
	{"topic of another type", `{"action":"ping","topic":["t"]}`, `string_type at topic: Input should be a valid string`},
	{"version as text", `{"action":"ping","version":"1"}`, `int_parsing at version: Input should be a valid integer, unable to parse string as an integer`},
	{"version with a fraction", `{"action":"ping","version":1.0}`, `int_type at version: Input should be a valid integer`},
	{"version too large", `{"action":"ping","version":9223372036854775808}`, `int_type at version: Input should be a valid integer`},
	{"version true", `{"action":"ping","version":true}`, `int_type at version: Input should be a valid integer`},
	{
		"several faults at once", `{"action":"ping","ref":1,"topic":2,"version":{}}`,
		"string_type at ref: Input should be a valid string\nstring_type at topic: Input should be a valid string\nint_type at version: Input should be a valid integer",
	},

	// Actions.
	{"no action", `{"payload":"x"}`, noAction},
	{"no action, and other faults", `{"ref":7}`, noAction},
	{"empty object", `{}`, noAction},
	{"action in other case", `{"ACTION":"ping"}`, noAction},
	{"action null", `{"action":null}`, `malformed, string_type at action: Input should be a valid string`},
	{"action a number", `{"action":1}`, `malformed, string_type at action: Input should be a valid string`},
	{"unknown action", `{"action":"Ping"}`, `union_tag_invalid at : Input tag 'Ping' found using 'action' does not match any of the expected tags: 'ask', 'count', 'mail', 'ping', 'quiet', 'say', 'stop'`},
	{"empty action", `{"action":""}`, `union_tag_invalid at : Input tag '' found using 'action' does not match any of the expected tags: 'ask', 'count', 'mail', 'ping', 'quiet', 'say', 'stop'`},
	{"action of 64 characters", `{"action":"` + strings.Repeat("é", 64) + `"}`, `union_tag_invalid at : Input tag '` + strings.Repeat("é", 64) + `' found using 'action' does not match any of the expected tags: 'ask', 'count', 'mail', 'ping', 'quiet', 'say', 'stop'`},
	{"longer action is cut", `{"action":"` + strings.Repeat("é", 65) + `"}`, `union_tag_invalid at : Input tag '` + strings.Repeat("é", 64) + `…' found using 'action' does not match any of the expected tags: 'ask', 'count', 'mail', 'ping', 'quiet', 'say', 'stop'`},

	// What is no JSON object, by RFC 8259 without its leniencies.
	{"nothing", ``, notJSON + `empty frame`},
	{"whitespace", " \n", notJSON + `empty frame`},
	{"null", `null`, noObject},
	{"a number", `7`, noObject},
	{"a string", `"ping"`, noObject},
	{"an array", `[{"action":"ping"}]`, noObject},
	{"a word", `ping`, notJSON + `at byte 0`},
	{"half an object", `{"action":"ping"`, notJSON + `at byte 16`},
	{"two objects", `{"action":"ping"}{"action":"say","payload":"x"}`, notJSON + `data after the top-level value`},
	{"an object and a bracket", `{"action":"ping"}}`, notJSON + `at byte 17`},
	{"an object and a null byte", "{\"action\":\"ping\"}\x00", notJSON + `at byte 17`},
	{"byte order mark", "\uFEFF{\"action\":\"ping\"}", notJSON + `at byte 0`},
	{"single quotes", `{'action':'ping'}`, notJSON + `at byte 1`},
	{"trailing comma", `{"action":"ping",}`, notJSON + `at byte 17`},
	{"comment", `{"action":"ping"/**/}`, notJSON + `at byte 16`},
	{"control character", "{\"action\":\"pi\nng\"}", notJSON + `at byte 13`},
	{"leading zero", `{"action":"ping","x":01}`, notJSON + `at byte 22`},
	{"not a number", `{"action":"ping","x":NaN}`, notJSON + `at byte 21`},
	{"duplicate action", `{"action":"ping","action":"say"}`, notJSON + `duplicate key`},
	{"duplicate behind an escape", `{"action":"ping","\u0061ction":"say"}`, notJSON + `duplicate key`},
	{"duplicate of an unknown key", `{"action":"ping","x":1,"x":1}`, notJSON + `duplicate key`},
	{"duplicate deep inside", `{"action":"ping","x":[{"y":1,"y":2}]}`, notJSON + `duplicate key`},
	{"invalid UTF-8", "{\"action\":\"ping\",\"x\":\"\xff\"}", notJSON + `at byte 22`},
	{"overlong UTF-8", "{\"action\":\"ping\",\"x\":\"\xc0\xaf\"}", notJSON + `at byte 22`},
	{"UTF-8 of a surrogate", "{\"action\":\"ping\",\"x\":\"\xed\xa0\x80\"}", notJSON + `at byte 22`},
	{"lone high surrogate", `{"action":"say","payload":"\ud800"}`, notJSON + `at byte 27`},
	{"lone low surrogate", `{"action":"say","payload":"\udc00"}`, notJSON + `at byte 27`},
	{"surrogates in the wrong order", `{"action":"say","payload":"\udc00\ud800"}`, notJSON + `at byte 27`},
	{"surrogate pair", `{"action":"say","payload":"\ud83d\ude00"}`, `say "😀"`},
	{"deepest", `{"action":"ping","x":` + nested(wire.MaxDepth-1) + `}`, `ping {}`},
	{"too deep", `{"action":"ping","x":` + nested(wire.MaxDepth) + `}`, notJSON + `nested deeper than 64 levels`},
	{"far too deep", strings.Repeat("[", 1<<16), notJSON + `nested deeper than 64 levels`},
	{"brackets in a text", `{"action":"say","payload":"` + strings.Repeat(`[\"{`, 100) + `"}`, `say "` + strings.Repeat(`[\"{`, 100) + `"`},
	{"brackets after an escaped backslash", `{"action":"say","payload":"\\","x":` + nested(wire.MaxDepth) + `}`, notJSON + `nested deeper than 64 levels`},

	// A payload that is null.
	{"payload where none belongs", `{"action":"ping","payload":{}}`, `none_required at ping.payload: Input should be None`},
	{"false is not null", `{"action":"ping","payload":false}`, `none_required at ping.payload: Input should be None`},

	// A payload that is no object.
	{"text", `{"action":"say","payload":"<b>\u0000&amp;\u2028"}`, `say "\u003cb\u003e\u0000\u0026amp;\u2028"`},
	{"empty text", `{"action":"say","payload":""}`, `say ""`},
	{"text is missing", `{"action":"say"}`, `missing at say.payload: Field required`},
	{"text is null", `{"action":"say","payload":null}`, `string_type at say.payload: Input should be a valid string`},
	{"text is a number", `{"action":"say","payload":5}`, `string_type at say.payload: Input should be a valid string`},
	{"number", `{"action":"count","payload":-5}`, `count -5`},
	{"number as text", `{"action":"count","payload":"5"}`, `int_type at count.payload: Input should be a valid integer`},
	{"number with an exponent", `{"action":"count","payload":5e0}`, `int_type at count.payload: Input should be a valid integer`},
	{"truth", `{"action":"quiet","payload":true}`, `quiet true`},
	{"truth as a number", `{"action":"quiet","payload":1}`, `bool_type at quiet.payload: Input should be a valid boolean`},

	// A payload that may be null.
	{"optional absent", `{"action":"stop"}`, `stop null`},
	{"optional null", `{"action":"stop","payload":null}`, `stop null`},
	{"optional empty", `{"action":"stop","payload":{}}`, `stop {}`},
	{"optional given", `{"action":"stop","payload":{"message_id":"m"}}`, `stop {"message_id":"m"}`},
	{"optional of another type", `{"action":"stop","payload":"m"}`, `model_type at stop.payload: Input should be a valid dictionary or instance of Options`},
	{"optional with a fault", `{"action":"stop","payload":{"message_id":"12345"}}`, `string_too_long at stop.payload.message_id: String should have at most 4 characters`},

	// Objects.
	{"required only", `{"action":"ask","payload":{"content":"c"}}`, `ask {"content":"c"}`},
	{
		"everything", `{"action":"ask","payload":{"content":"äöü€😀","client_id":"1234","limit":100,"after":18446744073709551615,"quiet":true,"place":{"room":"","floor":-1,"side":{"Window":"w"}},"note":"abc"}}`,
		`ask {"content":"äöü€😀","client_id":"1234","limit":100,"after":18446744073709551615,"quiet":true,"place":{"room":"","floor":-1,"side":{"Window":"w"}},"note":"abc"}`,
	},
	{"null for every optional field", `{"action":"ask","payload":{"content":"c","client_id":null,"limit":null,"after":null,"quiet":null,"place":null,"note":null}}`, `ask {"content":"c"}`},
	{"unknown and hidden fields", `{"action":"ask","payload":{"content":"c","Internal":"i","-":"i","private":"p","CONTENT":5}}`, `ask {"content":"c"}`},
	{"object missing", `{"action":"ask"}`, `missing at ask.payload: Field required`},
	{"object null", `{"action":"ask","payload":null}`, `model_type at ask.payload: Input should be a valid dictionary or instance of Question`},
	{"object is an array", `{"action":"ask","payload":[]}`, `model_type at ask.payload: Input should be a valid dictionary or instance of Question`},
	{"required field missing", `{"action":"ask","payload":{}}`, `missing at ask.payload.content: Field required`},
	{"required field null", `{"action":"ask","payload":{"content":null}}`, `string_type at ask.payload.content: Input should be a valid string`},
	{"too short", `{"action":"ask","payload":{"content":""}}`, `string_too_short at ask.payload.content: String should have at least 1 character`},
	{"too long, in characters", `{"action":"ask","payload":{"content":"äöü€😀!"}}`, `string_too_long at ask.payload.content: String should have at most 5 characters`},
	{"too small", `{"action":"ask","payload":{"content":"c","limit":0}}`, `greater_than_equal at ask.payload.limit: Input should be greater than or equal to 1`},
	{"too large", `{"action":"ask","payload":{"content":"c","limit":101}}`, `less_than_equal at ask.payload.limit: Input should be less than or equal to 100`},
	{"integer overflow", `{"action":"ask","payload":{"content":"c","limit":9223372036854775808}}`, `int_type at ask.payload.limit: Input should be a valid integer`},
	{"negative unsigned", `{"action":"ask","payload":{"content":"c","after":-1}}`, `int_type at ask.payload.after: Input should be a valid integer`},
	{"unsigned too small", `{"action":"ask","payload":{"content":"c","after":2}}`, `greater_than_equal at ask.payload.after: Input should be greater than or equal to 3`},
	{"pointer with a limit", `{"action":"ask","payload":{"content":"c","note":"four"}}`, `string_too_long at ask.payload.note: String should have at most 3 characters`},
	{"nested of another type", `{"action":"ask","payload":{"content":"c","place":"here"}}`, `model_type at ask.payload.place: Input should be a valid dictionary or instance of Place`},
	{
		"faults at every depth, in the order of the fields", `{"action":"ask","payload":{"place":{"floor":10,"room":false,"side":[]},"quiet":"yes","client_id":7}}`,
		strings.Join([]string{
			`missing at ask.payload.content: Field required`,
			`string_type at ask.payload.client_id: Input should be a valid string`,
			`bool_type at ask.payload.quiet: Input should be a valid boolean`,
			`string_type at ask.payload.place.room: Input should be a valid string`,
			`less_than_equal at ask.payload.place.floor: Input should be less than or equal to 9`,
			`model_type at ask.payload.place.side: Input should be a valid dictionary or instance of Side`,
		}, "\n"),
	},
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestDispatch(t *testing.T) {
	protocol := newProtocol()
	for _, test := range frames {
		t.Run(test.name, func(t *testing.T) {
			frame := []byte(test.frame)
			r := &recorder{}
			_, err := protocol.Dispatch(t.Context(), r, frame)
			if got := outcome(r, err); got != test.want {
				t.Errorf("%.200s\ngot  %s\nwant %s", test.frame, got, test.want)
			}
			if string(frame) != test.frame {
				t.Errorf("the frame was changed to %q", frame)
			}
			if len(r.admitted) != len(r.calls) {
				t.Errorf("admit was asked %d times for %d calls", len(r.admitted), len(r.calls))
			}
		})
	}
}

func TestDispatchEnvelope(t *testing.T) {
	protocol := newProtocol()
	for _, test := range []struct {
		name, frame string
		want        wire.Envelope
		extended    bool
	}{
		{"plain", `{"action":"ping"}`, wire.Envelope{Action: "ping"}, false},
		{"null is none", `{"action":"ping","ref":null,"topic":null}`, wire.Envelope{Action: "ping"}, false},
		{"empty is none", `{"action":"ping","ref":"","topic":""}`, wire.Envelope{Action: "ping"}, false},
		{"ref", `{"action":"ping","ref":"r\u00fc"}`, wire.Envelope{Action: "ping", Ref: "rü"}, true},
		{"topic", `{"action":"ping","topic":"t"}`, wire.Envelope{Action: "ping", Topic: "t"}, true},
		// As far as it can be read, so that errors can be addressed.
		{"bad payload", `{"action":"ping","ref":"r","topic":"t","payload":1}`, wire.Envelope{Action: "ping", Ref: "r", Topic: "t"}, true},
		{"bad version", `{"ref":"r","version":"x","topic":"t","action":"ping"}`, wire.Envelope{Ref: "r", Topic: "t"}, true},
		{"bad topic", `{"action":"ping","ref":"r","topic":1}`, wire.Envelope{Ref: "r"}, true},
		{"bad ref", `{"action":"ping","ref":1,"topic":"t"}`, wire.Envelope{Topic: "t"}, true},
		{"no action", `{"ref":"r"}`, wire.Envelope{Ref: "r"}, true},
		{"unknown action", `{"action":"nope","ref":"r"}`, wire.Envelope{Action: "nope", Ref: "r"}, true},
		{"bad JSON", `{"action":"ping","ref":"r"`, wire.Envelope{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, _ := protocol.Dispatch(t.Context(), &recorder{}, []byte(test.frame))
			if got != test.want || got.Extended() != test.extended {
				t.Errorf("got %+v, extended %v; want %+v, %v", got, got.Extended(), test.want, test.extended)
			}
		})
	}
}

// TestAdmit shows that every valid frame passes admit with all that is known of it, and that its error is
// the answer.
func TestAdmit(t *testing.T) {
	protocol := newProtocol()
	refused, failed := errors.New("refused"), errors.New("failed")
	frame := []byte(`{"action":"ask","topic":"t","ref":"r","payload":{"content":"c"}}`)

	r := &recorder{fail: failed}
	e, err := protocol.Dispatch(t.Context(), r, frame)
	if err != failed || e != (wire.Envelope{Action: "ask", Topic: "t", Ref: "r"}) {
		t.Errorf("got %+v, %v; want the handler's error", e, err)
	}
	if want := []string{`ask topic="t" ref="r" {"content":"c"}`}; !slices.Equal(r.admitted, want) {
		t.Errorf("admit saw %q, want %q", r.admitted, want)
	}

	r = &recorder{refuse: refused}
	if e, err = protocol.Dispatch(t.Context(), r, frame); err != refused || e.Ref != "r" {
		t.Errorf("got %+v, %v; want admit's error", e, err)
	}
	if len(r.calls) > 0 {
		t.Errorf("refused, and yet called: %q", r.calls)
	}
}

// TestDispatchContext shows that admit and handler see the caller's context.
func TestDispatchContext(t *testing.T) {
	type key struct{}
	var seen []any
	note := func(ctx context.Context) error {
		seen = append(seen, ctx.Value(key{}))
		return nil
	}
	protocol := wire.New(
		func(_ int, ctx context.Context, _ wire.Envelope, _ any) error { return note(ctx) },
		wire.On("ping", func(_ int, ctx context.Context, _ wire.Null) error { return note(ctx) }),
	)
	if _, err := protocol.Dispatch(context.WithValue(t.Context(), key{}, "v"), 0, []byte(`{"action":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, []any{"v", "v"}) {
		t.Errorf("contexts carried %v", seen)
	}
}

func TestValidationErrorText(t *testing.T) {
	_, err := newProtocol().Dispatch(t.Context(), &recorder{}, []byte(`{"action":"ask","payload":{"limit":"secret"}}`))
	if want := "invalid frame: ask.payload.content.missing, ask.payload.limit.int_type"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

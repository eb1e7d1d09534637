package answer

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/sse"
)

// usualChunks are chunks with a piece of text, as services send most of theirs.
var usualChunks = map[string]string{
	"OpenAI":         sample,
	"OpenAI's first": `{"id":"c","object":"chat.completion.chunk","created":1764000000,"model":"gpt","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"k3J9"}`,
	"Azure":          `{"choices":[{"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"delta":{"content":"Tide"},"finish_reason":null,"index":0,"logprobs":null}],"created":1,"id":"c","model":"gpt","object":"chat.completion.chunk","system_fingerprint":"fp","usage":null}`,
	"logprobs":       `{"choices":[{"index":0,"delta":{"content":"Tide"},"logprobs":{"content":[{"token":"T","logprob":-1.5e-3,"bytes":[84],"top_logprobs":[]}],"refusal":null},"finish_reason":null}]}`,
	"DeepSeek":       `{"id":"c","choices":[{"index":0,"delta":{"content":null,"reasoning_content":"Let me\n\"think\"."},"logprobs":null,"finish_reason":null}]}`,
	"Ollama":         `{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"Hm."},"finish_reason":null}]}`,
	"vLLM":           `{"choices":[{"index":0,"delta":{"reasoning":"So","reasoning_content":"So"},"logprobs":null,"finish_reason":null,"token_ids":null}]}`,
	"OpenRouter":     `{"id":"gen-1","provider":"X","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"Let me","reasoning_details":[{"type":"reasoning.text","text":"Let me"}]},"finish_reason":null,"native_finish_reason":null}]}`,
	"with spaces":    ` { "choices" : [ { "index" : 0 , "delta" : { "content" : "T\ud83c\udf0a\u00fc" } } ] , "x" : [ ] , "y" : { } } `,
}

// usualEvents are events of the Responses API with a piece of text.
var usualEvents = map[string]string{
	"text":      outputSample,
	"reasoning": `{"type":"response.reasoning_text.delta","item_id":"rs_1","output_index":0,"content_index":0,"delta":"Hm\n"}`,
	"a summary": `{"delta":"**Tide**","type":"response.reasoning_summary_text.delta"}`,
}

// unusual is data that is much like the usual, and means something else or nothing.
var unusual = []string{
	`{"choices":[{"index":1,"delta":{"content":"X"}}]}`, `{"choices":[{"index":00,"delta":{"content":"X"}}]}`,
	`{"choices":[{"index":0.1,"delta":{"content":"X"}}]}`, `{"choices":[{"index":"0","delta":{"content":"Tide"}}]}`,
	`{"choices":[{"delta":{"content":"Tide"}},{"index":1,"delta":{"content":"X"}}]}`, `{"choices":[]}`, `{"choices":{"delta":{"content":"X"}}}`,
	`{"choices":[{"delta":{"content":"X"}}],"choices":[{"delta":{"content":"Tide"}}]}`, `{"choices":[{"delta":{"content":"X","content":"Tide"}}]}`,
	`{"choices":[{"delta":{"content":"X","content":null}}]}`, `{"choices":[{"delta":{"content":null,"content":"Tide"}}]}`,
	`{"choices":[{"delta":{"content":"X"},"delta":{"reasoning":"Hm"}}]}`, `{"choices":[{"delta":{"conten\u0074":"Tide"}}]}`,
	`{"choices":[{"delta":{"content":"Tide"},"finish_reason":"stop"}]}`, `{"choices":[{"delta":{"content":"Tide"},"finish_reason":"stop","finish_reason":null}]}`,
	`{"choices":[{"delta":{"content":"Tide"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`, `{"choices":[{"delta":{"content":"Tide"}}],"error":{"message":"no"}}`,
	`{"choices":[{"delta":{"content":"Tide"},"error":"no"}]}`, `{"choices":[{"delta":{"content":"Tide"}}],"x_groq":{"error":"no"}}`,
	`{"choices":[{"delta":{},"message":{"content":"Tide"}}]}`, `{"choices":[{"delta":{},"usage":{"prompt_tokens":1,"completion_tokens":2}}]}`, `{"choices":[{"delta":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}]}`, `{"choices":[{"delta":{"function_call":{"name":"f"}}}]}`, `{"choices":[{"delta":{"content":"Tide","tool_calls":[{}]}}]}`,
	`{"choices":[{"delta":{"content":"","refusal":"No."}}]}`, `{"choices":[{"delta":{"content":[{"type":"text","text":"Tide"}]}}]}`, `{"choices":[{"delta":{"content":7}}]}`,
	`{"choices":[{"delta":null,"message":{"content":"Tide"}}]}`, `{"choices":[{"text":"Tide"}]}`, `{"choices":[{"delta":{}}]}`, `{"choices":[null]}`, `{"choices":null}`,
	`{"choices":[{"delta":{"reasoning_content":"\n"}}]}`, `{"choices":[{"delta":{"reasoning_content":" ","reasoning":"Hm"}}]}`, `{"choices":[{"delta":{"reasoning_content":"","reasoning":" "}}]}`,
	`{"choices":[{"delta":{"content":"\ud83c"}}]}` + "\n" + `{"choices":[{"delta":{"content":"\udf0a","reasoning":"\ud83c"}}]}` + "\n" + `{"choices":[{"delta":{"content":"","reasoning":"\udf0a"}}]}`,
	"{\"choices\":[{\"delta\":{\"content\":\"\xf0\x9f\"}}]}\n{\"choices\":[{\"delta\":{\"content\":\"\x8c\x8a\xff\"}}],\"\xff\":\"\xff\"}",
	`{"choices":[{"delta":{"content":"<think>Hm</think>"}}]}` + "\n" + `{"choices":[{"delta":{"content":"Tide"}}]}`, `{"choices":[{"delta":{"content":" \u200b"}}]}` + "\n" + `{"choices":[{"delta":{"content":"Tide"}}]}`,
	`{"choices":[{"delta":{"content":"X"}}]`, `{"choices":[{"delta":{"content":"X"}}]}}`, `{"choices":[{"delta":{"content":"X"}},]}`, `{"choices":[{"delta":{"content":"X"},}]}`, `{"choices":[{"delta":{"content":"X"}}],}`, `{,"choices":[{"delta":{"content":"X"}}]}`,
	`{"choices":[{"delta":{"content":"X"}} {}]}`, `{"choices" [{"delta":{"content":"X"}}]}`, `{"choices":[{"delta":{"content":"X\q"}}]}`, `{"choices":[{"delta":{"content":"X\u12"}}]}`, `{"choices":[{"delta":{"content":"X\u12g4"}}]}`, "{\"choices\":[{\"delta\":{\"content\":\"X\x1f\"}}]}",
	`{"choices":[{"delta":{"content":"X"}}],"n":01}`, `{"choices":[{"delta":{"content":"X"}}],"n":-}`, `{"choices":[{"delta":{"content":"X"}}],"n":1.}`, `{"choices":[{"delta":{"content":"X"}}],"n":1e}`, `{"choices":[{"delta":{"content":"X"}}],"n":1.5.5}`, "{\"choices\":[{\"delta\":{\"content\":\"X\x1fn\"}}]}", `{"choices":[{"delta":{"content":"X"}}],"n":.5}`, `{"choices":[{"delta":{"content":"X"}}],"n":+1}`,
	`{"choices":[{"delta":{"content":"Tide"}}],"n":[-0,0.5,1E+9,1e-9,10]}`, `{"choices":[{"delta":{"content":"X"}}],"n":nul}`, `{"choices":[{"delta":{"content":"X"}}],"n":truefalse}`, `{"choices":[{"delta":{"content":"Tide"}}],"n":[true,false,null]}`,
	`{"choices":[{"delta":{"content":"Tide"}}],"n":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, `{"choices":[{"delta":{"content":"X"}}],"n":{"a":1,"b"}}`, `{"choices":[{"delta":{"content":"X"}}],"n":{1:1}}`, `{"choices":[{"delta":{"content":"X"}}],"n":"x`,
	`{"choices":[{"delta":{},"text":"Tide"}]}`, "{\"choices\":[{\"delta\":{\"content\":\"X\x1f}}]}", "{\"choices\":[{\"delta\":{\"content\":\"Xx\x00x\"}}]}",
	deep(`[`, `]`), deep(`{"":`, `}`), `{"type":"response.output_text.delta","delta":"X"}}`,
	`[{"choices":[{"delta":{"content":"Tide"}}]}]`, `null`, ``, `"`, `{`, `{}`, `[`,
	`{"type":"response.output_text.delta","delta":7}`, `{"type":"response.output_text.delta","delta":null}`, `{"type":"response.output_text.delta","delta":"X","delta":"Tide"}`, `{"type":"response.refusal.delta","delta":"No."}`,
	`{"type":"response.created","type":"response.output_text.delta","delta":"Tide"}`, `{"type":"response.output_text.delt\u0061","delta":"Tide"}`, `{"type":null,"delta":"X"}`, `{"delta":"X"}`, `{"type":"response.output_text.delta","delta":"Tide","error":{"message":"no"},"response":{"error":{"message":"no"}}}`,
	`{"type":"response.output_text.delta","delta":"\ud83c"}` + "\n" + `{"type":"response.output_text.delta","delta":"\udf0a"}`, `{"type":"response.output_text.delta","delta":"X"`,
}

// deep is a chunk with values that stand deeper in each other than the decoder accepts.
func deep(begin, end string) string {
	const depth = 10_001
	return `{"choices":[{"delta":{"content":"X"}}],"n":` + strings.Repeat(begin, depth) + "1" + strings.Repeat(end, depth) + `}`
}

// TestUsual checks that usual events are scanned, and need no memory but for their text.
func TestUsual(t *testing.T) {
	for name, data := range usualChunks {
		if !new(choice).scan([]byte(data)) {
			t.Errorf("chat, %s: not scanned", name)
		}
		checkMemory(t, "chat, "+name, Chat(false, false), data)
	}
	for name, data := range usualEvents {
		if kind, delta := scanDelta([]byte(data)); kind == nil || delta == nil {
			t.Errorf("responses, %s: not scanned", name)
		}
		checkMemory(t, "responses, "+name, Responses(false, false, false), data)
	}
}

func checkMemory(t *testing.T, name string, tr Translator, data string) {
	t.Helper()
	e := sse.Event{Data: []byte(data)}
	d, err := tr.Translate(e)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	want := 0.
	for _, text := range []string{d.Text, d.Reasoning} {
		if len(text) > 1 {
			want++
		}
	}
	if n := testing.AllocsPerRun(100, func() { d, _ = tr.Translate(e) }); n != want || d == (assistant.Delta{}) != (want == 0) {
		t.Errorf("%s: %v allocations for %+v, want %v", name, n, d, want)
	}
}

// FuzzUsual and FuzzUsualResponses check that each event, one a line, means the same when it is scanned where it can be
// as when it is decoded, and that both leave the translator in the same state.
func FuzzUsual(f *testing.F) {
	addLines(f, "chat", usualChunks)
	f.Fuzz(func(t *testing.T, lines []byte, name string, thinkTags bool) {
		scanned, decoded := &chat{progress: newProgress(thinkTags, false)}, &chat{progress: newProgress(thinkTags, false)}
		for line := range bytes.Lines(lines) {
			e := sse.Event{Name: []byte(name), Data: bytes.TrimSpace(line)}
			compare(t, e, scanned, slowly{decoded, &decoded.progress, decoded.decode})
			compareStates(t, e, scanned.progress, decoded.progress)
		}
	})
}

func FuzzUsualResponses(f *testing.F) {
	addLines(f, "responses", usualEvents)
	f.Fuzz(func(t *testing.T, lines []byte, name string, thinkTags bool) {
		scanned, decoded := &responses{progress: newProgress(thinkTags, false)}, &responses{progress: newProgress(thinkTags, false)}
		for line := range bytes.Lines(lines) {
			e := sse.Event{Name: []byte(name), Data: bytes.TrimSpace(line)}
			compare(t, e, scanned, slowly{decoded, &decoded.progress, decoded.decode})
			compareStates(t, e, scanned.progress, decoded.progress)
			compareStates(t, e, scanned.parts, decoded.parts)
		}
	})
}

// slowly is a translator that decodes every event.
type slowly struct {
	Translator
	progress *progress
	decode   func(sse.Event) (assistant.Delta, error)
}

func (s slowly) Translate(e sse.Event) (assistant.Delta, error) {
	if s.progress.done || isEndMarker(e.Data) {
		return s.Translator.Translate(e)
	}
	return s.decode(e)
}

// addLines adds what this package's tests know of an API, each stream as lines of data.
func addLines(f *testing.F, api string, usual map[string]string) {
	add := func(lines string) {
		f.Add([]byte(lines), "", false)
		f.Add([]byte(lines), "error", true)
	}
	files, err := filepath.Glob("testdata/" + api + "/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no streams: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		add(strings.ReplaceAll(string(archive.Files[0].Data), "data: ", ""))
	}
	for _, o := range oddities {
		add(strings.ReplaceAll(o.stream, "\n!", "\n"))
	}
	for _, data := range usual {
		add(data + "\n" + data)
	}
	for _, data := range unusual {
		add(data)
	}
}

func compare(t *testing.T, e sse.Event, scanned, decoded Translator) {
	t.Helper()
	data := string(e.Data)
	got, gotErr := scanned.Translate(e)
	want, wantErr := decoded.Translate(e)
	if got != want || errorText(gotErr) != errorText(wantErr) {
		t.Errorf("%q: scanned %+v, %v; decoded %+v, %v", e.Data, got, gotErr, want, wantErr)
	}
	if string(e.Data) != data {
		t.Errorf("%q has become %q", data, e.Data)
	}
}

func compareStates(t *testing.T, e sse.Event, scanned, decoded any) {
	t.Helper()
	if !reflect.DeepEqual(scanned, decoded) {
		t.Errorf("after %q: scanned %+v, decoded %+v", e.Data, scanned, decoded)
	}
}

// errorText returns an error's text without the decoder's own words, which change from run to run.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	text, _, _ := strings.Cut(err.Error(), "json")
	return text
}

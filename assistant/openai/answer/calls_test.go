package answer

import (
	"fmt"
	"strings"
	"testing"
)

// chunkOf is a chunk of chat completions with this delta.
func chunkOf(delta, finish string) string {
	if finish == "" {
		finish = "null"
	} else {
		finish = `"` + finish + `"`
	}
	return fmt.Sprintf("data: {\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":%s}]}\n\n", delta, finish)
}

// callsOf reads a stream, and returns text, calls as index:id:name{arguments}, and how it ended.
func callsOf(stream string, t Translator) string {
	var b strings.Builder
	var names []string
	arguments := make(map[int]string)
	for d, err := range Read(strings.NewReader(stream), t, func(Phase) {}) {
		if err != nil {
			return strings.TrimSpace(b.String() + " " + err.Error())
		}
		b.WriteString(d.Text)
		if d.Calls != nil {
			for _, c := range *d.Calls {
				if c.Name != "" {
					names = append(names, fmt.Sprintf("%d:%s:%s", c.Index, c.ID, c.Name))
				}
				arguments[c.Index] += c.Arguments
			}
		}
		if d.FinishReason != "" {
			for _, name := range names {
				var index int
				_, _ = fmt.Sscanf(name, "%d:", &index)
				b.WriteString(" " + name + arguments[index])
			}
			b.WriteString(" " + string(d.FinishReason))
		}
	}
	return strings.TrimSpace(b.String())
}

// TestCalls holds that calls are read as servers write them.
func TestCalls(t *testing.T) {
	const two = `0:call_a:add{"a":1} 1:call_b:add{"a":2} tool_calls`
	for name, test := range map[string]struct{ stream, want string }{
		"OpenAI": {chunkOf(`{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"add","arguments":""}}]}`, "") +
			chunkOf(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}`, "") + chunkOf(`{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}`, "") +
			chunkOf(`{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"add","arguments":"{\"a\":2}"}}]}`, "") +
			chunkOf(`{}`, "tool_calls") + "data: [DONE]\n\n", two},
		"interleaved": {chunkOf(`{"tool_calls":[{"index":0,"id":"call_a","function":{"name":"add","arguments":"{\"a\""}},{"index":1,"id":"call_b","function":{"name":"add","arguments":"{\"a\":"}}]}`, "") +
			chunkOf(`{"tool_calls":[{"index":1,"function":{"arguments":"2}"}},{"index":0,"function":{"arguments":":1}"}}]}`, "tool_calls"), two},
		"the same index, and stop": {chunkOf(`{"tool_calls":[{"index":0,"id":"call_a","function":{"name":"add","arguments":"{\"a\":1}"}}]}`, "") +
			chunkOf(`{"tool_calls":[{"index":0,"id":"call_b","function":{"name":"add","arguments":"{\"a\":2}"}}]}`, "stop") + "data: [DONE]\n\n", two},
		"no ids":               {chunkOf(`{"tool_calls":[{"index":0,"function":{"name":"add","arguments":"{\"a\":1}"}}]}`, "") + chunkOf(`{"tool_calls":[{"index":0,"function":{"name":"sub","arguments":"{}"}}]}`, "tool_calls"), `0::add{"a":1} 1::sub{} tool_calls`},
		"id and name repeated": {chunkOf(`{"tool_calls":[{"index":0,"id":"c","function":{"name":"add","arguments":"{"}}]}`, "") + chunkOf(`{"tool_calls":[{"index":0,"id":"c","function":{"name":"add","arguments":"}"}}]}`, "tool_calls"), `0:c:add{} tool_calls`},
		"object as arguments":  {chunkOf(`{"tool_calls":[{"index":0,"id":"c","function":{"name":"add","arguments":{"a":1}}}]}`, "tool_calls"), `0:c:add{"a":1} tool_calls`},
		"text before":          {chunkOf(`{"content":"Let me see. "}`, "") + chunkOf(`{"tool_calls":[{"index":0,"id":"c","function":{"name":"add","arguments":"{}"}}]}`, "tool_calls"), `Let me see.  0:c:add{} tool_calls`},
		"whole completion":     {`{"choices":[{"index":0,"message":{"content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"add","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`, `0:c:add{} tool_calls`},
		"cut":                  {chunkOf(`{"tool_calls":[{"index":0,"id":"c","function":{"name":"add","arguments":"{"}}]}`, "length"), `0:c:add{ length`},
		"no calls":             {chunkOf(`{"content":"Hi"}`, "stop"), `Hi stop`},
		"called nothing":       {chunkOf(`{}`, "tool_calls"), ErrTools.Error()},
	} {
		if got := callsOf(test.stream, Chat(false, true)); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, test.want)
		}
	}
	offered := chunkOf(`{"tool_calls":[{"index":0,"id":"c","function":{"name":"add","arguments":"{}"}}]}`, "tool_calls")
	if got := callsOf(offered, Chat(false, false)); got != ErrTools.Error() {
		t.Errorf("where no tools were offered: %s", got)
	}
}

// TestResponsesCalls is TestCalls for the Responses API.
func TestResponsesCalls(t *testing.T) {
	event := func(kind, rest string) string {
		return fmt.Sprintf("event: %s\ndata: {\"type\":%q%s}\n\n", kind, kind, rest)
	}
	const item = `{"type":"function_call","id":"fc_1","call_id":"call_a","name":"add","arguments":"{\"a\":1}"}`
	completed := event("response.completed", `,"response":{"status":"completed","output":[`+item+`]}`)
	for name, stream := range map[string]string{
		"events": event("response.output_item.added", `,"output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_a","name":"add","arguments":""}`) +
			event("response.function_call_arguments.delta", `,"output_index":0,"delta":"{\"a\":1}"`) + event("response.function_call_arguments.done", `,"output_index":0,"arguments":"{\"a\":1}"`) +
			event("response.output_item.done", `,"output_index":0,"item":`+item) + completed,
		"the end alone": completed,
	} {
		if got, want := callsOf(stream, Responses(false, true, false)), `1:call_a:add{"a":1} tool_calls`; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if got := callsOf(completed, Responses(false, false, false)); got != ErrTools.Error() {
		t.Errorf("where no tools were offered: %s", got)
	}
}

// TestHidden holds what is sent back of a model's reasoning: what it has encrypted, where it may call tools.
func TestHidden(t *testing.T) {
	item := func(fields string) string {
		return `data: {"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs_1"` + fields + "}}\n\n"
	}
	end := `data: {"type":"response.output_item.done","item":{"type":"function_call","call_id":"c","name":"add","arguments":"{}"}}` + "\n\n" +
		`data: {"type":"response.completed","response":{"status":"completed"}}` + "\n\n"
	for name, test := range map[string]struct {
		stream string
		tools  bool
		want   string
	}{
		"encrypted":      {item(`,"summary":[{"type":"summary_text","text":"Hm."}],"encrypted_content":"gAAA"`), true, `{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Hm."}],"encrypted_content":"gAAA"}`},
		"no summary":     {item(`,"encrypted_content":"gAAA"`), true, `{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}`},
		"not encrypted":  {item(`,"summary":[]`), true, ""},
		"null":           {item(`,"encrypted_content":null`), true, ""},
		"without tools":  {item(`,"encrypted_content":"gAAA"`), false, ""},
		"more than much": {item(`,"encrypted_content":"` + strings.Repeat("A", maxHidden) + `"`), true, ""},
	} {
		var got string
		for d := range Read(strings.NewReader(test.stream+end), Responses(false, test.tools, false), func(Phase) {}) {
			if d.Hidden != nil {
				got += string(d.Hidden.Item)
			}
		}
		if got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

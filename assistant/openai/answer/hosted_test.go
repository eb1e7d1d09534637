package answer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestHosted holds what is read of the tools that OpenAI hosts: calls as they begin and end, and where passages come from, by
// their place in the whole text.
func TestHosted(t *testing.T) {
	event := func(kind, fields string) string {
		return fmt.Sprintf("event: %s\ndata: {\"type\":%q,%s}\n\n", kind, kind, fields)
	}
	text := func(delta string) string {
		return event("response.output_text.delta", fmt.Sprintf(`"item_id":"msg_1","output_index":1,"content_index":0,"delta":%q`, delta))
	}
	note := func(fields string) string {
		return event("response.output_text.annotation.added", `"item_id":"msg_1","output_index":1,"content_index":0,"annotation_index":0,"annotation":{`+fields+`}`)
	}
	part := event("response.content_part.added", `"item_id":"msg_1","part":{"type":"output_text","text":"","annotations":[]}`)
	end := event("response.completed", `"response":{"status":"completed","output":[]}`)
	for name, test := range map[string]struct{ stream, want string }{
		"web search": {
			event("response.output_item.added", `"output_index":0,"item":{"type":"web_search_call","id":"ws_1","status":"in_progress"}`) +
				event("response.web_search_call.searching", `"output_index":0,"item_id":"ws_1"`) +
				event("response.output_item.done", `"output_index":0,"item":{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"python"}}`) +
				part + text("Pythön is ") + text("a language.") +
				note(`"type":"url_citation","url":"https://www.python.org/","title":"Python","start_index":0,"end_index":6`) +
				part + text(" More.") + note(`"type":"url_citation","url":"https://example.com/","title":"Example","start_index":1,"end_index":5`) + end,
			`{"type":"tool_call","call_id":"ws_1","name":"web_search","title":"Web search","arguments":{},"where":"provider","state":"running"}
{"type":"tool_call","call_id":"ws_1","name":"web_search","title":"Web search","arguments":{"query":"python"},"where":"provider","state":"done"}
text "Pythön is "
text "a language."
{"type":"source","source_id":"source_1","url":"https://www.python.org/","title":"Python","end":6}
text " More."
{"type":"source","source_id":"source_2","url":"https://example.com/","title":"Example","start":22,"end":26}
finish stop`,
		},
		"file search": {
			event("response.output_item.done", `"item":{"type":"file_search_call","id":"fs_1","status":"completed","queries":["a","b"],"results":null}`) +
				part + text("x") + note(`"type":"file_citation","file_id":"file-1","filename":"a.pdf","index":3`) + end,
			`{"type":"tool_call","call_id":"fs_1","name":"file_search","title":"File search","arguments":{"queries":["a","b"]},"where":"provider","state":"done"}
text "x"
{"type":"source","source_id":"source_1","title":"a.pdf"}
finish stop`,
		},
		"code": {
			event("response.output_item.done", `"item":{"type":"code_interpreter_call","id":"ci_1","status":"failed","code":"print(1)","outputs":[{"type":"logs","logs":"1\n"},7]}`) + text("x") + end,
			`{"type":"tool_call","call_id":"ci_1","name":"code_interpreter","title":"Code","arguments":{"code":"print(1)"},"where":"provider","state":"failed"}
{"type":"tool_result","call_id":"ci_1","content":"1\n","is_error":true}
text "x"
finish stop`,
		},
		"oddities": {
			event("response.output_item.done", `"item":{"type":"web_search_call","status":"completed","action":7}`) + // no id
				event("response.output_item.added", `"item":{"type":"computer_call","id":"c"}`) +
				text("x") + note(`"type":"url_citation","url":"javascript:alert(1)","start_index":0,"end_index":1`) + note(`"type":"other"`) +
				note(`"type":"url_citation","url":"http://a.example/","title":7,"start_index":-1,"end_index":"x"`) + end,
			`text "x"
{"type":"source","source_id":"source_1","url":"http://a.example/"}
finish stop`,
		},
	} {
		var got strings.Builder
		for d, err := range Read(strings.NewReader(test.stream), Responses(false, false, true), func(Phase) {}) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if d.Parts != nil {
				for _, p := range *d.Parts {
					data, err := json.Marshal(p)
					if err != nil {
						t.Fatal(err)
					}
					got.Write(append(data, '\n'))
				}
			}
			writeDelta(&got, d)
		}
		if got := strings.TrimSpace(got.String()); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, test.want)
		}
	}
}

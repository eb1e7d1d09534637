package openai

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestToolRequests compares what is sent about tools with what the documentation of both APIs says.
func TestToolRequests(t *testing.T) {
	call := func(id string, state assistant.CallState) assistant.ToolCallPart {
		return assistant.ToolCallPart{CallID: id, Name: "add", Arguments: json.RawMessage(`{"a":1}`), Where: "server", State: state}
	}
	own := assistant.Source{Provider: "openai", Model: "gpt-4o"}
	req := assistant.Request{
		Turns: []assistant.Turn{
			{Role: assistant.RoleUser, Content: "Add."},
			{Role: assistant.RoleAssistant, Content: "I add. Done.", Parts: assistant.Parts{
				assistant.ReasoningPart{Text: "Hm."}, assistant.TextPart{Text: "I add. "}, call("c1", assistant.CallDone), call("c2", assistant.CallUnknown),
				assistant.ToolResultPart{CallID: "c1", Content: "2"}, call("c3", assistant.CallDenied), assistant.ToolResultPart{CallID: "c3", Content: "no", IsError: true},
				assistant.TextPart{Text: "Done."}},
				Hidden: []assistant.Hidden{{Step: 1, From: own, Item: json.RawMessage(`{"type":"reasoning","id":"rs_1","encrypted_content":"gAAA"}`)},
					{Step: 1, From: assistant.Source{Provider: "openai", Model: "other"}, Item: json.RawMessage(`{"type":"reasoning","id":"rs_2"}`)},
					{Step: 3, From: own, Item: json.RawMessage(`{"type":"reasoning","id":"rs_3"}`)}}}, // nothing that needs it follows
		},
		Tools: []assistant.Tool{{Name: "add", Description: "Adds.", Parameters: json.RawMessage(`{"type":"object","properties":{"a":{"type":"number"}}}`)}, {Name: "odd"}},
	}
	const unknown = assistant.OutcomeUnknown
	for api, test := range map[string]struct{ tools, list, member string }{
		"chat": {
			`[{"function":{"name":"add","description":"Adds.","parameters":{"properties":{"a":{"type":"number"}},"type":"object"}},"type":"function"},
				{"function":{"name":"odd","parameters":{"properties":{},"type":"object"}},"type":"function"}]`,
			`[{"content":"Add.","role":"user"},
				{"content":"I add. ","tool_calls":[{"id":"c1","function":{"arguments":"{\"a\":1}","name":"add"},"type":"function"},{"id":"c2","function":{"arguments":"{\"a\":1}","name":"add"},"type":"function"}],"role":"assistant"},
				{"content":"2","tool_call_id":"c1","role":"tool"},{"content":"` + unknown + `","tool_call_id":"c2","role":"tool"},
				{"tool_calls":[{"id":"c3","function":{"arguments":"{\"a\":1}","name":"add"},"type":"function"}],"role":"assistant"},{"content":"no","tool_call_id":"c3","role":"tool"},
				{"content":"Done.","role":"assistant"}]`, "messages",
		},
		"responses": {
			`[{"strict":false,"parameters":{"properties":{"a":{"type":"number"}},"type":"object"},"name":"add","description":"Adds.","type":"function"},
				{"strict":false,"parameters":{"properties":{},"type":"object"},"name":"odd","type":"function"}]`,
			`[{"content":"Add.","role":"user","type":"message"},{"type":"reasoning","id":"rs_1","encrypted_content":"gAAA"},{"content":"I add. ","role":"assistant","type":"message"},
				{"arguments":"{\"a\":1}","call_id":"c1","name":"add","type":"function_call"},{"arguments":"{\"a\":1}","call_id":"c2","name":"add","type":"function_call"},
				{"output":"2","call_id":"c1","type":"function_call_output"},{"output":"` + unknown + `","call_id":"c2","type":"function_call_output"},
				{"arguments":"{\"a\":1}","call_id":"c3","name":"add","type":"function_call"},{"output":"no","call_id":"c3","type":"function_call_output"},
				{"content":"Done.","role":"assistant","type":"message"}]`, "input",
		},
	} {
		_, params := newAPI(Config{API: api}).request((&Provider{source: own}).own(req))
		body, err := json.Marshal(params)
		if err != nil {
			t.Fatal(err)
		}
		var sent map[string]json.RawMessage
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Fatal(err)
		}
		for member, want := range map[string]string{"tools": test.tools, test.member: test.list} {
			if got, want := canonical(t, sent[member]), canonical(t, []byte(want)); got != want {
				t.Errorf("%s: %s is\n%s\nwant\n%s", api, member, got, want)
			}
		}
	}
}

// canonical is JSON with its members in order.
func canonical(t *testing.T, text []byte) string {
	t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestHostedRequests compares what is sent about tools that OpenAI hosts with what its documentation says.
func TestHostedRequests(t *testing.T) {
	api := newAPI(Config{API: apiResponses, Hosted: []Hosted{{Tool: webSearch, Of: []string{"python.org"}}, {Tool: fileSearch, Of: []string{"vs_1"}}, {Tool: codeInterpreter}}})
	asked := []assistant.Turn{{Role: assistant.RoleUser, Content: "Hi"}}
	for want, req := range map[string]assistant.Request{
		`[{"type":"web_search","filters":{"allowed_domains":["python.org"]}},{"type":"file_search","vector_store_ids":["vs_1"]},{"type":"code_interpreter","container":{"type":"auto"}}]`: {Turns: asked},
		`null`: {Turns: asked, TextOnly: true},
	} {
		_, params := api.request(req)
		body, err := json.Marshal(params)
		if err != nil {
			t.Fatal(err)
		}
		var sent struct {
			Tools json.RawMessage
		}
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Fatal(err)
		}
		if sent.Tools == nil {
			sent.Tools = json.RawMessage("null")
		}
		if got, want := canonical(t, sent.Tools), canonical(t, []byte(want)); got != want {
			t.Errorf("sent\n%s\nwant\n%s", got, want)
		}
	}
}

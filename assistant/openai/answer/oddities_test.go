package answer

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddy-assistant/caddy-assistant/assistant/openai/sse"
)

// oddity is a stream that some server has sent, made anew, and what it means.
type oddity struct {
	name string
	api  string // "" = chat
	// The events' data, one each line. A line that begins with ! is sent as it is.
	stream string
	want   string // deltas joined by "; "
}

// chunks of chat completions: text, text with a finish reason, a finish reason, usage.
func textChunk(content string) string {
	return `{"choices":[{"index":0,"delta":{"content":"` + content + `"}}]}`
}
func lastChunk(content, reason string) string {
	return `{"choices":[{"index":0,"delta":{"content":"` + content + `"},"finish_reason":"` + reason + `"}]}`
}

const (
	stopChunk = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	whole1    = `text "Tide"; finish stop`
)

func usageChunk(usage string) string {
	return textChunk("Tide") + "\n" + stopChunk + "\n" + `{"choices":[],"usage":` + usage + "}\n[DONE]"
}

var oddities = []oddity{
	// 1. Text before the stream's own end belongs to the answer; the last finish reason counts.
	{name: "a finish reason in every chunk", stream: lastChunk("High ", "stop") + "\n" + lastChunk("tide ", "stop") + "\n" + lastChunk("at six.", "stop") + "\n" + `{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":4}}` + "\n[DONE]",
		want: `text "High "; text "tide "; text "at six."; finish stop; usage 7 + 4 = 11`},
	{name: "a finish reason in every chunk, and no end marker", stream: lastChunk("High ", "stop") + "\n" + lastChunk("tide", "stop"), want: `text "High "; text "tide"; finish stop`},
	{name: "the last finish reason counts", stream: lastChunk("High ", "stop") + "\n" + lastChunk("tide", "length") + "\n[DONE]", want: `text "High "; text "tide"; finish length`},
	{name: "a later chunk without a finish reason takes none away", stream: lastChunk("High", "length") + "\n" + textChunk("") + "\n[DONE]", want: `text "High"; finish length`},
	{name: "text after the finish reason", stream: textChunk("High") + "\n" + stopChunk + "\n" + textChunk(" tide") + "\n[DONE]", want: `text "High"; text " tide"; finish stop`},
	{name: "the finish reason null as text", stream: lastChunk("High ", "null") + "\n" + lastChunk("tide", "stop") + "\n[DONE]", want: `text "High "; text "tide"; finish stop`},
	{name: "the finish reason empty", stream: lastChunk("High ", "") + "\n" + lastChunk("tide", "stop"), want: `text "High "; text "tide"; finish stop`},
	{name: "finished with the reasoning", stream: `{"choices":[{"index":0,"delta":{"reasoning_content":"The moon."},"finish_reason":"stop"}]}` + "\n" + lastChunk("Six.", "stop") + "\n[DONE]", want: `reasoning "The moon."; text "Six."; finish stop`},
	{name: "other choices are not mixed in", stream: `{"choices":[{"index":1,"delta":{"content":"X"},"finish_reason":"length"},{"index":0,"delta":{"content":"Tide"}}]}` + "\n" + `{"choices":[{"index":1,"delta":{"content":"Y"},"finish_reason":"length"}]}` + "\n" + stopChunk + "\n[DONE]", want: whole1},
	{name: "a choice without an index", stream: `{"choices":[{"delta":{"content":"Tide"},"finish_reason":"stop"}]}`, want: whole1},
	{name: "an index as text", stream: `{"choices":[{"index":"0","delta":{"content":"Tide"},"finish_reason":"stop"},{"index":"1","delta":{"content":"X"}}]}`, want: whole1},

	// 2. An error in any shape is an error; the end marker completes only what has text.
	{name: "FastChat", stream: `{"text":"Server is full","error_code":42903}` + "\n[DONE]", want: `error error in the stream, code "42903", message "Server is full"`},
	{name: "vLLM, flat", stream: `{"object":"error","message":"Too many tokens","type":"BadRequestError","param":null,"code":400}` + "\n[DONE]", want: `error error in the stream, type "BadRequestError", code "400", message "Too many tokens"`},
	{name: "a flat object in an event named error", stream: "!event: error\n!data: {\"message\":\"busy\",\"type\":\"overloaded_error\"}\n!\n[DONE]", want: `error error in the stream, type "overloaded_error", message "busy"`},
	{name: "words in an event named error", stream: "!event: error\n!data: upstream gone\n!\n[DONE]", want: `error error in the stream, message "upstream gone"`},
	{name: "llama.cpp of old", stream: "!error: {\"code\":500,\"message\":\"slot\",\"type\":\"server_error\"}\n!", want: `error error in the stream, type "server_error", code "500", message "slot"`},
	{name: "MiniMax", stream: `{"id":"1","choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}` + "\n[DONE]", want: `error error in the stream, code "1002", message "rate limit"`},
	{name: "MiniMax, no error", stream: `{"choices":[{"delta":{"content":"Tide"},"finish_reason":"stop"}],"base_resp":{"status_code":0,"status_msg":""}}` + "\n" + `{"choices":null,"base_resp":{"status_code":0}}` + "\n[DONE]", want: whole1},
	{name: "Qianfan", stream: `{"error_code":18,"error_msg":"Open api qps request limit reached"}` + "\n[DONE]", want: `error error in the stream, code "18", message "Open api qps request limit reached"`},
	{name: "DashScope", stream: `{"code":"Throttling.RateQuota","message":"Requests rate limit exceeded","request_id":"r"}`, want: `error error in the stream, code "Throttling.RateQuota", message "Requests rate limit exceeded"`},
	{name: "Spark", stream: `{"code":11202,"message":"licc limit","sid":"s"}`, want: `error error in the stream, code "11202", message "licc limit"`},
	{name: "Spark, no error", stream: `{"code":0,"message":"Success","choices":[{"delta":{"content":"Tide"}}]}` + "\n" + `{"code":0,"message":"Success"}` + "\n[DONE]", want: whole1},
	{name: "Anthropic", stream: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, want: `error error in the stream, type "overloaded_error", message "Overloaded"`},
	{name: "Google, in a list", stream: `[{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}]`, want: `error error in the stream, type "UNAVAILABLE", code "503", message "The model is overloaded."`},
	{name: "TGI", stream: `{"error":"Model is overloaded","error_type":"overloaded"}`, want: `error error in the stream, type "overloaded", message "Model is overloaded"`},
	{name: "Cloudflare", stream: `{"result":null,"success":false,"errors":[{"code":7009,"message":"Upstream service unavailable"}],"messages":[]}`, want: `error error in the stream, code "7009", message "Upstream service unavailable"`},
	{name: "Mistral", stream: `{"object":"error","message":{"detail":[{"msg":"bad"}]},"type":"invalid_request_error","code":null}`, want: `error error in the stream, type "invalid_request_error", message "{\"detail\":[{\"msg\":\"bad\"}]}"`},
	{name: "FastAPI", stream: `{"detail":"Not authenticated"}`, want: `error error in the stream, message "Not authenticated"`},
	{name: "a status that says so", stream: `{"status":"error","message":"no slots"}`, want: `error error in the stream, code "error", message "no slots"`},
	{name: "error true", stream: `{"error":true,"message":"no slots","code":503}`, want: `error error in the stream, code "503", message "no slots"`},
	{name: "an error within an error", stream: `{"error":{"error":{"message":"inner","code":"x"}}}`, want: `error error in the stream, code "x", message "inner"`},
	{name: "an error in the choice", stream: `{"choices":[{"error":{"code":502,"message":"upstream"},"finish_reason":"error"}]}`, want: `error error in the stream, code "502", message "upstream"`},
	{name: "an error in x_groq", stream: `{"choices":[],"x_groq":{"id":"r","error":"over capacity"}}`, want: `error error in the stream, message "over capacity"`},
	{name: "an error of unknown members", stream: `{"error":{"why":"sun spots"}}`, want: `error error in the stream, message "{\"why\":\"sun spots\"}"`},
	{name: "an error after text", stream: textChunk("Ti") + "\n" + `{"error_code":1,"error_msg":"gone"}` + "\n[DONE]", want: `text "Ti"; error error in the stream, code "1", message "gone"`},
	{name: "an error after text with finish reasons", stream: lastChunk("Ti", "stop") + "\n" + `{"error":"gone"}` + "\n[DONE]", want: `text "Ti"; error error in the stream, message "gone"`},
	{name: "the end marker alone", stream: "[DONE]", want: "error answer without text"},
	{name: "an unknown event alone", stream: `{"queue":3}` + "\n[DONE]", want: `error answer without text; unknown event: {"queue":3}`},
	{name: "reasoning alone", stream: `{"choices":[{"delta":{"reasoning_content":"Hm."}}]}` + "\n" + stopChunk + "\n[DONE]", want: `reasoning "Hm."; error answer without text`},
	{name: "usage before the error", stream: `{"choices":[{"delta":{"reasoning_content":"Hm."}}]}` + "\n" + stopChunk + "\n" + `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":90}}` + "\n[DONE]", want: `reasoning "Hm."; usage 3 + 90 = 93; error answer without text`},
	{name: "white space alone", stream: textChunk(`\n\n`) + "\n" + textChunk(` \u200b`) + "\n" + stopChunk + "\n[DONE]", want: "error answer without text"},
	{name: "white space first", stream: textChunk(`\n\n`) + "\n" + textChunk(" ") + "\n" + textChunk("Tide ") + "\n" + stopChunk + "\n[DONE]", want: `text "\n\n Tide "; finish stop`},
	{name: "a length without text", stream: `{"choices":[{"delta":{},"finish_reason":"length"}]}` + "\n[DONE]", want: "finish length"},
	{name: "empty errors in every chunk", stream: `{"error":"","choices":[{"delta":{"content":"Ti"}}]}` + "\n" + `{"error":{},"choices":[{"delta":{"content":"de"}}]}` + "\n" +
		`{"error":{"code":null,"message":""},"choices":[{"delta":{}}]}` + "\n" + `{"error":false,"errors":[],"choices":[{"delta":{}}]}` + "\n" + `{"error":{"code":0,"message":"ok"},"choices":[{"delta":{},"finish_reason":"stop"}]}`, want: `text "Ti"; text "de"; finish stop`},

	// 3. Refusals and tools; finish reasons have a table of their own.
	{name: "a refusal", stream: `{"choices":[{"delta":{"content":null,"refusal":"I cannot "}}]}` + "\n" + `{"choices":[{"delta":{"refusal":"help."}}]}` + "\n" + stopChunk + "\n[DONE]", want: `text "I cannot "; text "help."; finish content_filter`},
	{name: "a tool with text", stream: textChunk("Let me look.") + "\n" + `{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c"}]},"finish_reason":"tool_calls"}]}`, want: `text "Let me look."; error the model asked for a tool, and none was offered`},
	{name: "a tool, finished with stop", stream: `{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c"}]}}]}` + "\n" + stopChunk, want: "error the model asked for a tool, and none was offered"},
	{name: "a function of old", stream: `{"choices":[{"delta":{"function_call":{"name":"f"}},"finish_reason":"function_call"}]}`, want: "error the model asked for a tool, and none was offered"},
	{name: "an empty list of tools", stream: `{"choices":[{"delta":{"content":"Tide","tool_calls":[]},"finish_reason":"stop"}]}`, want: whole1},

	// 4. Usage wherever it is told, in every number form.
	{name: "usage in the choice", stream: textChunk("Tide") + "\n" + `{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":8,"completion_tokens":3}}]}` + "\n[DONE]", want: whole1 + "; usage 8 + 3 = 11"},
	{name: "usage in x_groq", stream: textChunk("Tide") + "\n" + `{"choices":[{"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"prompt_tokens":8,"completion_tokens":3}}}` + "\n[DONE]", want: whole1 + "; usage 8 + 3 = 11"},
	{name: "usage in the message", stream: `{"choices":[{"message":{"content":"Tide","usage":{"prompt_tokens":8,"completion_tokens":3}},"finish_reason":"stop"}]}`, want: whole1 + "; usage 8 + 3 = 11"},
	{name: "usage in decimals", stream: usageChunk(`{"prompt_tokens":8.0,"completion_tokens":3e0,"total_tokens":1.1e1}`), want: whole1 + "; usage 8 + 3 = 11"},
	{name: "usage as text", stream: usageChunk(`{"prompt_tokens":"8","completion_tokens":"3"}`), want: whole1 + "; usage 8 + 3 = 11"},
	{name: "usage by other names", stream: usageChunk(`{"input_tokens":8,"output_tokens":3}`), want: whole1 + "; usage 8 + 3 = 11"},
	{name: "reasoning in the total alone", stream: usageChunk(`{"prompt_tokens":8,"completion_tokens":3,"total_tokens":411}`), want: whole1 + "; usage 8 + 403 = 411"},
	{name: "reasoning in the details alone", stream: usageChunk(`{"prompt_tokens":8,"completion_tokens":3,"completion_tokens_details":{"reasoning_tokens":400}}`), want: whole1 + "; usage 8 + 403 = 411"},
	{name: "reasoning in both", stream: usageChunk(`{"prompt_tokens":8,"completion_tokens":403,"total_tokens":411,"completion_tokens_details":{"reasoning_tokens":400}}`), want: whole1 + "; usage 8 + 403 = 411"},
	{name: "a total alone", stream: usageChunk(`{"total_tokens":11}`), want: whole1 + "; usage 0 + 11 = 11"},
	{name: "a total that is too small", stream: usageChunk(`{"prompt_tokens":8,"completion_tokens":3,"total_tokens":5}`), want: whole1 + "; usage 8 + 3 = 11"},
	{name: "usage that says nothing comes last", stream: textChunk("Tide") + "\n" + `{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":3}}` + "\n" + stopChunk + "\n" + `{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}` + "\n[DONE]", want: whole1 + "; usage 8 + 3 = 11"},
	{name: "usage of other types", stream: usageChunk(`[1,2]`), want: whole1},
	{name: "usage that cannot be true", stream: usageChunk(`{"prompt_tokens":1e300,"completion_tokens":3}`), want: whole1},

	// 6. Harmless oddities.
	{name: "parts whose thinking is text", stream: `{"choices":[{"delta":{"content":[{"type":"thinking","thinking":"Hm"}]}}]}` + "\n" + `{"choices":[{"delta":{"content":[{"type":"text","text":"Tide"}]},"finish_reason":"stop"}]}`, want: `reasoning "Hm"; ` + whole1},
	{name: "parts that are text", stream: `{"choices":[{"delta":{"content":["Ti","de"]},"finish_reason":"stop"}]}`, want: whole1},
	{name: "a part that is no list", stream: `{"choices":[{"delta":{"content":{"type":"text","text":"Tide"}},"finish_reason":"stop"}]}`, want: whole1},
	{name: "a part of reasoning", stream: `{"choices":[{"delta":{"content":[{"type":"reasoning","text":"Hm"},{"type":"text","text":"Tide"}]},"finish_reason":"stop"}]}`, want: `reasoning "Hm"; ` + whole1},
	{name: "reasoning as an object", stream: `{"choices":[{"delta":{"reasoning":{"summary":"Hm"},"content":""}}]}` + "\n" + lastChunk("Tide", "stop"), want: `reasoning "Hm"; ` + whole1},
	{name: "white space alone in reasoning_content", stream: `{"choices":[{"delta":{"reasoning_content":"Hm."}}]}` + "\n" + `{"choices":[{"delta":{"reasoning_content":"\n\n","reasoning":null}}]}` + "\n" + lastChunk("Tide", "stop"), want: `reasoning "Hm."; reasoning "\n\n"; ` + whole1},
	{name: "content as a number", stream: textChunk("At ") + "\n" + `{"choices":[{"delta":{"content":6}}]}` + "\n" + lastChunk(".", "stop"), want: `text "At "; text "6"; text "."; finish stop`},
	{name: "members of other types", stream: `{"choices":[{"delta":{"content":true}},null,7,"x",{"delta":"x"},{"delta":[]}],"usage":"none","id":7}` + "\n" + `{"choices":{"x":1}}` + "\n" + `{"choices":[{"finish_reason":["stop"],"delta":null}]}` + "\n" + lastChunk("Tide", "stop"), want: whole1},
	{name: "a whole message in a chunk", stream: `{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Tide"},"finish_reason":"stop"}]}` + "\n[DONE]", want: whole1},
	{name: "a whole message without an end", stream: `{"choices":[{"message":{"content":"Tide"}}]}`, want: whole1},
	{name: "a whole message as JSON", stream: "!{\n!  \"choices\": [\n!    {\"message\": {\"content\": \"Tide\"}, \"finish_reason\": \"stop\"}\n!  ]\n!}", want: whole1},
	{name: "chunks as JSON in lines", stream: "!" + textChunk("Ti") + "\n!" + lastChunk("de", "stop"), want: `text "Ti"; text "de"; finish stop`},
	{name: "an error as JSON", stream: "!{\n!\"error\": {\"message\": \"no\", \"type\": \"server_error\"}\n!}", want: `error error in the stream, type "server_error", message "no"`},
	{name: "the whole message again at the end", stream: textChunk("Tide") + "\n" + `{"choices":[{"message":{"content":"Tide"},"finish_reason":"stop"}]}` + "\n[DONE]", want: whole1},
	{name: "completions that are no chat", stream: `{"choices":[{"text":"Tide","index":0,"finish_reason":null}]}` + "\n[DONE]", want: whole1},
	{name: "spaces around the end marker", stream: textChunk("Tide") + "\n [DONE] ", want: whole1},
	{name: "an end marker in small letters", stream: textChunk("Tide") + "\n[done]", want: whole1},
	{name: "a byte-order mark", stream: "!\uFEFFdata: " + lastChunk("Tide", "stop") + "\n!", want: whole1},
	{name: "no space behind data", stream: "!data:" + lastChunk("Tide", "stop") + "\n!", want: whole1},
	{name: "no empty lines between chunks", stream: "!data: " + textChunk("Ti") + "\n!data: " + lastChunk("de", "stop") + "\n!data: [DONE]", want: `text "Ti"; text "de"; finish stop`},
	{name: "data in lines, comments, ids", stream: "!: hi\n!id: 1\n!data: {\"choices\":\n!data: [{\"delta\":{\"content\":\"Tide\"},\n!: hi\n!data: \"finish_reason\":\"stop\"}]}\n!", want: whole1},
	{name: "pings", stream: `{"type":"ping"}` + "\n" + `{"object":"ping"}` + "\n{}\nnull\n" + lastChunk("Tide", "stop"), want: whole1},
	{name: "JSON that is no object", stream: "\"ping\"\n1\n[]\n[1,2]\ntrue\n" + lastChunk("Tide", "stop"), want: whole1},
	{name: "names twice", stream: `{"choices":[],"choices":[{"delta":{"content":"X","content":"Tide"},"finish_reason":"stop"}]}`, want: whole1},
	{name: "an emoji in two halves", stream: textChunk(`Tide \ud83c`) + "\n" + textChunk(`\udf0a!`) + "\n" + stopChunk, want: `text "Tide "; text "🌊!"; finish stop`},
	{name: "an emoji in two halves with a chunk between", stream: textChunk(`\ud83c`) + "\n" + textChunk(``) + "\n" + textChunk(`\udf0a`) + "\n" + stopChunk, want: `text "🌊"; finish stop`},
	{name: "an emoji in two halves of reasoning", stream: `{"choices":[{"delta":{"reasoning":"\ud83c"}}]}` + "\n" + `{"choices":[{"delta":{"reasoning":"\udf0a"}}]}` + "\n" + lastChunk("Tide", "stop"), want: `reasoning "🌊"; ` + whole1},
	{name: "half an emoji at the end", stream: textChunk(`Tide\ud83c`) + "\n" + stopChunk, want: whole1},
	{name: "half an emoji, then text", stream: textChunk(`Tide\ud83c`) + "\n" + lastChunk("!", "stop"), want: `text "Tide"; text "` + "\uFFFD" + `!"; finish stop`},
	{name: "an escaped backslash before u", stream: lastChunk(`\\ud83c`, "stop"), want: `text "\\ud83c"; finish stop`},
	{name: "UTF-8 in two halves", stream: textChunk("Tide \xf0\x9f") + "\n" + textChunk("\x8c\x8a!") + "\n" + stopChunk, want: `text "Tide "; text "🌊!"; finish stop`},

	// 7. The Responses API.
	{name: "completed, but incomplete", api: "responses", stream: outputData("Ti") + "\n" + `{"type":"response.completed","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}`, want: `text "Ti"; finish length`},
	{name: "completed, but failed", api: "responses", stream: outputData("Ti") + "\n" + `{"type":"response.completed","response":{"status":"failed","error":{"code":"server_error","message":"gone"}}}`, want: `text "Ti"; error error in the stream, code "server_error", message "gone"`},
	{name: "completed, but cancelled", api: "responses", stream: outputData("Ti") + "\n" + `{"type":"response.completed","response":{"status":"cancelled"}}`, want: `text "Ti"; error response cancelled without an error`},
	{name: "completed with an error", api: "responses", stream: outputData("Ti") + "\n" + `{"type":"response.completed","response":{"status":"completed","error":{"message":"gone"}}}`, want: `text "Ti"; error error in the stream, message "gone"`},
	{name: "incomplete by another name", api: "responses", stream: outputData("Ti") + "\n" + `{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"length"}}}`, want: `text "Ti"; finish length`},
	{name: "incomplete for a reason that is not told", api: "responses", stream: outputData("Ti") + "\n" + `{"type":"response.completed","response":{"status":"incomplete","incomplete_details":null}}`, want: `text "Ti"; finish length`},
	{name: "incomplete for a failure", api: "responses", stream: outputData("Ti") + "\n" + `{"type":"response.incomplete","response":{"incomplete_details":{"reason":"network_error"}}}`, want: `text "Ti"; error incomplete for reason "network_error"`},
	{name: "completed without text", api: "responses", stream: `{"type":"response.completed","response":{"status":"completed","output":[],"usage":{"input_tokens":3,"output_tokens":90}}}`, want: "usage 3 + 90 = 93; error answer without text"},
	{name: "completed without pieces", api: "responses", stream: `{"type":"response.completed","response":{"status":"completed","output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"Hm"}]},{"type":"message","content":[{"type":"output_text","text":"Tide"}]}]}}`, want: `reasoning "Hm"; ` + whole1},
	{name: "a response as JSON", api: "responses", stream: "!{\"object\":\"response\",\"status\":\"completed\",\n!\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"Tide\"}]}],\n!\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}", want: whole1 + "; usage 3 + 1 = 4"},
	{name: "a function", api: "responses", stream: `{"type":"response.output_item.added","item":{"type":"function_call","name":"f"}}` + "\n" + `{"type":"response.completed","response":{"status":"completed","output":[{"type":"function_call"}]}}`, want: "error the model asked for a tool, and none was offered"},
	{name: "a search of the service's own", api: "responses", stream: `{"type":"response.output_item.added","item":{"type":"web_search_call"}}` + "\n" + outputData("Tide") + "\n" + `{"type":"response.completed","response":{"status":"completed"}}`, want: whole1},
	{name: "a flat error", api: "responses", stream: `{"object":"error","message":"gone","code":500}`, want: `error error in the stream, code "500", message "gone"`},
	{name: "an emoji in two halves", api: "responses", stream: outputData(`\ud83c`) + "\n" + outputData(`\udf0a`) + "\n" + `{"type":"response.completed","response":{"status":"completed"}}`, want: `text "🌊"; finish stop`},
}

func outputData(text string) string {
	return `{"type":"response.output_text.delta","delta":"` + text + `"}`
}

// body is the oddity as a server sends it.
func (o oddity) body() string {
	var b strings.Builder
	for line := range strings.SplitSeq(o.stream, "\n") {
		if raw, ok := strings.CutPrefix(line, "!"); ok {
			b.WriteString(raw + "\n")
		} else {
			b.WriteString("data: " + line + "\n\n")
		}
	}
	return b.String()
}

// TestOddities reads each oddity with every line end, whole and byte by byte.
func TestOddities(t *testing.T) {
	for _, test := range oddities {
		api := map[string]string{"": "chat", "responses": "responses"}[test.api]
		t.Run(api+"/"+test.name, func(t *testing.T) {
			for end, line := range map[string]string{"LF": "\n", "CRLF": "\r\n", "CR": "\r"} {
				body := strings.ReplaceAll(test.body(), "\n", line)
				for pace, r := range map[string]io.Reader{"whole": strings.NewReader(body), "bytes": iotest.OneByteReader(strings.NewReader(body))} {
					got := strings.ReplaceAll(strings.TrimSuffix(read(r, translators[api]()), "\n"), "\n", "; ")
					if got != test.want {
						t.Errorf("%s, %s\n got %s\nwant %s", end, pace, got, test.want)
					}
				}
			}
		})
	}
}

// TestBreaks checks when an answer is complete although its connection breaks.
func TestBreaks(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name, stream string
		complete     bool
	}{
		{"before a finish reason", textChunk("Tide"), false},
		{"after a finish reason alone", textChunk("Tide") + "\n" + stopChunk, true},
		{"after a finish reason with the last of several pieces", textChunk("Ti") + "\n" + lastChunk("de", "stop"), true},
		{"after a finish reason with the first piece, which each may have", lastChunk("Ti", "stop"), false},
		{"after text that came after a finish reason", textChunk("Ti") + "\n" + stopChunk + "\n" + textChunk("de"), false},
		{"after a whole message", `{"choices":[{"message":{"content":"Tide"},"finish_reason":"stop"}]}`, true},
		{"after the end marker", lastChunk("Tide", "stop") + "\n[DONE]", true},
		{"after a finish reason without text", stopChunk, false},
		{"after the reasoning", `{"choices":[{"delta":{"reasoning":"Hm"}}]}` + "\n" + stopChunk, false},
	} {
		body := oddity{stream: test.stream}.body()
		got := read(io.MultiReader(strings.NewReader(body), iotest.ErrReader(broken)), Chat(false, false))
		if complete := strings.HasSuffix(got, "finish stop\n"); complete != test.complete {
			t.Errorf("%s: %s", test.name, got)
		}
	}
}

// TestPhases checks that text after a finish reason leads back to streaming, so that no timer for the end of the
// answer cuts it.
func TestPhases(t *testing.T) {
	tr := Chat(false, false)
	got := ""
	for _, data := range []string{lastChunk("a", "stop"), lastChunk("b", "stop"), stopChunk, "[DONE]"} {
		if _, err := tr.Translate(sse.Event{Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
		got += fmt.Sprint(tr.Phase(), " ")
	}
	tr = Chat(false, false)
	for _, data := range []string{textChunk("a"), stopChunk, textChunk("b"), "[DONE]"} {
		if _, err := tr.Translate(sse.Event{Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
		got += fmt.Sprint(tr.Phase(), " ")
	}
	if want := fmt.Sprint(Streaming, Streaming, Streaming, Draining, Streaming, Finishing, Streaming, Draining) + " "; got != want {
		t.Errorf("phases %s, want %s", got, want)
	}
}

// TestEndings maps the finish reasons of services, by families.
func TestEndings(t *testing.T) {
	for want, reasons := range map[ending]string{
		endNone:    ",null,NULL,none,in_progress,FINISH_REASON_UNSPECIFIED",
		endStop:    "stop,STOP,stop_sequence,end_turn,eos,eos_token,COMPLETE,FinishReason.STOP,completed,end-turn",
		endLength:  "length,LENGTH,max_tokens,MAX_TOKENS,model_length,max_output_tokens,model_context_window_exceeded,FinishReason.MAX_TOKENS,FINISH_REASON_MAX_TOKENS,max_new_tokens,context_length_exceeded,length_capped",
		endFilter:  "content_filter,content_filtered,content-filter,SAFETY,sensitive,RECITATION,PROHIBITED_CONTENT,BLOCKLIST,SPII,refusal,guardrail_intervened,content_filter: RECITATION,IMAGE_SAFETY,content policy violation",
		endFailure: "error,ERROR,abort,aborted,cancelled,network_error,insufficient_system_resource,timeout,server_error,failed,engine_overloaded",
		endTools:   "tool_calls,tool_use,function_call,MALFORMED_FUNCTION_CALL,UNEXPECTED_TOOL_CALL,tool-calls",
		endUnknown: "satisfied,OTHER,fin",
	} {
		for reason := range strings.SplitSeq(reasons, ",") {
			if got := endingOf(reason); got != want {
				t.Errorf("%q means %d, want %d", reason, got, want)
			}
		}
	}
}

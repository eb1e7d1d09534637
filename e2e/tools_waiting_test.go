package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// asking is a server of the newest protocol whose one tool asks a person before it buys.
func asking(t *testing.T) (url string) {
	s := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, nil)
	s.AddTool(&mcp.Tool{Name: "buy", Title: "Buy shoes", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}, InputSchema: json.RawMessage(`{"type":"object"}`)},
		func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			answer, ok := req.Params.InputResponses["order"].(*mcp.ElicitResult)
			if !ok {
				return &mcp.CallToolResult{RequestState: "hidden-state", InputRequests: mcp.InputRequestMap{
					"order": &mcp.ElicitParams{Message: "Which <b>shoes</b>?", RequestedSchema: json.RawMessage(`{"type":"object","required":["size","colour"],"properties":{
						"size":{"type":"integer","title":"Size","minimum":20,"maximum":60},
						"colour":{"type":"string","enum":["red","blue"]},
						"gift":{"type":"boolean","title":"A gift"},
						"note":{"type":"string","description":"For the shop."}}}`)},
					"pay": &mcp.ElicitParams{Mode: "url", Message: "Please pay.", URL: "https://pay.example.org/1?user=evil.example.com", ElicitationID: "1"},
				}}, nil
			}
			content, err := json.Marshal(answer.Content)
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf("%s %s %s", req.Params.RequestState, answer.Action, content)}}}, err
		})
	server := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true}))
	t.Cleanup(server.Close)
	return server.URL
}

// startTools runs a chat page with an assistant that keeps conversations and has these tools.
func startTools(t *testing.T, m *caller, tools string, env ...string) *harness.Caddy {
	t.Helper()
	upstream := harness.NewUpstream(t, m.answer)
	return harness.Start(t, harness.Site(`
	assistant /ws/assistants/* {
		store sqlite {$HOME}/chat/chat.db
		provider openai {
			base_url {$UPSTREAM}
			max_retries 0
		}
		tools_for anonymous
		`+tools+`
	}
`+chatPage), append(env, "UPSTREAM="+upstream.URL)...)
}

// TestToolInput: what a tool of an MCP server asks is a form, also after a kill and in another tab; the call ends with the answers
// and the state that the server gave.
func TestToolInput(t *testing.T) {
	c := startTools(t, &caller{}, "tools mcp shop {\n url {$SHOP}\n}", "SHOP="+asking(t))
	a := harness.Open(t, c, "/assistants/")
	a.Type("#input", "shop__buy"+kb.Enter)
	a.WaitFor(toolStates + ` === "waiting" && $(".call .state").textContent === "Waiting for your answer" && $("#announcer").textContent === "Buy shoes asks you something."`)
	kill(t, c, a)
	b := a.Tab(c.URL("/assistants/" + harness.Eval[string](a, "location.hash")))
	for name, page := range map[string]*harness.Page{"live": a, "from the history": b} {
		page.WaitFor(toolStates + ` === "waiting" && $$(".decision :is(input, select)").length === 4`)
		got := harness.Eval[string](page, `[...$(".decision form").children].map(({localName, textContent, type, required}) => [localName, textContent, type || "", required ? "required" : ""].join(" ").trim()).join("|")`)
		want := "p Which <b>shoes</b>?|label colour|select redblue select-one required|label A gift|input  checkbox|label note For the shop.|input  text|label Size|input  number required|" +
			"p Please pay.|p https://pay.example.org/1?user=evil.example.com|button Send submit|button Decline button"
		if got != want {
			t.Errorf("%s: the form is\n%s, want\n%s", name, got, want)
		}
		if got := harness.Eval[string](page, `(({href, rel, target, firstElementChild}) => [href, rel, target, firstElementChild.textContent].join(" "))($(".decision a"))`); got != "https://pay.example.org/1?user=evil.example.com noopener noreferrer _blank pay.example.org" {
			t.Errorf("%s: the link is %s", name, got)
		}
	}
	checkAccessible(t, a, "a tool that asks")
	b.Type(`.decision input[type=number]`, "42")
	b.Run(`$(".decision select").value = "1"; $(".decision input[type=checkbox]").checked = true`)
	b.Click(".decision .approve")
	for _, page := range []*harness.Page{a, b} {
		page.WaitFor(toolStates + ` === "done" && ` + answerDone + ` && !$(".decision")`)
		text := harness.Eval[string](page, `$$(".text").at(-1).textContent`)
		if !strings.Contains(text, `hidden-state accept {"colour":"blue","gift":true,"size":42}`) {
			t.Errorf("the model was told %s", text)
		}
	}
}

// TestToolRemembered: an approval that is remembered holds for the conversation, after a kill, too.
func TestToolRemembered(t *testing.T) {
	c, l := startTooled(t, &caller{}, chatPage)
	a := harness.Open(t, c, "/assistants/")
	a.Type("#input", "pay"+kb.Enter)
	a.WaitFor(toolStates + ` === "waiting"`)
	checkAccessible(t, a, "an approval that may be remembered")
	a.Click(".decision label")
	a.Click(".approve")
	a.WaitFor(toolStates + ` === "done" && ` + answerDone)
	kill(t, c, a)
	a.Type("#input", "pay"+kb.Enter)
	a.WaitFor(toolStates + ` === "done,done" && $$(".message").at(-1).dataset.state === "ended"`)
	if calls := l.take(); len(calls) != 2 {
		t.Errorf("called %q", calls)
	}
}

// TestPageTools: the page's own tools are called for what was asked in this tab, by this tab, once; with approve, when the
// reader says so; what they throw and what the page does not have is told to the model.
func TestPageTools(t *testing.T) {
	c := startTools(t, &caller{}, "tools client")
	const offer = `window.made = [];
		const tool = (name, execute, more) => ({name, description: name, inputSchema: {type: "object", properties: {n: {type: "integer"}}}, execute: (values) => (made.push(name + values.n), execute(values)), ...more});
		$("assistant-chat").tools = [
			tool("cart", () => ({items: 2})),
			tool("text", async () => "plain"),
			tool("mcp", () => ({content: [{type: "text", text: "as MCP"}], structuredContent: {a: 1}, isError: true})),
			tool("breaks", () => { throw new Error("no cart here") }),
			tool("order", () => "ordered", {title: "Order it", approve: true}),
		]`
	a := harness.Open(t, c, "/assistants/")
	a.Run(offer)
	a.Type("#input", "cart"+kb.Enter)
	a.WaitFor(toolStates + ` === "done" && ` + answerDone + ` && $$(".text").at(-1).textContent === 'told: {"items":2}'`)
	b := a.Tab(c.URL("/assistants/" + harness.Eval[string](a, "location.hash")))
	b.WaitFor(toolStates + ` === "done"`)
	b.Run(offer)
	for i, test := range []struct{ tool, state, told string }{{"text", "done", "plain"}, {"mcp", "failed", "as MCP"}, {"breaks", "failed", "no cart here"}} {
		a.Type("#input", test.tool+kb.Enter)
		for _, page := range []*harness.Page{a, b} {
			page.WaitFor(fmt.Sprintf(`$$(".call").length === %d && $$(".call").at(-1).dataset.call === %q && $$(".text").at(-1).textContent.includes(%q) && $$(".message").at(-1).dataset.state === "ended"`, i+2, test.state, test.told))
		}
	}
	if a, b := harness.Eval[string](a, `made.join()`), harness.Eval[string](b, `made.join()`); a != "cart1,text1,mcp1,breaks1" || b != "" {
		t.Errorf("the tabs made %s and %s", a, b)
	}
	a.Type("#input", "order"+kb.Enter)
	for _, page := range []*harness.Page{a, b} {
		page.WaitFor(`$$(".call").at(-1).dataset.call === "waiting" && $$(".call .state").at(-1).textContent === "Waiting for the page" && $(".decision .approve") && !$(".change")`)
	}
	b.Click(".decision .approve") // it has the tool, too
	for _, page := range []*harness.Page{a, b} {
		page.WaitFor(`$$(".call").at(-1).dataset.call === "done" && $$(".text").at(-1).textContent === "told: ordered" && !$(".decision")`)
	}
	if a, b := harness.Eval[string](a, `made.join()`), harness.Eval[string](b, `made.join()`); strings.Contains(a, "order") || b != "order1" {
		t.Errorf("the tabs made %s and %s", a, b)
	}

	// A call that waits when its tab goes is made by the next that has the tool, if the reader wants it.
	a.Type("#input", "order"+kb.Enter)
	a.WaitFor(`$(".decision .approve")`)
	a.Reload()
	a.WaitFor(`$(".decision .approve")`)
	a.Click(".decision .approve")
	a.WaitFor(`$$(".call").at(-1).dataset.call === "failed" && $$(".text").at(-1).textContent.includes("no tool order")`)
}

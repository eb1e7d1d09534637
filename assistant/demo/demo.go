// Package demo is a provider that needs no network. It shows the page and the protocol on the first run, and
// is useful when working on pages and tests.
package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// DefaultDelay is the Caddyfile's default of [Provider.Delay].
const DefaultDelay = 25 * time.Millisecond

// Provider answers every question with an explanation of what it is, word by word.
type Provider struct {
	// Label is its name for operators. Default: demo.
	Label string
	// Delay is the pause before each piece. Zero means none; the Caddyfile's default is [DefaultDelay].
	Delay time.Duration
}

// answer is Markdown; %[1]s is the question as a quotation, %[2]d its number.
const answer = `This is the **demo model**. It is built in, needs no key and no network, and knows nothing: it shows that your chat works.

You asked (question %[2]d of this conversation):

%[1]s

To get real answers, give the assistant a model in your Caddyfile:

` + "```" + `
assistant /ws/assistants/* {
	provider openai {
		api_key {env.OPENAI_API_KEY}
		model   gpt-4o
	}
}
` + "```" + `

- **OpenAI**: set the environment variable ` + "`OPENAI_API_KEY`" + ` and start again.
- **Ollama, llama.cpp, vLLM** and other compatible servers: add ` + "`base_url http://localhost:11434/v1`" + ` and the name of a model that you have there.

Every word of this answer came as one message over the WebSocket. Open the logs to watch them.
`

var pieces = regexp.MustCompile(`\s*\S+|\s+$`)

// Source returns the label, or demo, and the model demo.
func (p *Provider) Source() assistant.Source {
	return assistant.Source{Provider: cmp.Or(p.Label, "demo"), Model: "demo"}
}

// Accepts returns true: it takes everything, and looks at nothing.
func (p *Provider) Accepts(assistant.Parts) bool { return true }

// Stream answers the last question.
func (p *Provider) Stream(ctx context.Context, req assistant.Request) iter.Seq2[assistant.Delta, error] {
	return func(yield func(assistant.Delta, error) bool) {
		if call, ok := firstCall(req); ok {
			if err := pause(ctx, p.Delay); err != nil {
				yield(assistant.Delta{}, err)
				return
			}
			_ = yield(assistant.Delta{Calls: &[]assistant.CallPiece{call}}, nil) && yield(assistant.Delta{FinishReason: assistant.FinishToolCalls}, nil)
			return
		}
		text, input := reply(req)
		words := pieces.FindAllString(text, -1)
		for _, word := range words {
			if err := pause(ctx, p.Delay); err != nil {
				yield(assistant.Delta{}, err)
				return
			}
			if !yield(assistant.Delta{Text: word}, nil) {
				return
			}
		}
		usage := &assistant.Usage{InputTokens: input, OutputTokens: len(words), TotalTokens: input + len(words)}
		yield(assistant.Delta{FinishReason: assistant.FinishStop, Usage: usage}, nil)
	}
}

// firstCall calls a tool whose name or title is in the question, with arguments that its schema asks for.
func firstCall(req assistant.Request) (call assistant.CallPiece, ok bool) {
	last := req.Turns[len(req.Turns)-1]
	for _, tool := range req.Tools {
		for _, name := range []string{tool.Name, tool.Title} {
			if last.Role == assistant.RoleUser && name != "" && strings.Contains(strings.ToLower(last.Content), strings.ToLower(name)) {
				return assistant.CallPiece{Name: tool.Name, Arguments: examples(tool.Parameters)}, true
			}
		}
	}
	return call, false
}

// examples returns arguments for a schema: for each property that is required one of its type.
func examples(schema json.RawMessage) string {
	var object struct {
		Properties map[string]struct {
			Type string
			Enum []any
		}
		Required []string
	}
	_ = json.Unmarshal(schema, &object) // of what is no schema, nothing is known
	arguments := make(map[string]any)
	for _, name := range object.Required {
		switch p := object.Properties[name]; {
		case len(p.Enum) > 0:
			arguments[name] = p.Enum[0]
		case p.Type == "integer", p.Type == "number":
			arguments[name] = 6
		case p.Type == "boolean":
			arguments[name] = true
		default:
			arguments[name] = "example"
		}
	}
	text, _ := json.Marshal(arguments) // plain values
	return string(text)
}

// results are what tools have returned for this answer, as a list.
func results(t assistant.Turn) string {
	var b strings.Builder
	for _, p := range t.Parts {
		if r, ok := p.(assistant.ToolResultPart); ok {
			fmt.Fprintf(&b, "- The tool returned: %s\n", strings.Join(strings.Fields(r.ForModel()), " "))
		}
	}
	return b.String()
}

// reply returns the answer and the number of words in the request.
func reply(req assistant.Request) (text string, input int) {
	if last := req.Turns[len(req.Turns)-1]; last.Role == assistant.RoleAssistant {
		return "This is the **demo model**, which has called a tool.\n\n" + results(last), len(strings.Fields(last.Content))
	}
	questions, question := 0, ""
	for _, t := range req.Turns {
		input += len(strings.Fields(t.Content))
		if t.Role == assistant.RoleUser {
			questions++
			question = t.Content
			for _, part := range t.Parts.Files() {
				question = strings.TrimSpace(question + "\n" + assistant.Mention(part))
			}
		}
	}
	return fmt.Sprintf(answer, quote(question), questions), input + len(strings.Fields(req.Instructions))
}

// maxQuote is how much of the question is repeated, in bytes.
const maxQuote = 2000

func quote(question string) string {
	if len(question) > maxQuote {
		cut := maxQuote
		for !utf8.RuneStart(question[cut]) {
			cut--
		}
		question = question[:cut] + "…"
	}
	return "> " + strings.Join(strings.Split(strings.TrimSpace(question), "\n"), "\n> ")
}

// pause waits for d, or returns the cause when ctx is done first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var _ assistant.Accepter = (*Provider)(nil)

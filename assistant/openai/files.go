package openai

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// accepted are the kinds of content that a model takes.
type accepted []assistant.Content

// kinds are those that can be accepted.
var kinds = []assistant.Content{assistant.ContentText, assistant.ContentImage, assistant.ContentPDF}

// accepted returns what is configured. OpenAI's models take all; of another server nothing is known.
func (c Config) accepted() (all accepted) {
	switch {
	case c.Accepts == nil && c.isOpenAI():
		return kinds
	case c.Accepts == nil:
		return accepted{assistant.ContentText}
	}
	for _, kind := range c.Accepts {
		all = append(all, assistant.Content(kind))
	}
	return append(all, assistant.ContentText)
}

func (c Config) checkAccepts() error {
	for _, kind := range c.Accepts {
		if !slices.Contains(kinds, assistant.Content(kind)) {
			return expected("accepts", "text, image or pdf", kind)
		}
	}
	return nil
}

func (a accepted) all(parts assistant.Parts) bool {
	return !slices.ContainsFunc(parts, func(p assistant.Part) bool { return !slices.Contains(a, assistant.ContentOf(p)) })
}

// content is one thing that a question has.
type content struct {
	kind assistant.Content
	text string // of ContentText
	name string
	url  string // the data, as RFC 2397 has it
}

// contentsOf returns what a question has. Texts come together, files of text as a quotation; of what the model does not
// take, or whose bytes it does not get, it gets the name.
func contentsOf(turn assistant.Turn, files map[string][]byte, accepts accepted) (contents []content) {
	add := func(text string) {
		last := len(contents) - 1
		if last >= 0 && contents[last].kind == assistant.ContentText {
			contents[last].text += "\n\n" + text
		} else if text != "" {
			contents = append(contents, content{kind: assistant.ContentText, text: text})
		}
	}
	if turn.Parts == nil {
		return []content{{kind: assistant.ContentText, text: turn.Content}}
	}
	for _, part := range turn.Parts {
		if text, isText := part.(assistant.TextPart); isText {
			add(text.Text)
		}
		f, isFile := assistant.FileOf(part)
		data, kind := files[f.ID], assistant.ContentOf(part)
		switch {
		case !isFile:
		case data == nil || !slices.Contains(accepts, kind):
			add(assistant.Mention(part))
		case kind == assistant.ContentText:
			add(quoted(part, string(data)))
		case kind == assistant.ContentImage:
			contents = append(contents, content{kind: kind, url: dataURL(f.MediaType, data)})
		default:
			contents = append(contents, content{kind: kind, name: cmp.Or(f.Name, "file.pdf"), url: dataURL(f.MediaType, data)})
		}
	}
	return contents
}

// textOf returns the text of contents that are nothing else.
func textOf(contents []content) (text string, isText bool) {
	if len(contents) == 0 {
		return "", true
	}
	return contents[0].text, len(contents) == 1 && contents[0].kind == assistant.ContentText
}

func dataURL(mediaType string, data []byte) string {
	return "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(data)
}

// quoted is a file of text: a line with its name, and its text between fences that are longer than any in it.
func quoted(file assistant.Part, text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fmt.Sprintf("%s\n%s\n%s\n%s", assistant.Mention(file), fence, strings.TrimSuffix(text, "\n"), fence)
}

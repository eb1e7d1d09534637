package answer

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"golang.org/x/tools/txtar"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/sse"
)

var update = flag.Bool("update", false, "rewrite testdata")

// translators of the APIs, by name.
var translators = map[string]func() Translator{
	"chat":      func() Translator { return Chat(false, false) },
	"responses": func() Translator { return Responses(false, false, false) },
	"think":     func() Translator { return Chat(true, false) },
}

// TestStreams reads the streams of testdata, with every line end that the format allows, whole and byte by
// byte.
func TestStreams(t *testing.T) {
	for api, newTranslator := range translators {
		t.Run(api, func(t *testing.T) { testStreams(t, api, newTranslator) })
	}
}

func testStreams(t *testing.T, api string, newTranslator func() Translator) {
	read := func(r io.Reader) string { return read(r, newTranslator()) }
	files, err := filepath.Glob("testdata/" + api + "/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no streams: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			stream, want := string(archive.Files[0].Data), &archive.Files[1].Data
			if got := read(strings.NewReader(stream)); *update && got != string(*want) {
				*want = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for name, text := range map[string]string{
				"LF":               stream,
				"CRLF":             strings.ReplaceAll(stream, "\n", "\r\n"),
				"CR":               strings.ReplaceAll(stream, "\n", "\r"),
				"CRLF, then LF":    strings.ReplaceAll(stream, "\n\n", "\r\n\n"),
				"no last line end": strings.TrimRight(stream, "\n"),
			} {
				for pace, r := range map[string]io.Reader{
					"whole":        strings.NewReader(text),
					"bytes":        iotest.OneByteReader(strings.NewReader(text)),
					"end with EOF": iotest.DataErrReader(strings.NewReader(text)),
				} {
					if got := read(r); got != string(*want) {
						t.Errorf("%s, %s (rewrite with -update)\n--- got\n%s--- want\n%s", name, pace, got, *want)
					}
				}
			}
		})
	}
}

// read lists the deltas of a stream, one field per line.
func read(r io.Reader, t Translator) string {
	var out strings.Builder
	for d, err := range Read(r, t, func(Phase) {}) {
		writeDelta(&out, d)
		if err != nil {
			text, _, _ := strings.Cut(err.Error(), "json") // the decoder's own words change from run to run
			fmt.Fprintf(&out, "error %s\n", strings.TrimSuffix(text, ": "))
		}
	}
	if reason := t.Unknown(); reason != "" {
		fmt.Fprintf(&out, "unknown finish reason %q\n", reason)
	}
	return out.String()
}

func writeDelta(out io.Writer, d assistant.Delta) {
	if d.Reasoning != "" {
		fmt.Fprintf(out, "reasoning %q\n", d.Reasoning)
	}
	if d.Text != "" {
		fmt.Fprintf(out, "text %q\n", d.Text)
	}
	if d.FinishReason != "" {
		fmt.Fprintf(out, "finish %s\n", d.FinishReason)
	}
	if d.Usage != nil {
		fmt.Fprintf(out, "usage %d + %d = %d\n", d.Usage.InputTokens, d.Usage.OutputTokens, d.Usage.TotalTokens)
	}
}

// piece is a chunk with text.
func piece(text string) string {
	return fmt.Sprintf("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%q},\"finish_reason\":null}]}\n\n", text)
}

// outputText is an event of the Responses API with text.
func outputText(text string) string {
	return fmt.Sprintf("event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":%q,\"logprobs\":[]}\n\n", text)
}

// TestStreamBounds checks that nothing a server sends takes more memory than the limits allow.
func TestStreamBounds(t *testing.T) {
	endless := func(first, then string) io.Reader {
		return io.MultiReader(strings.NewReader(first), &repeated{text: then})
	}
	for _, test := range []struct {
		name   string
		stream io.Reader
		want   error
	}{
		{"endless line", endless("data: ", strings.Repeat("x", 1000)), sse.ErrTooLong},
		{"endless answer", endless("", piece(strings.Repeat("x", 100_000))), ErrTooLong},
		{"endless white space", endless("", piece(strings.Repeat(" ", 100_000))), ErrTooLong},
		{"broken connection", io.MultiReader(strings.NewReader(piece("x")+"data: {"), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			size, last := 0, error(nil)
			for d, err := range Read(test.stream, Chat(false, false), func(Phase) {}) {
				size, last = size+len(d.Text), err
			}
			if !errors.Is(last, test.want) {
				t.Errorf("ended with %v, want %v", last, test.want)
			}
			if size > maxAnswer {
				t.Errorf("read %d bytes of text, more than %d", size, maxAnswer)
			}
		})
	}

	big := strings.Repeat("x", sse.MaxEvent-1000)
	if got, want := read(strings.NewReader(piece(big)+"data: [DONE]\n\n"), Chat(false, false)), fmt.Sprintf("text %q\nfinish stop\n", big); got != want {
		t.Errorf("an event of nearly the longest size came out as %d bytes, want %d", len(got), len(want))
	}
}

type repeated struct {
	text string
	rest string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// TestStreamUTF8 checks that invalid UTF-8 becomes U+FFFD and affects nothing else.
func TestStreamUTF8(t *testing.T) {
	for name, content := range map[string]string{
		"bytes":          "a\xff\xfeb",
		"lone surrogate": `a\ud83db`,
		"second half":    `a\ude00b`,
	} {
		stream := `data: {"choices":[{"delta":{"content":"` + content + `"},"finish_reason":"stop"}]}` + "\n\n"
		got := read(strings.NewReader(stream), Chat(false, false))
		text, _, _ := strings.Cut(got, "\n")
		if !strings.HasPrefix(text, `text "a`+"\uFFFD") || !strings.HasSuffix(text, `b"`) || !strings.HasSuffix(got, "finish stop\n") {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// FuzzTranslate and FuzzTranslateResponses check that for any input the output is valid UTF-8, ends with one
// finish reason or one error, and has its usage at the end.
func FuzzTranslate(f *testing.F) {
	f.Add([]byte(piece("a\xff") + "data:\r\rdata: [DONE]"))
	fuzzTranslate(f, "chat")
}

func FuzzTranslateResponses(f *testing.F) {
	f.Add([]byte(outputText("a\xff") + "data:\r\rdata: [DONE]"))
	fuzzTranslate(f, "responses")
}

func fuzzTranslate(f *testing.F, api string) {
	newTranslator := translators[api]
	files, _ := filepath.Glob("testdata/" + api + "/*.txtar")
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	for _, o := range oddities {
		f.Add([]byte(o.body()))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		ended, reported, last := false, false, Waiting
		for d, err := range Read(bytes.NewReader(stream), newTranslator(), func(p Phase) {
			if p < last && (p != Streaming || last != Finishing) {
				t.Errorf("phase %d came after %d", p, last)
			}
			last = p
		}) {
			if ended {
				t.Fatalf("%+v, %v came after the end", d, err)
			}
			if reported && err == nil {
				t.Errorf("%+v came between the usage and the error", d)
			}
			ended, reported = err != nil || d.FinishReason != "", d.Usage != nil
			switch {
			case !utf8.ValidString(d.Text), !utf8.ValidString(d.Reasoning):
				t.Errorf("%+v is not valid UTF-8", d)
			case err != nil && d != (assistant.Delta{}):
				t.Errorf("%+v came with error %v", d, err)
			}
		}
		if !ended {
			t.Error("neither a finish reason nor an error at the end")
		}
		if whole, single := read(bytes.NewReader(stream), newTranslator()), read(iotest.OneByteReader(bytes.NewReader(stream)), newTranslator()); whole != single {
			t.Errorf("in single bytes it reads\n%s\nand whole\n%s", single, whole)
		}
	})
}

// reads is a reader that returns one text for each Read, and calls before first.
type reads struct {
	texts  []string
	before func()
}

func (r *reads) Read(p []byte) (int, error) {
	r.before()
	if len(r.texts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.texts[0])
	r.texts = r.texts[1:]
	return n, nil
}

// TestMore holds that a delta says that more comes at once only where that was read with it, and that none is held back
// while more must be read.
func TestMore(t *testing.T) {
	event := func(text string) string {
		return fmt.Sprintf("data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", text)
	}
	r := &reads{texts: []string{
		event("a"),
		event("b") + event("c") + ": nothing\n\n" + event("d") + event("e")[:20],
		event("e")[20:] + ": nothing\n\ndata: {\"choices\":[]}\n\n",
		event("f") + "data: [DONE]\n\n",
	}}
	var got []string
	r.before = func() { got = append(got, "read") }
	for d, err := range Read(r, Chat(false, false), func(Phase) {}) {
		if err != nil {
			t.Fatal(err)
		}
		text := cmp.Or(d.Text, string(d.FinishReason))
		if d.More {
			text += " more"
		}
		got = append(got, text)
	}
	want := []string{"read", "a", "read", "b more", "c more", "d", "read", "e", "read", "f", "read", "stop"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestNoMoreWanted holds that nothing is read, and nothing yielded, once the loop has ended.
func TestNoMoreWanted(t *testing.T) {
	event := "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
	for n := 1; n <= 4; n++ {
		r := &reads{texts: []string{event, event + event, event}}
		over := false
		r.before = func() {
			if over {
				t.Errorf("read after %d", n)
			}
		}
		count := 0
		for range Read(r, Chat(false, false), func(Phase) {}) {
			if count++; count == n {
				over = true
				break
			}
		}
		if count != n {
			t.Errorf("%d deltas, want %d", count, n)
		}
	}
}

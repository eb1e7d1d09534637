package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// misbehaviours are what the model's server does, by question.
var misbehaviours = map[string]func(*harness.Call){
	"4 MB": func(c *harness.Call) {
		for range 64 {
			c.Pieces(strings.Repeat("x", 64<<10))
		}
		c.Finish()
	},
	"slow": func(c *harness.Call) {
		for _, piece := range slowPieces() {
			c.Pieces(piece)
			time.Sleep(5 * time.Millisecond)
		}
		c.Finish()
	},
	"piece of 10 MB": func(c *harness.Call) { c.Pieces(strings.Repeat("x", 10<<20)) },
	"line without end": func(c *harness.Call) {
		start(c, "text/event-stream")
		endlessly(c, "data: ", "x")
	},
	"event without end": func(c *harness.Call) {
		start(c, "text/event-stream")
		endlessly(c, "", "data: x\n")
	},
	"comments without end": func(c *harness.Call) {
		start(c, "text/event-stream")
		endlessly(c, "", ": still here\n\n")
	},
	"answer without end": func(c *harness.Call) {
		start(c, "text/event-stream")
		endlessly(c, "", chunkOf(strings.Repeat("x", 1000)))
	},
	"empty pieces": func(c *harness.Call) {
		start(c, "text/event-stream")
		_, _ = io.WriteString(c.Writer, strings.Repeat(chunkOf(""), 200_000*effort))
		c.Pieces("at last")
		c.Finish()
	},
	"empty events": func(c *harness.Call) {
		start(c, "text/event-stream")
		_, _ = io.WriteString(c.Writer, strings.Repeat("data:\n\n", 1_000_000*effort))
		c.Pieces("at last")
		c.Finish()
	},
	"drip": func(c *harness.Call) {
		c.Pieces("drop")
		for {
			if _, err := io.WriteString(c.Writer, ":"); err != nil {
				return
			}
			_ = http.NewResponseController(c.Writer).Flush()
			select {
			case <-time.After(100 * time.Millisecond):
			case <-c.Gone():
				return
			}
		}
	},
	"stall":  func(c *harness.Call) { c.Pieces("and then"); c.UntilGone() },
	"silent": func(c *harness.Call) { c.UntilGone() },
	"zip bombs": func(c *harness.Call) {
		c.Writer.Header().Set("Content-Encoding", "gzip")
		start(c, "text/event-stream")
		endlessly(c, "", string(zipBomb()))
	},
	"headers without end": func(c *harness.Call) { hijacked(c, "HTTP/1.1 200 OK\r\n", "X-Filler: xxxxxxxxxxxxxxxx\r\n") },
	"error without end": func(c *harness.Call) {
		c.Writer.WriteHeader(http.StatusBadRequest)
		endlessly(c, `{"error":{"message":"`, canary)
	},
	"no HTTP": func(c *harness.Call) { hijacked(c, "", "\x00\xff") },
	"a page":  func(c *harness.Call) { start(c, "text/html"); endlessly(c, "<html>", canary) },
	"redirect": func(c *harness.Call) {
		c.Writer.Header().Set("Location", "http://evil.example/")
		c.Writer.WriteHeader(307)
	},
	"reset":           func(c *harness.Call) { c.Pieces("and then"); c.Cut() },
	"brackets":        func(c *harness.Call) { c.Event(strings.Repeat(`[`, 500_000)) },
	"control bytes":   func(c *harness.Call) { c.Pieces("\x00\x1b[2J\u202e</script>" + "\uFFFF"); c.Finish() },
	"two ends":        func(c *harness.Call) { c.Pieces("x"); c.Finish(); c.Pieces("y"); c.Finish() },
	"retry in a year": func(c *harness.Call) { c.Writer.Header().Set("Retry-After", "31536000"); c.Fail(429, canary) },
	"usage of 2^63": func(c *harness.Call) {
		c.Pieces("few")
		c.Event(`{"usage":{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807}}`)
		c.Finish()
	},
}

var hostileUpstreams = []hostile{
	{"a piece of 10 MB", 384, asksAt(largePath, "piece of 10 MB", 10)},
	{"a line without end", 384, asksAt(largePath, "line without end", 10)},
	{"an event without end", 384, asksAt(largePath, "event without end", 10)},
	{"an answer without end", 512, asksAt(largePath, "answer without end", 2)},
	{"comments without end, and no piece", 384, asks("comments without end", 2)},
	{"200,000 empty pieces, then one", 384, asksAt(largePath, "empty pieces", 4)},
	{"a million empty events, then a piece", 384, asksAt(largePath, "empty events", 4)},
	{"a byte every 100 ms that never makes a piece", 384, asks("drip", 20)},
	{"silence after the first piece", 384, asks("stall", 50)},
	{"silence from the start", 384, asks("silent", 50)},
	{"compression bombs without end, which nobody has asked for", 384, asks("zip bombs", 4)},
	{"HTTP headers without end", 384, asks("headers without end", 4)},
	{"an error text without end that repeats the key", 384, asks("error without end", 4)},
	{"what is no HTTP", 384, asks("no HTTP", 20)},
	{"a web page without end instead of a stream", 384, asks("a page", 4)},
	{"a redirect to another host", 384, asks("redirect", 20)},
	{"a TCP cut in the middle", 384, asks("reset", 50)},
	{"half a million brackets", 384, asks("brackets", 4)},
	{"control and direction characters, NUL and markup as text", 384, asks("control bytes", 20)},
	{"an end, and then another answer", 384, asks("two ends", 20)},
	{"429 with Retry-After of a year", 384, asks("retry in a year", 20)},
	{"a usage of 2^64 tokens", 384, asks("usage of 2^63", 20)},
}

// asks is a case of n sockets that ask the question. What happened is how their answers ended.
func asks(question string, n int) func(s *siege) string { return asksAt(impatientPath, question, n) }

func asksAt(path, question string, n int) func(s *siege) string {
	return func(s *siege) string {
		return s.each(n, n, func(int) string {
			return s.with(path, func(r *harness.Raw) string {
				if err := r.Say(fmt.Sprintf(`{"action":"assistant_message","payload":%q,"ref":"x"}`, question)); err != nil {
					return err.Error()
				}
				return endOf(r)
			})
		})
	}
}

// endOf reads an answer and returns how it ended: the reason of its error, or its text.
func endOf(r *harness.Raw) string {
	var text strings.Builder
	failure := ""
	for {
		m, err := r.Receive()
		if err != nil {
			return err.Error()
		}
		if bytes.Contains(m.Payload, []byte(canary)) {
			return "the client was told the key"
		}
		var p struct {
			Content      string
			Reason       string
			FinishReason string `json:"finish_reason"`
		}
		_ = json.Unmarshal(m.Payload, &p)
		switch m.Action {
		case "streaming":
			text.WriteString(p.Content)
		case "error":
			failure = p.Reason
		case "complete_streaming":
			return outcomeOf(text.String(), failure, p.FinishReason)
		}
	}
}

func outcomeOf(text, failure, finish string) string {
	shown := fmt.Sprintf("`%q`", text)
	if len(text) > 100 {
		shown = fmt.Sprintf("%.0f MB of text", float64(len(text))/1e6)
	}
	shown = strings.ReplaceAll(shown, "|", `\|`)
	switch {
	case failure == "" && finish != "stop":
		return shown + ", ended with " + finish
	case failure == "":
		return "answered " + shown
	case text == "":
		return failure
	default:
		return shown + " is kept, then " + failure
	}
}

func start(c *harness.Call, contentType string) {
	c.Writer.Header().Set("Content-Type", contentType)
	c.Writer.WriteHeader(http.StatusOK)
}

// endlessly writes until the server has had enough.
func endlessly(c *harness.Call, first, text string) {
	_, err := io.WriteString(c.Writer, first)
	for many := bytes.Repeat([]byte(text), 1+(64<<10)/len(text)); err == nil; {
		_, err = c.Writer.Write(many)
	}
}

func chunkOf(content string) string {
	return fmt.Sprintf("data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", content)
}

// hijacked answers with bytes instead of HTTP.
func hijacked(c *harness.Call, first, text string) {
	conn, rw, err := http.NewResponseController(c.Writer).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	w := bufio.NewWriterSize(rw, 64<<10)
	_, err = w.WriteString(first)
	for err == nil {
		_, err = w.WriteString(text)
	}
}

// zipBomb is a line of 16 MiB, compressed.
var zipBomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, "data: ")
	_, _ = io.CopyN(w, spaces{}, 16<<20)
	_ = w.Close()
	return b.Bytes()
})

func slowPieces() (pieces []string) {
	for i := range 400 {
		pieces = append(pieces, fmt.Sprintf("%d ", i))
	}
	return pieces
}

package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// oddities are streams and what they mean, one line for each event.
var oddities = []struct{ name, stream, want string }{
	{"plain", "data: a\n\ndata: b\n\n", "a|b|EOF"},
	{"nothing", "", "EOF"},
	{"only comments", ": hi\n\n:\n\n", "EOF"},
	{"no space", "data:a\n\n", "a|EOF"},
	{"two spaces and a tab behind", "data:  a\t \n\n", "a|EOF"},
	{"space before", "  data: a\n\t data: b\n\n", "a\nb|EOF"},
	{"a line of spaces ends the event", "data: a\n \t\ndata: b\n\n", "a|b|EOF"},
	{"several lines", "data: {\"a\":\ndata: 1}\n\n", "{\"a\":\n1}|EOF"},
	{"names, ids, retries, unknown fields", "retry: 1\nid: 7\nevent: x\nother: y\ndata: a\n\ndata: b\n\n", "x:a|b|EOF"},
	{"a name without data", "event: x\n\ndata: a\n\n", "a|EOF"},
	{"data without a value", "data\n\ndata:\n\ndata: a\n\n", "a|EOF"},
	{"no empty line between events", "data: {\"a\":1}\ndata: {\"b\":2}\ndata: [DONE]\n", `{"a":1}|{"b":2}|[DONE]|EOF`},
	{"a byte-order mark", "\uFEFFdata: a\n\n\uFEFFdata: b\n\n", "a|b|EOF"},
	{"no line end at the end", "data: a\n\ndata: b", "a|b|EOF"},
	{"a field named error", `error: {"code":500}` + "\n\n", `error:{"code":500}|EOF`},
	{"an event named error", "event: error\ndata: {}\n\ndata: a\n\n", "error:{}|a|EOF"},
	{"JSON alone", `{"a":1}`, `{"a":1}|EOF`},
	{"JSON with line ends", "\n \uFEFF{\n\n  \"a\": 1\n}\n", "{\n\"a\": 1\n}|EOF"},
	{"JSON in an array", "[{\n\"a\":1}]", "[{\n\"a\":1}]|EOF"},
	{"JSON in lines", "{\"a\":1}\n{\"b\":2}\n\n{\"c\":3}", `{"a":1}|{"b":2}|{"c":3}|EOF`},
	{"JSON whose members look like fields", "{\n\"x\":\n\"data: y\"\n}", "{\n\"x\":\n\"data: y\"\n}|EOF"},
	{"JSON in the middle is no data", "data: a\n\n{\"b\":1}\n\ndata: c\n\n", "a|c|EOF"},
	{"a page", "<html>\n<p>Bad gateway</p>", "no event stream: <html>\n<p>Bad gateway</p>\n"},
	{"words", "upstream connect error: reset", "no event stream: upstream connect error: reset\n"},
	{"words before the events", "hello\ndata: a\n\n", "a|EOF"},
}

// TestReader reads the oddities with every line end, whole and byte by byte.
func TestReader(t *testing.T) {
	for _, test := range oddities {
		for end, stream := range map[string]string{
			"LF": test.stream, "CRLF": strings.ReplaceAll(test.stream, "\n", "\r\n"), "CR": strings.ReplaceAll(test.stream, "\n", "\r"),
		} {
			for pace, r := range map[string]io.Reader{
				"whole": strings.NewReader(stream), "bytes": iotest.OneByteReader(strings.NewReader(stream)),
				"end with EOF": iotest.DataErrReader(strings.NewReader(stream)),
			} {
				if got := read(r); got != test.want {
					t.Errorf("%s, %s, %s: got %q, want %q", test.name, end, pace, got, test.want)
				}
			}
		}
	}
}

func read(r io.Reader) string {
	var out []string
	for events := NewReader(r); ; {
		e, err := events.Next()
		switch {
		case err != nil:
			return strings.Join(append(out, err.Error()), "|")
		case len(e.Name) > 0:
			out = append(out, fmt.Sprintf("%s:%s", e.Name, e.Data))
		default:
			out = append(out, string(e.Data))
		}
	}
}

// TestPrompt checks that an event is returned before the byte after it arrives, whatever the line end.
func TestPrompt(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r"} {
		r, w := io.Pipe()
		go func() { _, _ = io.WriteString(w, "data: Hi"+end+end) }()
		if e, err := NewReader(r).Next(); string(e.Data) != "Hi" || err != nil {
			t.Errorf("with %q: got %q, %v", end, e.Data, err)
		}
		_ = r.Close()
	}
}

// TestBounds checks that nothing a server sends takes more memory than the limits allow.
func TestBounds(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, test := range []struct {
		name, first, then string
		want              error
	}{
		{"endless line", "data: ", long, ErrTooLong},
		{"endless comment", ": ", long, ErrTooLong},
		{"endless event", "", "data: " + long + "\n", ErrTooLong},
		{"endless JSON", "{", long + "\n", ErrTooLong},
		{"endless page", "<p>", long, ErrTooLong},
	} {
		events := NewReader(io.MultiReader(strings.NewReader(test.first), &repeated{text: test.then}))
		if e, err := events.Next(); !errors.Is(err, test.want) {
			t.Errorf("%s: got %d bytes, %v", test.name, len(e.Data), err)
		}
	}
	broken := errors.New("broken")
	events := NewReader(io.MultiReader(strings.NewReader("data: a\n\ndata: {"), iotest.ErrReader(broken)))
	if e, err := events.Next(); string(e.Data) != "a" || err != nil {
		t.Errorf("got %q, %v", e.Data, err)
	}
	if _, err := events.Next(); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	page := &repeated{text: long + "\n"}
	if _, err := NewReader(page).Next(); len(err.Error()) > 2*maxStart || page.read > 2*maxSkipped {
		t.Errorf("an error of %d bytes after %d", len(err.Error()), page.read)
	}
}

// TestNoProgress checks that a reader that returns nothing is not asked for ever.
func TestNoProgress(t *testing.T) {
	if _, err := NewReader(idle{}).Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// TestReadAhead checks that a stream that comes fast is read in large parts, also beside a line that is still open.
func TestReadAhead(t *testing.T) {
	const event = "event: x\ndata: {\"a\":1}\r\n\r\n"
	source := &repeated{text: strings.Repeat(event, 10_000)}
	events := NewReader(source)
	defer events.Close()
	const n = 10_000
	for range n {
		if e, err := events.Next(); string(e.Data) != `{"a":1}` || string(e.Name) != "x" || err != nil {
			t.Fatalf("got %q, %v", e.Data, err)
		}
	}
	if most := n*len(event)/(bufferSize-len(event)) + 1; source.reads > most {
		t.Errorf("%d bytes took %d reads, want %d at most", n*len(event), source.reads, most)
	}
}

// TestAllocations checks that an event takes no memory of its own, whatever its line ends and its parts.
func TestAllocations(t *testing.T) {
	for _, event := range []string{"data: {}\n\n", "event: x\r\ndata: {}\r\n\r\n", "data: {\r\rdata: }\r\r", ": hi\n \ndata: {}\n", `{"a":1}` + "\n"} {
		events := NewReader(&repeated{text: event})
		if n := testing.AllocsPerRun(10_000, func() {
			if _, err := events.Next(); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%q takes %v allocations", event, n)
		}
		events.Close()
	}
}

// TestClose checks that nothing is read after Close, and that the next reader's memory is nobody else's.
func TestClose(t *testing.T) {
	events := NewReader(strings.NewReader("data: a\n\ndata: b\n\n"))
	if _, err := events.Next(); err != nil {
		t.Fatal(err)
	}
	events.Close()
	events.Close()
	if e, err := events.Next(); err == nil {
		t.Errorf("%q came after Close", e.Data)
	}
	one, two := NewReader(strings.NewReader("data: 1\n\n")), NewReader(strings.NewReader("data: 2\n\n"))
	first, _ := one.Next()
	second, _ := two.Next()
	if string(first.Data) != "1" || string(second.Data) != "2" {
		t.Errorf("got %q and %q", first.Data, second.Data)
	}
}

type repeated struct {
	text, rest  string
	read, reads int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.read, r.reads = r.read+n, r.reads+1
	return n, nil
}

// FuzzReader checks that events have data, and do not depend on how the bytes arrive.
func FuzzReader(f *testing.F) {
	for _, test := range oddities {
		f.Add([]byte(test.stream))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		for events := NewReader(bytes.NewReader(stream)); ; {
			e, err := events.Next()
			if err != nil {
				break
			}
			if len(bytes.TrimSpace(e.Data)) == 0 {
				t.Errorf("an event without data: %q", e.Data)
			}
		}
		whole, single := read(bytes.NewReader(stream)), read(iotest.OneByteReader(bytes.NewReader(stream)))
		if whole != single {
			t.Errorf("in single bytes it reads %q, and whole %q", single, whole)
		}
	})
}

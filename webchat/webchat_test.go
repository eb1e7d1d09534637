package webchat

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// What opening the page may cost at most, in bytes as gzip sends them; and that with an answer on it, but
// no code in it.
const (
	firstLoad   = 12_000
	firstAnswer = 16_500
)

func TestFirstLoad(t *testing.T) {
	files := contents(t)
	total := 0
	weigh := func(limit int, names ...string) {
		for _, name := range names {
			size := gzipped(t, files[name])
			t.Logf("%6d %s", size, name)
			total += size
		}
		if t.Logf("%6d in all, at most %d", total, limit); total > limit {
			t.Errorf("the page weighs %d bytes, want at most %d", total, limit)
		}
	}
	first := append(static(t, files, "index.html"), "icon.svg")
	if want := []string{"index.html", "assistant-chat.js", "icon.svg"}; !slices.Equal(first, want) {
		t.Errorf("opening the page loads %q, want %q", first, want)
	}
	weigh(firstLoad, first...)
	weigh(firstAnswer, static(t, files, "markdown.js")...)
}

// static is a file and what it cannot do without.
func static(t *testing.T, files map[string]string, name string) []string {
	t.Helper()
	if files[name] == "" {
		t.Fatalf("no file %q", name)
	}
	names := []string{name}
	for _, match := range regexp.MustCompile(`(?:script[^>]*src=|from|import)"(?:\./)?([^"]+\.js)"`).FindAllStringSubmatch(files[name], -1) {
		names = append(names, static(t, files, match[1])...)
	}
	return names
}

// The page may be mounted anywhere, and loads nothing that is not here.
func TestReferences(t *testing.T) {
	files := contents(t)
	reference := regexp.MustCompile(`(?:href|src)="([^"]*)"|(?:from|import) ?\(?"(\.[^"]*)"`)
	seen := map[string]bool{"index.html": true, "NOTICE.txt": true}
	for name, text := range files {
		for _, match := range reference.FindAllStringSubmatch(text, -1) {
			target := strings.TrimPrefix(match[1]+match[2], "./")
			if _, ok := files[target]; !ok {
				t.Errorf("%s refers to %q, which is not a file beside it", name, target)
			}
			seen[target] = true
		}
	}
	for name := range files {
		if !seen[name] {
			t.Errorf("nothing refers to %s", name)
		}
	}
}

// What the policy forbids would fail silently for the reader.
func TestPolicy(t *testing.T) {
	page := contents(t)["index.html"]
	for _, want := range []string{"default-src 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(page, want) {
			t.Errorf("index.html has no %s", want)
		}
	}
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(?:\s[^>]*)?>[^<]`)
	if found := inline.FindString(page); found != "" {
		t.Errorf("index.html has %q inline", found)
	}
}

// The element is to run in pages that forbid what makes markup or code of text.
func TestSinks(t *testing.T) {
	sink := regexp.MustCompile(`\.(innerHTML|outerHTML|insertAdjacentHTML|srcdoc)\b|\beval\(|new Function|document\.write|setAttribute\(['"](on|style)`)
	sources := os.DirFS("src")
	for name, text := range read(t, sources) {
		if found := sink.FindString(text); found != "" {
			t.Errorf("%s contains %q", name, found)
		}
	}
}

// What failed is explained by the same sentences live, which are the server's, and from the history.
func TestSentences(t *testing.T) {
	sources := read(t, os.DirFS("src"))
	seen := 0
	entry := regexp.MustCompile(`(?m)^  (\w+): ["'](.*)["'],$`)
	retryable, final, _ := strings.Cut(sources["history.js"], "const final")
	for text, wantRetryable := range map[string]bool{retryable: true, final: false} {
		for _, match := range entry.FindAllStringSubmatch(text, -1) {
			seen++
			want := assistant.Reason(match[1]).Explain()
			if string(want.Reason) != match[1] || match[2] != want.Detail || wantRetryable != want.Retryable {
				t.Errorf("%s: %q, retryable %t; want %+v", match[1], match[2], wantRetryable, want)
			}
		}
	}
	if seen < 8 {
		t.Errorf("found %d sentences, want at least 8", seen)
	}
}

func contents(t *testing.T) map[string]string { t.Helper(); return read(t, Files) }

func read(t *testing.T, from fs.FS) map[string]string {
	t.Helper()
	names, err := fs.Glob(from, "*")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, name := range names {
		text, err := fs.ReadFile(from, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	return files
}

func gzipped(t *testing.T, text string) int {
	t.Helper()
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Len()
}

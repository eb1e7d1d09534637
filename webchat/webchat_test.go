package webchat

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// firstLoad is the most that opening the page may cost, as gzip sends it: the sources as they are, with
// comments, and about 4,000 bytes of streaming-markdown.
const firstLoad = 20_000

func TestFirstLoad(t *testing.T) {
	total := 0
	for name, text := range contents(t) {
		size := gzipped(t, text)
		t.Logf("%5d %s", size, name)
		total += size
	}
	t.Logf("%5d in all", total)
	if total > firstLoad {
		t.Errorf("the page weighs %d bytes, want at most %d", total, firstLoad)
	}
}

// The page may be mounted anywhere, and loads nothing that is not here.
func TestReferences(t *testing.T) {
	files := contents(t)
	reference := regexp.MustCompile(`(?:href|src)="([^"]*)"|from '([^']*\.js)'`)
	seen := map[string]bool{"index.html": true}
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

func contents(t *testing.T) map[string]string {
	t.Helper()
	names, err := fs.Glob(Files, "*")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, name := range names {
		text, err := fs.ReadFile(Files, name)
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

package webchat

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// What opening the page may cost at most, in bytes as gzip sends them; and that with an answer on it, but
// no code in it.
const (
	firstLoad   = 23_000
	firstAnswer = 43_890
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
	reference := regexp.MustCompile(`(?:href=|src=|"src":)"([^"]*)"|(?:from|import) ?\(?"(\.[^"]*)"`)
	seen := map[string]bool{"index.html": true, "NOTICE.txt": true}
	for name, text := range files {
		for _, match := range reference.FindAllStringSubmatch(text, -1) {
			target := path.Join(path.Dir(name), match[1]+match[2])
			if _, ok := files[target]; !ok {
				t.Errorf("%s refers to %q, which is not among the files", name, target)
			}
			seen[target] = true
		}
	}
	for _, match := range regexp.MustCompile(`(\w+):"[^"]*"`).FindAllStringSubmatch(languageTable(t, files["highlight.js"]), -1) {
		target := "languages/" + match[1] + ".js"
		if _, ok := files[target]; !ok {
			t.Errorf("highlight.js knows the language %q, but there is no %s", match[1], target)
		}
		seen[target] = true
	}
	for name := range files {
		if !seen[name] {
			t.Errorf("nothing refers to %s", name)
		}
	}
}

// languageTable is highlight.js's table of the languages, each of which it loads from a file of its own.
func languageTable(t *testing.T, script string) string {
	t.Helper()
	table := regexp.MustCompile(`\{bash:"[^}]*\}`).FindString(script)
	if table == "" || !strings.Contains(script, "./languages/") {
		t.Fatal("highlight.js has no table of languages")
	}
	return table
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
	for name, text := range sources(t) {
		if found := sink.FindString(text); found != "" {
			t.Errorf("%s contains %q", name, found)
		}
	}
}

// What the page says in English of a reason, it says as the server does; and it knows what only would fail again.
func TestReasons(t *testing.T) {
	sources := sources(t)
	sentences := make(map[string]string)
	for _, match := range regexp.MustCompile(`(?m)^  'error\.(\w+)': ["'](.*)["'],$`).FindAllStringSubmatch(sources["src/texts/reasons.js"], -1) {
		sentences[match[1]] = match[2]
	}
	_, list, _ := strings.Cut(sources["src/history.js"], "new Set([")
	list, _, _ = strings.Cut(list, "]")
	for name := range assistant.Reason("").Values() {
		reason := assistant.Reason(name).Explain()
		if sentences[name] != reason.Detail {
			t.Errorf("%s: the page says %q, the server %q", name, sentences[name], reason.Detail)
		}
		if final := strings.Contains(list, "'"+name+"'"); final == reason.Retryable {
			t.Errorf("%s: in the list of what would only fail again: %t; retryable: %t", name, final, reason.Retryable)
		}
	}
}

// Whatever people read is in texts, where it can be translated.
func TestWords(t *testing.T) {
	kinds := map[string]*regexp.Regexp{
		"a sentence or a name":     regexp.MustCompile("(?m)^[^/*]*?[\"'`](\\p{Lu}\\p{Ll}[^\"'`\\n]*)[\"'`]"),
		"a property":               regexp.MustCompile("\\b(?:ariaLabel|placeholder|title|alt|textContent|label)\\b ?[:=] ?[\"'`]([^\"'`\\n]*\\p{L}[^\"'`\\n]*)"),
		"a child":                  regexp.MustCompile("\\bh\\('[^\\n]*\\}, [\"'`]([^$\"'`\\n]*\\p{L}[^\"'`\\n]*)"),
		"an argument":              regexp.MustCompile("(?:announce\\([^\\n]*, |\\bappend\\(|iconButton\\('\\w+', )[\"'`]([^\"'`\\n]*\\p{L}[^\"'`\\n]*)"),
		"content that CSS inserts": regexp.MustCompile(`content: "([^"]*\p{L}[^"]*)`),
	}
	code := []string{"Enter", "Escape", "Files", "Adlm", "Arab", "Hebr", "Nkoo", "Rohg", "Syrc", "Thaa", "AssistantError", "Caddyfile"} // keys, a type of the clipboard, scripts, a class, a language
	for name, text := range sources(t) {
		if path.Dir(name) == "src/texts" || path.Ext(name) != ".js" && path.Ext(name) != ".css" {
			continue
		}
		for kind, pattern := range kinds {
			for _, match := range pattern.FindAllStringSubmatch(text, -1) {
				if !slices.Contains(code, match[1]) && !(path.Ext(name) == ".css" && kind == "a sentence or a name") {
					t.Errorf("%s has words of its own: %q, %s", name, match[1], kind)
				}
			}
		}
	}
}

// In a right-to-left page all is mirrored: no rule knows left and right.
func TestDirections(t *testing.T) {
	named := regexp.MustCompile(`(?m)^\s*((?:[\w-]+-)?(?:left|right)(?:-[\w-]+)?\s*:.*|(?:text-align|float|clear|justify-[\w-]+)\s*:.*\b(?:left|right)\b.*)$`)
	shorthand := regexp.MustCompile(`(?m)^\s*((margin|padding|inset|border-width|border-style|border-color|border-radius|scroll-margin|scroll-padding)\s*:\s*([^;]+));`)
	for name, text := range sources(t) {
		if path.Ext(name) != ".css" {
			continue
		}
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			t.Errorf("%s: %s", name, match[1])
		}
		for _, match := range shorthand.FindAllStringSubmatch(text, -1) {
			if !symmetric(match[2], values(match[3])) {
				t.Errorf("%s: left and right differ: %s", name, match[1])
			}
		}
	}
}

// symmetric reports whether a shorthand property says the same of left and right.
func symmetric(property string, v []string) bool {
	if property == "border-radius" { // of the corners: top left, top right, bottom right, bottom left
		four := [][]int{1: {0, 0, 0, 0}, 2: {0, 1, 0, 1}, 3: {0, 1, 2, 1}, 4: {0, 1, 2, 3}}[len(v)]
		return v[four[0]] == v[four[1]] && v[four[2]] == v[four[3]]
	}
	return len(v) < 4 || v[1] == v[3]
}

// values splits a list at the spaces outside of parentheses.
func values(list string) []string {
	depth := 0
	return strings.FieldsFunc(list, func(r rune) bool {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		return r == ' ' && depth == 0
	})
}

// sources are the files that dist is made of.
func sources(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, folder := range []string{"src", "client"} {
		for name, text := range read(t, os.DirFS(folder)) {
			files[path.Join(folder, name)] = text
		}
	}
	return files
}

func contents(t *testing.T) map[string]string { t.Helper(); return read(t, Files) }

func read(t *testing.T, from fs.FS) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := fs.WalkDir(from, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(from, name)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
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

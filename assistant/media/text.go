package media

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// isPlain reports whether text is shown by no browser as anything but text. What looks like markup is not.
func isPlain(found *mimetype.MIME) bool {
	markup := []string{"text/html", "text/xml", "application/xhtml+xml", "image/svg+xml"}
	isText := false
	for m := found; m != nil; m = m.Parent() {
		if slices.ContainsFunc(markup, m.Is) {
			return false
		}
		isText = isText || m.Is(Text) || m.Is(JSON)
	}
	return isText
}

// textKind returns the kind of text that a name says, "" where it says none.
func textKind(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".md", ".markdown":
		return Markdown
	case ".csv":
		return CSV
	case ".json":
		return JSON
	case ".txt", ".log":
		return Text
	}
	return ""
}

// page matches the objects of a PDF that are pages, where they are not in a compressed stream.
var page = regexp.MustCompile(`/Type\s*/Page[^s\w]`)

// pages counts the pages of a PDF, roughly: it is never read.
func pages(data []byte) int { return max(len(page.FindAllIndex(data, -1)), 1) }

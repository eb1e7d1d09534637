package asyncapi

import (
	"bytes"
	"compress/gzip"
	"embed"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// The page is built from docs/src by "npm run build" in docs.
//
//go:embed docs/dist
var dist embed.FS

// contentSecurityPolicy allows the files of the page and the document beside it, connections to others, but no inline
// script or style, and no frame around it. The icon is a data URL.
func contentSecurityPolicy(others string) string {
	return "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" + others + "; " +
		"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".txt":  "text/plain; charset=utf-8",
}

// page returns the files of the page by name.
var page = sync.OnceValue(loadPage)

// readOnly returns the index.html of a page that must not connect.
var readOnly = sync.OnceValue(func() *asset {
	return newAsset(".html", bytes.Replace(page()["index.html"].plain, []byte(`data-try-it="on"`), []byte(`data-try-it="off"`), 1))
})

// asset is a file of the page.
type asset struct {
	contentType string
	etag        string // without its closing quote
	plain       []byte
	gzipped     func() []byte // compresses at the first call
}

func loadPage() map[string]*asset {
	const folder = "docs/dist"
	entries, err := dist.ReadDir(folder)
	if err != nil {
		panic(err) // cannot happen: the folder is embedded
	}
	assets := make(map[string]*asset, len(entries))
	for _, entry := range entries {
		content, err := dist.ReadFile(path.Join(folder, entry.Name()))
		if err != nil {
			panic(err)
		}
		assets[entry.Name()] = newAsset(path.Ext(entry.Name()), content)
	}
	return assets
}

func newAsset(extension string, content []byte) *asset {
	return &asset{
		contentType: contentTypes[extension],
		etag:        strings.TrimSuffix(etag(content), `"`),
		plain:       content,
		gzipped:     sync.OnceValue(func() []byte { return compress(content) }),
	}
}

func compress(content []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // fails only for an unknown level
	_, _ = z.Write(content)                               // a bytes.Buffer never fails
	_ = z.Close()
	return b.Bytes()
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request, policy string) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Add("Vary", "Accept-Encoding")
	if !acceptsGzip(r) {
		header.Set("ETag", a.etag+`"`)
		serve(w, r, a.contentType, a.plain)
		return
	}
	header.Set("Content-Encoding", "gzip")
	header.Set("ETag", a.etag+`-gzip"`)
	serve(w, r, a.contentType, a.gzipped())
}

// acceptsGzip reports whether Accept-Encoding (RFC 9110 section 12.5.3) allows gzip by name; * does not count.
func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(strings.ToLower(strings.ReplaceAll(coding, " ", "")), ";")
		if name == "gzip" {
			q, err := strconv.ParseFloat(strings.TrimPrefix(weight, "q="), 64)
			return err != nil || q > 0
		}
	}
	return false
}

package chatpage

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/caddy-assistant/caddy-assistant/webchat"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
	"github.com/klauspost/compress/zstd"
)

const indexFile, textsFile = "index.html", "texts.json"

// files are what the handler serves, by name; the page itself is "".
type files map[string]*file

// file is one of them. It is read-only and safe for concurrent use.
type file struct {
	content []byte
	header  http.Header
	etag    string // without quotes
	encoded map[string]func() []byte
}

var contentTypes = map[string]string{
	".html":        "text/html; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".txt":         "text/plain; charset=utf-8",
	".webmanifest": "application/manifest+json",
}

// built returns the files that are the same for all handlers, so that each is compressed once.
var built = sync.OnceValues(func() (files, error) {
	all := files{}
	err := fs.WalkDir(webchat.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(webchat.Files, name)
		all[name] = public(name, content)
		return err
	})
	return all, err
})

// withPage returns the files of a handler.
func withPage(index []byte, policy string, manifest, texts []byte) (files, error) {
	all, err := built()
	if err != nil {
		return nil, err
	}
	all = maps.Clone(all)
	page := newFile(indexFile, index)
	page.header.Set("Content-Security-Policy", policy)
	page.header.Set("Referrer-Policy", "no-referrer")
	all[""], all[indexFile] = page, page
	all[manifestFile] = public(manifestFile, manifest)
	if texts != nil {
		all[textsFile] = public(textsFile, texts)
	}
	return all, nil
}

// ending returns the file with which a path ends, by its longest name.
func (f files) ending(path string) (name string, found *file) {
	for found == nil {
		var slash bool
		if _, name, slash = strings.Cut(path, "/"); !slash {
			return "", nil
		}
		path, found = name, f[name]
	}
	return name, found
}

// public makes a file that pages of every origin may load.
func public(name string, content []byte) *file {
	f := newFile(name, content)
	f.header.Set("Access-Control-Allow-Origin", "*")
	return f
}

func newFile(name string, content []byte) *file {
	sum := sha256.Sum256(content)
	f := &file{
		content: content,
		header: http.Header{
			"Cache-Control": {"no-cache"}, // no name changes with its content: browsers ask, and get 304
			"Content-Type":  {contentTypes[path.Ext(name)]},
		},
		etag: base64.RawURLEncoding.EncodeToString(sum[:12]),
	}
	if path.Ext(name) != ".png" { // which is compressed already
		f.encoded = map[string]func() []byte{
			"zstd": sync.OnceValue(func() []byte { return compress(content, newZstd) }),
			"gzip": sync.OnceValue(func() []byte { return compress(content, newGzip) }),
		}
	}
	return f
}

func newZstd(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
}

func newGzip(w io.Writer) (io.WriteCloser, error) {
	return gzip.NewWriterLevel(w, gzip.BestCompression)
}

func compress(content []byte, encoder func(io.Writer) (io.WriteCloser, error)) []byte {
	var b bytes.Buffer
	z, err := encoder(&b)
	if err != nil {
		panic(err) // cannot happen: the options are constant
	}
	_, _ = z.Write(content) // a bytes.Buffer never fails
	_ = z.Close()
	return b.Bytes()
}

// preferred are the encodings that a file has, the best first.
var preferred = []string{"zstd", "gzip"}

// serve answers with the file in the encoding that the client likes best, or with 304 when the client has it.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	header, content, etag := w.Header(), f.content, f.etag
	maps.Copy(header, f.header)
	header.Add("Vary", "Accept-Encoding")
	for _, name := range encode.AcceptedEncodings(r, preferred) {
		if name == "identity" {
			break
		}
		if encoded := f.encoded[name]; encoded != nil {
			header.Set("Content-Encoding", name)
			content, etag = encoded(), name+"-"+etag // not at the end: encode removes that from If-None-Match
			break
		}
	}
	header.Set("ETag", `"`+etag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// redirect adds the slash at the end of the path. The target is relative, since only the browser knows the whole path
// if something in front strips its start.
func redirect(w http.ResponseWriter, r *http.Request) {
	from := original(r)
	to := url.URL{Path: path.Base(from.Path) + "/", RawQuery: from.RawQuery}
	w.Header().Set("Location", to.String())
	w.WriteHeader(http.StatusPermanentRedirect)
}

// original returns the URL that the client asked for.
func original(r *http.Request) *url.URL {
	if before, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return before.URL
	}
	return r.URL
}

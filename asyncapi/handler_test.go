package asyncapi_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/asyncapi"
	"go.yaml.in/yaml/v3"
)

func newHandler() *asyncapi.Handler {
	return &asyncapi.Handler{
		Protocol: protocol,
		Channels: func(*http.Request) []asyncapi.Channel { return []asyncapi.Channel{assistants, support} },
	}
}

// get requests target from h, with headers given as alternating names and values.
func get(t *testing.T, h *asyncapi.Handler, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	return request(t, h, http.MethodGet, target, headers...)
}

func request(t *testing.T, h *asyncapi.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r, w := httptest.NewRequestWithContext(t.Context(), method, target, nil), httptest.NewRecorder()
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	if err := h.Serve(w, r); err != nil {
		status, ok := errors.AsType[asyncapi.StatusError](err)
		if !ok || w.Flushed || w.Body.Len() > 0 {
			t.Fatalf("%s %s: %v after %q", method, target, err, w.Body)
		}
		w.WriteHeader(int(status))
	}
	return w
}

func TestRoutes(t *testing.T) {
	for target, want := range map[string]struct {
		status      int
		contentType string
	}{
		"/asyncapi/docs/":                    {200, "text/html; charset=utf-8"},
		"/asyncapi/docs/index.html":          {200, "text/html; charset=utf-8"},
		"/asyncapi/docs/docs.js":             {200, "text/javascript; charset=utf-8"},
		"/asyncapi/docs/docs.css":            {200, "text/css; charset=utf-8"},
		"/asyncapi/docs/NOTICE.txt":          {200, "text/plain; charset=utf-8"},
		"/asyncapi/docs/asyncapi.json":       {200, "application/json"},
		"/asyncapi/docs/asyncapi.yaml":       {200, "application/yaml"},
		"/asyncapi/schema/":                  {200, "application/json"},
		"/asyncapi/schema/?format=json":      {200, "application/json"},
		"/asyncapi/schema/?format=yaml":      {200, "application/yaml"},
		"/asyncapi/schema/?format=xml":       {400, "application/json"},
		"/asyncapi/schema/?view=client":      {200, "application/json"},
		"/asyncapi/schema/?view=mine":        {400, "application/json"},
		"/asyncapi/schema/?channel=support":  {200, "application/json"},
		"/asyncapi/schema/?channel=nobody's": {400, "application/json"},
		"/asyncapi.json":                     {200, "application/json"},
		"/asyncapi.yaml":                     {200, "application/yaml"},
		"/docs/":                             {200, "text/html; charset=utf-8"}, // as after handle_path
		"/schema/":                           {200, "application/json"},
		"/":                                  {404, ""},
		"/asyncapi":                          {404, ""},
		"/asyncapi/":                         {404, ""},
		"/asyncapi/docs/none.js":             {404, ""},
		"/asyncapi/docs/docs.js/":            {404, ""},
		"/asyncapi/docs/dist/docs.js":        {404, ""},
		"/asyncapi/docs/..%2fhandler.go":     {404, ""},
		"/asyncapi/schema/docs.js":           {404, ""},
		"/docs.js":                           {404, ""},
	} {
		w := get(t, newHandler(), target)
		if w.Code != want.status || w.Header().Get("Content-Type") != want.contentType {
			t.Errorf("GET %s: %d %q, want %d %q", target, w.Code, w.Header().Get("Content-Type"), want.status, want.contentType)
		}
		if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("GET %s: X-Content-Type-Options = %q", target, got)
		}
		if w.Code == http.StatusBadRequest {
			var problem map[string]string
			if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem["error"] == "" || len(problem) != 1 {
				t.Errorf("GET %s: %s", target, w.Body)
			}
		}
	}
}

func TestRedirects(t *testing.T) {
	for target, want := range map[string]string{
		"/asyncapi/docs":               "docs/",
		"/docs":                        "docs/",
		"/asyncapi/schema?format=yaml": "schema/?format=yaml",
	} {
		if w := get(t, newHandler(), target); w.Code != http.StatusPermanentRedirect || w.Header().Get("Location") != want {
			t.Errorf("GET %s: %d to %q, want %q", target, w.Code, w.Header().Get("Location"), want)
		}
	}
}

func TestMethods(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodConnect} {
		w := request(t, newHandler(), method, "/asyncapi/schema/")
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	for _, target := range []string{"/asyncapi/schema/", "/asyncapi/docs/"} {
		w := request(t, newHandler(), http.MethodHead, target)
		if w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("ETag") == "" {
			t.Errorf("HEAD %s: %d with %d bytes", target, w.Code, w.Body.Len())
		}
	}
}

// TestNotModified checks that a client which has the response gets 304, but not one that has another form of
// it.
func TestNotModified(t *testing.T) {
	tags := map[string]string{}
	for _, test := range []struct{ target, encoding string }{
		{"/asyncapi.json", ""},
		{"/asyncapi.yaml", ""},
		{"/asyncapi.json?view=client", ""},
		{"/asyncapi.json?channel=support", ""},
		{"/docs/docs.js", ""},
		{"/docs/docs.js", "gzip"},
	} {
		w := get(t, newHandler(), test.target, "Accept-Encoding", test.encoding)
		tag := w.Header().Get("ETag")
		if w.Header().Get("Cache-Control") != "no-cache" || tag == "" {
			t.Errorf("%v: headers %v", test, w.Header())
		}
		if tags[tag] != "" {
			t.Errorf("%s and %s have the same ETag", test.target, tags[tag])
		}
		tags[tag] = test.target
	}
	for tag, target := range tags {
		encoding := ""
		if strings.Contains(tag, "gzip") {
			encoding = "gzip"
		}
		if w := get(t, newHandler(), target, "Accept-Encoding", encoding, "If-None-Match", `"x", W/`+tag); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s again: %d with %d bytes", target, w.Code, w.Body.Len())
		}
		if w := get(t, newHandler(), target, "Accept-Encoding", encoding, "If-None-Match", `"x"`); w.Code != http.StatusOK {
			t.Errorf("%s with another ETag: %d", target, w.Code)
		}
	}
}

func TestCompression(t *testing.T) {
	plain := get(t, newHandler(), "/docs/docs.js")
	for accepted, compressed := range map[string]bool{
		"": false, "gzip": true, "br, gzip;q=0.5": true, "GZIP": true, "gzip;q=0": false, "gzip ; Q=0.000": false, "br": false, "x-gzip": false,
	} {
		w := get(t, newHandler(), "/docs/docs.js", "Accept-Encoding", accepted)
		if w.Header().Get("Vary") != "Accept-Encoding" || (w.Header().Get("Content-Encoding") == "gzip") != compressed {
			t.Errorf("Accept-Encoding %q: headers %v", accepted, w.Header())
			continue
		}
		var body io.Reader = w.Body
		if compressed {
			var err error
			if body, err = gzip.NewReader(w.Body); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, plain.Body.Bytes()) {
			t.Errorf("Accept-Encoding %q: another file (%v)", accepted, err)
		}
	}
}

// TestPolicy checks that every file of the page has a policy under which only its own files can run or load.
func TestPolicy(t *testing.T) {
	const want = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	for _, target := range []string{"/docs/", "/docs/docs.js", "/docs/docs.css"} {
		if got := get(t, newHandler(), target).Header().Get("Content-Security-Policy"); got != want {
			t.Errorf("GET %s: Content-Security-Policy = %q", target, got)
		}
	}
}

// TestPolicyOfOthers checks that the page may connect to the channels of other sites, where it can be tried.
func TestPolicyOfOthers(t *testing.T) {
	h := newHandler()
	h.Channels = func(*http.Request) []asyncapi.Channel { return []asyncapi.Channel{assistants, elsewhere} }
	for noTryIt, want := range map[bool]string{false: "connect-src 'self' ws://localhost:8080; ", true: "connect-src 'self'; "} {
		h.NoTryIt = noTryIt
		if got := get(t, h, "http://chat.example.com/docs/").Header().Get("Content-Security-Policy"); !strings.Contains(got, want) {
			t.Errorf("NoTryIt %t: %s", noTryIt, got)
		}
	}
}

// TestPageFiles checks that the files which the page refers to exist beside it.
func TestPageFiles(t *testing.T) {
	html := get(t, newHandler(), "/any/path/docs/").Body.String()
	references := regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(html, -1)
	var found []string
	for _, reference := range references {
		if reference[1] == "data:," {
			continue
		}
		found = append(found, reference[1])
		if w := get(t, newHandler(), "/any/path/docs/"+reference[1]); w.Code != http.StatusOK {
			t.Errorf("%s: %d", reference[1], w.Code)
		}
	}
	for _, want := range []string{"docs.js", "docs.css", "asyncapi.json"} {
		if !slices.Contains(found, want) {
			t.Errorf("the page refers to %q, not to %s", found, want)
		}
	}
	for _, name := range []string{"preact", "micromark"} {
		if notice := get(t, newHandler(), "/docs/NOTICE.txt").Body.String(); !strings.Contains(notice, name+" ") {
			t.Errorf("no licence of %s", name)
		}
	}
}

// TestTryIt checks that the page can be served without the part that connects, under either of its names.
func TestTryIt(t *testing.T) {
	h := newHandler()
	tag := get(t, h, "/docs/").Header().Get("ETag")
	for _, test := range []struct {
		noTryIt bool
		want    string
	}{{false, `data-try-it="on"`}, {true, `data-try-it="off"`}} {
		h.NoTryIt = test.noTryIt
		for _, target := range []string{"/docs/", "/docs/index.html"} {
			w := get(t, h, target, "If-None-Match", tag)
			if modified := w.Code == http.StatusOK; modified != test.noTryIt {
				t.Errorf("GET %s, NoTryIt %t: %d", target, test.noTryIt, w.Code)
			}
			if body := get(t, h, target).Body.String(); strings.Count(body, "data-try-it") != 1 || !strings.Contains(body, test.want) {
				t.Errorf("GET %s, NoTryIt %t: no %s in\n%s", target, test.noTryIt, test.want, body)
			}
		}
	}
}

func TestServedDocument(t *testing.T) {
	body := get(t, newHandler(), "http://chat.example.com/asyncapi.json").Body.Bytes()
	want, err := asyncapi.Build(asyncapi.API{
		Server: asyncapi.Server{Host: "chat.example.com"}, Protocol: protocol, Channels: []asyncapi.Channel{assistants, support},
	}, asyncapi.ServerView)
	if err != nil || !bytes.Equal(body, want.JSON()) {
		t.Errorf("served %s (%v)", body, err)
	}
	var fromYAML outline
	if err := yaml.Unmarshal(get(t, newHandler(), "/asyncapi.yaml?channel=support").Body.Bytes(), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(maps.Keys(fromYAML.Channels)); !slices.Equal(got, []string{"support"}) {
		t.Errorf("channel=support has %q", got)
	}
}

// TestServerOfRequest checks that the document names the host of the request.
func TestServerOfRequest(t *testing.T) {
	servers := func(h *asyncapi.Handler, change func(*http.Request)) map[string]any {
		r, w := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/asyncapi.json", nil), httptest.NewRecorder()
		change(r)
		var document struct{ Servers map[string]any }
		if err := errors.Join(h.Serve(w, r), json.Unmarshal(w.Body.Bytes(), &document)); err != nil {
			t.Fatal(err)
		}
		return document.Servers
	}
	h := newHandler()
	for name, test := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"host": {func(r *http.Request) { r.Host = "localhost:8080" }, `{"development":{"host":"localhost:8080","protocol":"ws"}}`},
		"TLS":  {func(r *http.Request) { r.Host, r.TLS = "example.com", &tls.ConnectionState{} }, `{"production":{"host":"example.com","protocol":"wss"}}`},
		"odd":  {func(r *http.Request) { r.Host = "a b" }, `{"development":{"host":"localhost","protocol":"ws"}}`},
	} {
		if got, err := json.Marshal(servers(h, test.change)); err != nil || string(got) != test.want {
			t.Errorf("%s: %s, want %s (%v)", name, got, test.want, err)
		}
	}
	h.Server = func(r *http.Request) asyncapi.Server { return asyncapi.Server{Host: "fixed.example.com", TLS: true} }
	if got, err := json.Marshal(servers(h, func(*http.Request) {})); err != nil || !strings.Contains(string(got), "fixed.example.com") {
		t.Errorf("configured: %s (%v)", got, err)
	}
}

// TestChannelsOfNow checks that the document has the channels that exist at the time of the request.
func TestChannelsOfNow(t *testing.T) {
	h := newHandler()
	before := get(t, h, "/asyncapi.json").Header().Get("ETag")
	h.Channels = func(*http.Request) []asyncapi.Channel { return []asyncapi.Channel{support} }
	after := get(t, h, "/asyncapi.json", "If-None-Match", before)
	if after.Code != http.StatusOK || strings.Contains(after.Body.String(), "/ws/assistants/") {
		t.Errorf("%d %s", after.Code, after.Body)
	}
}

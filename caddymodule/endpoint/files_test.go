package endpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
)

// visitor sends requests for files to a site.
type visitor struct {
	*caddytest.Site

	user   string
	header http.Header
}

// answered is an answer, with its body.
type answered struct {
	*http.Response

	body []byte
}

func (v visitor) request(method, path string, body io.Reader, header http.Header) answered {
	v.T.Helper()
	path, query, _ := strings.Cut(path, "?")
	req, err := http.NewRequestWithContext(v.T.Context(), method, fmt.Sprintf("http://127.0.0.1:%d/ws/%s?user=%s&%s", v.Port, path, v.user, query), body)
	if err != nil {
		v.T.Fatal(err)
	}
	maps.Copy(req.Header, v.header)
	maps.Copy(req.Header, header)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		v.T.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		v.T.Fatal(err)
	}
	return answered{res, data}
}

// reason is that of an error's body.
func (a answered) reason() string {
	var body struct {
		Detail, Reason string
		Retryable      bool
	}
	_ = json.Unmarshal(a.body, &body)
	return body.Reason
}

// upload stores a file, and returns what is answered.
func (v visitor) upload(name string, data []byte) uploaded {
	v.T.Helper()
	a := v.request(http.MethodPost, "files?name="+name, bytes.NewReader(data), nil)
	var u uploaded
	if err := json.Unmarshal(a.body, &u); err != nil || a.StatusCode != http.StatusCreated {
		v.T.Fatalf("%d %s", a.StatusCode, a.body)
	}
	return u
}

func drawn(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func filesSite(t *testing.T, files, more string) visitor {
	t.Helper()
	s := caddytest.NewSite(t)
	s.MustLoad(caddytest.Handler("pieces 1", files+"\n"+more) + "metrics /metrics\n")
	return visitor{Site: s, user: "ann"}
}

// TestUploads holds what is answered to an upload, whatever is wrong with it.
func TestUploads(t *testing.T) {
	v := filesSite(t, "files {\n max_size 2000\n quota 1200\n rate 30/1h\n}", "")
	count := func(outcome string) int {
		n, _ := strconv.Atoi(v.Scrape()[`caddy_assistant_uploads_total{handler="assistants",outcome="`+outcome+`"}`])
		return n
	}
	outcomes := map[string]int{"stored": 2, "name_invalid": 4, "file_type": 32, "file_invalid": 2, "file_too_large": 2, "quota_exceeded": 1, "unauthorized": 1, "rate_limited": 1}
	before := map[string]int{}
	for outcome := range outcomes {
		before[outcome] = count(outcome)
	}
	u := v.upload("a%20cat.png", drawn(t, 4, 2))
	if u.Name != "a cat.png" || u.MediaType != "image/jpeg" || u.Width != 4 || u.Height != 2 || u.Size == 0 || time.Until(u.ExpiresAt) < 59*time.Minute || !assistant.IsID(u.ID) {
		t.Errorf("stored %+v", u)
	}
	svg := `<svg xmlns="http://www.w3.org/2000/svg"/>`
	for _, test := range []struct {
		what, path string
		body       io.Reader
		status     int
		reason     string
	}{
		{"a name with a folder", "files?name=..%2Fa", strings.NewReader("text"), 400, "name_invalid"},
		{"a long name", "files?name=" + strings.Repeat("x", 256), strings.NewReader("text"), 400, "name_invalid"},
		{"a name with a control character", "files?name=a%0Ab", strings.NewReader("text"), 400, "name_invalid"},
		{"a name that is no UTF-8", "files?name=%ff", strings.NewReader("text"), 400, "name_invalid"},
		{"too large by its length", "files", strings.NewReader(strings.Repeat("x", 2001)), 413, "file_too_large"},
		{"too large without a length", "files", io.MultiReader(strings.NewReader(strings.Repeat("x", 2001))), 413, "file_too_large"},
		{"nothing", "files", nil, 415, "file_type"},
		{"SVG named .png", "files?name=a.png", strings.NewReader(svg), 415, "file_type"},
		{"a JPEG's head before a ZIP", "files?name=a.jpg", strings.NewReader("\xff\xd8\xff\xe0\x00\x10JFIF\x00PK\x03\x04"), 422, "file_invalid"},
		{"no UTF-8", "files?name=a.txt", strings.NewReader("this is text, but w\xf6rld is not UTF-8"), 422, "file_invalid"},
		{"more than the quota", "files?name=a.txt", strings.NewReader(strings.Repeat("x", 1200)), 429, "quota_exceeded"},
		{"all that is left", "files?name=a.txt", strings.NewReader(strings.Repeat("x", 1200-int(u.Size))), 201, ""},
	} {
		a := v.request(http.MethodPost, test.path, test.body, nil)
		if a.StatusCode != test.status || a.reason() != test.reason {
			t.Errorf("%s: %d %q, want %d %q", test.what, a.StatusCode, a.reason(), test.status, test.reason)
		}
		if got := a.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: the body is %q", test.what, got)
		}
	}
	v.user = ""
	if a := v.request(http.MethodPost, "files", strings.NewReader("text"), nil); a.StatusCode != http.StatusUnauthorized || a.reason() != "unauthorized" {
		t.Errorf("without a user: %d %q", a.StatusCode, a.reason())
	}
	v.user = "bob"
	for n := range 31 {
		a := v.request(http.MethodPost, "files", strings.NewReader(""), nil)
		if isOver := n == 30; isOver != (a.StatusCode == http.StatusTooManyRequests && a.reason() == "rate_limited" && a.Header.Get("Retry-After") != "") {
			t.Errorf("upload %d: %d %q", n, a.StatusCode, a.reason())
		}
	}
	for outcome, want := range outcomes {
		if got := count(outcome) - before[outcome]; got != want {
			t.Errorf("%d uploads are %s, want %d", got, outcome, want)
		}
	}
	if got := v.request(http.MethodPut, "files", nil, nil); got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "POST, OPTIONS" {
		t.Errorf("PUT: %d, allowed %q", got.StatusCode, got.Header.Get("Allow"))
	}
}

// TestUploadThatBreaksOff holds that nothing of a body that is cut is stored, with a length and without.
func TestUploadThatBreaksOff(t *testing.T) {
	v := filesSite(t, "files", "")
	for _, head := range []string{"Content-Length: 100\r\n\r\nsome text", "Transfer-Encoding: chunked\r\n\r\n9\r\nsome text\r\n", "Transfer-Encoding: chunked\r\n\r\nff\r\nsome text"} {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", v.Port))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "POST /ws/files?user=ann&name=a.txt HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s", v.Port, head)
		_ = conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(conn)
		_ = conn.Close()
		if strings.Contains(string(answer), "201 Created") {
			t.Errorf("%q is stored: %s", head, answer)
		}
	}
}

// TestFilesOff holds that where files are off their paths are the socket's, and that where anonymous clients may have some
// each network has its own quota.
func TestFilesOff(t *testing.T) {
	for _, files := range []string{"", "files off"} {
		v := filesSite(t, files, "")
		if a := v.request(http.MethodPost, "files", strings.NewReader("text"), nil); a.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("%q: %d", files, a.StatusCode)
		}
	}
	v := filesSite(t, "files {\n anonymous\n quota 10\n}", "")
	v.user = ""
	u := v.upload("a.txt", []byte("some text"))
	if a := v.request(http.MethodGet, "files/"+u.ID, nil, nil); a.StatusCode != http.StatusOK || string(a.body) != "some text" {
		t.Errorf("an anonymous client's own file: %d %q", a.StatusCode, a.body)
	}
	if a := v.request(http.MethodPost, "files", strings.NewReader("more"), nil); a.reason() != "quota_exceeded" {
		t.Errorf("over the quota of a network: %d %q", a.StatusCode, a.reason())
	}
}

// TestFileOwners is the matrix of who may do what with a file: all that is not the owner's looks as if it were not there.
func TestFileOwners(t *testing.T) {
	v := filesSite(t, "files {\n anonymous\n}", "")
	file := v.upload("a.png", drawn(t, 4, 4))
	missing := v.request(http.MethodGet, "files/"+assistant.NewID(), nil, nil)
	if missing.StatusCode != http.StatusNotFound || missing.reason() != "file_unknown" {
		t.Fatalf("a file that is missing: %d %s", missing.StatusCode, missing.body)
	}
	delete(missing.Header, "Date")
	for _, user := range []string{"bob", "", "ANN", "ann%20"} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete} {
			for _, id := range []string{file.ID, assistant.NewID(), "x", strings.ToUpper(file.ID), "%00"} {
				v.user = user
				a := v.request(method, "files/"+id, nil, nil)
				delete(a.Header, "Date")
				if method == http.MethodHead {
					a.body = missing.body
				}
				if a.StatusCode != http.StatusNotFound || !bytes.Equal(a.body, missing.body) || fmt.Sprint(a.Header) != fmt.Sprint(missing.Header) {
					t.Errorf("%s %s of %q: %d %v %s, want it like %v", method, id, user, a.StatusCode, a.Header, a.body, missing.Header)
				}
			}
		}
	}
	v.user = "ann"
	if a := v.request(http.MethodGet, "files/"+file.ID, nil, nil); a.StatusCode != http.StatusOK {
		t.Errorf("the owner gets %d", a.StatusCode)
	}
	if a := v.request(http.MethodDelete, "files/"+file.ID, nil, nil); a.StatusCode != http.StatusNoContent {
		t.Errorf("the owner deletes: %d", a.StatusCode)
	}
	if a := v.request(http.MethodGet, "files/"+file.ID, nil, nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("what was deleted: %d", a.StatusCode)
	}
}

// TestFileOrigins holds which pages may do what, and what they can read.
func TestFileOrigins(t *testing.T) {
	const friend, stranger = "https://friend.example", "https://stranger.example"
	for _, test := range []struct {
		name, origins, origin, corp string
		allowed                     bool
	}{
		{"no page", "", "", "same-origin", true},
		{"own page", "", "own", "same-origin", true},
		{"foreign page", "", stranger, "", false},
		{"no origin", "", "null", "", false},
		{"allowed page", "origins " + friend, friend, "cross-origin", true},
		{"page that is not allowed", "origins " + friend, stranger, "", false},
		{"any page", "origins *", stranger, "cross-origin", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := filesSite(t, "files", test.origins)
			id := v.upload("a.png", drawn(t, 4, 4)).ID
			origin := strings.Replace(test.origin, "own", fmt.Sprintf("http://127.0.0.1:%d", v.Port), 1)
			if origin != "" {
				v.header = http.Header{"Origin": {origin}}
			}
			for _, call := range []struct {
				method, path string
				status       int
			}{{"OPTIONS", "files", 204}, {"OPTIONS", "files/" + id, 204}, {"POST", "files?name=a.txt", 201}, {"GET", "files/" + id, 200}, {"DELETE", "files/" + id, 204}} {
				a := v.request(call.method, call.path, strings.NewReader("text"), nil)
				want := call.status
				if !test.allowed {
					want = 403
				}
				if a.StatusCode != want {
					t.Errorf("%s %s: %d, want %d", call.method, call.path, a.StatusCode, want)
				}
				readable := a.Header.Get("Access-Control-Allow-Origin")
				if isReadable := test.allowed && origin != ""; isReadable != (readable == origin && readable != "") || (a.Header.Get("Access-Control-Allow-Credentials") == "true") != isReadable {
					t.Errorf("%s %s can be read by %q", call.method, call.path, readable)
				}
				if got := a.Header.Get("Cross-Origin-Resource-Policy"); call.method == "GET" && got != test.corp {
					t.Errorf("the policy is %q, want %q", got, test.corp)
				}
			}
		})
	}
}

// TestFileHeaders holds how files are sent: nothing of them can run in a page, and they can be cached and resumed.
func TestFileHeaders(t *testing.T) {
	v := filesSite(t, "files", "")
	for _, test := range []struct {
		name, mediaType, disposition string
		data                         []byte
	}{
		{"c%C3%A4t.png", "image/jpeg", `inline; filename*=utf-8''c%C3%A4t.png`, drawn(t, 600, 600)},
		{"a%22b.pdf", "application/pdf", `attachment; filename="a\"b.pdf"`, []byte("%PDF-1.4")},
		{"a.md", "text/markdown; charset=utf-8", `attachment; filename=a.md`, []byte("# Hello <script>alert(1)</script>")},
		{"", "text/plain; charset=utf-8", "attachment", []byte("Hello")},
	} {
		u := v.upload(test.name, test.data)
		a := v.request(http.MethodGet, "files/"+u.ID, nil, nil)
		for name, want := range map[string]string{
			"Content-Type": test.mediaType, "Content-Disposition": test.disposition, "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "default-src 'none'; sandbox", "Cache-Control": "private, max-age=31536000, immutable",
			"Content-Length": fmt.Sprint(u.Size), "Accept-Ranges": "bytes",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", test.name, name, got, want)
			}
		}
		if int64(len(a.body)) != u.Size || u.MediaType != "image/jpeg" && !bytes.Equal(a.body, test.data) {
			t.Errorf("%s: %d bytes of %d", test.name, len(a.body), u.Size)
		}
		part := v.request(http.MethodGet, "files/"+u.ID, nil, http.Header{"Range": {"bytes=2-4"}})
		if part.StatusCode != http.StatusPartialContent || !bytes.Equal(part.body, a.body[2:5]) {
			t.Errorf("%s: a range is %d %q", test.name, part.StatusCode, part.body)
		}
		if again := v.request(http.MethodGet, "files/"+u.ID, nil, http.Header{"If-None-Match": {a.Header.Get("ETag")}}); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: again it is %d", test.name, again.StatusCode)
		}
	}
}

// TestFilesTogether holds that many uploads at once are stored or refused, each whole, and leave nothing behind.
func TestFilesTogether(t *testing.T) {
	v := filesSite(t, "files {\n rate 1000/1m\n}", "")
	data := drawn(t, 500, 500)
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 60 {
		wg.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/ws/files?user=ann", v.Port), bytes.NewReader(data))
			if err != nil {
				t.Error(err)
				return
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			statuses[res.StatusCode]++
		})
	}
	wg.Wait()
	if statuses[201]+statuses[503] != 60 || statuses[201] == 0 {
		t.Errorf("answered %v", statuses)
	}
	if n := len(uploads); n != 0 {
		t.Errorf("%d places for uploads are taken", n)
	}
}

// TestInquiryOfFiles holds that a client learns what it may send, if it may.
func TestInquiryOfFiles(t *testing.T) {
	v := filesSite(t, "files {\n max_size 1MiB\n max_per_message 2\n types png text\n}", "")
	for user, want := range map[string]string{"ann": `{"max_size":1048576,"max_per_message":2,"types":["text/plain"]}`, "": ""} { // the model takes text alone
		v.user = user
		a := v.request(http.MethodGet, "", nil, http.Header{"Accept": {"application/json"}})
		var body struct{ Files json.RawMessage }
		if err := json.Unmarshal(a.body, &body); err != nil || string(body.Files) != want {
			t.Errorf("%q is told %s, want %s: %v", user, body.Files, want, err)
		}
	}
}

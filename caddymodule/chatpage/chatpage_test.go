package chatpage_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/brokers"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/chatpage"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	_ "github.com/caddy-assistant/caddy-assistant/caddymodule/stores"
	"github.com/klauspost/compress/zstd"
)

// ask requests a path of the site, without following redirects.
func ask(s *caddytest.Site, method, path string, header ...string) (*http.Response, string) {
	s.T.Helper()
	req, err := http.NewRequestWithContext(s.T.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", s.Port, path), nil)
	if err != nil {
		s.T.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if req.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	res, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		s.T.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.T.Fatal(err)
	}
	return res, string(body)
}

func load(t *testing.T, more string) *caddytest.Site {
	s := caddytest.NewSite(t)
	s.MustLoad(caddytest.Handler("", "name "+caddytest.Fresh()) + more)
	return s
}

// TestPlaces serves the page wherever it is, and redirects to it from the path without its slash.
func TestPlaces(t *testing.T) {
	for _, test := range []struct {
		directives, folder string
		redirects          bool
	}{
		{"assistant_chat /chat/*", "/chat", true},
		{"assistant_chat /chat/", "/chat", true},
		{"assistant_chat /chat", "/chat", true},
		{"assistant_chat /deep/in/here/*", "/deep/in/here", true},
		{"@c path /chat\nassistant_chat @c", "/chat", true},
		{"assistant_chat {\n path /chat/\n}", "/chat", true},
		{"handle {\n assistant_chat /chat/*\n}", "/chat", true},
		{"handle_path /a/* {\n assistant_chat /b\n}", "/a/b", true},
		{"handle_path /chat* {\n assistant_chat\n}", "/chat", true},
		{"handle_path /chat/* {\n assistant_chat\n}", "/chat", false},
		{"handle /chat/* {\n assistant_chat\n}", "/chat", false},
		{"route /chat/* {\n assistant_chat\n}", "/chat", false},
		{"root * /nowhere\nfile_server\nassistant_chat /chat/*", "/chat", true},
		{"assistant_chat /*", "", false},
		{"assistant_chat", "", false},
	} {
		t.Run(test.directives, func(t *testing.T) {
			s, folder := load(t, test.directives), test.folder
			res, body := ask(s, "GET", folder+"/?a=b")
			if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(body, `url="/ws/"`) {
				t.Errorf("the page is %s\n%s", res.Status, body)
			}
			res, body = ask(s, "GET", folder+"/assistant-chat.js")
			if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/javascript; charset=utf-8" || !strings.Contains(body, "customElements.define") {
				t.Errorf("the script is %s", res.Status)
			}
			for _, path := range []string{"/nothing.js", "/assistant-chat", "/index.html/x"} {
				if res, _ := ask(s, "GET", folder+path); res.StatusCode != http.StatusNotFound {
					t.Errorf("%s is %s", path, res.Status)
				}
			}
			if !test.redirects {
				return // the path without the slash is not the handler's
			}
			res, _ = ask(s, "GET", folder+"?a=b")
			if want := folder[strings.LastIndex(folder, "/")+1:] + "/?a=b"; res.StatusCode != http.StatusPermanentRedirect || res.Header.Get("Location") != want {
				t.Errorf("without the slash: %s to %q, want %q", res.Status, res.Header.Get("Location"), want)
			}
		})
	}
}

// TestSites holds that a page talks to the assistant of its own site, and that it may stand before and after it.
func TestSites(t *testing.T) {
	s := caddytest.NewSite(t)
	assistant := func(address string) string {
		return fmt.Sprintf("handle %s* {\n assistant %s* {\n name %s\n provider counting\n}\n}\n", address, address, caddytest.Fresh())
	}
	s.MustLoad(assistant("/ws/one/") + "assistant_chat /chat/*\nhandle /early/* {\n assistant_chat\n}\n}\n" +
		fmt.Sprintf("http://localhost:%d, http://*.localhost:%d {\n", s.Port, s.Port) + "handle /a/* {\n assistant_chat\n}\n" + assistant("/ws/two/") + "assistant_chat /chat/*\n}\n" +
		fmt.Sprintf("http://:%d {\n", s.Port) + assistant("/ws/three/") + "assistant_chat /chat/*\n")
	for at, want := range map[string]string{
		"127.0.0.1 /chat/": "/ws/one/", "127.0.0.1 /early/": "/ws/one/", "localhost /chat/": "/ws/two/", "x.localhost /a/": "/ws/two/", "example.com /chat/": "/ws/three/",
	} {
		host, path, _ := strings.Cut(at, " ")
		if res, body := ask(s, "GET", path, "Host", host); res.StatusCode != http.StatusOK || !strings.Contains(body, `url="`+want+`"`) {
			t.Errorf("%s is %s, want the socket %s\n%s", at, res.Status, want, body)
		}
	}
}

// TestHeaders holds what is said about the files, and who may load them.
func TestHeaders(t *testing.T) {
	s := load(t, "assistant_chat /chat/* {\n logo https://cdn.example.com:8443/logo.svg\n socket wss://other.example.com/ws/\n}\n")
	res, body := ask(s, "GET", "/chat/")
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache", "Vary": "Accept-Encoding", "Referrer-Policy": "no-referrer", "Access-Control-Allow-Origin": "",
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; img-src 'self' https://cdn.example.com:8443; manifest-src 'self'; connect-src 'self' wss://other.example.com https://other.example.com; " +
			"base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; frame-ancestors 'none'",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("the page's %s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(body, "http-equiv") {
		t.Error("the page has a second policy")
	}
	for _, name := range []string{"assistant-chat.js", "icon.svg", "icon-192.png", "manifest.webmanifest", "NOTICE.txt", "markdown.js"} {
		res, _ := ask(s, "GET", "/chat/"+name)
		if res.StatusCode != http.StatusOK || res.Header.Get("Access-Control-Allow-Origin") != "*" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s is %s with %v", name, res.Status, res.Header)
		}
	}
	res, body = ask(s, "HEAD", "/chat/")
	if res.StatusCode != http.StatusOK || res.Header.Get("ETag") == "" || body != "" {
		t.Errorf("HEAD is %s with %v %q", res.Status, res.Header, body)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		if res, _ := ask(s, method, "/chat/"); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s is %s, Allow %q", method, res.Status, res.Header.Get("Allow"))
		}
	}
}

// TestManifest names the application as the page is named.
func TestManifest(t *testing.T) {
	for settings, want := range map[string]string{
		"": "Assistant", "heading Acme": "Acme", "title \"Ask \\\"Acme\\\"\"\nheading Acme\nlanguage de": `Ask "Acme"`,
	} {
		s := load(t, "assistant_chat /chat/* {\n"+settings+"\n}\n")
		res, body := ask(s, "GET", "/chat/manifest.webmanifest")
		var manifest struct {
			Name     string
			Short    string `json:"short_name"`
			StartURL string `json:"start_url"`
			Lang     string
			Icons    []struct{ Src, Type string }
		}
		if err := json.Unmarshal([]byte(body), &manifest); err != nil || res.Header.Get("Content-Type") != "application/manifest+json" {
			t.Fatalf("%v: %v\n%s", res.Header, err, body)
		}
		if manifest.Name != want || manifest.Short != want || manifest.StartURL != "./" || (manifest.Lang == "de") != strings.Contains(settings, "language de") {
			t.Errorf("%s: the manifest is %s", settings, body)
		}
		for _, icon := range manifest.Icons {
			if res, body := ask(s, "GET", "/chat/"+icon.Src, "Accept-Encoding", "gzip"); res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != icon.Type || len(body) > 8000 {
				t.Errorf("%s is %s, %s, %d bytes", icon.Src, res.Status, res.Header.Get("Content-Type"), len(body))
			}
		}
	}
}

// TestEncodings sends each file in the encoding that the client likes best, under an ETag of its own.
func TestEncodings(t *testing.T) {
	s := load(t, "assistant_chat /chat/*\nhandle /encoded/* {\n encode\n assistant_chat\n}\n")
	_, plain := ask(s, "GET", "/chat/assistant-chat.js")
	tags := map[string]string{}
	for accepted, want := range map[string]string{
		"": "", "identity": "", "br": "", "gzip": "gzip", "zstd": "zstd", "gzip, zstd, br": "zstd", "gzip;q=1, zstd;q=0.5": "gzip",
		"zstd;q=0, gzip": "gzip", "gzip;q=0": "", "identity, gzip;q=0.5": "", "GZIP": "gzip",
	} {
		res, body := ask(s, "GET", "/chat/assistant-chat.js", "Accept-Encoding", accepted)
		got := res.Header.Get("Content-Encoding")
		if got != want || decode(t, got, body) != plain {
			t.Errorf("for %q it is sent as %q, want %q, and is not the same", accepted, got, want)
		}
		if want != "" && len(body) > len(plain)/2 {
			t.Errorf("%s makes %d bytes of %d", want, len(body), len(plain))
		}
		tag := res.Header.Get("ETag")
		if other, ok := tags[want]; ok && other != tag {
			t.Errorf("%q has the ETags %s and %s", want, tag, other)
		}
		tags[want] = tag
		if res, body := ask(s, "GET", "/chat/assistant-chat.js", "Accept-Encoding", accepted, "If-None-Match", tag); res.StatusCode != http.StatusNotModified || body != "" {
			t.Errorf("with its ETag %s it is %s", tag, res.Status)
		}
	}
	for _, encoding := range []string{"gzip", "zstd"} { // beside Caddy's own encode, which leaves them alone
		if res, _ := ask(s, "GET", "/encoded/assistant-chat.js", "Accept-Encoding", encoding, "If-None-Match", tags[encoding]); res.StatusCode != http.StatusNotModified {
			t.Errorf("behind encode it is %s with its ETag %s", res.Status, tags[encoding])
		}
	}
	if tags[""] == tags["gzip"] || tags["gzip"] == tags["zstd"] || tags[""] == tags["zstd"] {
		t.Errorf("the ETags are %v", tags)
	}
}

func decode(t *testing.T, encoding, body string) string {
	t.Helper()
	var r io.Reader = strings.NewReader(body)
	var err error
	switch encoding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSettings writes the settings into the page as text, whatever is in them.
func TestSettings(t *testing.T) {
	texts := filepath.Join(t.TempDir(), "texts.json")
	if err := os.WriteFile(texts, []byte(`{"nl":{"send":"Verstuur"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEXTS", texts)
	const hostile = `"'><script>alert(1)</script></title>&amp;`
	const escaped = "&#34;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;/title&gt;&amp;amp;"
	s := load(t, "assistant_chat /chat/* {\n title `"+hostile+"`\n greeting `"+hostile+"`\n suggest `"+hostile+"`\n suggest two\n disclaimer `"+hostile+"`\n"+
		"privacy \"/x?'\"\n language de\n texts {env.TEXTS}\n logs on\n}\nassistant_chat /plain/*\n")
	_, body := ask(s, "GET", "/chat/")
	for _, want := range []string{
		`<html lang="de">`, "<title>" + escaped + "</title>", `disclaimer="` + escaped + `"`, `greeting="` + escaped + `"`, `heading="` + escaped + `"`, `lang="de"`,
		` logs=""`, ` page=""`, `privacy="/x?&#39;"`, `suggest="` + escaped + "\ntwo\"", `texts="texts.json"`, `url="/ws/"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s\n%s", want, body)
		}
	}
	if res, body := ask(s, "GET", "/chat/texts.json"); res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/json" || !strings.Contains(body, "Verstuur") {
		t.Errorf("the texts are %s %s", res.Status, body)
	}
	if err := os.WriteFile(texts, []byte(`{"send":"Verstuur"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(caddytest.Handler("", "") + "assistant_chat /chat/* {\n texts {env.TEXTS}\n}"); err == nil || !strings.Contains(err.Error(), `texts: expected JSON like`) {
		t.Errorf("texts without languages: %v", err)
	}
	_, body = ask(s, "GET", "/plain/")
	for _, not := range []string{"logs", "suggest", "greeting", "disclaimer", "privacy", "texts", "logo", "heading"} {
		if strings.Contains(body, not+`="`) {
			t.Errorf("the page without settings has %s\n%s", not, body)
		}
	}
	if res, _ := ask(s, "GET", "/plain/texts.json"); res.StatusCode != http.StatusNotFound {
		t.Errorf("texts that are not set are %s", res.Status)
	}
}

// TestSocketInBrowser holds that who opens the socket's address sees what it is, and where the page is.
func TestSocketInBrowser(t *testing.T) {
	const plain = "This is the WebSocket address of an AI assistant, not a page.\n"
	for directives, want := range map[string]string{
		"":                       plain,
		"assistant_chat /chat/*": "This is the WebSocket address of an AI assistant; its chat page is at /chat/.\n",
		"assistant_chat /chat/* {\n socket /ws/\n}":                                         "This is the WebSocket address of an AI assistant; its chat page is at /chat/.\n",
		"assistant_chat /chat/* {\n socket /other/\n}":                                      plain,
		"handle_path /chat/* {\n assistant_chat\n}":                                         plain,
		"handle_errors {\n respond \"our own page\"\n}":                                     "our own page",
		"handle_errors 4xx {\n respond \"our own page\"\n}":                                 "our own page",
		"assistant_chat /chat/*\nhandle_errors 404 {\n respond \"our own page for 404\"\n}": "This is the WebSocket address of an AI assistant; its chat page is at /chat/.\n",
	} {
		t.Run(directives, func(t *testing.T) {
			res, body := ask(load(t, directives), "GET", "/ws/")
			if res.StatusCode != http.StatusUpgradeRequired || body != want || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" || res.Header.Get("Upgrade") != "websocket" {
				t.Errorf("%s %q %v, want %q", res.Status, body, res.Header, want)
			}
		})
	}
}

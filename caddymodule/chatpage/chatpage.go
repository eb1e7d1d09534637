// Package chatpage is the built-in chat page as a handler of Caddy's.
package chatpage

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() { caddy.RegisterModule(ChatPage{}) }

// ChatPage serves the chat page, and the files of the element <assistant-chat> that other pages embed. All of them are
// built in, compressed and cached by ETag. The page has a strict Content-Security-Policy, no site may frame it, and
// pages of every origin may load the scripts.
//
// Answers are 404 for what is no file of it, and 405 for methods other than GET and HEAD; handle_errors sees both.
type ChatPage struct {
	// The path of the page, which ends with a slash; without the slash it redirects there. A Caddyfile takes it from
	// the directive's path matcher. Without it the end of a request's path decides, so that the handler can be behind
	// what strips or matches the rest: handle_path, handle and route. Default: the matcher's
	Path string `json:"path,omitempty"`

	// The assistant's WebSocket: its path on this site, or a URL such as wss://chat.example.com/ws/assistants/. It is
	// required if this site has several assistants, or none. Default: this site's assistant
	Socket string `json:"socket,omitempty"`

	// The page's title, in the browser's tab, and its name where it is installed. Default: Assistant
	Title string `json:"title,omitempty"`

	// What stands above the chat. Default: the title
	Heading string `json:"heading,omitempty"`

	// A picture before the heading: its path on this site, or its URL. Default: a speech bubble
	Logo string `json:"logo,omitempty"`

	// The language of the page and of the texts here, such as de or pt-BR. Default: the reader's
	Language string `json:"language,omitempty"`

	// What is shown until something is said. Default: How can I help?
	Greeting string `json:"greeting,omitempty"`

	// Questions that are offered until something is said; a click asks one. Default: none
	Suggest []string `json:"suggest,omitempty"`

	// A line under the input, such as "Answers can be wrong." Default: none
	Disclaimer string `json:"disclaimer,omitempty"`

	// What the link Privacy under the input leads to: a path on this site, or a URL. Default: none
	Privacy string `json:"privacy,omitempty"`

	// A JSON file with the page's own words in further languages, or in other words than the built-in ones: an object
	// of languages, such as {"nl": {"send": "Verstuur"}}. It may be a placeholder, and is read when the configuration
	// is loaded. Default: none
	Texts string `json:"texts,omitempty"`

	// Whether the page offers "View Logs", the frames that it sent and received. Default: false
	Logs bool `json:"logs,omitempty"`

	files files
}

// CaddyModule returns the Caddy module information.
func (ChatPage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.assistant_chat", New: func() caddy.Module { return new(ChatPage) }}
}

// Provision checks the settings, finds the assistant, and makes the page.
func (p *ChatPage) Provision(ctx caddy.Context) error {
	if err := p.Settings().Check(); err != nil {
		return err
	}
	texts, err := readTexts(p.Texts)
	if err != nil {
		return err
	}
	socket, err := p.findSocket(ctx)
	if err != nil {
		return err
	}
	index, policy, err := p.index(socket)
	if err != nil {
		return err
	}
	manifest, err := p.manifest()
	if err != nil {
		return err
	}
	p.files, err = withPage(index, policy, manifest, texts)
	return err
}

// findSocket returns the address of the assistant. It tells the assistant where its page is, if that is known.
func (p *ChatPage) findSocket(ctx caddy.Context) (string, error) {
	assistants, err := endpoint.OnSite(ctx)
	if err != nil {
		return "", err
	}
	var places []string
	for _, a := range assistants {
		places = append(places, fmt.Sprintf("%s (%s)", a.Address, a.Name))
	}
	switch {
	case p.Socket == "" && len(assistants) == 0:
		return "", errors.New("socket: expected the URL of an assistant, since this site has none; found nothing")
	case p.Socket == "" && len(assistants) > 1:
		return "", fmt.Errorf("socket: expected one of this site's assistants, %s; found nothing", strings.Join(places, ", "))
	}
	for _, a := range assistants {
		if p.Socket == "" || p.Socket == a.Address {
			return a.Address, p.announce(ctx, a.Name)
		}
	}
	return p.Socket, nil
}

func (p *ChatPage) announce(ctx caddy.Context, assistant string) error {
	if p.Path == "" {
		return nil
	}
	app, err := endpoint.AppOf(ctx)
	if err != nil {
		return err
	}
	app.HasPage(assistant, p.Path)
	return nil
}

// ServeHTTP serves a file.
func (p *ChatPage) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return caddyhttp.Error(http.StatusMethodNotAllowed, fmt.Errorf("method %s is not allowed", r.Method))
	}
	name, file := p.find(r.URL.Path)
	switch {
	case file == nil:
		return caddyhttp.Error(http.StatusNotFound, errors.New("no such file of the chat page"))
	case name == "" && !strings.HasSuffix(original(r).Path, "/"):
		redirect(w, r)
	default:
		file.serve(w, r)
	}
	return nil
}

// find returns the file at a path and its name, "" for the page itself, or no file.
func (p *ChatPage) find(path string) (name string, found *file) {
	if p.Path == "" {
		return p.files.ending(path)
	}
	if path+"/" == p.Path {
		return "", p.files[""]
	}
	if name, ok := strings.CutPrefix(path, p.Path); ok {
		return name, p.files[name]
	}
	return "", nil
}

var (
	_ caddy.Provisioner           = (*ChatPage)(nil)
	_ caddyhttp.MiddlewareHandler = (*ChatPage)(nil)
)

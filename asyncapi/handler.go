package asyncapi

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"github.com/go-json-experiment/json"
)

// Handler serves the document and the page that shows it. It considers only the end of the path, so it can be
// mounted anywhere:
//
//	…/docs/                           the page
//	…/schema/, …/asyncapi.json        the document as JSON
//	…/schema/?format=yaml, …/asyncapi.yaml
//
// The query of a document may have format=json|yaml, view=server|client (see [View]) and channel=<name> to
// leave out the other channels. Other values are answered with 400 and {"error": …}.
//
// Fields must not be changed once requests are served.
type Handler struct {
	Info     Info
	Protocol wire.Description

	// Channels returns the channels of a document, for every request of one.
	Channels func(r *http.Request) []Channel

	// NoTryIt leaves out the part of the page that connects to the channels and sends messages.
	NoTryIt bool

	// Server returns the server that r was sent to. Default: ServerOf
	Server func(r *http.Request) Server
}

// StatusError is the status of a request that the handler does not answer: 404 or 405.
type StatusError int

func (e StatusError) Error() string { return http.StatusText(int(e)) }

// Serve answers r. When it returns a [StatusError], nothing has been written, but the Allow header of a 405 is
// set.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return StatusError(http.StatusMethodNotAllowed)
	}
	folder, file := path.Split(r.URL.Path)
	switch folder = path.Base(folder); {
	case file == "docs", file == "schema":
		redirect(w, r, file+"/")
	case file == "" && folder == "schema", file == "asyncapi.json":
		return h.serveDocument(w, r, "json")
	case file == "asyncapi.yaml":
		return h.serveDocument(w, r, "yaml")
	case folder == "docs" && h.asset(file) != nil:
		h.asset(file).serve(w, r, h.policy(r))
	default:
		return StatusError(http.StatusNotFound)
	}
	return nil
}

// asset returns the file of the page with the name, nil when there is none.
func (h *Handler) asset(name string) *asset {
	if name = cmp.Or(name, "index.html"); name == "index.html" && h.NoTryIt {
		return readOnly()
	}
	return page()[name]
}

// policy returns the Content-Security-Policy of the page: it may connect to the channels of other sites, too.
func (h *Handler) policy(r *http.Request) string {
	if h.NoTryIt {
		return contentSecurityPolicy("")
	}
	var others strings.Builder
	for _, s := range serversOf(API{Server: h.serverOf(r), Channels: h.Channels(r)}) {
		if s.isOther {
			_, _ = others.WriteString(" " + s.protocol() + "://" + s.Host)
		}
	}
	return contentSecurityPolicy(others.String())
}

// redirect redirects to a relative path: the handler does not know the whole path, as Caddy's handle_path
// strips its start.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusPermanentRedirect)
}

func (h *Handler) serveDocument(w http.ResponseWriter, r *http.Request, format string) error {
	query := r.URL.Query()
	format = cmp.Or(query.Get("format"), format)
	view := cmp.Or(View(query.Get("view")), ServerView)
	channels := h.Channels(r)
	if name := query.Get("channel"); name != "" {
		channels = slices.DeleteFunc(slices.Clone(channels), func(c Channel) bool { return c.Name != name })
	}
	switch {
	case format != "json" && format != "yaml":
		return refuse(w, "format: expected json or yaml")
	case view != ServerView && view != ClientView:
		return refuse(w, "view: expected server or client")
	case len(channels) == 0 && query.Has("channel"):
		return refuse(w, "channel: there is none of this name")
	}
	document, err := Build(API{h.Info, h.serverOf(r), h.Protocol, channels}, view)
	if err != nil {
		return err
	}
	body := document.JSON()
	if format == "yaml" {
		if body, err = document.YAML(); err != nil {
			return err
		}
	}
	serve(w, r, "application/"+format, body)
	return nil
}

func (h *Handler) serverOf(r *http.Request) Server {
	if h.Server == nil {
		return ServerOf(r)
	}
	return h.Server(r)
}

func refuse(w http.ResponseWriter, problem string) error {
	body, err := json.Marshal(map[string]string{"error": problem})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, err = w.Write(body)
	return err
}

// serve answers with body, or with 304 when the client already has it.
func serve(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-cache")
	if header.Get("ETag") == "" {
		header.Set("ETag", etag(body))
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func etag(body []byte) string {
	sum := sha256.Sum256(body)
	return fmt.Sprintf(`"%s"`, base64.RawURLEncoding.EncodeToString(sum[:12]))
}

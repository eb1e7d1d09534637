package endpoint

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
)

// An inquiry is a GET of the socket's address that accepts JSON. It has the status that a handshake of the same client
// would have now, but for 200 in place of the upgrade; then its body has the limits of the AsyncAPI document and, where the client's questions may have
// files, which. Scripts
// need it: a browser does not say why it could not open a WebSocket.
func isInquiry(r *http.Request) bool {
	if r.Method != http.MethodGet || ws.IsUpgrade(r) {
		return false
	}
	for _, accept := range r.Header.Values("Accept") {
		for kind := range strings.SplitSeq(accept, ",") {
			kind, _, _ = strings.Cut(kind, ";")
			if strings.EqualFold(strings.TrimSpace(kind), "application/json") {
				return true
			}
		}
	}
	return false
}

// refusalHeader says why a handshake is refused where its status alone does not: it has the reason of the metric
// caddy_assistant_refused_upgrades_total.
const refusalHeader = "Assistant-Refusal"

// mayInquire reports whether the page that inquires may connect. It lets those pages read the answer (the Fetch
// standard's CORS protocol).
func (h *Handler) mayInquire(w http.ResponseWriter, r *http.Request) bool {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Add("Vary", "Accept, Origin")
	if !ws.OriginAllowed(withOrigin(r), h.Origins) {
		return false
	}
	shareWith(w, r)
	return true
}

// withOrigin returns r as a handshake would be. Browsers send no Origin with a GET of the page's own origin, which is
// not allowed to connect where only others are: then Referer has it.
func withOrigin(r *http.Request) *http.Request {
	page, err := url.Parse(r.Referer())
	if r.Header.Get("Origin") != "" || err != nil || page.Host == "" {
		return r
	}
	r = r.Clone(r.Context())
	r.Header.Set("Origin", page.Scheme+"://"+page.Host)
	return r
}

// answer answers an inquiry of a client that may connect.
func (h *Handler) answer(w http.ResponseWriter, peer assistant.Peer) error {
	body := struct {
		Limits map[string]int64        `json:"limits"`
		Files  *conversation.FilesInfo `json:"files,omitempty"`
	}{h.limits(), h.assistant.FilesInfo(peer)}
	return answerJSON(w, http.StatusOK, body)
}

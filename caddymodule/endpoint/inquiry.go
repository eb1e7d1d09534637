package endpoint

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant/ws"
)

// An inquiry is a GET of the socket's address that accepts JSON. It has the status that a handshake of the same client
// would have now, but for 200 in place of the upgrade; then its body has the limits of the AsyncAPI document. Scripts
// need it: a browser does not say why it could not open a WebSocket.
// r asks for no upgrade.
func isInquiry(r *http.Request) bool {
	if r.Method != http.MethodGet {
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
	if origin := r.Header.Get("Origin"); origin != "" {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true") // as the handshake, which has the same cookies
		header.Set("Access-Control-Expose-Headers", "Retry-After, "+refusalHeader)
	}
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
func (h *Handler) answer(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	return json.NewEncoder(w).Encode(map[string]any{"limits": h.limits()})
}

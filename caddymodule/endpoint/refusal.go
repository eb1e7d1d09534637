package endpoint

import (
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// refuse answers a request that gets no socket, as err says. A 403 and a 426 have a sentence as body, unless the site's
// error routes answer them.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, status int, err error) error {
	err = caddyhttp.Error(status, err)
	if status == http.StatusForbidden {
		h.warned.foreignOrigin(h.log, r, h.Name, h.Origins)
	}
	text := h.sentence(status)
	if text == "" || handlesErrors(r, status) {
		return err
	}
	h.refused(w, err, !isInquiry(r))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, err = w.Write([]byte(text + "\n"))
	return err
}

// sentence says what a status means, for people who see it in a browser or in the output of a program.
func (h *Handler) sentence(status int) string {
	switch page := h.app.pages[h.Name]; {
	case status == http.StatusForbidden:
		return "Pages of this origin may not connect to this assistant. Who runs the site can allow them, by the setting origins."
	case status == http.StatusUpgradeRequired && page != "":
		return "This is the WebSocket address of an AI assistant; its chat page is at " + page + "."
	case status == http.StatusUpgradeRequired:
		return "This is the WebSocket address of an AI assistant, not a page."
	}
	return ""
}

// handlesErrors reports whether the site of r has error routes for a status, which answer instead.
func handlesErrors(r *http.Request, status int) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Errors == nil {
		return false
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set("http.error.status_code", status) // what matchers of error routes look at
	}
	return anyAnswers(server.Errors.Routes, r)
}

func anyAnswers(routes caddyhttp.RouteList, r *http.Request) bool {
	for _, route := range routes {
		if matches, err := route.MatcherSets.AnyMatchWithError(r); err != nil || !matches {
			continue
		}
		for _, handler := range route.Handlers {
			if sub, ok := handler.(*caddyhttp.Subroute); !ok || anyAnswers(sub.Routes, r) {
				return true
			}
		}
	}
	return false
}

// foreignEvery is how often foreign origins are logged at most.
const foreignEvery = time.Minute

// warned is what a handler has warned of that it does not repeat each time.
type warned struct {
	together sync.Once // of clients that are counted as one

	mu       sync.Mutex
	next     time.Time // when a foreign origin is logged again
	unlogged int       // foreign origins since the last one that was
}

// foreignOrigin logs an origin that is refused: the first, and then at most one in a minute, since strangers choose them.
func (f *warned) foreignOrigin(log *zap.Logger, r *http.Request, handler string, allowed []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Before(f.next) {
		f.unlogged++
		return
	}
	fields := []zap.Field{zap.String("handler", handler), zap.String("origin", cut(withOrigin(r).Header.Get("Origin"))), zap.String("host", cut(r.Host)), zap.Int("unlogged", f.unlogged)}
	hint := "if the page is the site's own, a proxy in front changes the Host header: have it pass the browser's (nginx: proxy_set_header Host $http_host), or list the page's origin in origins"
	if len(allowed) > 0 {
		hint = "if the page should connect, add its origin to origins"
		fields = append(fields, zap.Strings("origins", allowed))
	}
	log.Warn("a page of a foreign origin was refused", append(fields, zap.String("hint", hint))...)
	f.next, f.unlogged = time.Now().Add(foreignEvery), 0
}

// cut bounds what a client sent, for the log.
func cut(text string) string {
	if len(text) > 200 {
		return text[:200] + "…"
	}
	return text
}

package ws

import (
	"net/http"
	"slices"
	"strings"
)

// minDeflated is the smallest message that is sent compressed, in bytes. The pieces of an answer are smaller
// and would hardly shrink: without a context that outlives the message, deflate has nothing to refer to.
const minDeflated = 512

// offersDeflate reports whether r offers a permessage-deflate (RFC 7692) that gorilla can keep to. Gorilla
// ignores the parameters and always compresses with the largest window, so an offer that asks the server for
// a smaller one must be declined.
func offersDeflate(r *http.Request) bool {
	for offer := range strings.SplitSeq(strings.Join(r.Header.Values("Sec-Websocket-Extensions"), ","), ",") {
		name, params, _ := strings.Cut(offer, ";")
		if strings.TrimSpace(name) == "permessage-deflate" && keepable(params) {
			return true
		}
	}
	return false
}

func keepable(params string) bool {
	for param := range strings.SplitSeq(params, ";") {
		name, _, _ := strings.Cut(param, "=")
		name = strings.TrimSpace(name)
		if !slices.Contains([]string{"", "client_max_window_bits", "client_no_context_takeover", "server_no_context_takeover"}, name) {
			return false
		}
	}
	return true
}

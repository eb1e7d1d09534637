package ws

import (
	"net/http"
	"slices"
	"strings"
)

// minDeflated is the smallest message that is sent compressed. The pieces of an answer are smaller, and would
// not become much less: without a context that outlives the message, deflate has nothing to refer to.
const minDeflated = 512

// offersDeflate tells whether r offers a permessage-deflate (RFC 7692) that gorilla keeps to, which itself does
// not look at parameters: it always compresses with the largest window, so that an offer which asks the server
// for a smaller one must be declined.
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

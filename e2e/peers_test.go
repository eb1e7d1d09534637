package e2e

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestIndependentPeers: two implementations of WebSocket that share no code with ours find nothing wrong, with
// and without compression.
func TestIndependentPeers(t *testing.T) {
	common := []string{"text answered", "fragments answered", "ping answered 125", "large answered true", "closed 4000", "binary json_invalid"}
	for _, peer := range []struct {
		name    string
		command []string
		want    []string
	}{
		{"ws", []string{"node", "peers/ws.mjs"}, append(common, "no UTF-8 1007")},
		// Debian's interpreter, which has Debian's packages.
		{"websockets", []string{"/usr/bin/python3", "peers/websockets_peer.py"}, common},
	} {
		for word, extension := range map[string]string{"off": "extensions", "on": "extensions permessage-deflate"} {
			t.Run(peer.name+", compression "+word, func(t *testing.T) {
				c := harness.Start(t, harness.Site("assistant /ws/assistants/* {\n provider demo {\n delay 1ms\n}\n compression "+word+"\n}"))
				ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
				defer cancel()
				command := exec.CommandContext(ctx, peer.command[0], append(peer.command[1:], "ws://"+c.Addr+harness.AssistantPath)...)
				out, err := command.CombinedOutput()
				var got []string
				for line := range strings.Lines(string(out)) {
					got = append(got, strings.TrimSpace(line))
				}
				if want := append([]string{extension}, peer.want...); err != nil || !slices.Equal(got, want) {
					t.Errorf("%v, got\n%s\nwant\n%s", err, out, strings.Join(want, "\n"))
				}
			})
		}
	}
}

package e2e

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// threeSites have an assistant each, and the last one also a page that describes the second's beside its own.
const threeSites = `
http://127.0.0.1:{$PORT} {
	bind 127.0.0.1
	assistant /ws/assistants/* {
		provider demo {
			delay 1ms
		}
		user {query.user}
	}
	asyncapi /asyncapi* {
		contact "Example team" https://example.com/team team@example.com
		license "Apache 2.0" https://www.apache.org/licenses/LICENSE-2.0
	}
}
http://127.0.0.1:SECOND {
	bind 127.0.0.1
	assistant /ws/assistants/* {
		name inside
		origins http://127.0.0.1:THIRD
		budget 54321/24h
		provider demo {
			delay 1ms
		}
		instructions "For staff."
	}
}
http://127.0.0.1:THIRD {
	bind 127.0.0.1
	assistant /ws/third/* {
		name third
		provider demo {
			delay 1ms
		}
	}
	asyncapi /asyncapi* {
		channels third inside
		contact "Example team" https://example.com/team team@example.com
		license "Apache 2.0" https://www.apache.org/licenses/LICENSE-2.0
	}
}
`

// TestDocumentOfItsSite: a document has the channels of its own site, and tells no other's names, limits and origins;
// one that names another's says where that is. The page connects to the channel that it shows, on this site or another.
func TestDocumentOfItsSite(t *testing.T) {
	t.Parallel()
	second, third := harness.FreeAddr(t), harness.FreeAddr(t)
	c := harness.Start(t, strings.NewReplacer("SECOND", port(t, second), "THIRD", port(t, third)).Replace(threeSites))
	_, own := c.Get(t, "/asyncapi.json")
	for _, foreign := range []string{"inside", "third", "54321", second, third} {
		if strings.Contains(own, foreign) {
			t.Errorf("the first site tells of %q", foreign)
		}
	}
	var document struct {
		Servers  map[string]struct{ Host string }
		Channels map[string]struct {
			Address string
			Servers []struct {
				Ref string `json:"$ref"`
			}
		}
	}
	_, both := c.At(third, false).Get(t, "/asyncapi.json")
	decode(t, harness.Frame{Text: both, Payload: []byte(both)}, &document)
	if document.Servers["development"].Host != third || document.Servers["inside_server"].Host != second {
		t.Errorf("servers are %v", document.Servers)
	}
	if inside := document.Channels["inside"]; inside.Address != "/ws/assistants/" || len(inside.Servers) != 1 || inside.Servers[0].Ref != "#/servers/inside_server" {
		t.Errorf("the channel inside is %v", inside)
	}
	for _, site := range []string{c.URL(""), "http://" + third} {
		if out, err := exec.CommandContext(t.Context(), "node", "asyncapi/validate.mjs", site+"/asyncapi.json", site+"/asyncapi.json?view=client").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", site, err, out)
		}
	}
	file := filepath.Join(c.Home, "Caddyfile")
	first := own
	if third < c.Addr { // Caddy sorts its servers by their addresses
		first = both
	}
	if got := succeeds(t, c, "asyncapi", "--config", file, "--adapter", "caddyfile"); got != first {
		t.Errorf("the command prints another document than the first site serves:\n%.300s", got)
	}

	page := harness.OpenURL(t, "http://"+third+"/asyncapi/docs/", second)
	page.WaitFor(`document.querySelector("#channel-inside")?.textContent.includes("ws://` + second + `/ws/assistants/")`)
	page.WaitFor(`document.querySelectorAll("#operations article").length === new Set([...document.querySelectorAll("#operations article h3")].map((h) => h.textContent)).size`)
	for _, channel := range []string{"inside", "third"} {
		page.Click("#operation-handle_ping button, #operation-inside_handle_ping button, #operation-third_handle_ping button")
		harness.Eval[bool](page, `(() => {
			const select = document.querySelector("#try select[aria-label=Channel]");
			select.value = "`+channel+`";
			return select.dispatchEvent(new Event("change", {bubbles: true}));
		})()`)
		page.Click("#connect")
		page.WaitFor(`document.querySelector("#try output").dataset.state === "open"`)
		if out := succeeds(t, c, "sockets", "--name", channel, "--json"); strings.Count(out, "\n") != 1 {
			t.Errorf("after the connection to %s it has the sockets %q", channel, out)
		}
		page.Click("#disconnect")
		page.Click("#try header button")
	}
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

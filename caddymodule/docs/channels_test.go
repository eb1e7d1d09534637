package docs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// TestChannelsOfSite: the document of a configuration that is not loaded has what the first asyncapi directive would
// serve: the channels of its site, or those that are named, with the servers of other sites.
func TestChannelsOfSite(t *testing.T) {
	const sites = `http://a.example {
	assistant /ws/a/* {
		name a
		provider demo
	}
	asyncapi /asyncapi/* {
		%s
	}
}
http://b.example {
	assistant /ws/b/* {
		name b
		provider demo
	}
}
`
	for _, test := range []struct{ settings, channel, want string }{
		{"", "", "a.example false: a"},
		{"channels a b", "", "a.example false: a, b at b.example false"},
		{"channels b", "", "a.example false: b at b.example false"},
		{"", "b", "b.example false: b"},
		{"channels nobody", "", `no assistant handler is named "nobody"`},
		{"", "nobody", `no assistant handler is named "nobody"`},
	} {
		config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(fmt.Appendf(nil, sites, test.settings), nil)
		if err != nil {
			t.Fatal(err)
		}
		found, err := FindMounted(config)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if api, err := found.API("", test.channel); err != nil {
			got = err.Error()
		} else {
			var channels []string
			for _, c := range api.Channels {
				name := c.Name
				if c.Server.Host != "" {
					name += fmt.Sprint(" at ", c.Server.Host, " ", c.Server.TLS)
				}
				channels = append(channels, name)
			}
			got = fmt.Sprint(api.Server.Host, " ", api.Server.TLS, ": ", strings.Join(channels, ", "))
		}
		if got != test.want {
			t.Errorf("%q, channel %q: %s, want %s", test.settings, test.channel, got, test.want)
		}
	}
}

// TestUnknownChannel: a configuration that names an assistant which is not there does not start.
func TestUnknownChannel(t *testing.T) {
	s := caddytest.NewSite(t)
	handler := caddytest.Handler("pieces 1", "name present")
	err := s.Load(handler + "asyncapi /asyncapi* {\n channels present absent\n}\n")
	if err == nil || !strings.Contains(err.Error(), `asyncapi: channels: expected names of assistants, of which there are present; found "absent"`) {
		t.Errorf("got %v", err)
	}
	s.MustLoad(handler + "asyncapi /asyncapi* {\n channels present\n}\n")
}

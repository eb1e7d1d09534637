package endpoint

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/caddytest"
)

// TestAnyHost warns of a site that takes every host for its own, unless its origins are listed.
func TestAnyHost(t *testing.T) {
	s := caddytest.NewSite(t)
	file := t.TempDir() + "/log"
	s.Options = "log warnings {\n output file " + file + "\n level WARN\n include http.handlers.assistant\n}\n"
	for _, test := range []struct {
		address, more string
		want          bool
	}{
		{"http://:%d", "", true},
		{"http://127.0.0.1:%d", "", false},
		{"http://*.example.com:%d, http://localhost:%[1]d", "", false},
		{"http://:%d", "origins https://example.com", false},
	} {
		_ = os.Truncate(file, 0)
		if err := s.LoadSite(fmt.Sprintf(test.address, s.Port), caddytest.Handler("pieces 1", test.more)); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(file)
		if warned := strings.Contains(string(log), "the site has no name"); warned != test.want {
			t.Errorf("%s %s: warned %v, %s%v", test.address, test.more, warned, log, err)
		}
	}
}

package endpoint

import (
	"encoding/json"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// parseAssistant reads the directive with its matcher, whose path becomes the handler's address. The path of the
// health reaches the handler, too.
func parseAssistant(helper httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !helper.Next() {
		return nil, helper.ArgErr()
	}
	matchers, err := helper.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(helper.Dispenser); err != nil {
		return nil, err
	}
	if h.Address == "" {
		h.Address = matchedPath(matchers)
	}
	routes := helper.NewRoute(matchers, h)
	if route, ok := routes[0].Value.(caddyhttp.Route); ok && h.HealthPath != "" && matchers != nil {
		route.MatcherSetsRaw = append(route.MatcherSetsRaw, caddy.ModuleMap{"path": helper.JSON(caddyhttp.MatchPath{h.HealthPath})})
		routes[0].Value = route
	}
	return routes, nil
}

// matchedPath returns the first path that matchers let through, without its wildcard, or "".
func matchedPath(matchers caddy.ModuleMap) string {
	var paths caddyhttp.MatchPath
	if json.Unmarshal(matchers["path"], &paths) != nil || len(paths) == 0 {
		return ""
	}
	path, _, _ := strings.Cut(paths[0], "*")
	if !strings.HasPrefix(path, "/") {
		return ""
	}
	return path
}

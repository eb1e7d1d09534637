package endpoint

import (
	"encoding/json"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// parseAssistant reads the directive with its matcher, whose path becomes the handler's address. The path of the
// health reaches the handler, too, and so do those of files.
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
	var paths caddyhttp.MatchPath
	if h.HealthPath != "" {
		paths = append(paths, h.HealthPath)
	}
	if h.hasFiles() && !isPrefix(matchers) {
		paths = append(paths, strings.TrimSuffix(h.Address, "/")+"/files", strings.TrimSuffix(h.Address, "/")+"/files/*")
	}
	if route, ok := routes[0].Value.(caddyhttp.Route); ok && matchers != nil && paths != nil {
		route.MatcherSetsRaw = append(route.MatcherSetsRaw, caddy.ModuleMap{"path": helper.JSON(paths)})
		routes[0].Value = route
	}
	return routes, nil
}

// isPrefix reports whether matchers let through what is below the handler's address.
func isPrefix(matchers caddy.ModuleMap) bool {
	var paths caddyhttp.MatchPath
	return json.Unmarshal(matchers["path"], &paths) != nil || len(paths) == 0 || strings.HasSuffix(paths[0], "/*")
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

package endpoint

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// parseAssistant reads the directive with its matcher, whose path becomes the handler's address. The path of the
// health reaches the handler, too, and so do those of files.
func parseAssistant(helper httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !helper.Next() {
		return nil, helper.ArgErr()
	}
	start := *helper.Dispenser // where the directive begins, for messages
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
	if err := checkWhole(&start, h, helper.State); err != nil {
		return nil, err
	}
	routes := helper.NewRoute(matchers, h)
	var paths caddyhttp.MatchPath
	if h.HealthPath != "" {
		paths = append(paths, h.HealthPath)
	}
	if h.hasFiles() && !isPrefix(matchers) {
		paths = append(paths, h.filesAddress(), h.filesAddress()+"/*")
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

// parsed is an assistant of the Caddyfile that is being adapted.
type parsed struct {
	handler *Handler
	place   string // its file and line
}

// checkWhole finds what is wrong with an assistant beside each of its settings. It could be found when the
// configuration is loaded, too, but then nobody knows of files and lines. state is kept while a Caddyfile is adapted.
func checkWhole(d *caddyfile.Dispenser, h *Handler, state map[string]any) error {
	if len(h.ProvidersRaw) == 0 {
		return d.Errf("assistant: %v", errNoProvider)
	}
	var whole Handler // a copy, into which the defaults go
	config, err := json.Marshal(h)
	if err == nil {
		err = json.Unmarshal(config, &whole)
	}
	if err == nil {
		err = whole.SetDefaults()
	}
	if err == nil {
		whole.config, err = json.Marshal(&whole)
	}
	if err != nil {
		return d.Errf("assistant: %v", err)
	}
	const key = "assistant"
	others, _ := state[key].([]parsed)
	for _, other := range others {
		if other.handler.Name != whole.Name {
			continue
		}
		if err := other.handler.checkSame(&whole); err != nil {
			return d.Errf("assistant: %v; the other is at %s", err, other.place)
		}
	}
	place := d.File() + ":" + strconv.Itoa(d.Line())
	state[key] = append(others, parsed{&whole, place})
	return nil
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

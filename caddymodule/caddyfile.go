package caddymodule

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// parseAssistant reads the directive with its matcher, whose path becomes the handler's address.
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
	return helper.NewRoute(matchers, h), nil
}

// matchedPath is the first path that matchers let through, without its wildcard; empty when there is none.
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

// UnmarshalCaddyfile reads:
//
//	assistant [<matcher>] {
//		name             <channel>
//		description      <text>
//		tags             <tag...>
//		address          <path>
//		provider         <name> [<label>] { … }
//		instructions     <text>
//		context          <tokens>
//		titles           question | model
//		store            <name> …
//		durability       default | strict
//		on_disconnect    finish [<max>] | cancel
//		user             <template>
//		conversation     <template>
//		retention        <duration>
//		origins          <origin...>
//		max_message_size <size>
//		compression      off | on
//		max_pending      <n>
//		ping_interval    <duration>
//		write_timeout    <duration>
//		drain_timeout    <duration>
//		resume_window    <duration>
//		log_content      off | on
//
//		rate                <questions>/<duration> [<burst>]
//		budget              <tokens>/<duration>
//		max_connections     <n> [per_user <m>]
//		max_question_length <characters>
//		max_messages        <n>
//	}
//
// provider may be given several times: they are a chain.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return readBlock(d, "assistant", subdirectives{
		"name":             func(p *params) error { return p.checked(&h.Name, checkName) },
		"description":      func(p *params) error { return p.text(&h.Description) },
		"tags":             func(p *params) error { return p.texts(&h.Tags) },
		"address":          func(p *params) error { return p.checked(&h.Address, checkAddress) },
		"provider":         func(p *params) error { return p.guests("http.assistant.providers", &h.ProvidersRaw) },
		"instructions":     func(p *params) error { return p.text(&h.Instructions) },
		"origins":          func(p *params) error { return p.origins(&h.Origins) },
		"max_message_size": func(p *params) error { return p.size(&h.MaxMessageSize) },
		"compression":      func(p *params) error { return p.onOff(&h.Compression) },
		"max_pending":      func(p *params) error { return number(p, &h.MaxPending, 1, math.MaxInt32) },
		"ping_interval":    func(p *params) error { return p.duration(&h.PingInterval) },
		"write_timeout":    func(p *params) error { return p.duration(&h.WriteTimeout) },
		"context":          func(p *params) error { return number(p, &h.Context, 100, math.MaxInt32) },
		"titles":           func(p *params) error { return p.choice(&h.Titles, "question", "model") },
		"store":            func(p *params) error { return p.guest("http.assistant.stores", &h.StoreRaw) },
		"durability":       func(p *params) error { return p.choice(&h.Durability, "default", "strict") },
		"on_disconnect":    func(p *params) error { return p.onDisconnect(&h.OnDisconnect) },
		"user":             func(p *params) error { return p.text(&h.User) },
		"conversation":     func(p *params) error { return p.text(&h.Conversation) },
		"retention":        func(p *params) error { return p.duration(&h.Retention) },
		"drain_timeout":    func(p *params) error { return p.duration(&h.DrainTimeout) },
		"resume_window":    func(p *params) error { return p.duration(&h.ResumeWindow) },
		"log_content":      func(p *params) error { return p.onOff(&h.LogContent) },

		"rate":                func(p *params) error { return p.rate(&h.Rate) },
		"budget":              func(p *params) error { return p.budget(&h.Budget) },
		"max_connections":     func(p *params) error { return p.maxConnections(&h.MaxConnections) },
		"max_question_length": func(p *params) error { return number(p, &h.MaxQuestionLength, 1, math.MaxInt32) },
		"max_messages":        func(p *params) error { return number(p, &h.MaxMessages, 2, math.MaxInt32) },
	}, "provider")
}

func (p *params) origins(dst *[]string) error {
	if err := p.texts(dst); err != nil {
		return err
	}
	for _, origin := range *dst {
		if err := checkOrigin(origin); err != nil {
			return p.WrapErr(err)
		}
	}
	return nil
}

// onDisconnect reads "finish [<max>]" or "cancel".
func (p *params) onDisconnect(dst **OnDisconnect) error {
	const what = "finish, finish and a duration like 5m, or cancel"
	p.args = p.RemainingArgs()
	*dst = new(OnDisconnect)
	switch {
	case len(p.args) == 1 && (p.args[0] == "finish" || p.args[0] == "cancel"):
	case len(p.args) == 2 && p.args[0] == "finish":
		d, err := caddy.ParseDuration(p.args[1])
		if err != nil || d <= 0 {
			return p.expected(what)
		}
		(*dst).Max = caddy.Duration(d)
	default:
		return p.expected(what)
	}
	(*dst).Policy = p.args[0]
	return nil
}

// guest reads "<name> { … }" into raw, as the module of that name in the namespace.
func (p *params) guest(namespace string, raw *json.RawMessage) error {
	if !p.NextArg() {
		return p.Errf("%s: expected one of %s, found nothing", p.name, guestNames(namespace))
	}
	name := p.Val()
	if _, err := caddy.GetModule(namespace + "." + name); err != nil {
		return p.Errf("%s: expected one of %s, found %q", p.name, guestNames(namespace), name)
	}
	module, err := caddyfile.UnmarshalModule(p.Dispenser, namespace+"."+name)
	if err != nil {
		return err
	}
	*raw = caddyconfig.JSONModuleObject(module, "name", name, nil)
	return nil
}

// guests reads one more guest into raws.
func (p *params) guests(namespace string, raws *[]json.RawMessage) error {
	var raw json.RawMessage
	err := p.guest(namespace, &raw)
	*raws = append(*raws, raw)
	return err
}

func guestNames(namespace string) string {
	var names []string
	for _, m := range caddy.GetModules(namespace) {
		names = append(names, m.ID.Name())
	}
	return strings.Join(names, ", ")
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)

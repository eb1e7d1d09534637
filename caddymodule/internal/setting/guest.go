package setting

import (
	"encoding/json"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Guest is a module of a namespace, by its name: "store memory { … }".
func Guest(takes, namespace string, field *json.RawMessage) Value {
	return Value{
		Takes: takes, Field: field, unset: func() bool { return *field == nil },
		read: func(d *caddyfile.Dispenser) (err error) {
			*field, err = readGuest(d, namespace)
			return err
		},
	}
}

// Guests is several of them, a line for each.
func Guests(takes, namespace string, field *[]json.RawMessage) Value {
	return Value{
		Takes: takes, Field: field, repeatable: true, unset: func() bool { return *field == nil },
		read: func(d *caddyfile.Dispenser) error {
			guest, err := readGuest(d, namespace)
			*field = append(*field, guest)
			return err
		},
	}
}

func readGuest(d *caddyfile.Dispenser, namespace string) (json.RawMessage, error) {
	if !d.NextArg() {
		return nil, expected(oneOf(namesIn(namespace)))
	}
	name := d.Val()
	if _, err := caddy.GetModule(namespace + "." + name); err != nil {
		names := namesIn(namespace)
		err := expected(oneOf(names), name)
		if question := meant(name, names); question != "" {
			err = mistake(err.Error() + "; " + strings.TrimSpace(question))
		}
		return nil, err
	}
	module, err := caddyfile.UnmarshalModule(d, namespace+"."+name)
	if err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(module, "name", name, nil), nil
}

func oneOf(names []string) string { return "one of " + strings.Join(names, ", ") }

func namesIn(namespace string) (names []string) {
	for _, m := range caddy.GetModules(namespace) {
		names = append(names, m.ID.Name())
	}
	return names
}

// Package caddyassistant is what xcaddy builds into Caddy:
//
//	xcaddy build --with github.com/caddy-assistant/caddy-assistant
//
// It only registers the modules of package caddymodule.
package caddyassistant

import _ "github.com/caddy-assistant/caddy-assistant/caddymodule"

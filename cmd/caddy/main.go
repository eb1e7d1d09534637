// Command caddy is Caddy with the assistant module, for whoever builds without xcaddy:
//
//	go build ./cmd/caddy
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-assistant/caddy-assistant/caddymodule"
)

func main() { caddycmd.Main() }

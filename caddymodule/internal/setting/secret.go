package setting

import (
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Fill replaces the placeholders of a text. An unknown or empty one is an error that names it.
func Fill(text string) (string, error) { return caddy.NewReplacer().ReplaceOrErr(text, true, true) }

// HasPassword reports whether an address, or a list of key=value, has a password in it.
func HasPassword(address string) bool {
	if u, err := url.Parse(address); err == nil {
		if _, set := u.User.Password(); set {
			return true
		}
	}
	return strings.Contains(address, "password=")
}

package outbound

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Secrets are texts to keep out of what others read.
type Secrets []string

// minSecret is the length of the shortest secret, in bytes. A shorter one is a part of many words.
const minSecret = 8

// redacted is what stands instead of a secret.
const redacted = "[redacted]"

// NewSecrets returns the values, and the forms in which a service may repeat them.
func NewSecrets(values ...string) Secrets {
	var s Secrets
	for _, value := range values {
		quoted, _ := json.Marshal(value)
		s = append(s, value, string(quoted[1:len(quoted)-1]), url.QueryEscape(value), url.PathEscape(value))
		s = append(s, strings.Fields(value)...) // the key behind Bearer
	}
	s = slices.DeleteFunc(s, func(secret string) bool { return len(secret) < minSecret })
	slices.SortFunc(s, func(a, b string) int { return len(b) - len(a) }) // one may contain another
	return slices.Compact(s)
}

// Redact hides the secrets in a text.
func (s Secrets) Redact(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	return text
}

// maxError is how much of an error's text is kept, in bytes.
const maxError = 400

// Shorten returns the beginning of a text, redacted and on one line.
func (s Secrets) Shorten(text string) string {
	text = strings.Join(strings.Fields(s.Redact(text)), " ")
	if len(text) <= maxError {
		return text
	}
	return strings.ToValidUTF8(text[:maxError], "") + "…"
}

var credential = regexp.MustCompile(`(?i)auth|key|token|secret|cookie|passw|passphrase|credential|signature|session`)

// IsCredential reports whether what is named so, a header or a variable, grants something. Others may hold what a
// result needs: a user's name, a folder.
func IsCredential(name string) bool { return credential.MatchString(name) }

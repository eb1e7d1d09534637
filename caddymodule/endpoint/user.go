package endpoint

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxUser is the longest name of a user, in bytes: it is kept in memory, by stores and in the log.
const maxUser = 1024

// UserName returns a user's name in the form in which it is compared and kept, NFC of Unicode: the same name typed on
// two systems is one user. Case counts: a sign-in that ignores it must always give the same one.
func UserName(name string) string { return norm.NFC.String(name) }

// checkUser rejects values that cannot be a user's name: stores could not keep them as they are.
func checkUser(user string) error {
	if len(user) > maxUser || !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl) {
		return fmt.Errorf("user: expected UTF-8 of at most %d bytes without control characters, found something else", maxUser)
	}
	return nil
}

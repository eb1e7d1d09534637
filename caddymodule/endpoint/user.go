package endpoint

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxUser is the longest name of a user, in bytes: it is kept in memory, by stores and in the log.
const maxUser = 1024

// checkUser rejects values that cannot be a user's name: stores could not keep them as they are.
func checkUser(user string) error {
	if len(user) > maxUser || !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl) {
		return fmt.Errorf("user: expected UTF-8 of at most %d bytes without control characters, found something else", maxUser)
	}
	return nil
}

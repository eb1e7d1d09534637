package assistant

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"regexp"
)

// NewMouth returns a random number for the [RequestKey] of a mouth.
func NewMouth() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:])
}

// NewID returns a random UUID (RFC 9562, version 4).
//
// github.com/google/uuid would do it too, but brings database/sql into whatever imports this package.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var text [36]byte
	hex.Encode(text[:], b[:4])
	for i, from := range []int{4, 6, 8} {
		text[8+5*i] = '-'
		hex.Encode(text[9+5*i:], b[from:from+2])
	}
	text[23] = '-'
	hex.Encode(text[24:], b[10:])
	return string(text[:])
}

var idForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// IsID reports whether a text has the form of an ID.
func IsID(text string) bool { return idForm.MatchString(text) }

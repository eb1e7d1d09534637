package mcp

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
)

const (
	// maxName is the length of the longest name of a tool that all models take.
	maxName = 64
	// hashSize is the length of the hash at the end of a changed name, in hexadecimal digits.
	hashSize = 8
)

var unfit = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// nameOf returns what models call a server's tool. Any name that had to be changed ends with a hash of the original:
// were a_b also the name of a.b, then what a person approved for one could be done with the other, once the server has
// changed its list.
func nameOf(label, tool string) string {
	name := label + "__" + unfit.ReplaceAllString(tool, "_")
	if name == label+"__"+tool && len(name) <= maxName && tool != "" {
		return name
	}
	sum := sha256.Sum256([]byte(tool))
	return name[:min(len(name), maxName-1-hashSize)] + "_" + hex.EncodeToString(sum[:])[:hashSize]
}

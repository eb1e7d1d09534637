package bench

import (
	"strings"
	"testing"
)

// TestChecker: an answer is whole only if all of its pieces came, each once and in order, however they were cut.
func TestChecker(t *testing.T) {
	piece := func(n int) string { return string(appendPiece(nil, n, 1_000_000+uint64(n))) }
	whole := "{" + piece(0) + `"},{"` + piece(1) + piece(2) + "}"
	for name, test := range map[string]struct {
		text []string
		ok   bool
	}{
		"whole":        {[]string{whole}, true},
		"byte by byte": {strings.Split(whole, ""), true},
		"lost":         {[]string{piece(0), piece(2)}, false},
		"doubled":      {[]string{piece(0), piece(1), piece(1), piece(2)}, false},
		"in disorder":  {[]string{piece(1), piece(0), piece(2)}, false},
		"too few":      {[]string{piece(0), piece(1)}, false},
		"cut":          {[]string{piece(0), piece(1), piece(2)[:pieceSize-1]}, false},
		"too many":     {[]string{whole, piece(3)}, false},
		"damaged":      {[]string{piece(0), piece(1)[:pieceSize-1] + "?", piece(2)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var c checker
			var err error
			var stamps []uint64
			for _, text := range test.text {
				if err == nil {
					err = c.take([]byte(text), func(stamp uint64) { stamps = append(stamps, stamp) })
				}
			}
			if err == nil {
				err = c.end(plan{pieces: 3})
			}
			if (err == nil) != test.ok {
				t.Errorf("got error %v", err)
			}
			if test.ok && (len(stamps) != 3 || stamps[2] != 1_000_002) {
				t.Errorf("got stamps %v", stamps)
			}
		})
	}
}

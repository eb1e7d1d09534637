package bench

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// A piece of an answer is a mark, its number in the answer and the time when it was sent, in characters that JSON
// leaves as they are and that stand for 6 bits each. It is about as long as what models send.
const (
	mark        = '~' // stands nowhere else in what servers send
	numberChars = 3
	stampChars  = 6
	pieceSize   = 1 + numberChars + stampChars

	stampRange = 1 << (6 * stampChars) // microseconds: 19 hours
)

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// values are what digits stand for; -1 are no digits.
var values = func() (v [256]int8) {
	for i := range v {
		v[i] = -1
	}
	for i, digit := range []byte(digits) {
		v[digit] = int8(i)
	}
	return v
}()

// stamp is now, for a piece.
func stamp() uint64 { return uint64(time.Now().UnixMicro()) % stampRange }

// age is how many microseconds ago a stamp was made.
func age(stamp, now uint64) uint32 { return uint32((now - stamp) % stampRange) }

// appendPiece appends a piece.
func appendPiece(dst []byte, number int, stamp uint64) []byte {
	dst = append(dst, mark)
	dst = appendDigits(dst, uint64(number), numberChars)
	return appendDigits(dst, stamp, stampChars)
}

func appendDigits(dst []byte, value uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, digits[value>>(6*i)&63])
	}
	return dst
}

// number reads digits; it is negative where there are others.
func number(text []byte) (value int64) {
	for _, c := range text {
		value = value<<6 | int64(values[c])
	}
	return value
}

// checker holds the pieces of an answer against what the upstream sends: all, each once, in order.
type checker struct {
	next int    // the number of the piece that must come next
	rest []byte // a piece that was cut in two
}

// take finds the pieces in text, whatever stands between them, and calls each with their stamps.
func (c *checker) take(text []byte, each func(stamp uint64)) error {
	if len(c.rest) > 0 {
		text = slices.Concat(c.rest, text)
		c.rest = c.rest[:0]
	}
	for {
		i := bytes.IndexByte(text, mark)
		if i < 0 {
			return nil
		}
		text = text[i:]
		if len(text) < pieceSize {
			c.rest = append(c.rest, text...)
			return nil
		}
		n, stamp := number(text[1:1+numberChars]), number(text[1+numberChars:pieceSize])
		if n != int64(c.next) || stamp < 0 {
			return fmt.Errorf("piece %.*q instead of number %d", pieceSize, text, c.next)
		}
		c.next++
		each(uint64(stamp))
		text = text[pieceSize:]
	}
}

// end tells whether the answer that has ended is whole, and begins the next one.
func (c *checker) end(p plan) error {
	got := c.next
	*c = checker{rest: c.rest[:0]}
	if got != p.pieces {
		return fmt.Errorf("%d pieces of %d", got, p.pieces)
	}
	return nil
}

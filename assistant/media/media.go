// Package media makes what people send into what may be kept and given to models.
//
// The type of a file is what its bytes say, never what a client says. Images are decoded and encoded anew: what is kept has
// no place where it was taken, no comments and nothing behind its end, whatever else the bytes could be read as. PDFs and
// texts are kept as they are. SVG, HTML and whatever else is not listed is refused.
//
// Nobody's image is decoded before its number of pixels is known, and at most two are decoded at once in a process.
package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"
)

// The types that can be allowed, and are by default.
const (
	PNG      = "image/png"
	JPEG     = "image/jpeg"
	WebP     = "image/webp"
	GIF      = "image/gif"
	PDF      = "application/pdf"
	Text     = "text/plain"
	Markdown = "text/markdown"
	CSV      = "text/csv"
	JSON     = "application/json"
)

// Types lists them.
var Types = []string{PNG, JPEG, WebP, GIF, PDF, Text, Markdown, CSV, JSON}

// Why bytes are refused.
var (
	// ErrType says that they are of no type that is allowed.
	ErrType = errors.New("type is not allowed")
	// ErrInvalid says that they are not what they seem to be, or more than may be read.
	ErrInvalid = errors.New("file is invalid")
)

// Config says what is taken. Zero values mean the defaults.
type Config struct {
	// Types are those that are allowed. Default: Types.
	Types []string
	// MaxPixels is how many pixels an image may have; a progressive JPEG, and an image of 16 bits a channel, may have half as
	// many. It is what bounds memory: decoding takes some 6 bytes for each. Default: 25,000,000.
	MaxPixels int
	// MaxSide is how long the longer side of an image may be, in pixels: a longer one is scaled down. Default: 2048.
	MaxSide int
}

const (
	defaultMaxPixels = 25_000_000
	defaultMaxSide   = 2048
)

// Taken is what is kept.
type Taken struct {
	MediaType     string
	Data          []byte
	Width, Height int // of an image, in pixels
	Pages         int // of a PDF, counted roughly, at least 1
}

// Take returns what is kept of data, whose name only tells kinds of text apart. The error is ErrType or ErrInvalid, or the
// context's cause: it may have to wait for others. What is returned may share data's bytes.
func (c Config) Take(ctx context.Context, name string, data []byte) (Taken, error) {
	switch kind := sniff(name, data); {
	case !slices.Contains(c.types(), kind):
		return Taken{}, fmt.Errorf("%w: %s", ErrType, kind)
	case isImage(kind):
		return c.takeImage(ctx, kind, data)
	case kind == PDF:
		return Taken{MediaType: kind, Data: data, Pages: pages(data)}, nil
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		return Taken{}, fmt.Errorf("%w: text is no UTF-8", ErrInvalid)
	default:
		return Taken{MediaType: kind, Data: data}, nil
	}
}

func (c Config) types() []string {
	if c.Types == nil {
		return Types
	}
	return c.Types
}

// nothing is the type of no bytes.
const nothing = "inode/x-empty"

// sniff returns the type of data by its bytes. Of text the name tells the kind, where it is one that is taken.
func sniff(name string, data []byte) string {
	if len(data) == 0 {
		return nothing
	}
	found := mimetype.Detect(data)
	for _, kind := range []string{PNG, JPEG, WebP, GIF} {
		if found.Is(kind) {
			return kind
		}
	}
	if bytes.HasPrefix(data, []byte("%PDF-")) {
		return PDF
	}
	switch kind := textKind(name); {
	case !isPlain(found):
		return found.String()
	case kind != "":
		return kind
	case found.Is(CSV), found.Is(JSON):
		kind, _, _ := strings.Cut(found.String(), ";")
		return kind
	}
	return Text // of programs, too
}

// Kinds returns the types that are allowed.
func (c Config) Kinds() []string { return slices.Clone(c.types()) }

// Package chunk holds what the stores share: how an answer that is streaming is kept in rows.
//
// A row is a chunk of text or reasoning with the offsets, as assistant.Store.Extend counts them, at which
// it starts and stops. The chunks of one answer follow each other without a gap.
package chunk

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// The kinds of chunks.
const (
	Text      = "text"
	Reasoning = "reasoning"
)

// ErrGap says that bytes are missing before the offset at which an answer is to be extended.
var ErrGap = errors.New("something is missing before the offset")

// Chunk is a piece of an answer.
type Chunk struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
	// Start and Stop count bytes as the caller has them. A store may keep Text with other bytes.
	Start int `json:"start"`
	Stop  int `json:"stop"`
}

// Split returns the parts as chunks from offset on. Neighbours of one kind become one chunk, and an empty
// part becomes none.
func Split(offset int, parts assistant.Parts) ([]Chunk, error) {
	if offset < 0 {
		return nil, fmt.Errorf("offset %d is negative", offset)
	}
	var chunks []Chunk
	for _, part := range parts {
		next := Chunk{Start: offset}
		switch p := part.(type) {
		case assistant.TextPart:
			next.Kind, next.Text = Text, p.Text
		case assistant.ReasoningPart:
			next.Kind, next.Text = Reasoning, p.Text
		default:
			return nil, fmt.Errorf("an answer that is streaming cannot be extended by a part of type %s", part.Type())
		}
		offset += len(next.Text)
		next.Stop = offset
		chunks = add(chunks, next)
	}
	return chunks, nil
}

func add(chunks []Chunk, next Chunk) []Chunk {
	last := len(chunks) - 1
	switch {
	case next.Text == "":
		return chunks
	case last >= 0 && chunks[last].Kind == next.Kind:
		chunks[last].Text += next.Text
		chunks[last].Stop = next.Stop
		return chunks
	}
	return append(chunks, next)
}

// Join returns what chunks hold, neighbours of one kind as one part.
func Join(chunks []Chunk) assistant.Parts {
	var parts assistant.Parts
	for len(chunks) > 0 {
		kind := chunks[0].Kind
		var text strings.Builder
		for len(chunks) > 0 && chunks[0].Kind == kind {
			text.WriteString(chunks[0].Text)
			chunks = chunks[1:]
		}
		if kind == Reasoning {
			parts = append(parts, assistant.ReasoningPart{Text: text.String()})
		} else {
			parts = append(parts, assistant.TextPart{Text: text.String()})
		}
	}
	return parts
}

// Replace returns what an answer has from the first of the cut chunks on, once next replaces everything
// from offset on. The cut chunks are those that stop behind offset, in order; only the first of them can
// have bytes that stay. Before is where the chunk in front of them stops.
func Replace(before int, cut []Chunk, offset int, next []Chunk) ([]Chunk, error) {
	if len(cut) == 0 || cut[0].Start >= offset {
		if before != offset {
			return nil, ErrGap
		}
		return next, nil
	}
	first := cut[0]
	stays := offset - first.Start
	switch {
	case len(first.Text) != first.Stop-first.Start:
		return nil, fmt.Errorf("text that was stored with other bytes cannot be cut at %d", offset)
	case !utf8.RuneStart(first.Text[stays]):
		return nil, fmt.Errorf("offset %d is inside a character", offset)
	}
	first.Text, first.Stop = first.Text[:stays], offset
	return append([]Chunk{first}, next...), nil
}

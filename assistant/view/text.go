package view

import (
	"slices"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// Text gathers an answer while it streams. It keeps the pieces as they come, so that a text which others hold too,
// such as events, is in memory once. The zero Text is empty. Add and Join change it; the others may be called at once.
type Text struct {
	pieces []piece
	parts  []assistant.Part // those that are neither text nor reasoning, in order
}

type piece struct {
	kind assistant.Kind // KindPiece or KindReasoning; isPart where the next of parts stands
	text string
}

const isPart assistant.Kind = 0

// Add adds a piece of text or of reasoning.
func (a *Text) Add(kind assistant.Kind, text string) {
	a.pieces = append(a.pieces, piece{kind, text})
}

// AddPart adds a part that is neither, as [assistant.Parts.With] does.
func (a *Text) AddPart(part assistant.Part) {
	before := len(a.parts)
	if i := assistant.Parts(a.parts).Preparing(part); i >= 0 { // in stores it stands where it is decided
		a.parts = slices.Delete(slices.Clone(a.parts), i, i+1)
		for n := range a.pieces {
			if a.pieces[n].kind != isPart {
				continue
			}
			if i--; i < 0 {
				a.pieces = slices.Delete(slices.Clone(a.pieces), n, n+1)
				break
			}
		}
		before--
	}
	if a.parts = assistant.Parts(a.parts).With(part); len(a.parts) > before {
		a.pieces = append(a.pieces, piece{kind: isPart})
	}
}

// Parts returns the answer so far, with its reasoning or without.
func (a *Text) Parts(withReasoning bool) (parts assistant.Parts) {
	pieces := a.pieces
	if !withReasoning {
		pieces = slices.DeleteFunc(slices.Clone(pieces), func(p piece) bool { return p.kind == assistant.KindReasoning })
	}
	rest := a.parts
	for _, p := range joined(pieces) {
		switch p.kind {
		case isPart:
			parts, rest = append(parts, rest[0]), rest[1:]
		case assistant.KindPiece:
			parts = append(parts, assistant.TextPart{Text: p.text})
		default:
			parts = append(parts, assistant.ReasoningPart{Text: p.text})
		}
	}
	return parts
}

// HasParts reports whether the answer is more than text and reasoning.
func (a *Text) HasParts() bool { return len(a.parts) > 0 }

// Join makes one text of neighbouring pieces of one kind: it is for an answer that has ended, which is read often.
func (a *Text) Join() { a.pieces = joined(a.pieces) }

func joined(pieces []piece) (joined []piece) {
	for rest := pieces; len(rest) > 0; {
		kind := rest[0].kind
		n := slices.IndexFunc(rest, func(p piece) bool { return p.kind != kind })
		if n < 0 {
			n = len(rest)
		}
		if kind == isPart {
			joined, rest = append(joined, rest[:n]...), rest[n:]
			continue
		}
		text := rest[0].text
		if n > 1 {
			text = textOf(rest[:n], kind)
		}
		joined, rest = append(joined, piece{kind, text}), rest[n:]
	}
	return joined
}

// HasText reports whether there is any text.
func (a *Text) HasText() bool {
	return slices.ContainsFunc(a.pieces, func(p piece) bool { return p.kind == assistant.KindPiece })
}

// Text returns the text so far.
func (a *Text) Text() string { return textOf(a.pieces, assistant.KindPiece) }

// Reasoning returns the reasoning so far.
func (a *Text) Reasoning() string { return textOf(a.pieces, assistant.KindReasoning) }

func textOf(pieces []piece, kind assistant.Kind) string {
	size := 0
	for _, p := range pieces {
		if p.kind == kind {
			size += len(p.text)
		}
	}
	var b strings.Builder
	b.Grow(size)
	for _, p := range pieces {
		if p.kind == kind {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

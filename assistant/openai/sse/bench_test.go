package sse

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// BenchmarkReader reads 1,000 events of 336 bytes; ns/op divided by 1,000 is what an event costs.
func BenchmarkReader(b *testing.B) {
	event := "data: " + strings.Repeat("x", 330) + "\n\n"
	for _, form := range []struct{ name, event string }{
		{"data", event},
		{"named", "event: response.output_text.delta\n" + event},
		{"CRLF", strings.ReplaceAll(event, "\n", "\r\n")},
	} {
		stream := strings.Repeat(form.event, 1000)
		b.Run(form.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n := count(b, strings.NewReader(stream)); n != 1000 {
					b.Fatal(n)
				}
			}
		})
	}
}

func count(b *testing.B, r io.Reader) (n int) {
	events := NewReader(r)
	defer events.Close()
	for {
		_, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			return n
		case err != nil:
			b.Fatal(err)
		}
		n++
	}
}

package answer

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/ssestream"
	sdkresponses "github.com/openai/openai-go/v3/responses"

	"github.com/caddy-assistant/caddy-assistant/assistant/openai/sse"
)

// sample is a chunk as OpenAI sends it.
const sample = `{"id":"chatcmpl-CXy1A7lFh1Zk2b3aU9rQd8TtN4mWe","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_b54fe76834","choices":[{"index":0,"delta":{"content":" streaming"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"k3J9xQ2mZp0aB"}`

// BenchmarkTranslate decodes one chunk: as this package does, and into the SDK's type.
func BenchmarkTranslate(b *testing.B) {
	data := []byte(sample)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		var t chat
		for b.Loop() {
			t.size = 0 // otherwise the answer gets too long
			if d, err := t.Translate(sse.Event{Data: data}); err != nil || d.Text != " streaming" {
				b.Fatal(d, err)
			}
		}
	})
	b.Run("sdk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var c sdk.ChatCompletionChunk
			if err := c.UnmarshalJSON(data); err != nil || c.Choices[0].Delta.Content != " streaming" {
				b.Fatal(c, err)
			}
		}
	})
}

// outputSample is an event as OpenAI sends it.
const outputSample = `{"type":"response.output_text.delta","sequence_number":17,"item_id":"msg_68af4030baa48193b0b43b4c2a176a1a0e6967589f080e78","output_index":0,"content_index":0,"delta":" streaming","logprobs":[],"obfuscation":"k3J9xQ2mZp0aB"}`

// BenchmarkTranslateResponses decodes one event of the Responses API in the same two ways.
func BenchmarkTranslateResponses(b *testing.B) {
	data := []byte(outputSample)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		var t responses
		for b.Loop() {
			t.size = 0
			if d, err := t.Translate(sse.Event{Data: data}); err != nil || d.Text != " streaming" {
				b.Fatal(d, err)
			}
		}
	})
	b.Run("sdk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var e sdkresponses.ResponseStreamEventUnion
			if err := e.UnmarshalJSON(data); err != nil || e.Delta != " streaming" {
				b.Fatal(e, err)
			}
		}
	})
}

// BenchmarkStream reads an answer of 1,000 chunks; ns/op divided by 1,000 is what a piece costs.
func BenchmarkStream(b *testing.B) {
	stream := []byte(strings.Repeat("data: "+sample+"\n\n", 1000) + "data: [DONE]\n\n")
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for _, err := range Read(bytes.NewReader(stream), Chat(false), func(Phase) {}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != 1001 {
				b.Fatal(n)
			}
		}
	})
	b.Run("sdk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			body := &http.Response{Body: io.NopCloser(bytes.NewReader(stream))}
			s := ssestream.NewStream[sdk.ChatCompletionChunk](ssestream.NewDecoder(body), nil)
			for s.Next() {
				n++
			}
			if n != 1000 || s.Err() != nil {
				b.Fatal(n, s.Err())
			}
		}
	})
}

package answer

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/ssestream"
	sdkresponses "github.com/openai/openai-go/v3/responses"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/openai/sse"
)

// sample is a chunk as OpenAI sends it.
const sample = `{"id":"chatcmpl-CXy1A7lFh1Zk2b3aU9rQd8TtN4mWe","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_b54fe76834","choices":[{"index":0,"delta":{"content":" streaming"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"k3J9xQ2mZp0aB"}`

// BenchmarkTranslate reads one chunk: scanned as usual ones are, decoded as all others are, and decoded into the SDK's
// type.
func BenchmarkTranslate(b *testing.B) {
	data := []byte(sample)
	b.Run("scanned", func(b *testing.B) {
		var t chat
		benchmarkTranslate(b, data, &t.progress, t.Translate)
	})
	b.Run("decoded", func(b *testing.B) {
		var t chat
		benchmarkTranslate(b, data, &t.progress, t.decode)
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

func benchmarkTranslate(b *testing.B, data []byte, p *progress, translate func(sse.Event) (assistant.Delta, error)) {
	b.ReportAllocs()
	for b.Loop() {
		p.size = 0 // otherwise the answer gets too long
		if d, err := translate(sse.Event{Data: data}); err != nil || d.Text != " streaming" {
			b.Fatal(d, err)
		}
	}
}

// outputSample is an event as OpenAI sends it.
const outputSample = `{"type":"response.output_text.delta","sequence_number":17,"item_id":"msg_68af4030baa48193b0b43b4c2a176a1a0e6967589f080e78","output_index":0,"content_index":0,"delta":" streaming","logprobs":[],"obfuscation":"k3J9xQ2mZp0aB"}`

// BenchmarkTranslateResponses reads one event of the Responses API in the same ways.
func BenchmarkTranslateResponses(b *testing.B) {
	data := []byte(outputSample)
	b.Run("scanned", func(b *testing.B) {
		var t responses
		benchmarkTranslate(b, data, &t.progress, t.Translate)
	})
	b.Run("decoded", func(b *testing.B) {
		var t responses
		benchmarkTranslate(b, data, &t.progress, t.decode)
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

// chunksPerAnswer is how many chunks the answers of the benchmarks below have.
const chunksPerAnswer = 1000

var answerOfSamples = strings.Repeat("data: "+sample+"\n\n", chunksPerAnswer) + "data: [DONE]\n\n"

// consumers read an answer of chunksPerAnswer chunks: with a translator, or with the SDK.
var consumers = []struct {
	name string
	read func(b *testing.B, body io.ReadCloser)
}{
	{"scanned", func(b *testing.B, body io.ReadCloser) { readAll(b, body, Chat(false, false)) }},
	{"decoded", func(b *testing.B, body io.ReadCloser) {
		t := new(chat)
		readAll(b, body, slowly{t, &t.progress, t.decode})
	}},
	{"sdk", func(b *testing.B, body io.ReadCloser) {
		n := 0
		s := ssestream.NewStream[sdk.ChatCompletionChunk](ssestream.NewDecoder(&http.Response{Body: body}), nil)
		for s.Next() {
			n++
		}
		if n != chunksPerAnswer || s.Err() != nil {
			b.Fatal(n, s.Err())
		}
	}},
}

func readAll(b *testing.B, body io.Reader, t Translator) {
	n := 0
	for _, err := range Read(body, t, func(Phase) {}) {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	if n != chunksPerAnswer+1 {
		b.Fatal(n)
	}
}

// reportChunks reports what a chunk has cost.
func reportChunks(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/chunksPerAnswer, "ns/chunk")
}

// BenchmarkStream reads an answer that is in memory.
func BenchmarkStream(b *testing.B) {
	for _, consumer := range consumers {
		b.Run(consumer.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				consumer.read(b, io.NopCloser(strings.NewReader(answerOfSamples)))
			}
			reportChunks(b)
		})
	}
}

// BenchmarkLoopback reads a response of net/http from a server that sends as fast as it can, each event in a chunk of
// HTTP; with the transport's default buffer, and with that of the provider.
func BenchmarkLoopback(b *testing.B) {
	for _, size := range []int{4 << 10, 16 << 10} {
		for _, consumer := range consumers {
			b.Run(fmt.Sprintf("%d KB/%s", size>>10, consumer.name), func(b *testing.B) {
				var reads atomic.Int64
				transport := &http.Transport{ReadBufferSize: size, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, address)
					return countedConn{conn, &reads}, err
				}}
				defer transport.CloseIdleConnections()
				url := serveSamples(b)
				b.ReportAllocs()
				for b.Loop() {
					res, err := (&http.Client{Transport: transport}).Get(url)
					if err != nil {
						b.Fatal(err)
					}
					consumer.read(b, res.Body)
					_ = res.Body.Close()
				}
				reportChunks(b)
				b.ReportMetric(float64(reads.Load())/float64(b.N)/chunksPerAnswer, "reads/chunk")
			})
		}
	}
}

type countedConn struct {
	net.Conn
	reads *atomic.Int64
}

func (c countedConn) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.Conn.Read(p)
}

// serveSamples starts a server that answers every request on a connection with the same bytes, which cost it nothing,
// and returns its URL.
func serveSamples(b *testing.B) string {
	var answer bytes.Buffer
	answer.WriteString("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
	chunked := httputil.NewChunkedWriter(&answer)
	for event := range strings.SplitAfterSeq(answerOfSamples, "\n\n") {
		if event != "" { // which would end the body
			_, _ = io.WriteString(chunked, event)
		}
	}
	_ = chunked.Close()
	answer.WriteString("\r\n")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				for requests := bufio.NewReader(conn); ; {
					if _, err := http.ReadRequest(requests); err != nil {
						return
					}
					_, _ = conn.Write(answer.Bytes())
				}
			})
		}
	})
	b.Cleanup(serving.Wait)
	b.Cleanup(func() { _ = listener.Close() })
	return "http://" + listener.Addr().String()
}

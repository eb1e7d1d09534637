package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// plan is an answer that is asked for. Its text is the question.
type plan struct {
	pieces int
	every  time.Duration // between two pieces; 0: as fast as they are read
}

func (p plan) String() string { return fmt.Sprintf("%d pieces every %d ns", p.pieces, p.every) }

func parsePlan(text string) (p plan, err error) {
	_, err = fmt.Sscanf(text, "%d pieces every %d ns", &p.pieces, &p.every)
	return p, err
}

// upstream is a running model's server.
type upstream struct {
	addr string
	pid  int
}

func (u upstream) baseURL() string { return "http://" + u.addr + "/v1" }

// startUpstream runs a model's server until the test ends.
func startUpstream(t *testing.T) upstream {
	t.Helper()
	addr, pid := startRole(t, "upstream")
	return upstream{addr, pid}
}

// serveUpstream is the role of a model's server. It speaks what OpenAI's does for chat completions.
func serveUpstream() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening at", listener.Addr())
	server := &http.Server{Handler: http.HandlerFunc(complete), ReadHeaderTimeout: time.Minute}
	return server.Serve(listener)
}

// complete answers the last question as it says itself.
func complete(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Messages      []struct{ Content string }
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Messages) == 0 {
		http.Error(w, "no question", http.StatusBadRequest)
		return
	}
	p, err := parsePlan(body.Messages[len(body.Messages)-1].Content)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if !send(w, r, p) {
		return // who asked has gone
	}
	fmt.Fprint(w, event(`"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]`))
	if body.StreamOptions.IncludeUsage {
		fmt.Fprint(w, event(fmt.Sprintf(`"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d,"total_tokens":%d}`, p.pieces, p.pieces+9)))
	}
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// send sends the pieces, one in each chunk and each chunk in a write of its own, as model servers do.
func send(w http.ResponseWriter, r *http.Request, p plan) bool {
	before, after, _ := strings.Cut(event(`"choices":[{"index":0,"delta":{"content":"*"},"logprobs":null,"finish_reason":null}],"obfuscation":"p2kXvQ9dLm"`), "*")
	wait, stop := pacer(r, p.every)
	defer stop()
	var chunk []byte
	for n := range p.pieces {
		if !wait() {
			return false
		}
		chunk = appendPiece(append(chunk[:0], before...), n, stamp())
		chunk = append(chunk, after...)
		if _, err := w.Write(chunk); err != nil {
			return false
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return false
		}
	}
	return true
}

// pacer returns a function that waits until a piece is due. Answers begin at a random moment of the interval, so that
// those which are asked for together do not stay together.
func pacer(r *http.Request, every time.Duration) (wait func() bool, stop func()) {
	if every == 0 {
		return func() bool { return true }, func() {}
	}
	phase := rand.N(every)
	timer, due := time.NewTimer(phase), time.Now().Add(phase)
	return func() bool {
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return false
		}
		due = due.Add(every)
		timer.Reset(time.Until(due))
		return true
	}, func() { timer.Stop() }
}

// event is a chunk as OpenAI sends it, about 330 bytes with a piece, of the given fields.
func event(fields string) string {
	return `data: {"id":"chatcmpl-CgqT3v8RzLx0WbY5nKp2sJdUoE7aM","object":"chat.completion.chunk","created":1764312000,` +
		`"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_cbf1785567",` + fields + "}\n\n"
}

package e2e

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// Where the fortress has its assistants.
const (
	honestPath     = harness.AssistantPath
	impatientPath  = "/ws/impatient/"
	compressedPath = "/ws/compressed/"
	limitedPath    = "/ws/limited/"
	largePath      = "/ws/large/"
)

const sizeLimit = 64 << 10 // the honest one's max_message_size

var hostileClients = []hostile{
	{"2,000 connects, as fast as they go, each dropped by a TCP reset", 384, func(s *siege) string {
		return s.each(2000, 64, func(int) string {
			r, err := harness.DialRaw(s.Caddy, honestPath)
			if err != nil {
				return "refused: " + err.Error()
			}
			r.Reset()
			return "served"
		})
	}},
	{"500 handshakes that stop in the middle", 384, func(s *siege) string {
		return s.each(500, 500, func(int) string {
			r, err := harness.Connect(s.Caddy)
			if err != nil {
				return err.Error()
			}
			defer r.Close()
			_, _ = io.WriteString(r, harness.Request(s.Caddy, honestPath))
			return untilCut(r)
		})
	}},
	{"200 handshakes of a byte every 100 ms", 384, func(s *siege) string {
		return s.each(200, 200, func(int) string {
			r, err := harness.Connect(s.Caddy)
			if err != nil {
				return err.Error()
			}
			defer r.Close()
			go drip(r, []byte(harness.Request(s.Caddy, honestPath)))
			return untilCut(r)
		})
	}},
	{"200 handshakes with 64 KiB of header fields", 384, func(s *siege) string {
		return s.each(200, 16, func(int) string {
			r, err := harness.Connect(s.Caddy)
			if err != nil {
				return err.Error()
			}
			defer r.Reset()
			go func() {
				_, _ = io.WriteString(r, harness.Request(s.Caddy, honestPath)+"X-Filler: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
			}()
			status, err := r.Answer("")
			return fmt.Sprint(status) + suffix(err)
		})
	}},
	{"500 handshakes of a foreign page", 384, func(s *siege) string {
		return s.each(500, 32, func(int) string {
			r, err := harness.DialRaw(s.Caddy, honestPath, "Origin: https://evil.example")
			if err == nil {
				r.Reset()
				return "let in"
			}
			return err.Error()
		})
	}},
	{"100 sockets that never say anything, and answer no ping", 384, func(s *siege) string {
		return s.each(100, 100, func(int) string {
			return s.gone(impatientPath, func(*harness.Raw) {}, "taken for gone after two ping_intervals")
		})
	}},
	{"10 sockets that ask for 4 MB and read one byte a second", 512, func(s *siege) string {
		return s.each(10, 10, func(int) string {
			return s.gone(impatientPath, func(r *harness.Raw) {
				_ = r.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
				_ = r.Say(`{"action":"assistant_message","payload":"4 MB"}`)
				one := make([]byte, 1)
				for _, err := r.Read(one); err == nil; _, err = r.Read(one) {
					time.Sleep(time.Second)
				}
			}, "dropped after write_timeout, or for want of a pong")
		})
	}},
	{"4 sockets that ask for a pong 200,000 times and read none", 512, func(s *siege) string {
		return s.each(4, 4, func(int) string {
			return s.gone(impatientPath, func(r *harness.Raw) {
				_ = r.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
				ping := fmt.Sprintf(`{"action":"ping","ref":%q}`, strings.Repeat("x", 64))
				many := bytes.Repeat(harness.AppendFrame(nil, harness.Fin|harness.OpText, []byte(ping)), 1000)
				for range 200 {
					if _, err := r.Write(many); err != nil {
						return
					}
				}
			}, "not read further, then dropped after write_timeout")
		})
	}},
	{"20 sockets that send 50,000 ping frames each", 384, func(s *siege) string {
		return s.each(20, 20, func(int) string {
			return s.with(honestPath, func(r *harness.Raw) string {
				const pings = 50_000
				go func() {
					_, _ = r.Write(bytes.Repeat(harness.AppendFrame(nil, harness.Fin|harness.OpPing, []byte("x")), pings))
					_ = r.Say(`{"action":"ping"}`)
				}()
				for {
					if m, err := r.Receive(); err != nil || m.Action == "pong" {
						return "every one read, as many answered as are taken" + suffix(err)
					}
				}
			})
		})
	}},
	{"20 messages of 64 KiB in frames of one byte", 384, func(s *siege) string {
		return s.each(20, 20, func(int) string {
			text := `{"action":"ping"` + strings.Repeat(" ", sizeLimit-len(`{"action":"ping"}`)) + `}`
			return s.told(honestPath, fragments([]byte(text)), "answered: ")
		})
	}},
	{"20 messages of fragments without end", 384, func(s *siege) string {
		return s.each(20, 20, func(int) string {
			frames := harness.AppendFrame(nil, harness.OpText, []byte("x"))
			frames = append(frames, bytes.Repeat(harness.AppendFrame(nil, harness.OpContinuation, []byte("xxxxxxxx")), sizeLimit/8)...)
			return s.told(honestPath, frames, "")
		})
	}},
	{"20 messages of a million empty fragments", 384, func(s *siege) string {
		return s.each(20, 20, func(int) string {
			frames := harness.AppendFrame(nil, harness.OpText, []byte(`{"action":"ping"`))
			frames = append(frames, bytes.Repeat(harness.AppendFrame(nil, harness.OpContinuation, nil), 1_000_000)...)
			return s.told(honestPath, harness.AppendFrame(frames, harness.Fin|harness.OpContinuation, []byte(`}`)), "answered: ")
		})
	}},
	{"100 messages over the limit", 384, func(s *siege) string {
		return s.each(100, 20, func(int) string {
			return s.told(honestPath, harness.AppendFrame(nil, harness.Fin|harness.OpText, make([]byte, 10*sizeLimit)), "")
		})
	}},
	{"100 frames that claim 2^62 bytes", 384, func(s *siege) string {
		return s.each(100, 20, func(int) string {
			head := binary.BigEndian.AppendUint64([]byte{harness.Fin | harness.OpText, 0xff}, 1<<62)
			return s.told(honestPath, append(head, make([]byte, 2*sizeLimit)...), "")
		})
	}},
	{"100 frames that claim 2^64-1 bytes", 384, func(s *siege) string {
		return s.each(100, 20, func(int) string {
			head := binary.BigEndian.AppendUint64([]byte{harness.Fin | harness.OpText, 0xff}, 1<<64-1)
			return s.told(honestPath, append(head, make([]byte, 2*sizeLimit)...), "")
		})
	}},
	{"64 messages of 1 MiB that lack their last byte, all held open", 512, func(s *siege) string {
		return s.each(64, 64, func(int) string {
			return s.with(largePath, func(r *harness.Raw) string {
				frame := harness.AppendFrame(nil, harness.Fin|harness.OpText, []byte(`{"action":"ping"`+strings.Repeat(" ", 1<<20-len(`{"action":"ping"}`))+`}`))
				_, _ = r.Write(frame[:len(frame)-1])
				_ = r.SetReadDeadline(time.Now().Add(time.Second)) // they are held for so long
				_, err := r.Reader.Peek(1)
				if err == nil {
					return "ended early"
				}
				_ = r.SetReadDeadline(time.Now().Add(harness.Patience))
				_, _ = r.Write(frame[len(frame)-1:])
				m, err := r.Receive()
				return "kept while they come, then answered: " + m.Action + suffix(err)
			})
		})
	}},
	{"100 compression bombs of 32 MiB, where compression is off", 384, bombs(honestPath)},
	{"100 compression bombs of 32 MiB, where compression is on", 384, bombs(compressedPath)},
	{"200 sockets that send random bytes", 384, func(s *siege) string {
		return s.each(200, 20, func(i int) string {
			random := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})
			noise := make([]byte, 4<<10)
			_, _ = random.Read(noise)
			noise[0] |= 0x70 // with a reserved bit: at once no frame
			return s.told(honestPath, noise, "")
		})
	}},
	{"100 messages that are no UTF-8", 384, func(s *siege) string {
		return s.each(100, 20, func(int) string {
			return s.told(honestPath, harness.AppendFrame(nil, harness.Fin|harness.OpText, []byte("{\"action\":\"\xff\"}")), "")
		})
	}},
	{"100 sockets that send what is no JSON, over and over", 384, func(s *siege) string {
		return s.each(100, 20, func(int) string {
			return s.told(honestPath, bytes.Repeat(harness.AppendFrame(nil, harness.Fin|harness.OpText, []byte("{")), 1000), "20 errors, then ")
		})
	}},
	{"20 messages of 1 MiB of brackets", 384, func(s *siege) string {
		return s.each(20, 4, func(int) string {
			return s.told(largePath, harness.AppendFrame(nil, harness.Fin|harness.OpText, bytes.Repeat([]byte("["), 1<<20)), "answered: ")
		})
	}},
	{"5 sockets that ask 1,000 questions at once each", 384, func(s *siege) string {
		return s.each(5, 5, func(i int) string {
			return s.with(honestPath, func(r *harness.Raw) string { return askMany(r, 1000) })
		})
	}},
	{"500 sockets of a user who has as many as max_connections lets one have", 384, func(s *siege) string {
		const most = 10
		for range most {
			r, err := harness.DialRaw(s.Caddy, limitedPath+"?user=mallory")
			if err != nil {
				return err.Error()
			}
			defer r.Reset()
		}
		return s.each(500, 32, func(int) string {
			return s.with(limitedPath+"?user=mallory", func(*harness.Raw) string { return "let in" })
		})
	}},
	{"a user who asks 1,000 questions, one after the other, where rate is 5/1h", 384, func(s *siege) string {
		return s.with(limitedPath+"?user=mallet", func(r *harness.Raw) string {
			outcomes := map[string]int{}
			for range 1000 {
				if err := r.Say(`{"action":"assistant_message","payload":"again","ref":"x"}`); err != nil {
					return err.Error()
				}
				outcomes[untilAnswer(r)]++
			}
			return fmt.Sprintf("%d answered, %d refused as rate_limited", outcomes["answered"], outcomes["rate_limited"])
		})
	}},
	{"an anonymous client that creates 10,000 conversations, where write_rate is the default, while another has one", 384, func(s *siege) string {
		return s.with(limitedPath, func(r *harness.Raw) string {
			outcomes := map[string]int{}
			for range 10_000 {
				if err := r.Say(`{"action":"create_conversation","ref":"x"}`); err != nil {
					return err.Error()
				}
				m, err := r.Receive()
				if err != nil {
					return err.Error()
				}
				var p struct{ Reason string }
				_ = json.Unmarshal(m.Payload, &p)
				outcomes[m.Action+p.Reason]++
			}
			if created := outcomes["conversation_created"]; created < 20 || created > 100 || created+outcomes["errorrate_limited"] != 10_000 {
				return fmt.Sprint(outcomes)
			}
			return "20 created, and one more each second; the rest refused as rate_limited"
		})
	}},
	{"2,000 attempts at another user's conversation, and at ones that do not exist", 384, func(s *siege) string {
		foreign, err := createAs(s.Caddy, "alice")
		if err != nil {
			return err.Error()
		}
		return s.each(20, 20, func(i int) string {
			return s.with(honestPath+"?user=mallory", func(r *harness.Raw) string {
				return intrude(r, []string{foreign, "00000000-0000-4000-8000-000000000000"}, 100)
			})
		})
	}},
	{"50 sockets that subscribe and unsubscribe while an answer streams, 100 times each", 384, stormOfResumes},
}

// untilCut waits until the server has ended a connection.
func untilCut(r *harness.Raw) string {
	if _, err := io.Copy(io.Discard, r.Reader); errors.Is(err, os.ErrDeadlineExceeded) {
		return "nothing"
	}
	return "cut after Caddy's read_header (1 min by default; 1 s here)"
}

// suffix is what else happened, where something did.
func suffix(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// drip writes a byte every 100 ms.
func drip(w io.Writer, data []byte) {
	for i := range data {
		if _, err := w.Write(data[i : i+1]); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// with opens a socket, and returns what f says.
func (s *siege) with(path string, f func(r *harness.Raw) string, fields ...string) string {
	r, err := harness.DialRaw(s.Caddy, path, fields...)
	if err != nil {
		return err.Error()
	}
	defer r.Reset()
	return f(r)
}

// gone opens a socket, does f beside, and waits until the server has given the session up. That is in the
// server's log: a client that does not read cannot tell.
func (s *siege) gone(path string, f func(r *harness.Raw), outcome string) string {
	return s.with(path, func(r *harness.Raw) string {
		ended := make(chan struct{})
		go func() { defer close(ended); f(r) }()
		defer func() { _ = r.SetDeadline(time.Now()); <-ended }()
		if err := s.sessionEnded(r.LocalAddr().String()); err != nil {
			return err.Error()
		}
		return outcome
	})
}

// sessionEnded waits for the line of a session in the log.
func (s *siege) sessionEnded(address string) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(harness.Patience); ; {
		for line := range strings.Lines(s.Logs.Since(s.logged)) {
			if strings.Contains(line, `"session ended"`) && strings.Contains(line, `"`+address+`"`) {
				return nil
			}
		}
		select {
		case <-poll.C:
		case <-deadline:
			return errors.New("the session does not end")
		}
	}
}

// told opens a socket, sends data, and returns how it ended or what it was answered first after prefix.
func (s *siege) told(path string, data []byte, prefix string, fields ...string) string {
	return s.with(path, func(r *harness.Raw) string {
		go func() { _, _ = r.Write(data) }()
		if strings.HasPrefix(prefix, "answered") {
			m, err := r.Receive()
			return prefix + m.Action + suffix(err)
		}
		return prefix + ending(r)
	}, fields...)
}

// fragments is a text message in frames of one byte.
func fragments(text []byte) (frames []byte) {
	for i := range text {
		first := byte(harness.OpContinuation)
		if i == 0 {
			first = harness.OpText
		}
		if i == len(text)-1 {
			first |= harness.Fin
		}
		frames = harness.AppendFrame(frames, first, text[i:i+1])
	}
	return frames
}

// bombs is a case of messages that are larger than the limit only when they are inflated.
func bombs(path string) func(s *siege) string {
	return func(s *siege) string {
		bomb := harness.AppendFrame(nil, harness.Fin|harness.Rsv1|harness.OpText, deflate(32<<20))
		return s.each(100, 20, func(int) string {
			return s.told(path, bomb, "", "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover")
		})
	}
}

// deflate is that many spaces, compressed.
func deflate(n int) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = io.CopyN(w, spaces{}, int64(n))
	_ = w.Flush()
	return b.Bytes()
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// askMany asks n questions without waiting, of which the server need take nine: one that is answered and
// eight that wait. It returns what happened to them.
func askMany(r *harness.Raw, n int) string {
	go func() {
		for i := range n {
			_ = r.Say(fmt.Sprintf(`{"action":"assistant_message","payload":"question %d","ref":"%d"}`, i, i))
		}
	}()
	answered, busy := 0, 0
	for answered+busy < n {
		m, err := r.Receive()
		switch {
		case err != nil:
			return err.Error()
		case m.Action == "complete_streaming":
			answered++
		case m.Action == "error" && strings.Contains(string(m.Payload), `"busy"`):
			busy++
		case m.Action == "error":
			return string(m.Payload)
		}
	}
	if answered < 9 || busy == 0 {
		return fmt.Sprintf("%d answered, %d refused", answered, busy)
	}
	return "as many answered as may wait, the rest refused as busy"
}

// untilAnswer reads what becomes of a question: "answered", or why not.
func untilAnswer(r *harness.Raw) string {
	for {
		m, err := r.Receive()
		switch {
		case err != nil:
			return err.Error()
		case m.Action == "complete_streaming":
			return "answered"
		case m.Action == "error":
			var p struct{ Reason string }
			_ = json.Unmarshal(m.Payload, &p)
			return p.Reason
		}
	}
}

// createAs makes a stored conversation with a question, and returns its id.
func createAs(c *harness.Caddy, user string) (id string, err error) {
	r, err := harness.DialRaw(c, honestPath+"?user="+user)
	if err != nil {
		return "", err
	}
	defer r.Close()
	return newConversation(r)
}

// intrude tries every verb on conversations that are not the user's. All must be refused alike.
func intrude(r *harness.Raw, ids []string, n int) string {
	verbs := []string{
		`{"action":"subscribe","topic":"conversation:%s","ref":"x"}`,
		`{"action":"send_message","topic":"conversation:%s","ref":"x","payload":{"content":"mine?"}}`,
		`{"action":"stop_streaming","topic":"conversation:%s","ref":"x"}`,
		`{"action":"list_messages","ref":"x","payload":{"conversation_id":"%s"}}`,
		`{"action":"rename_conversation","ref":"x","payload":{"conversation_id":"%s","title":"mine"}}`,
		`{"action":"delete_conversation","ref":"x","payload":{"conversation_id":"%s"}}`,
	}
	for i := range n {
		if err := r.Say(fmt.Sprintf(verbs[i%len(verbs)], ids[i/len(verbs)%len(ids)])); err != nil {
			return err.Error()
		}
		m, err := r.Receive()
		want := "unknown_topic"
		if i%len(verbs) > 2 {
			want = "not_found"
		}
		if err != nil || m.Action != "error" || !strings.Contains(string(m.Payload), want) {
			return fmt.Sprintf("%s %s %v", m.Action, m.Payload, err)
		}
	}
	return "refused alike: unknown_topic or not_found"
}

// stormOfResumes lets sockets come and go in one conversation while its answer streams: each ends with the
// whole text.
func stormOfResumes(s *siege) string {
	id, err := createAs(s.Caddy, "storm")
	if err != nil {
		return err.Error()
	}
	asker, err := harness.DialRaw(s.Caddy, honestPath+"?user=storm")
	if err != nil {
		return err.Error()
	}
	defer asker.Reset()
	f := newFollower(id, asker)
	if err = f.subscribe(); err == nil {
		err = f.send("slow", "slow")
	}
	if err != nil {
		return err.Error()
	}
	outcome := make(chan string, 1)
	go func() { outcome <- wholeAnswer(f) }()
	all := s.each(50, 50, func(int) string {
		return s.with(honestPath+"?user=storm", func(r *harness.Raw) string {
			f := newFollower(id, r)
			for range 100 {
				if err := f.subscribe(); err != nil {
					return err.Error()
				}
				if err := f.unsubscribe(); err != nil {
					return err.Error()
				}
			}
			if err := f.subscribe(); err != nil {
				return err.Error()
			}
			return wholeAnswer(f)
		})
	})
	if own := <-outcome; own != all {
		return "the asker: " + own
	}
	return all
}

// wholeAnswer waits for the answer to "slow".
func wholeAnswer(f *follower) string {
	if err := f.untilAnswered(); err != nil {
		return err.Error()
	}
	if f.last().Content != strings.Join(slowPieces(), "") {
		return "another text"
	}
	return "every text whole, no seq missing or twice"
}

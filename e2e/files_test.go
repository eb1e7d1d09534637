package e2e

import (
	"bytes"
	"compress/zlib"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	_ "modernc.org/sqlite" // to look into the store
)

// storedFiles is an assistant that takes files, whose unused ones go soon.
const storedFiles = `
	assistant /ws/assistants/* {
		store sqlite {$HOME}/chat/chat.db
		user {query.user}
		files {
			upload_window 1s
			quota 0
			rate 1000/1m
		}
		provider openai {
			base_url {$UPSTREAM}
			accepts image
			max_retries 0
		}
	}
`

// pngOf is a PNG of that size without a pixel that is not zero.
func pngOf(width, height, depth int) []byte {
	var pixels bytes.Buffer
	w := zlib.NewWriter(&pixels)
	line := make([]byte, 1+width*4*depth/8)
	for range height {
		_, _ = w.Write(line)
	}
	_ = w.Close()
	b := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(name string, data []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		start := len(b)
		b = append(append(b, name...), data...)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
	}
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(width)), uint32(height))
	chunk("IHDR", append(head, byte(depth), 6, 0, 0, 0))
	chunk("IDAT", pixels.Bytes())
	chunk("IEND", nil)
	return b
}

// count counts rows of the store's file, behind the server's back.
func count(t *testing.T, c *harness.Caddy, table string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(c.Home, "chat/chat.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFilesSurvive: kill -9 in the middle of uploads stores each whole or not at all; one that was stored can be asked about
// after it, and what no question uses is gone after its time, with all of its bytes.
func TestFilesSurvive(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces(fmt.Sprint(bytes.Count(call.Body, []byte("data:image/png;base64,"))), " images")
		call.Finish()
	})
	site := strings.Replace(storedFiles, "{$UPSTREAM}", upstream.URL, 1)
	c := harness.Start(t, harness.Site(strings.Replace(site, "upload_window 1s", "upload_window 1h", 1)))
	data := pngOf(2000, 1500, 8)
	var stored []string
	for range 3 {
		if status, id := c.Upload("/ws/assistants/files", data); status != http.StatusUnauthorized {
			t.Errorf("without a user: %d %s", status, id)
		}
		status, id := c.Upload("/ws/assistants/files?user=ann", data)
		if status != http.StatusCreated {
			t.Fatalf("%d %s", status, id)
		}
		stored = append(stored, id)
	}
	// Some uploads are on their way, one has sent half of its body.
	half, err := net.Dial("tcp", strings.TrimPrefix(c.URL(""), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = half.Close() }()
	fmt.Fprintf(half, "POST /ws/assistants/files?user=ann HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", strings.TrimPrefix(c.URL(""), "http://"), len(data))
	_, _ = half.Write(data[:len(data)/2])
	outcomes := make(chan string, 20)
	for range cap(outcomes) {
		go func() {
			status, id := c.Upload("/ws/assistants/files?user=ann", data)
			if status != http.StatusCreated {
				id = ""
			}
			outcomes <- id
		}()
	}
	stored = append(stored, <-outcomes)
	c.Kill(t)
	for range cap(outcomes) - 1 {
		if id := <-outcomes; id != "" {
			stored = append(stored, id)
		}
	}
	for _, id := range stored {
		res, body := c.Get(t, "/ws/assistants/files/"+id+"?user=ann")
		if res.StatusCode != http.StatusOK || int64(len(body)) != res.ContentLength || len(body) < 1000 {
			t.Errorf("%s: %d, %d bytes", id, res.StatusCode, len(body))
		}
	}
	// Asked about after the crash.
	client := harness.DialPath(t, c, "/ws/assistants/?user=ann")
	v := open(t, client, client.Create())
	v.send("send_message", fmt.Sprintf(`{"content":"What?","parts":[{"type":"image","file_id":%q}]}`, stored[0]))
	if got := harness.Answer(v.Until("complete_streaming")); got != "1 images" {
		t.Errorf("answered %q", got)
	}
	// With a window of a second all that is not used goes.
	c.Reload(t, harness.Site(site))
	deadline := time.Now().Add(harness.Patience)
	for count(t, c, "file") != 1 && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
	}
	pieces := count(t, c, "file_piece JOIN file ON id = file_id")
	if files, all := count(t, c, "file"), count(t, c, "file_piece"); files != 1 || all != pieces {
		t.Errorf("%d files are left, want 1; %d pieces, %d of files", files, all, pieces)
	}
	if res, _ := c.Get(t, "/ws/assistants/files/"+stored[0]+"?user=ann"); res.StatusCode != http.StatusOK {
		t.Errorf("the file that is used: %d", res.StatusCode)
	}
}

// TestUploadMemory: what is refused costs next to nothing, what is taken a bounded amount, however many come at once.
func TestUploadMemory(t *testing.T) {
	upstream := harness.NewUpstream(t, func(call *harness.Call) { call.Finish() })
	c := harness.Start(t, harness.Site(storedFiles), "UPSTREAM="+upstream.URL)
	for _, test := range []struct {
		what   string
		data   []byte
		status int
		reason string
		times  int
		peak   int // MiB
	}{
		{"a PNG of 40 megapixels", pngOf(8000, 5000, 8), http.StatusUnprocessableEntity, "file_invalid", 32, 160},
		{"a text of 11 MiB", bytes.Repeat([]byte("text"), 11<<18), http.StatusRequestEntityTooLarge, "file_too_large", 32, 600},
		{"a ZIP with a JPEG's head", append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), bytes.Repeat([]byte("PK\x03\x04"), 1<<18)...), http.StatusUnprocessableEntity, "file_invalid", 32, 600},
		{"a PNG of 25 megapixels", pngOf(5000, 5000, 8), http.StatusCreated, "", 8, 700},
		{"a text of 10 MiB", bytes.Repeat([]byte("text"), 10<<18), http.StatusCreated, "", 8, 700},
	} {
		c.ForgetPeak(t)
		outcomes := make(chan string, test.times)
		for range test.times {
			go func() {
				res, err := http.Post(c.URL("/ws/assistants/files?user=ann"), "", io.MultiReader(bytes.NewReader(test.data))) // chunked
				if err != nil {
					outcomes <- err.Error()
					return
				}
				defer func() { _ = res.Body.Close() }()
				var body struct{ Reason string }
				_ = json.NewDecoder(res.Body).Decode(&body)
				outcomes <- fmt.Sprint(res.StatusCode, " ", body.Reason)
			}()
		}
		seen := map[string]int{}
		for range test.times {
			seen[<-outcomes]++
		}
		peak := c.Peak(t) >> 20
		t.Logf("%d times %s of %d bytes at once: %v, peak %d MiB", test.times, test.what, len(test.data), seen, peak)
		if want := fmt.Sprint(test.status, " ", test.reason); seen[want] != test.times || peak > test.peak {
			t.Errorf("%s: %v, want %q; peak %d MiB, want at most %d", test.what, seen, want, peak, test.peak)
		}
	}
}

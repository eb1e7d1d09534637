package conversation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/brokertest"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/clustertest"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/limits"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// eyes is a model that takes everything. It answers with the names of what it has got, and how many bytes of each.
type eyes struct{ assistanttest.Model }

func (eyes) Accepts(assistant.Parts) bool { return true }

func newEyes() eyes {
	return eyes{func(_ context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
		said := ""
		for _, turn := range req.Turns {
			for _, part := range turn.Parts {
				if ids := (assistant.Parts{part}).FileIDs(); ids != nil {
					said += fmt.Sprintf("%s %t, ", assistant.Mention(part), len(req.Files[ids[0]]) > 0)
				} else if turn.Role == assistant.RoleUser {
					said += (assistant.Parts{part}).Text() + ", "
				}
			}
		}
		_ = yield(assistant.Delta{Text: said + "."}) && yield(assistanttest.Finished)
		return nil
	}}
}

func picture(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var ann = assistant.Peer{User: "ann"}

// upload uploads an image of ann's.
func (w *world) upload(name string) assistant.Part {
	w.t.Helper()
	f, err := w.hub.Using().Upload(w.t.Context(), ann, name, picture(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	return f.Part()
}

// askWith asks with files, and returns the answer's text, or what came instead.
func (w *world) askWith(m *mouth, text string, files ...assistant.Part) string {
	w.t.Helper()
	w.asked++
	r, err := w.c.Do(w.t.Context(), assistant.Ask{Asker: assistant.Asker{From: assistant.RequestKey{Mouth: 1, N: w.asked}, Peer: ann}, Text: text, Parts: files})
	if err != nil {
		return string(assistant.Describe(err).Reason)
	}
	synctest.Wait()
	m.read(100)
	for _, e := range m.events {
		if failed, ok := e.Body.(assistant.Failed); ok && e.Run == r.Run {
			return string(failed.Reason)
		}
	}
	return m.texts[r.Run]
}

func newFilesWorld(t *testing.T, p assistant.Provider) (*world, *mouth) {
	t.Helper()
	w := newWorld(t, memory.Open(memory.Config{}), conversation.Config{Provider: p, Files: conversation.Files{On: true}, ContextFiles: 2})
	m := newMouth(t)
	m.follow(w.c)
	return w, m
}

// TestFilesReachTheModel holds that the model gets the question's images and the newest ones before it, of the others the
// names, and that they are there for each step, for a regenerated answer and after a reload from the store.
func TestFilesReachTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newFilesWorld(t, newEyes())
		defer w.c.Close()
		for _, step := range []struct {
			files []string
			want  string
		}{
			{[]string{"a", "b", "c"}, "[image: a] true, [image: b] true, [image: c] true, What?, ."},
			{nil, "[image: a], [image: b] true, [image: c] true, What?, ."},
			{[]string{"d"}, "[image: a], [image: b] true, [image: c] true, What?, [image: d] true, What?, ."},
			{nil, "[image: a], [image: b], [image: c] true, What?, [image: d] true, What?, ."},
		} {
			var files []assistant.Part
			for _, name := range step.files {
				files = append(files, w.upload(name))
			}
			if got := w.askWith(m, "What?", files...); got != step.want {
				t.Errorf("the model got %q, want %q", got, step.want)
			}
		}
		messages, _, err := w.hub.Messages(t.Context(), "ann", w.id, "", 100)
		if err != nil || len(messages) != 8 || messages[0].Content != "What?" || len(messages[0].Parts) != 4 || messages[0].Parts[3].Type() != "text" {
			t.Errorf("%d messages: %v", len(messages), err)
		}
		// A file that is gone or used by another question is refused, and nothing is stored.
		used := messages[0].Parts[0]
		for _, file := range []assistant.Part{used, assistant.ImagePart{FileID: assistant.NewID()}} {
			if got := w.askWith(m, "Again?", file); got != "file_unknown" {
				t.Errorf("asked with a file that is gone or used: %q", got)
			}
		}
		if messages, _, _ := w.hub.Messages(t.Context(), "ann", w.id, "", 100); len(messages) != 8 {
			t.Errorf("%d messages", len(messages))
		}
	})
}

// TestTitleOfFile holds that a conversation whose first question has no text is named by the file.
func TestTitleOfFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newFilesWorld(t, newEyes())
		defer w.c.Close()
		w.askWith(m, "", w.upload("holiday.jpg"))
		if c, err := w.store.Conversation(t.Context(), "ann", w.id); err != nil || c.Title != "holiday.jpg" {
			t.Errorf("it is named %q: %v", c.Title, err)
		}
	})
}

// TestUnsupportedFiles holds that a question that no provider takes is refused before anything is stored, also one that an
// earlier configuration took; a conversation with images goes on with a model that takes none.
func TestUnsupportedFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newFilesWorld(t, newEyes())
		defer w.c.Close()
		w.askWith(m, "What?", w.upload("a"))
		blind := conversation.New(w.hub, conversation.Config{Provider: newEyes().Model, Files: conversation.Files{On: true}})
		w.hub.Use(blind)
		unused := w.upload("b")
		if got := w.askWith(m, "And this?", unused); got != "content_unsupported" {
			t.Errorf("asked with an image: %q", got)
		}
		w.asked++
		r, err := w.c.Do(t.Context(), assistant.Regenerate{Asker: assistant.Asker{From: assistant.RequestKey{Mouth: 1, N: w.asked}, Peer: ann}})
		synctest.Wait()
		m.read(100)
		if err != nil || m.texts[r.Run] != "" {
			t.Errorf("regenerated: %q, %v", m.texts[r.Run], err)
		}
		if messages, _, _ := w.hub.Messages(t.Context(), "ann", w.id, "", 100); len(messages) != 2 || messages[1].Status != assistant.StatusComplete {
			t.Errorf("the conversation has %d messages", len(messages))
		}
		if got := w.askWith(m, "And without?"); !strings.Contains(got, "[image: a]") {
			t.Errorf("a model without images: %q", got)
		}
		if _, err := w.hub.File(t.Context(), "ann", unused.(assistant.ImagePart).FileID); err != nil {
			t.Errorf("the file of the refused question: %v", err)
		}
		if info := blind.FilesInfo(ann); slices.Contains(info.Types, "image/png") || !slices.Contains(info.Types, "text/csv") {
			t.Errorf("clients are told %v", info.Types)
		}
	})
}

// TestOwnFiles holds that the files of a connection's own conversation are in memory, and never more than allowed.
func TestOwnFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := conversation.NewHub(memory.Open(memory.Config{}), nil)
		conversation.New(hub, conversation.Config{Provider: newEyes(), Files: conversation.Files{On: true, Anonymous: true, InMemory: 1000}})
		ctx, cancel := context.WithCancel(t.Context())
		c := hub.OpenOwn(ctx, "")
		m := newMouth(t)
		m.follow(c)
		n := uint64(0)
		ask := func(name string, size int) (string, error) {
			n++
			file := assistant.ImagePart{FileID: assistant.NewID(), MediaType: "image/png", Name: name}
			r, err := c.Do(ctx, assistant.Ask{Asker: assistant.Asker{From: assistant.RequestKey{Mouth: 1, N: n}}, Text: "?", Parts: assistant.Parts{file}, Data: map[string][]byte{file.FileID: make([]byte, size)}})
			synctest.Wait()
			m.read(100)
			return m.texts[r.Run], err
		}
		for _, step := range []struct {
			name string
			size int
			want string
		}{
			{"a", 400, "[image: a] true, ?, ."},
			{"b", 400, "[image: a] true, ?, [image: b] true, ?, ."},
			{"c", 400, "[image: a] false, ?, [image: b] true, ?, [image: c] true, ?, ."},
			{"d", 1000, "[image: a] false, ?, [image: b] false, ?, [image: c] false, ?, [image: d] true, ?, ."},
		} {
			if got, err := ask(step.name, step.size); got != step.want || err != nil {
				t.Errorf("the model got %q, want %q: %v", got, step.want, err)
			}
		}
		c.Close()
		cancel()
		closeHub(t, hub)
	})
}

// TestOwnFilesThatWait holds that questions that wait keep no more than allowed either.
func TestOwnFilesThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := conversation.NewHub(memory.Open(memory.Config{}), nil)
		slow := eyes{func(ctx context.Context, _ assistant.Request, _ func(assistant.Delta) bool) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}
		conversation.New(hub, conversation.Config{Provider: slow, Files: conversation.Files{On: true, Anonymous: true, InMemory: 1000}})
		ctx, cancel := context.WithCancel(t.Context())
		c := hub.OpenOwn(ctx, "")
		var outcomes []string
		for n := range uint64(4) {
			file := assistant.ImagePart{FileID: assistant.NewID()}
			_, err := c.Do(ctx, assistant.Ask{Asker: assistant.Asker{From: assistant.RequestKey{Mouth: 1, N: n + 1}}, Text: "?", Parts: assistant.Parts{file}, Data: map[string][]byte{file.FileID: make([]byte, 400)}})
			synctest.Wait()
			if outcomes = append(outcomes, "accepted"); err != nil {
				outcomes[n] = string(assistant.Describe(err).Reason)
			}
		}
		if want := []string{"accepted", "accepted", "accepted", "busy"}; !slices.Equal(outcomes, want) { // the first one is being answered
			t.Errorf("got %v, want %v", outcomes, want)
		}
		c.Close()
		cancel()
		closeHub(t, hub)
	})
}

// TestFilesAreSwept holds that what no question uses goes after its time, and what one uses stays.
func TestFilesAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newFilesWorld(t, newEyes())
		defer w.c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w.hub.SweepFiles(ctx)
		used, unused := w.upload("a").(assistant.ImagePart), w.upload("b").(assistant.ImagePart)
		w.askWith(m, "What?", used)
		isThere := func(p assistant.ImagePart) bool {
			_, err := w.hub.File(t.Context(), "ann", p.FileID)
			return err == nil
		}
		time.Sleep(59 * time.Minute)
		if synctest.Wait(); !isThere(unused) {
			t.Error("an unused file is gone before its time")
		}
		time.Sleep(3 * time.Minute)
		if synctest.Wait(); isThere(unused) || !isThere(used) {
			t.Errorf("after an hour the unused file is there: %v, the used one: %v", isThere(unused), isThere(used))
		}
	})
}

// TestExportAndErase holds that what a user has sent is exported with the conversations, and is erased with them and with
// what no question uses.
func TestExportAndErase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newFilesWorld(t, newEyes())
		defer w.c.Close()
		used, unused := w.upload("a").(assistant.ImagePart), w.upload("b").(assistant.ImagePart)
		w.askWith(m, "What?", used)
		var lines []string
		for whole, err := range w.hub.Export(t.Context(), "ann") {
			if err != nil {
				t.Fatal(err)
			}
			line, err := json.Marshal(whole)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, string(line))
		}
		var file conversation.WholeFile
		if len(lines) != 2 || !strings.Contains(lines[0], `"file_id":"`+used.FileID) || json.Unmarshal([]byte(lines[1]), &file) != nil {
			t.Fatalf("exported %q", lines)
		}
		if file.ID != used.FileID || file.ConversationID != w.id || file.Name != "a" || int64(len(file.Data)) != used.Size || !bytes.HasPrefix(file.Data, []byte("\xff\xd8")) {
			t.Errorf("exported the file %s of %d bytes, want %s of %d", file.ID, len(file.Data), used.FileID, used.Size)
		}
		if n, err := w.hub.Erase(t.Context(), "ann"); n != 1 || err != nil {
			t.Errorf("erased %d: %v", n, err)
		}
		for _, p := range []assistant.ImagePart{used, unused} {
			if _, err := w.hub.File(t.Context(), "ann", p.FileID); assistant.Describe(err).Reason != assistant.ReasonFileUnknown {
				t.Errorf("after the erasure %s: %v", p.Name, err)
			}
		}
	})
}

// TestUploads holds who may upload what, and that the observer learns of it.
func TestUploads(t *testing.T) {
	hub := conversation.NewHub(memory.Open(memory.Config{}), nil)
	defer closeHub(t, hub)
	seen := &uploads{}
	a := conversation.New(hub, conversation.Config{Provider: newEyes(), Observer: seen, Files: conversation.Files{
		On: true, MaxSize: 1000, Quota: 1500, Rate: limits.Rate{Count: 2, Per: time.Hour},
	}})
	text := func(n int) []byte { return bytes.Repeat([]byte("a"), n) }
	for _, test := range []struct {
		name string
		data []byte
		want assistant.Reason
	}{
		{"a.txt", text(1000), ""},
		{"a.txt", text(1001), assistant.ReasonFileTooLarge},
		{"b.txt", text(501), assistant.ReasonQuotaExceeded},
		{"b.txt", text(500), ""},
		{"c.svg", []byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), assistant.ReasonFileType},
		{"d.png", picture(t)[:40], assistant.ReasonFileInvalid},
		{strings.Repeat("x", 256), text(1), assistant.ReasonNameInvalid},
		{"a\nb", text(1), assistant.ReasonNameInvalid},
		{"a\u202egpj.exe", text(1), assistant.ReasonNameInvalid},
		{"../a", text(1), assistant.ReasonNameInvalid},
		{`a\b`, text(1), assistant.ReasonNameInvalid},
	} {
		_, err := a.Upload(t.Context(), ann, test.name, test.data)
		if got := reasonOf(err); got != test.want {
			t.Errorf("%q of %d bytes: %q, want %q", test.name, len(test.data), got, test.want)
		}
		if got := seen.last; got != fmt.Sprint(test.want, len(test.data)) {
			t.Errorf("%q: the observer has seen %q", test.name, got)
		}
	}
	for n, want := range []assistant.Reason{"", "", assistant.ReasonRateLimited} {
		if got := reasonOf(a.CountUpload(ann)); got != want {
			t.Errorf("upload %d: %q", n, got)
		}
	}
	if got := reasonOf(a.CountUpload(assistant.Peer{User: "bob"})); got != "" {
		t.Errorf("another's upload: %q", got)
	}
	if got := reasonOf(a.MayUpload(assistant.Peer{})); got != assistant.ReasonUnauthorized || a.FilesInfo(assistant.Peer{}) != nil {
		t.Errorf("an anonymous client: %q", got)
	}
	off := conversation.New(hub, conversation.Config{Provider: newEyes()})
	if got := reasonOf(off.MayUpload(ann)); got != assistant.ReasonContentUnsupported || off.FilesInfo(ann) != nil {
		t.Errorf("where files are off: %q", got)
	}
}

func reasonOf(err error) assistant.Reason {
	if err == nil {
		return ""
	}
	return assistant.Describe(err).Reason
}

type uploads struct {
	assistant.NoObserver

	last string
}

func (u *uploads) Uploaded(refused assistant.Reason, bytes int) { u.last = fmt.Sprint(refused, bytes) }

// TestStoreWithoutFiles holds that a store that keeps none says so.
func TestStoreWithoutFiles(t *testing.T) {
	hub := conversation.NewHub(struct{ assistant.Store }{memory.Open(memory.Config{})}, nil)
	defer closeHub(t, hub)
	a := conversation.New(hub, conversation.Config{Provider: newEyes(), Files: conversation.Files{On: true}})
	if _, err := a.Upload(t.Context(), ann, "a.txt", []byte("Hi")); reasonOf(err) != assistant.ReasonContentUnsupported {
		t.Errorf("got error %v", err)
	}
	if _, err := hub.Erase(t.Context(), "ann"); err != nil {
		t.Errorf("erase: %v", err)
	}
}

// TestNodesCarryFiles holds that a file that was uploaded at one node can be asked about at another, which forwards the
// question to a third.
func TestNodesCarryFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, db: clustertest.NewDatabase(), bus: brokertest.NewBus(), seen: map[assistant.Cursor]string{}}
		busy := true
		model := eyes{func(ctx context.Context, req assistant.Request, yield func(assistant.Delta) bool) error {
			if busy { // so that its node holds the conversation
				busy = false
				select {
				case <-time.After(time.Minute):
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return newEyes().Model(ctx, req, yield)
		}}
		for range 3 {
			c.add(conversation.Config{Provider: model, Files: conversation.Files{On: true}})
		}
		c.create()
		holder, asks := c.nodes[0].tab(nil), c.nodes[1].tab(nil)
		ask := func(tab *tab, n uint64, text string, files ...assistant.Part) string {
			r, err := tab.c.Do(t.Context(), assistant.Ask{Asker: assistant.Asker{From: assistant.RequestKey{Mouth: tab.mouth, N: n}, Peer: ann}, Text: text, Parts: files})
			if err != nil {
				t.Fatal(err)
			}
			return r.Run
		}
		ask(holder, 1, "Wait.")
		time.Sleep(time.Second)
		f, err := c.nodes[2].hub.Using().Upload(t.Context(), ann, "a.png", picture(t))
		if err != nil {
			t.Fatal(err)
		}
		run := ask(asks, 2, "What?", f.Part())
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		messages, _, err := c.nodes[2].hub.Messages(t.Context(), "ann", c.id, "", 10)
		if err != nil || len(messages) != 4 {
			t.Fatalf("%d messages: %v", len(messages), err)
		}
		if got := messages[3]; got.ID != run || got.Content != "[image: a.png] true, What?, ." {
			t.Errorf("answered %q", got.Content)
		}
		if got := messages[2].Parts; len(got) != 2 || got[0] != f.Part() {
			t.Errorf("the question has %v", got)
		}
		for _, node := range c.nodes {
			if _, _, err := node.hub.OpenFile(t.Context(), "ann", f.ID); err != nil {
				t.Error(err)
			}
		}
	})
}

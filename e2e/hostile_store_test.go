package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// hostileStore is a store that fails while an answer streams, and comes back. Each has a server of its own.
type hostileStore struct {
	input string // a row of the table
	peak  int    // MiB
	store string // subdirective
	// begin runs the server; fail takes the store away, and heal brings it back.
	begin func(o *outage)
	fail  func(o *outage)
	heal  func(o *outage)
	waits bool // what needs the store waits for it instead of being refused
}

var hostileStores = []hostileStore{
	{
		input: "SQLite: the disk is full while an answer streams, then has room again", peak: 384,
		store: "sqlite {$HOME}/disk/chat.db",
		begin: (*outage).onSmallDisk, fail: (*outage).fillDisk, heal: (*outage).emptyDisk,
	},
	{
		input: "SQLite: another process locks the file for writing, for less than five seconds", peak: 384,
		store: "sqlite {$HOME}/chat.db", waits: true,
		begin: (*outage).start, fail: (*outage).lockFile, heal: (*outage).unlockFile,
	},
	{
		input: "PostgreSQL: killed while an answer streams, then started again", peak: 384,
		store: "postgres {env.DSN}",
		begin: (*outage).onPostgres, fail: func(o *outage) { o.postgres.Kill(o.t) }, heal: func(o *outage) { o.postgres.Start(o.t) },
	},
	{
		input: "PostgreSQL: stopped by SIGSTOP while an answer streams, then continued", peak: 384,
		store: "postgres {env.DSN}", waits: true,
		begin: (*outage).onPostgres, fail: func(o *outage) { o.postgres.Pause(o.t) }, heal: func(o *outage) { o.postgres.Resume(o.t) },
	},
}

// outage is one of them while it runs.
type outage struct {
	hostileStore
	*harness.Caddy
	t        *testing.T
	pieces   chan string // of the answer that is under way; closed at its end
	wrap     []string
	env      []string
	postgres *harness.Postgres
	file     *os.File
}

// run lets the store fail in the middle of an answer. Who needs no store is served; the answer is shown
// whole; a question is refused and not kept, or waits. When the store is back questions are answered, and
// it has what was shown.
func (h hostileStore) run(t *testing.T) string {
	o := &outage{hostileStore: h, t: t, pieces: make(chan string)}
	o.begin(o)
	v := create(t, o.Caddy)
	v.Until("snapshot")
	v.send("send_message", `{"content":"told during the outage"}`)
	v.Until("streaming_start")
	shown := o.tell(v, "before; ")

	o.fail(o)
	for range 3 {
		shown += o.tell(v, strings.Repeat("during the outage ", 10_000))
	}
	o.chat() // in a conversation of its own
	if h.waits {
		o.heal(o)
	}
	close(o.pieces)
	happened := "the answer is shown whole"
	for _, f := range v.Until("complete_streaming") {
		if f.Action == "error" && strings.Contains(f.Text, "storage_unavailable") {
			happened += ", its end as failed"
		}
	}
	if !h.waits {
		if refused := o.ask(v, "refused"); refused != "storage_unavailable" {
			t.Errorf("a question during the outage: %s", refused)
		}
		o.chat()
		o.heal(o)
		happened += "; questions refused as storage_unavailable"
	} else {
		happened += "; questions wait"
	}
	for outcome := o.ask(v, "after"); outcome != "answered"; outcome = o.ask(v, "after") {
		if outcome != "storage_unavailable" { // it takes its time to come back
			t.Fatalf("a question after the outage: %s", outcome)
		}
	}
	o.expectStored(v, shown)
	t.Log(happened)
	if peak := o.Peak(t); peak > h.peak<<20 {
		t.Errorf("the process had %d MiB resident, more than %d", peak>>20, h.peak)
	}
	return happened + "; then all is stored as it was shown"
}

// tell lets the model say a piece and returns it when it has been shown.
func (o *outage) tell(v conversation, piece string) string {
	o.t.Helper()
	o.pieces <- piece
	if got := harness.Answer(v.Until("streaming")); got != piece {
		o.t.Errorf("%d bytes were shown, want %d", len(got), len(piece))
	}
	return piece
}

// chat holds that a conversation that is not stored goes on.
func (o *outage) chat() {
	o.t.Helper()
	client := harness.Dial(o.t, o.Caddy)
	defer client.Vanish()
	client.Send(`{"action":"ping"}`)
	client.Until("pong")
	client.Ask("without the store")
	if got := harness.Answer(client.Until("complete_streaming")); got != tale("without the store") {
		o.t.Errorf("a conversation without the store is answered %q", got)
	}
}

// ask asks in the stored conversation and returns "answered" or why not.
func (o *outage) ask(v conversation, question string) string {
	o.t.Helper()
	v.send("send_message", fmt.Sprintf(`{"content":%q}`, question))
	for {
		switch f := v.Next(); f.Action {
		case "error":
			var p struct{ Reason string }
			decode(o.t, f, &p)
			return p.Reason
		case "complete_streaming":
			return "answered"
		}
	}
}

// expectStored waits until the store has the answer as it was shown; what was refused it must not have.
func (o *outage) expectStored(v conversation, shown string) {
	o.t.Helper()
	var items []message
	for deadline := time.Now().Add(harness.Patience); ; {
		items = v.messages()
		if len(items) == 4 && items[1].Status != "streaming" || time.Now().After(deadline) {
			break
		}
	}
	if len(items) != 4 || items[1].Content != shown || items[2].Content != "after" || items[3].Content != tale("after") {
		o.t.Errorf("%d messages are stored, want 4", len(items))
		for _, m := range items {
			o.t.Logf("%s %s, %d bytes: %.60q", m.Role, m.Status, len(m.Content), m.Content)
		}
	}
}

func (o *outage) answer(call *harness.Call) {
	if call.Question() == "told during the outage" {
		for piece := range o.pieces {
			call.Pieces(piece)
		}
		call.Finish()
		return
	}
	answerAny(call)
}

func (o *outage) start() {
	upstream := harness.NewUpstream(o.t, o.answer)
	o.Caddy = harness.StartIn(o.t, o.wrap, models+harness.Site(`
		assistant /ws/assistants/* {
			store `+o.store+`
			user {query.user}
			context 1000000
			max_answer 8000000
			import patient
		}
	`), append(o.env, "UPSTREAM="+upstream.URL)...)
}

// onSmallDisk gives the server a disk of 8 MiB, which only it sees and which goes with it.
func (o *outage) onSmallDisk() { o.onSmallDiskThat("") }

// onSmallDiskThat also runs a command of the shell before the server.
func (o *outage) onSmallDiskThat(command string) {
	o.wrap = []string{"unshare", "--mount"}
	if os.Getuid() != 0 {
		o.wrap = append(o.wrap, "--user", "--map-root-user")
	}
	o.wrap = append(o.wrap, "sh", "-c", `mkdir "$HOME/disk" && mount -t tmpfs -o size=8m tmpfs "$HOME/disk" && `+command+`exec "$@"`, "sh")
	o.start()
}

// onDisk is the server's view of a file on its disk.
func (o *outage) onDisk(name string) string {
	return filepath.Join("/proc", fmt.Sprint(o.Pid()), "root", o.Home, "disk", name)
}

func (o *outage) fillDisk() {
	o.t.Helper()
	f, err := os.Create(o.onDisk("filler"))
	if err != nil {
		o.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		o.t.Fatalf("fill the disk: %v", err)
	}
}

func (o *outage) emptyDisk() {
	o.t.Helper()
	if err := os.Remove(o.onDisk("filler")); err != nil {
		o.t.Fatal(err)
	}
}

// lockFile takes the lock that a writer of SQLite's WAL mode takes (WAL_WRITE_LOCK of walformat.html).
func (o *outage) lockFile() {
	o.t.Helper()
	f, err := os.OpenFile(o.Home+"/chat.db-shm", os.O_RDWR, 0)
	if err != nil {
		o.t.Fatal(err)
	}
	o.file = f
	const tries = 100_000 // the server has it for moments only
	for range tries {
		if err = syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Start: 120, Len: 1}); err == nil {
			return
		}
	}
	o.t.Fatalf("lock the file: %v", err)
}

func (o *outage) unlockFile() { _ = o.file.Close() }

func (o *outage) onPostgres() {
	o.postgres = harness.StartPostgres(o.t)
	o.env = []string{"DSN=" + o.postgres.DSN}
	o.start()
}

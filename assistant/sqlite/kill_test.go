package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/sqlite"
)

// The test binary runs itself as another process on the same file: childTask says what for.
const (
	childTask = "SQLITE_TEST_TASK"
	childPath = "SQLITE_TEST_PATH"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childTask) {
	case "":
		goleak.VerifyTestMain(m)
		return
	case "try":
		err = try(os.Getenv(childPath))
	case "talk":
		err = talk(os.Getenv(childPath))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func child(t *testing.T, task, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"="+task, childPath+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

func try(path string) error {
	s, err := sqlite.Open(context.Background(), sqlite.Config{Path: path})
	if err != nil {
		return err
	}
	fmt.Println("opened")
	return s.Close()
}

// tryInChild opens and closes the file in another process and returns its output.
func tryInChild(t *testing.T, path string) string {
	t.Helper()
	out, err := child(t, "try", path).Output()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Fatal(err)
	}
	return string(out)
}

// talk holds conversations until it is killed. It prints what the store has confirmed, line by line:
//
//	begun <conversation> <answer>
//	extended <conversation> <answer> <pieces>
//	finished <conversation> <answer> <pieces>
//	deleting <conversation>
//	deleted <conversation>
//	counted <number>
func talk(path string) error {
	s, err := sqlite.Open(context.Background(), sqlite.Config{Path: path})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for {
				if err := converse(s); err != nil {
					fmt.Println("error", err)
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.New("ended before it was killed")
}

// text is the first n pieces of every answer.
func text(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d %s;", i, strings.Repeat("é", i*7))
	}
	return b.String()
}

// count counts one conversation of alice's for limits.
func count(ctx context.Context, s *sqlite.Store) error {
	var n int
	err := s.Account(ctx, "alice", func(state []byte, _ time.Time) ([]byte, error) {
		n, _ = strconv.Atoi(string(state))
		n++
		return []byte(strconv.Itoa(n)), nil
	})
	if err == nil {
		fmt.Println("counted", n)
	}
	return err
}

func converse(s *sqlite.Store) error {
	ctx, id := context.Background(), uuid.NewString()
	if err := count(ctx, s); err != nil {
		return err
	}
	if err := s.Create(ctx, "alice", assistant.Conversation{ID: id, CreatedAt: time.Now(), UpdatedAt: time.Now()}); err != nil {
		return err
	}
	last := ""
	for turn := range 4 {
		var err error
		if last, err = answerQuestion(ctx, s, id, last, turn); err != nil {
			return err
		}
	}
	if rand.IntN(2) == 0 {
		return nil
	}
	fmt.Println("deleting", id)
	err := s.Delete(ctx, "alice", id)
	if err == nil {
		fmt.Println("deleted", id)
	}
	return err
}

// answerQuestion has a turn behind the last message, and returns the id of its answer.
func answerQuestion(ctx context.Context, s *sqlite.Store, id, last string, turn int) (string, error) {
	b := assistant.Beginning{
		Last:     last,
		Question: &assistant.Message{ID: uuid.NewString(), Role: assistant.RoleUser, Content: "Question", Status: assistant.StatusComplete, ClientID: fmt.Sprint(turn)},
		Answer:   assistant.Message{ID: uuid.NewString(), Role: assistant.RoleAssistant, Status: assistant.StatusStreaming},
	}
	if err := s.Begin(ctx, claim(id), b); err != nil {
		return "", err
	}
	fmt.Println("begun", id, b.Answer.ID)
	n := rand.IntN(30)
	for i := range n {
		next := assistant.Event{Seq: uint64(i), Kind: assistant.KindPiece, Text: strings.TrimPrefix(text(i+1), text(i))}
		if err := s.Extend(ctx, claim(id), assistant.Extension{MessageID: b.Answer.ID, Events: []assistant.Event{next}}); err != nil {
			return "", err
		}
		fmt.Println("extended", id, b.Answer.ID, i+1)
	}
	b.Answer.Content, b.Answer.Status, b.Answer.FinishReason = text(n), assistant.StatusComplete, assistant.FinishStop
	if err := s.Finish(ctx, claim(id), assistant.Ending{At: time.Now(), Messages: []assistant.Message{b.Answer}}); err != nil {
		return "", err
	}
	fmt.Println("finished", id, b.Answer.ID, n)
	return b.Answer.ID, nil
}

// confirmed is what the store had confirmed to a process before it was killed.
type confirmed struct {
	answers map[string]map[string]answer // conversation → answer
	gone    map[string]bool              // conversation → certainly
	counted int
}

type answer struct {
	pieces   int
	finished bool
}

func (c *confirmed) line(t *testing.T, line string) {
	t.Helper()
	var verb, id, message string
	var pieces int
	_, _ = fmt.Sscan(line, &verb, &id, &message, &pieces)
	switch verb {
	case "begun", "extended", "finished":
		if c.answers[id] == nil {
			c.answers[id] = make(map[string]answer)
		}
		c.answers[id][message] = answer{pieces, verb == "finished"}
	case "deleting", "deleted":
		c.gone[id] = verb == "deleted"
	case "counted":
		n, _ := strconv.Atoi(id)
		c.counted = max(c.counted, n)
	default:
		t.Fatalf("child says %q", line)
	}
}

// killed runs a talking child, kills it at a random moment and adds what was confirmed to it.
func (c *confirmed) killed(t *testing.T, path string) {
	t.Helper()
	cmd := child(t, "talk", path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewReader(out)
	for left := rand.IntN(1500); ; left-- {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		c.line(t, line)
		if left == 0 {
			must(t, cmd.Process.Kill())
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("child was not killed: %v", err)
	}
}

func (c *confirmed) check(t *testing.T, s *sqlite.Store) {
	t.Helper()
	must(t, s.Account(t.Context(), "alice", func(state []byte, _ time.Time) ([]byte, error) {
		if n, _ := strconv.Atoi(string(state)); n < c.counted {
			t.Errorf("%d are counted, %d were confirmed", n, c.counted)
		}
		return state, nil
	}))
	for id, answers := range c.answers {
		page, _, err := s.Messages(t.Context(), "alice", id, "", 100)
		certain, deleting := c.gone[id]
		switch {
		case certain && !errors.Is(err, assistant.ErrNotFound):
			t.Errorf("deleted conversation %s is there: %v", id, err)
		case deleting && errors.Is(err, assistant.ErrNotFound):
		case !certain && err != nil:
			t.Errorf("conversation %s: %v", id, err)
		case !certain:
			checkMessages(t, page, answers)
		}
	}
}

func checkMessages(t *testing.T, page []assistant.Message, answers map[string]answer) {
	t.Helper()
	found := 0
	for i, m := range page {
		if (m.Role == assistant.RoleUser) != (i%2 == 0) {
			t.Errorf("message %d is of role %s", i, m.Role)
		}
		want, ok := answers[m.ID]
		if !ok {
			continue // not confirmed, but stored
		}
		found++
		switch {
		case m.Status == assistant.StatusComplete && m.FinishReason == assistant.FinishStop:
		case m.Status == assistant.StatusInterrupted && m.FinishReason == assistant.FinishInterrupted && !want.finished:
		default:
			t.Errorf("answer %s is %s, finished: %v", m.ID, m.Status, want.finished)
		}
		if !strings.HasPrefix(m.Content, text(want.pieces)) || !strings.HasPrefix(text(31), m.Content) || want.finished && m.Content != text(want.pieces) {
			t.Errorf("answer %s has %d bytes after %d confirmed pieces", m.ID, len(m.Content), want.pieces)
		}
	}
	if found != len(answers) {
		t.Errorf("%d of %d answers", found, len(answers))
	}
}

// What was confirmed survives kill -9, round after round on one file.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chat.db")
	told := &confirmed{answers: make(map[string]map[string]answer), gone: make(map[string]bool)}
	for range 10 {
		told.killed(t, path)
		s := open(t, path) // the lock of the dead does not hold
		told.check(t, s)
		must(t, s.Close())
		checkFile(t, path)
	}
	answers := 0
	for _, a := range told.answers {
		answers += len(a)
	}
	t.Logf("%d conversations, %d answers confirmed", len(told.answers), answers)
	if answers == 0 || told.counted == 0 {
		t.Error("nothing was confirmed")
	}
}

// checkFile looks into the file itself.
func checkFile(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	var verdict string
	must(t, db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict))
	var left, orphans int
	must(t, db.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM message WHERE status = 'streaming') + (SELECT count(*) FROM chunk)").Scan(&left))
	must(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM pragma_foreign_key_check").Scan(&orphans))
	if verdict != "ok" || left != 0 || orphans != 0 {
		t.Errorf("file is %s, with %d rows of streaming answers and %d orphans", verdict, left, orphans)
	}
}

package storetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// TestFiles checks the whole contract of [assistant.Files]. Each call of place makes an empty place. Of one that is not
// durable a store is opened once.
func TestFiles(t *testing.T, isDurable bool, place func(t *testing.T) Place) {
	t.Helper()
	for _, test := range fileTests {
		t.Run(test.name, func(t *testing.T) {
			if test.reopens && !isDurable {
				t.Skip("nothing outlives this store")
			}
			p := place(t)
			f := fileTest{storeTest: newTest(t, p(t)), place: p}
			test.run(&f)
			f.must(f.Close())
		})
	}
}

var fileTests = []struct {
	name    string
	reopens bool
	run     func(*fileTest)
}{
	{"Keep", false, testFileKeep},
	{"Sizes", false, testFileSizes},
	{"Owners", false, testFileOwners},
	{"Use", false, testFileUse},
	{"UseIsWholeOrNot", false, testFileUseIsWhole},
	{"UseOnce", false, testFileUseOnce},
	{"UseOfDropped", false, testFileUseOfDropped},
	{"GoWithMessage", false, testFileGoWithMessage},
	{"DeleteUsed", false, testFileDeleteUsed},
	{"Unused", false, testFileUnused},
	{"Quota", false, testFileQuota},
	{"QuotaTogether", false, testFileQuotaTogether},
	{"UseAndDeleteTogether", false, testFileUseAndDelete},
	{"Reader", false, testFileReader},
	{"Context", false, testFileContext},
	{"Reopen", true, testFileReopen},
}

// fileTest is a store of files under test.
type fileTest struct {
	storeTest

	place Place
}

func (t *fileTest) files() assistant.Files {
	t.Helper()
	files, ok := t.Store.(assistant.Files)
	if !ok {
		t.Fatal("the store keeps no files")
	}
	return files
}

// upload is a file of so many bytes that are not all the same.
func upload(size int) assistant.Upload {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return assistant.Upload{File: assistant.File{
		ID: uuid.NewString(), MediaType: "image/png", Name: odd, Size: int64(size), Width: 800, Height: 600, CreatedAt: at(1),
	}, Data: data}
}

// add stores a file of so many bytes, and returns its id.
func (t *fileTest) add(owner string, size int) string {
	t.Helper()
	u := upload(size)
	t.must(t.files().AddFile(t.Context(), owner, u))
	return u.ID
}

// isThere checks that the owner has these files, all of their bytes, and isGone that nobody has.
func (t *fileTest) isThere(owner string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		f, r, err := assistant.OpenFile(t.Context(), t.files(), owner, id)
		t.must(err)
		data, err := io.ReadAll(r)
		t.must(err)
		if !bytes.Equal(data, upload(int(f.Size)).Data) {
			t.Fatalf("a file of %d bytes came back with other bytes", f.Size)
		}
	}
}

func (t *fileTest) isGone(owner string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, err := t.files().File(t.Context(), owner, id)
		t.want(assistant.ErrNotFound, err)
		piece, err := t.files().FilePiece(t.Context(), owner, id, 0)
		t.want(assistant.ErrNotFound, err)
		if piece != nil {
			t.Fatal("bytes of a file that is gone")
		}
	}
}

// use begins a turn whose question uses files.
func (t *fileTest) use(owner, id, dropFrom string, files ...string) (assistant.Beginning, error) {
	t.Helper()
	b := assistant.Beginning{Question: question("What is this?", uuid.NewString(), 1), Answer: answer(1), DropFrom: dropFrom, Files: files}
	var parts assistant.Parts
	for _, f := range files {
		parts = append(parts, assistant.ImagePart{FileID: f, MediaType: "image/png"})
	}
	b.Question.SetParts(append(parts, text("What is this?")))
	err := t.begin(owner, id, b)
	if err == nil {
		b.Answer = t.finish(owner, id, b.Answer, "A cat.", 1)
	}
	return b, err
}

func testFileKeep(t *fileTest) {
	for _, u := range []assistant.Upload{
		upload(1000),
		{File: assistant.File{ID: uuid.NewString(), MediaType: "application/pdf", Size: 1, Pages: 12, CreatedAt: at(2)}, Data: []byte("x")},
	} {
		t.must(t.files().AddFile(t.Context(), "alice", u))
		got, err := t.files().File(t.Context(), "alice", u.ID)
		t.must(err)
		t.same(got, u.File)
		if err := t.files().AddFile(t.Context(), "bob", u); err == nil {
			t.Fatal("a file was stored twice")
		}
		t.isGone("bob", u.ID)
	}
}

func testFileSizes(t *fileTest) {
	for _, size := range []int{1, assistant.FilePiece - 1, assistant.FilePiece, assistant.FilePiece + 1, 3*assistant.FilePiece + 7} {
		id := t.add("alice", size)
		t.isThere("alice", id)
		for _, n := range []int{size/assistant.FilePiece + 1, 1 << 20} {
			piece, err := t.files().FilePiece(t.Context(), "alice", id, n)
			t.must(err)
			if len(piece) != 0 {
				t.Fatalf("%d bytes behind the end", len(piece))
			}
		}
	}
}

// testFileOwners holds that a file of another's looks as one that is not there, whatever is tried.
func testFileOwners(t *fileTest) {
	id, used := t.add("alice", 10), t.add("alice", 10)
	mine, c := t.create("bob", 1), t.create("alice", 1)
	_, err := t.use("alice", c.ID, "", used)
	t.must(err)
	for _, owner := range []string{"bob", "", "ALICE", "alice "} {
		for _, id := range []string{id, used, uuid.NewString(), "", "'", "\x00"} {
			t.isGone(owner, id)
			t.want(assistant.ErrNotFound, t.files().DeleteFile(t.Context(), owner, id))
		}
	}
	for _, id := range []string{id, used, uuid.NewString()} {
		_, err := t.use("bob", mine.ID, "", id)
		t.want(assistant.ErrFileGone, err)
	}
	t.holds("bob", mine.ID)
	t.isThere("alice", id, used)
}

func testFileUse(t *fileTest) {
	c := t.create("alice", 1)
	a, b := t.add("alice", 300_000), t.add("alice", 5)
	turn, err := t.use("alice", c.ID, "", a, b)
	t.must(err)
	t.holds("alice", c.ID, *turn.Question, turn.Answer)
	t.isThere("alice", a, b)
	again := turn
	t.want(assistant.ErrDuplicate, t.begin("alice", c.ID, again)) // and not that the files are used
	question := *turn.Question
	question.Status = assistant.StatusFailed
	t.must(t.end("alice", c.ID, 2, question))
	t.isThere("alice", a, b)
}

func testFileUseIsWhole(t *fileTest) {
	c := t.create("alice", 1)
	a := t.add("alice", 10)
	for _, missing := range []string{uuid.NewString(), "", t.add("bob", 10)} {
		for _, files := range [][]string{{a, missing}, {missing, a}} {
			_, err := t.use("alice", c.ID, "", files...)
			t.want(assistant.ErrFileGone, err)
			t.holds("alice", c.ID)
		}
	}
	c2, err := t.Conversation(t.Context(), "alice", c.ID)
	t.must(err)
	t.same(c2, c)
	_, err = t.use("alice", c.ID, "", a) // it is still unused
	t.must(err)
}

func testFileUseOnce(t *fileTest) {
	c, other := t.create("alice", 1), t.create("alice", 1)
	a := t.add("alice", 10)
	_, err := t.use("alice", c.ID, "", a)
	t.must(err)
	for _, id := range []string{c.ID, other.ID} {
		_, err = t.use("alice", id, "", a)
		t.want(assistant.ErrFileGone, err)
	}
	t.isThere("alice", a)
}

// testFileUseOfDropped holds that a question may use the files of one that it replaces; the others of that go.
func testFileUseOfDropped(t *fileTest) {
	c := t.create("alice", 1)
	a, b, d := t.add("alice", 10), t.add("alice", 20), t.add("alice", 30)
	first, err := t.use("alice", c.ID, "", a)
	t.must(err)
	second, err := t.use("alice", c.ID, "", b, d)
	t.must(err)
	_, err = t.use("alice", c.ID, second.Question.ID, b, a) // a stays another's
	t.want(assistant.ErrFileGone, err)
	t.isThere("alice", a, b, d)
	third, err := t.use("alice", c.ID, second.Question.ID, b)
	t.must(err)
	t.holds("alice", c.ID, *first.Question, first.Answer, *third.Question, third.Answer)
	t.isThere("alice", a, b)
	t.isGone("alice", d)
	t.must(t.Delete(t.Context(), "alice", c.ID))
	t.isGone("alice", a, b)
}

func testFileGoWithMessage(t *fileTest) {
	kept, deleted, old := t.create("alice", 1), t.create("alice", 1), t.create("alice", 1)
	var files []string
	for _, c := range []assistant.Conversation{kept, deleted, old} {
		id := t.add("alice", 300_000)
		_, err := t.use("alice", c.ID, "", id)
		t.must(err)
		files = append(files, id)
	}
	unused := t.add("alice", 10)
	t.must(t.Delete(t.Context(), "alice", deleted.ID))
	t.isGone("alice", files[1])
	t.isThere("alice", files[0], files[2], unused)
	t.turn("alice", kept.ID, "And this?", "", 100)
	gone, err := t.DeleteBefore(t.Context(), at(50), 10)
	t.must(err)
	t.same(gone, []assistant.Owned{{Owner: "alice", ID: old.ID}})
	t.isGone("alice", files[2])
	t.isThere("alice", files[0], unused)
}

func testFileDeleteUsed(t *fileTest) {
	c := t.create("alice", 1)
	used, unused := t.add("alice", 10), t.add("alice", 10)
	_, err := t.use("alice", c.ID, "", used)
	t.must(err)
	t.want(assistant.ErrFileInUse, t.files().DeleteFile(t.Context(), "alice", used))
	t.must(t.files().DeleteFile(t.Context(), "alice", unused))
	t.isThere("alice", used)
	t.isGone("alice", unused)
	t.want(assistant.ErrNotFound, t.files().DeleteFile(t.Context(), "alice", unused))
}

func testFileUnused(t *fileTest) {
	c := t.create("alice", 1)
	used := t.add("alice", 10)
	_, err := t.use("alice", c.ID, "", used)
	t.must(err)
	unused := []string{t.add("alice", 10), t.add("alice", 10), t.add("alice", 10)}
	of, late := t.add("bob", 10), upload(10)
	late.CreatedAt = at(100)
	t.must(t.files().AddFile(t.Context(), "bob", late))
	count := func(owner string, before, limit, want int) {
		t.Helper()
		n, err := t.files().DeleteUnused(t.Context(), owner, at(before), limit)
		t.must(err)
		if n != want {
			t.Fatalf("%d unused files of %q were deleted, want %d", n, owner, want)
		}
	}
	count("", 1, 10, 0) // stored then, not before
	count("carol", 50, 10, 0)
	count("alice", 50, 2, 2)
	count("alice", 50, 2, 1)
	t.isGone("alice", unused...)
	count("", 50, 10, 1)
	t.isGone("bob", of)
	t.isThere("bob", late.ID)
	count("", 101, 10, 1)
	t.isThere("alice", used)
}

func testFileQuota(t *fileTest) {
	add := func(owner, network string, size int) (string, error) {
		u := upload(size)
		u.Quota, u.Network = 1000, network
		return u.ID, t.files().AddFile(t.Context(), owner, u)
	}
	c := t.create("alice", 1)
	a, err := add("alice", "", 600)
	t.must(err)
	_, err = t.use("alice", c.ID, "", a) // used ones count, too
	t.must(err)
	refused, err := add("alice", "", 401)
	t.want(assistant.ErrQuota, err)
	t.isGone("alice", refused)
	b, err := add("alice", "", 400)
	t.must(err)
	_, err = add("bob", "", 1000)
	t.must(err)
	for _, network := range []string{"192.0.2.1/32", "192.0.2.2/32"} {
		_, err = add("", network, 1000)
		t.must(err)
		_, err = add("", network, 1)
		t.want(assistant.ErrQuota, err)
	}
	t.must(t.files().DeleteFile(t.Context(), "alice", b))
	_, err = add("alice", "", 400)
	t.must(err)
	t.must(t.Delete(t.Context(), "alice", c.ID))
	_, err = add("alice", "", 600)
	t.must(err)
	u := upload(5000) // without a quota
	t.must(t.files().AddFile(t.Context(), "alice", u))
}

// testFileQuotaTogether holds that uploads at the same time do not exceed a quota together.
func testFileQuotaTogether(t *fileTest) {
	var wg sync.WaitGroup
	outcomes := make(chan error, 20)
	for range cap(outcomes) {
		wg.Go(func() {
			u := upload(100)
			u.Quota = 1000
			outcomes <- t.files().AddFile(t.Context(), "alice", u)
		})
	}
	wg.Wait()
	close(outcomes)
	stored := 0
	for err := range outcomes {
		if err == nil {
			stored++
		} else if !errors.Is(err, assistant.ErrQuota) {
			t.Error(err)
		}
	}
	if stored != 10 {
		t.Errorf("%d files of 100 bytes were stored in a quota of 1000", stored)
	}
}

// testFileUseAndDelete holds that of a question that uses a file, and its deletion, one comes first.
func testFileUseAndDelete(t *fileTest) {
	for range 30 {
		c, id := t.create("alice", 1), t.add("alice", 10)
		var wg sync.WaitGroup
		var deleted error
		wg.Go(func() { deleted = t.files().DeleteFile(t.Context(), "alice", id) })
		_, used := t.use("alice", c.ID, "", id)
		wg.Wait()
		switch {
		case used == nil && errors.Is(deleted, assistant.ErrFileInUse):
			t.isThere("alice", id)
		case errors.Is(used, assistant.ErrFileGone) && deleted == nil:
			t.isGone("alice", id)
			t.holds("alice", c.ID)
		default:
			t.Fatalf("used: %v, deleted: %v", used, deleted)
		}
	}
}

func testFileReader(t *fileTest) {
	const size = 2*assistant.FilePiece + 100
	id := t.add("alice", size)
	want := upload(size).Data
	_, r, err := assistant.OpenFile(t.Context(), t.files(), "alice", id)
	t.must(err)
	for _, from := range []int64{size - 5, 0, assistant.FilePiece - 3, assistant.FilePiece, 17, size} {
		_, err := r.Seek(from, io.SeekStart)
		t.must(err)
		got := make([]byte, 10)
		n, err := io.ReadFull(r, got)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		if !bytes.Equal(got[:n], want[from:min(from+10, size)]) {
			t.Fatalf("other bytes from %d on", from)
		}
	}
	end, err := r.Seek(0, io.SeekEnd)
	t.must(err)
	if _, err := r.Seek(-1, io.SeekStart); end != size || err == nil {
		t.Fatalf("the end is at %d, and before the start is %v", end, err)
	}
	_, err = r.Seek(0, io.SeekStart)
	t.must(err)
	sum := sha256.New()
	_, err = io.Copy(sum, r)
	t.must(err)
	if all := sha256.Sum256(want); !slices.Equal(sum.Sum(nil), all[:]) {
		t.Fatal("other bytes")
	}
	t.must(t.files().DeleteFile(t.Context(), "alice", id))
	_, err = r.Seek(0, io.SeekStart)
	t.must(err)
	_, err = io.ReadAll(r)
	t.want(assistant.ErrNotFound, err)
}

// testFileContext holds that a call that ends before its time has stored a file whole or not at all.
func testFileContext(t *fileTest) {
	for n := range 40 {
		u := upload(2*assistant.FilePiece + 1)
		ctx, cancel := t.doomed(n * n)
		err := t.files().AddFile(ctx, "alice", u)
		cancel()
		_, missing := t.files().File(t.Context(), "alice", u.ID)
		switch {
		case err == nil || missing == nil: // its outcome was unknown to the caller
			t.eventuallyWhole(u.ID)
		default:
			t.want(assistant.ErrNotFound, missing)
		}
	}
}

func (t *fileTest) eventuallyWhole(id string) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); {
		if _, err := t.files().File(t.Context(), "alice", id); err == nil {
			t.isThere("alice", id)
			return
		}
	}
	t.Fatal("a file that was stored is not there")
}

// testFileReopen holds that files outlive the process: those that are used as well as those that are not, which can still be
// used then.
func testFileReopen(t *fileTest) {
	c := t.create("alice", 1)
	used, unused, doomed := t.add("alice", 600_000), t.add("alice", 300_000), t.add("alice", 10)
	turn, err := t.use("alice", c.ID, "", used)
	t.must(err)
	t.must(t.Close())
	t.storeTest = newTest(t.T, t.place(t.T))
	t.isThere("alice", used, unused, doomed)
	next, err := t.use("alice", c.ID, "", unused)
	t.must(err)
	t.holds("alice", c.ID, *turn.Question, turn.Answer, *next.Question, next.Answer)
	n, err := t.files().DeleteUnused(t.Context(), "", at(50), 10)
	t.must(err)
	if n != 1 {
		t.Fatalf("%d files were unused", n)
	}
	t.isGone("alice", doomed)
	t.isThere("alice", used, unused)
}

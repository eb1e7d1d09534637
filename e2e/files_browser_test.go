package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
	"github.com/chromedp/chromedp/kb"
)

// gpsCanary is where a photo was taken: it must be in no store, frame, export or request.
const gpsCanary = "GPS-CANARY-52.5163N-13.3777E"

// photo is a JPEG as a camera makes it.
func photo(t testing.TB, width, height int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetRGBA(x, y, color.RGBA{uint8(x * 255 / width), uint8(y * 255 / height), 128, 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	segment := append([]byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00"), gpsCanary...)
	head := binary.BigEndian.AppendUint16([]byte("\xff\xd8\xff\xe1"), uint16(len(segment)+2))
	return append(append(head, segment...), b.Bytes()[2:]...)
}

// startFiles runs a chat page with files in front of a model that says what it was asked.
func startFiles(t *testing.T, accepts string) (c *harness.Caddy, upstream *harness.Upstream, store string) {
	t.Helper()
	upstream = harness.NewUpstream(t, func(call *harness.Call) {
		call.Pieces("You asked ", call.Question())
		call.Finish()
	})
	settings := "user ann\nstore sqlite {$STORE}\nfiles"
	site := strings.Replace(strings.Replace(keptChat, "store memory\n", "", 1), "SETTINGS", settings, 1)
	site = strings.Replace(site, "max_retries 0", "max_retries 0\naccepts "+accepts, 1)
	store = filepath.Join(t.TempDir(), "chat.db")
	return harness.Start(t, harness.Site(site), "UPSTREAM="+upstream.URL, "STORE="+store), upstream, store
}

// drop drops files on the chat: names, types and bytes.
func drop(page *harness.Page, kind string, files ...[3]string) {
	var items strings.Builder
	for _, f := range files {
		fmt.Fprintf(&items, `data.items.add(new File([Uint8Array.from(atob("%s"), (c) => c.charCodeAt(0))], "%s", {type: "%s"}));`, base64.StdEncoding.EncodeToString([]byte(f[2])), f[0], f[1])
	}
	page.Run(`
		const data = new DataTransfer();
		` + items.String() + `
		const init = {bubbles: true, composed: true, cancelable: true};
		$("#input").dispatchEvent("` + kind + `" === "paste" ? new ClipboardEvent("paste", {...init, clipboardData: data}) : new DragEvent("drop", {...init, dataTransfer: data}));
	`)
}

const attachedStates = `$$("#attached li").map((li) => li.querySelector(".name").textContent + (li.classList.contains("refused") ? ": " + li.querySelector(".note").textContent : li.querySelector("progress").hidden && li.querySelector(".note").textContent ? " stored" : "")).join("; ")`

// TestPhotoInPage: a photo is asked about on a phone, whose place is nowhere afterwards: not in the store, a frame, an
// export or what the model gets. What is wrong with others is told at each of them.
func TestPhotoInPage(t *testing.T) {
	t.Parallel()
	c, upstream, store := startFiles(t, "image")
	page := harness.Open(t, c, "/assistants/")
	page.Touch(390, 844, "light")
	page.WaitFor(`$("#attach")?.checkVisibility()`)
	page.Expect("415") // the files that are refused, below
	drop(page, "drop", [3]string{"holiday.jpg", "image/jpeg", string(photo(t, 3000, 1500))},
		[3]string{"drawing.png", "image/png", `<svg xmlns="http://www.w3.org/2000/svg"/>`})
	page.WaitFor(attachedStates + ` === "holiday.jpg stored; drawing.png: Files of this type are not accepted."`)
	checkAccessible(t, page, "attached files")
	if !harness.Eval[bool](page, `$("#send").disabled && document.documentElement.scrollWidth <= innerWidth`) {
		t.Error("a question with a refused file can be sent, or the page is wider than the phone")
	}
	page.Click("#attached .refused .remove")
	drop(page, "paste", [3]string{"notes.md", "text/markdown", "# Notes"})
	page.WaitFor(attachedStates + ` === "holiday.jpg stored; notes.md stored" && !$("#send").disabled`)
	page.Type("#input", "What is this?")
	page.Click("#send")
	page.WaitFor(answerDone + ` && !$("#attached li") && $(".attachments canvas")?.dataset.shown === ""`)
	call := <-upstream.Calls
	if n := bytes.Count(call.Body, []byte(`"image_url":{"url":"data:image/jpeg;base64,`)); n != 1 || !strings.Contains(call.Question(), "# Notes") {
		t.Errorf("the model got %.300s", call.Body)
	}
	_, encoded, _ := strings.Cut(string(call.Body), "data:image/jpeg;base64,")
	encoded, _, _ = strings.Cut(encoded, `"`)
	sent, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	config, err := jpeg.DecodeConfig(bytes.NewReader(sent))
	if err != nil || config.Width != 2048 || config.Height != 1024 {
		t.Errorf("the model got an image of %d×%d pixels: %v", config.Width, config.Height, err)
	}
	checkAccessible(t, page, "a question with files")

	// The image as large as the window, by the keyboard.
	page.Run(`$(".attachments .image").focus()`)
	page.Press(kb.Enter)
	page.WaitFor(`$("#lightbox")?.open && $("#lightbox canvas")?.dataset.shown === "" && $("#lightbox h2").textContent === "holiday.jpg"`)
	checkAccessible(t, page, "an image")
	page.Press(kb.Escape)
	page.WaitFor(`!$("#lightbox") && $(".attachments .image").matches(":focus")`)

	// From the history it is the same.
	page.Reload()
	page.WaitFor(`$(".attachments canvas")?.dataset.shown === "" && $(".attachments .file")?.textContent.startsWith("notes.md")`)
	if got := harness.Eval[string](page, `$(".message[data-role=user] .text").textContent`); got != "What is this?" {
		t.Errorf("the question is %q", got)
	}

	// The same photo past the page.
	for _, name := range []string{"a", "b"} {
		res, err := http.Post(c.URL("/ws/assistants/files?name="+name), "image/jpeg", bytes.NewReader(photo(t, 300, 200)))
		if err != nil || res.StatusCode != http.StatusCreated {
			t.Fatalf("upload: %v %v", res, err)
		}
		_ = res.Body.Close()
	}
	export, _, status := assistant(t, c, "", "export", "ann")
	if status != 0 || !strings.Contains(export, `"data":"/9j/`) {
		t.Errorf("exported %.300s, status %d", export, status)
	}
	for where, text := range map[string]string{"export": export, "request": string(sent)} {
		if strings.Contains(text, gpsCanary) || strings.Contains(text, "Exif") {
			t.Errorf("the place is in the %s", where)
		}
	}
	for line := range strings.Lines(export) {
		if _, data, ok := strings.Cut(line, `"data":"`); ok {
			data, _, _ = strings.Cut(data, `"`)
			if file, err := base64.StdEncoding.DecodeString(data); err != nil || bytes.Contains(file, []byte(gpsCanary)) {
				t.Errorf("the place is in an exported file, or it is none: %v", err)
			}
		}
	}
	c.Kill(t)
	stores, err := filepath.Glob(store + "*")
	if err != nil || len(stores) == 0 {
		t.Fatalf("no store: %v", err)
	}
	for _, name := range stores {
		data, err := os.ReadFile(name)
		if err != nil || bytes.Contains(data, []byte(gpsCanary)) {
			t.Errorf("the place is in %s, or it cannot be read: %v", filepath.Base(name), err)
		}
	}
}

// TestFilesOfEditedQuestion: a question that is edited keeps its files, one that is refused gives them back, and where the
// model takes no images the page offers none.
func TestFilesOfEditedQuestion(t *testing.T) {
	t.Parallel()
	c, upstream, _ := startFiles(t, "text")
	page := harness.Open(t, c, "/assistants/")
	page.WaitFor(`$("#attach")?.checkVisibility()`)
	if got := harness.Eval[string](page, `$("#composer input[type=file]").accept`); strings.Contains(got, "image/") || !strings.Contains(got, "text/csv") {
		t.Errorf("the page offers %q", got)
	}
	drop(page, "drop", [3]string{"a.csv", "text/csv", "a,b\n1,2\n"})
	page.WaitFor(attachedStates + ` === "a.csv stored" && !$("#send").disabled`)
	page.Click("#send") // without a word
	page.WaitFor(answerDone + ` && document.title === "a.csv"`)
	if q := (<-upstream.Calls).Question(); !strings.Contains(q, "1,2") {
		t.Errorf("the model got %q", q)
	}
	page.Click(".message[data-role=user] .edit")
	page.WaitFor(attachedStates + ` === "a.csv stored"`)
	page.Type("#input", "And now?")
	page.Click("#send")
	page.WaitFor(answerDone + ` && $$(".message").length === 2 && ` + answerText + `.includes("And now?")`)
	if q := (<-upstream.Calls).Question(); !strings.Contains(q, "1,2") || !strings.Contains(q, "And now?") {
		t.Errorf("the model got %q", q)
	}
	// What the model does not take is refused, and both come back into the input.
	page.Expect("415")
	drop(page, "drop", [3]string{"b.jpg", "image/jpeg", string(photo(t, 100, 100))})
	page.WaitFor(attachedStates + ` === "b.jpg stored"`)
	page.Type("#input", "What is this?")
	page.Click("#send")
	page.WaitFor(`$(".problem p")?.textContent === "The language model cannot read this kind of file." && $("#input").value === "What is this?" && ` + attachedStates + ` === "b.jpg stored"`)
}

// TestChatWithFile: the terminal sends files with the first question.
func TestChatWithFile(t *testing.T) {
	t.Parallel()
	c, upstream, _ := startFiles(t, "image pdf")
	folder := t.TempDir()
	for name, data := range map[string][]byte{"a.jpg": photo(t, 30, 20), "b.pdf": []byte("%PDF-1.4 <</Type /Page>>"), "c.svg": []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`)} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, notes, status := assistant(t, c, "", "chat", "--file", filepath.Join(folder, "a.jpg"), "-f", filepath.Join(folder, "b.pdf"), "What are these?")
	if out != "You asked What are these?\n" || status != 0 {
		t.Errorf("%q, exit status %d, %s", out, status, notes)
	}
	body := string((<-upstream.Calls).Body)
	if !strings.Contains(body, `"filename":"b.pdf"`) || !strings.Contains(body, "data:image/jpeg;base64,") {
		t.Errorf("the model got %.300s", body)
	}
	_, notes, status = assistant(t, c, "", "chat", "--file", filepath.Join(folder, "c.svg"), "What is this?")
	if status != 1 || !strings.Contains(notes, "Files of this type are not accepted. (415)") {
		t.Errorf("SVG: exit status %d, %s", status, notes)
	}
}

// TestFilesForAnonymous: a visitor who is not signed in can attach files where the operator says so, before there is a
// conversation, and is offered none elsewhere.
func TestFilesForAnonymous(t *testing.T) {
	t.Parallel()
	page := openEcho(t, "files {\nanonymous\ntypes text\n}")
	page.WaitFor(`$("#attach")?.checkVisibility()`)
	drop(page, "drop", [3]string{"a.txt", "text/plain", "Hello"})
	page.WaitFor(attachedStates + ` === "a.txt stored"`)
	page.Click("#send")
	page.WaitFor(answerDone + ` && ` + answerText + `.includes("Hello") && $(".attachments .file")`)

	page = openEcho(t, "files")
	ask(page, "apples")
	if harness.Eval[bool](page, `Boolean($("#attach"))`) {
		t.Error("files are offered to an anonymous visitor")
	}
}

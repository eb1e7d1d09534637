package openai

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// filesRequest is a conversation with one file of each kind, of which the first image's bytes are left out.
func filesRequest() assistant.Request {
	return assistant.Request{
		Turns: []assistant.Turn{
			{Role: assistant.RoleUser, Content: "An old one.", Parts: assistant.Parts{assistant.ImagePart{FileID: "old", MediaType: "image/png", Name: "cat.png"}, assistant.TextPart{Text: "An old one."}}},
			{Role: assistant.RoleAssistant, Content: "A cat."},
			{Role: assistant.RoleUser, Content: "What are these?", Parts: assistant.Parts{
				assistant.ImagePart{FileID: "i", MediaType: "image/jpeg", Name: "dog.jpg"},
				assistant.FilePart{FileID: "p", MediaType: "application/pdf", Name: "report.pdf", Pages: 2},
				assistant.FilePart{FileID: "c", MediaType: "text/csv", Name: "a.csv"},
				assistant.TextPart{Text: "What are these?"},
			}},
		},
		Files: map[string][]byte{"i": []byte("JPEG"), "p": []byte("%PDF-"), "c": []byte("a,b\n```\n1,2\n")},
	}
}

const csvText = "[file: a.csv]\\n````\\na,b\\n```\\n1,2\\n````\\n\\nWhat are these?"

// TestFileRequests compares what is sent of images and files with what the documentation of both APIs says:
// https://platform.openai.com/docs/guides/images-vision and https://platform.openai.com/docs/guides/pdf-files.
func TestFileRequests(t *testing.T) {
	all := []string{"text", "image", "pdf"}
	for name, test := range map[string]struct {
		c      Config
		member string
		want   string
	}{
		"chat": {Config{Accepts: all}, "messages", `[{"content":"[image: cat.png]\n\nAn old one.","role":"user"},{"content":"A cat.","role":"assistant"},
			{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,SlBFRw=="}},
				{"type":"file","file":{"filename":"report.pdf","file_data":"data:application/pdf;base64,JVBERi0="}},
				{"type":"text","text":"` + csvText + `"}]}]`},
		"responses": {Config{API: "responses", Accepts: all}, "input", `[{"content":"[image: cat.png]\n\nAn old one.","role":"user","type":"message"},{"content":"A cat.","role":"assistant","type":"message"},
			{"role":"user","type":"message","content":[{"type":"input_image","detail":"auto","image_url":"data:image/jpeg;base64,SlBFRw=="},
				{"type":"input_file","filename":"report.pdf","file_data":"data:application/pdf;base64,JVBERi0="},
				{"type":"input_text","text":"` + csvText + `"}]}]`},
		"chat with images alone": {Config{Accepts: []string{"image"}}, "messages", `[{"content":"[image: cat.png]\n\nAn old one.","role":"user"},{"content":"A cat.","role":"assistant"},
			{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,SlBFRw=="}},{"type":"text","text":"[file: report.pdf]\n\n` + csvText + `"}]}]`},
		"chat of a server of which nothing is known": {Config{BaseURL: "http://localhost/v1"}, "messages", `[{"content":"[image: cat.png]\n\nAn old one.","role":"user"},{"content":"A cat.","role":"assistant"},
			{"role":"user","content":"[image: dog.jpg]\n\n[file: report.pdf]\n\n` + csvText + `"}]`},
	} {
		_, params := newAPI(test.c).request(filesRequest())
		body, err := json.Marshal(params)
		if err != nil {
			t.Fatal(err)
		}
		var sent map[string]json.RawMessage
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Fatal(err)
		}
		if got, want := canonical(t, sent[test.member]), canonical(t, []byte(test.want)); got != want {
			t.Errorf("%s: %s is\n%s\nwant\n%s", name, test.member, got, want)
		}
	}
}

// TestFilesAreSent holds that a server gets the bytes.
func TestFilesAreSent(t *testing.T) {
	serve(t, Config{Accepts: []string{"image"}}, func(w *reply) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte(piece("A dog.") + finish("stop") + done))
	}, func(t *testing.T, p *Provider, u *upstream) {
		for _, err := range p.Stream(t.Context(), filesRequest()) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if body := u.Requests()[0].body; strings.Count(body, "data:image/jpeg;base64,SlBFRw==") != 1 {
			t.Errorf("sent %s", body)
		}
	})
}

func TestAccepts(t *testing.T) {
	text, image := assistant.FilePart{MediaType: "text/plain"}, assistant.ImagePart{MediaType: "image/png"}
	pdf := assistant.FilePart{MediaType: "application/pdf"}
	for _, test := range []struct {
		c    Config
		part assistant.Part
		want bool
	}{
		{Config{BaseURL: openaiURL}, image, true},
		{Config{BaseURL: openaiURL}, pdf, true},
		{Config{BaseURL: openaiURL, Accepts: []string{"text"}}, image, false},
		{Config{}, image, false},
		{Config{}, pdf, false},
		{Config{}, text, true},
		{Config{Accepts: []string{"image"}}, image, true},
		{Config{Accepts: []string{"image"}}, text, true},
		{Config{Accepts: []string{"image"}}, pdf, false},
	} {
		p := mustNew(t, test.c)
		if got := assistant.Accepts(p, assistant.Parts{test.part, assistant.TextPart{Text: "What is this?"}}); got != test.want {
			t.Errorf("%v at %q takes %T: %v", test.c.Accepts, test.c.BaseURL, test.part, got)
		}
	}
	if _, err := New(Config{APIKey: "k", Accepts: []string{"text", "video"}}); err == nil || !strings.Contains(err.Error(), `accepts: expected text, image or pdf, found "video"`) {
		t.Errorf("got error %v", err)
	}
}

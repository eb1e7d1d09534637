//go:build engines

package models

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestLiteLLMFiles asks LiteLLM's proxy about an image and a PDF: it takes the request, and the model behind it gets
// their bytes.
func TestLiteLLMFiles(t *testing.T) {
	bodies := make(chan []byte, 2)
	model := harness.NewUpstream(t, func(c *harness.Call) {
		bodies <- c.Body
		c.Pieces("A red square.")
		c.Finish()
	})
	front := startLiteLLM(t, model.URL)
	for _, api := range []string{"chat", "responses"} {
		t.Run(api, func(t *testing.T) {
			c := harness.Start(t, harness.Site(`
	assistant /ws/assistants/* {
		store memory
		user {query.user}
		files
		provider openai {
			base_url `+front+`/v1
			api_key `+litellmKey+`
			api `+api+`
			model openai/gpt-4o
			accepts text image pdf
			max_retries 0
		}
	}
`))
			upload := func(name string, data []byte) (id string) {
				status, id := c.Upload("/ws/assistants/files?user=ann&name="+name, data)
				if status != http.StatusCreated {
					t.Fatalf("%s: %d %s", name, status, id)
				}
				return id
			}
			square := image.NewNRGBA(image.Rect(0, 0, 8, 8))
			square.Set(1, 1, color.NRGBA{R: 255, A: 255})
			var photo bytes.Buffer
			if err := png.Encode(&photo, square); err != nil {
				t.Fatal(err)
			}
			pdf := "%PDF-1.4\n1 0 obj<</Type /Page>>endobj\n%%EOF\n"
			picture, paper := upload("square.png", photo.Bytes()), upload("paper.pdf", []byte(pdf))

			client := harness.DialPath(t, c, "/ws/assistants/?user=ann")
			topic := "conversation:" + client.Create()
			client.Send(fmt.Sprintf(`{"action":"subscribe","topic":%q}`, topic))
			client.Send(fmt.Sprintf(`{"action":"send_message","topic":%q,"payload":{"content":"What is this?",
				"parts":[{"type":"image","file_id":%q},{"type":"file","file_id":%q}]}}`, topic, picture, paper))
			if frames := client.Until("complete_streaming"); harness.Answer(frames) != "A red square." {
				t.Errorf("answered %v", frames)
			}
			_, kept := c.Get(t, "/ws/assistants/files/"+picture+"?user=ann")
			body := string(<-bodies)
			for what, want := range map[string]string{
				"image":    "data:image/png;base64," + base64.StdEncoding.EncodeToString([]byte(kept)),
				"PDF":      "data:application/pdf;base64," + base64.StdEncoding.EncodeToString([]byte(pdf)),
				"its name": "paper.pdf",
				"question": "What is this?",
			} {
				if !strings.Contains(body, want) {
					t.Errorf("the model behind it does not get the %s; it gets %s", what, body)
				}
			}
		})
	}
}

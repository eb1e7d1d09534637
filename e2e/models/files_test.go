//go:build engines

package models

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// TestLiteLLMFiles asks LiteLLM's proxy about an image and a PDF: it takes the request, and the model behind it gets their bytes.
func TestLiteLLMFiles(t *testing.T) {
	for _, api := range []string{"chat", "responses"} {
		t.Run(api, func(t *testing.T) {
			var body []byte
			model := harness.NewUpstream(t, func(c *harness.Call) {
				body = c.Body
				c.Pieces("A red square.")
				c.Finish()
			})
			c := harness.Start(t, harness.Site(`
	assistant /ws/assistants/* {
		files on {
			anonymous
		}
		provider openai {
			base_url {$FRONT}/v1
			api_key {$KEY}
			api `+api+`
			model openai/gpt-4o
			accepts text image pdf
			max_retries 0
		}
	}
`), "FRONT="+startLiteLLM(t, model.URL+"/v1"), "KEY="+litellmKey)
			picture := image.NewNRGBA(image.Rect(0, 0, 8, 8))
			picture.Set(1, 1, color.NRGBA{R: 255, A: 255})
			var photo bytes.Buffer
			if err := png.Encode(&photo, picture); err != nil {
				t.Fatal(err)
			}
			pdf := "%PDF-1.4\n1 0 obj<</Type /Page>>endobj\n%%EOF\n"
			kept, document := uploaded(t, c, "square.png", photo.Bytes()), uploaded(t, c, "paper.pdf", []byte(pdf))

			client := harness.Dial(t, c)
			client.Send(fmt.Sprintf(`{"action":"send_message","ref":"q","payload":{"content":"What is this?","parts":[{"type":"image","file_id":%q},{"type":"file","file_id":%q}]}}`, kept, document))
			if frames := client.Until("complete_streaming"); harness.Answer(frames) != "A red square." {
				t.Errorf("answered %v", frames)
			}
			res, err := http.Get(c.URL("/ws/assistants/files/" + kept))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			data, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			for what, want := range map[string]string{
				"image":    "data:image/png;base64," + base64.StdEncoding.EncodeToString(data),
				"PDF":      "data:application/pdf;base64," + base64.StdEncoding.EncodeToString([]byte(pdf)),
				"its name": "paper.pdf",
				"question": "What is this?",
			} {
				if !strings.Contains(string(body), want) {
					t.Errorf("the model behind it does not get the %s; it gets %s", what, body)
				}
			}
		})
	}
}

// uploaded returns the id of a file.
func uploaded(t *testing.T, c *harness.Caddy, name string, data []byte) string {
	t.Helper()
	res, err := http.Post(c.URL("/ws/assistants/files?name="+name), "application/octet-stream", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var file struct {
		ID string `json:"file_id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&file); err != nil || file.ID == "" {
		t.Fatalf("status %s, error %v", res.Status, err)
	}
	return file.ID
}

// Command screenshot writes the picture of the README while the example is served at
// http://localhost:8080: make run, and in e2e: go run ./screenshot ../docs/chat.png
package main

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/chromedp/chromedp"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: screenshot <file>")
	}
	picture, err := shoot("How do I get real answers?")
	if err == nil {
		err = os.WriteFile(os.Args[1], picture, 0o600)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// shoot asks a question and takes the picture while the answer streams.
func shoot(question string) ([]byte, error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-quic", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	page, cancel := chromedp.NewContext(allocator)
	defer cancel()
	ctx, cancel := context.WithTimeout(page, 30*time.Second)
	defer cancel()
	err := chromedp.Do(ctx,
		chromedp.EmulateViewport(1200, 760),
		chromedp.Navigate("http://localhost:8080/assistants/"),
		chromedp.WaitVisible(chromedp.CSS(`#status[data-state=connected]`)),
		chromedp.SendKeys(chromedp.CSS("#input"), question),
		chromedp.Click(chromedp.CSS("#send")),
		chromedp.WaitVisible(chromedp.CSS(".message[data-role=assistant] li")),
	)
	if err != nil {
		return nil, err
	}
	return chromedp.Run(ctx, chromedp.CaptureScreenshot())
}

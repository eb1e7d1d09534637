package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/termchat"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// runFollow prints the text of a running answer as it comes. How it ended goes to standard error.
func runFollow(fl caddycmd.Flags) (int, error) {
	s, err := newServer(fl)
	if err != nil {
		return exit(err)
	}
	res, err := s.do(http.MethodGet, s.path("/answers/"+url.PathEscape(fl.Arg(0)), nil))
	if err != nil {
		return exit(err)
	}
	defer func() { _ = res.Body.Close() }()
	end, err := printAnswer(os.Stdout, json.NewDecoder(res.Body))
	if err != nil {
		return exit(err)
	}
	fmt.Fprintln(os.Stderr, "ended:", end)
	return exit(nil)
}

// printAnswer prints the pieces of an answer's events, and returns how it ended.
func printAnswer(out io.Writer, events *json.Decoder) (assistant.FinishReason, error) {
	for {
		var e assistant.Event
		if err := events.Decode(&e); errors.Is(err, io.EOF) {
			return "", errors.New("the answer broke off: the server stopped, or the connection was lost")
		} else if err != nil {
			return "", fmt.Errorf("read answer: %w", err)
		}
		if end, ok := e.Body.(assistant.Completed); ok {
			_, err := fmt.Fprintln(out)
			return end.FinishReason, err
		}
		if e.Kind != assistant.KindPiece {
			continue
		}
		if _, err := io.WriteString(out, termchat.Printable(e.Text)); err != nil {
			return "", err
		}
	}
}

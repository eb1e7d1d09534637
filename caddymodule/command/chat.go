package command

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/docs"
	"github.com/caddy-assistant/caddy-assistant/termchat"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func chatCommand() *cobra.Command {
	cmd := client(anyArguments(command("chat [<question>]", "Chats with an assistant in the terminal", runChat)))
	cmd.Long = cmd.Short + `.

Without a question, every line that you type is one; Ctrl-D ends the chat. Piped
input is one question as a whole or, if a question is given, what it is about:

	$ echo "What is Caddy?" | caddy assistant chat
	$ caddy assistant chat "Explain this log:" < access.log

Ctrl-C stops the answer, a second Ctrl-C ends the chat. Only answers go to standard
output. The chat is stored as a conversation, whose id is printed at the start:
--conversation continues it.

--file sends an image or a file with the first question, where the server takes some:

	$ caddy assistant chat --file invoice.pdf "What is the total?"

Before a tool is called that needs approval, the terminal asks. Where there is none,
the command ends and says how to decide.

The assistant is that of the server running on this machine, or the one at --url.

Exit status: 0 when all questions were answered, 1 when one was not, 2 when the command
line is wrong, 130 after Ctrl-C.`
	socketFlags(cmd)
	cmd.Flags().String("conversation", "", "Id of a conversation to continue")
	cmd.Flags().StringArrayP("file", "f", nil, "An image or a file that goes with the first question; may be repeated")
	return cmd
}

// socketFlags adds the flags of a command that opens a socket.
func socketFlags(cmd *cobra.Command) {
	cmd.Flags().String("url", "", "Address of the WebSocket, such as wss://chat.example.com/ws/assistants/")
	cmd.Flags().StringP("user", "u", "", "Name and password for basic_auth, as name:password; without a password it is asked for")
	cmd.Flags().StringArrayP("header", "H", nil, `Header to send with the request, such as "Authorization: Bearer …"; may be repeated`)
	cmd.Flags().BoolP("insecure", "k", false, "Do not check the server's certificate")
}

// socketURL returns the address of the flag --url, or else the one that the configuration of a running server says.
func socketURL(fl caddycmd.Flags) (string, error) {
	if address := fl.String("url"); address != "" {
		return address, nil
	}
	return discover(fl)
}

func isSocketURL(u *url.URL) bool { return (u.Scheme == "ws" || u.Scheme == "wss") && u.Host != "" }

// socketTLS is nil without the flag --insecure.
func socketTLS(fl caddycmd.Flags) *tls.Config {
	if !fl.Bool("insecure") {
		return nil
	}
	return &tls.Config{InsecureSkipVerify: true} //nolint:gosec // asked for by name
}

// exitInterrupted is the exit status that shells use for Ctrl-C.
const exitInterrupted = 130

func runChat(fl caddycmd.Flags) (int, error) {
	config, err := chatConfig(fl)
	if err != nil {
		return exit(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(context.Background())
	interrupts := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-signals:
			case <-ctx.Done():
				return
			}
			select {
			case interrupts <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	config.Interrupts = interrupts
	err = termchat.Run(ctx, config)
	cancel()
	<-done
	if errors.Is(err, termchat.ErrInterrupted) {
		return exitInterrupted, nil
	}
	return exit(err)
}

func chatConfig(fl caddycmd.Flags) (c termchat.Config, err error) {
	c = termchat.Config{
		TLS: socketTLS(fl), Conversation: fl.String("conversation"), Question: strings.Join(fl.Args(), " "),
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
	}
	if c.Files, err = fl.GetStringArray("file"); err != nil {
		return c, err
	}
	if c.URL, err = socketURL(fl); err != nil {
		return c, err
	}
	switch u, err := url.Parse(c.URL); {
	case err == nil && u.User != nil:
		return c, misuse("url: expected no name and password in it; give them with --user")
	case err != nil || !isSocketURL(u):
		return c, misuse("url: expected a WebSocket address like wss://chat.example.com/ws/assistants/, found %q", c.URL)
	}
	if c.Header, err = chatHeader(fl); err != nil {
		return c, err
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		c.CanDecide = true
		return c, nil
	}
	piped, err := io.ReadAll(os.Stdin)
	if err != nil {
		return c, fmt.Errorf("read question: %w", err)
	}
	c.Question = strings.TrimSpace(c.Question + "\n\n" + string(piped))
	if c.Question == "" {
		return c, errors.New("there is no question: give one as an argument, or pipe one in")
	}
	return c, nil
}

func chatHeader(fl caddycmd.Flags) (http.Header, error) {
	header := http.Header{}
	lines, err := fl.GetStringArray("header")
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, errors.New(`header: expected a name and a value such as "Authorization: Bearer …"`)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	user := fl.String("user")
	if user == "" {
		return header, nil
	}
	if !strings.Contains(user, ":") {
		password, err := askPassword(user)
		if err != nil {
			return nil, err
		}
		user += ":" + password
	}
	header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user)))
	return header, nil
}

func askPassword(user string) (string, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", errors.New("user: expected name:password, found no password and no terminal to ask in")
	}
	fmt.Fprintf(os.Stderr, "Password of %s: ", termchat.Printable(user))
	password, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	return string(password), err
}

// discover asks the running server where its assistant is.
func discover(fl caddycmd.Flags) (string, error) {
	s, err := newServer(fl)
	if err != nil {
		return "", fmt.Errorf("find the assistant of a running server (or give --url): %w", err)
	}
	var config json.RawMessage
	if err := s.read(http.MethodGet, "/config/", &config); err != nil {
		return "", err
	}
	found, err := docs.FindMounted(config)
	if err != nil {
		return "", err
	}
	return found.URL(s.name)
}

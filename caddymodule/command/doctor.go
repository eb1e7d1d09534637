package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/admin"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/endpoint"
	"github.com/caddy-assistant/caddy-assistant/termchat"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"
)

func doctorCommand() *cobra.Command {
	cmd := client(command("doctor", "Tries models, store, socket, limits and clock, and says what to do", runDoctor))
	cmd.Long = cmd.Short + `.

Every model is asked a short question, which may cost a few tokens. The socket is
opened as a page of the site opens it: give its public address by --url, so that the
proxies in front take part. Without --url it is the address in the configuration.

Exit status: 0 when all is well, 1 when something is not.`
	cmd.Example = `  $ caddy assistant doctor
  $ caddy assistant doctor --url wss://chat.example.com/ws/assistants/`
	socketFlags(cmd)
	return cmd
}

// errUnwell is the doctor's error: what is wrong has been printed.
var errUnwell = errors.New("not all is well")

func runDoctor(fl caddycmd.Flags) (int, error) {
	s, err := newServer(fl)
	if err != nil {
		return exit(err)
	}
	var check admin.Check
	if err := s.read(http.MethodPost, s.path("/check", nil), &check); err != nil {
		return exit(err)
	}
	d := new(doctor)
	d.models(check.Providers)
	d.store(check)
	d.limits(check.Limits)
	d.socket(fl)
	if d.unwell {
		return exit(errUnwell)
	}
	return exit(nil)
}

// doctor prints findings, one a line.
type doctor struct{ unwell bool }

func (d *doctor) ok(format string, args ...any) {
	fmt.Println("ok   ", termchat.Printable(fmt.Sprintf(format, args...)))
}

// bad prints a fault, and what to do about it.
func (d *doctor) bad(advice, format string, args ...any) {
	d.unwell = true
	fmt.Println("FAULT", termchat.Printable(fmt.Sprintf(format, args...)))
	fmt.Println("      →", termchat.Printable(advice))
}

func (d *doctor) models(checks []admin.ProviderCheck) {
	for _, c := range checks {
		name := "model " + c.Provider
		if c.Model != "" {
			name += " " + c.Model
		}
		if c.Error == "" {
			d.ok("%s answers after %s", name, c.FirstPiece.Round(time.Millisecond))
			continue
		}
		d.bad(adviceFor[c.Reason], "%s: %s", name, c.Error)
	}
}

// adviceFor says what to do about a model's fault.
var adviceFor = map[assistant.Reason]string{
	assistant.ReasonProviderUnavailable: "Is base_url right, and does the service run? For Ollama: ollama serve. Through an HTTP proxy: the setting proxy.",
	assistant.ReasonProviderTimeout:     "The service takes longer than timeout to begin: load the model before, or raise timeout.",
	assistant.ReasonProviderRateLimited: "The service asks for a pause, or the account has no credit left. A second provider would answer meanwhile.",
	assistant.ReasonProviderRejected:    "Check model (for Ollama: ollama pull), api_key, and the settings that the message names.",
	assistant.ReasonEmptyAnswer:         "The model sent no text: is it a chat model? A reasoning model may need more max_tokens.",
	assistant.ReasonInternal:            "See Caddy's log.",
}

func (d *doctor) store(check admin.Check) {
	switch check.Store {
	case endpoint.StatusOK:
		d.ok("the store answers")
	case endpoint.StatusDamaged:
		d.bad("Restore a backup, or copy what can still be read: docs/operate.md.", "the store is damaged")
	default:
		d.bad("Caddy's log has the reason: the line store cannot be opened, or store call failed.", "the store is %s", check.Store)
	}
	if check.Draining {
		d.bad("caddy assistant resume", "the handler drains: it takes no sockets and questions")
	}
}

// limits names the limits; a server without any on tokens and questions can cost what strangers like.
func (d *doctor) limits(limits map[string]int64) {
	var known []string
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		known = append(known, fmt.Sprintf("%s %d", name, limits[name]))
	}
	d.ok("limits: %s", strings.Join(known, ", "))
	if limits["rate_questions"] == 0 && limits["budget_tokens"] == 0 {
		d.ok("note: neither rate nor budget is set: whoever may connect can ask as much as they like")
	}
}

// maxSkew is how wrong a clock may be.
const maxSkew = 30 * time.Second

// socket opens the assistant's socket as a page of its site does.
func (d *doctor) socket(fl caddycmd.Flags) {
	address, err := socketURL(fl)
	if err != nil {
		d.bad("Give the address by --url, such as wss://chat.example.com/ws/assistants/.", "the socket's address: %s", sentence(err))
		return
	}
	u, err := url.Parse(address)
	if err != nil || !isSocketURL(u) {
		d.bad("Give one like wss://chat.example.com/ws/assistants/.", "the address %s is none of a WebSocket", address)
		return
	}
	header, err := chatHeader(fl)
	if err != nil {
		d.bad("--help tells more.", "%s", err)
		return
	}
	header.Set("Origin", strings.Replace(u.Scheme, "ws", "http", 1)+"://"+u.Host) // as a page there
	dialer := websocket.Dialer{HandshakeTimeout: checkTimeout, Proxy: http.ProxyFromEnvironment, TLSClientConfig: socketTLS(fl)}
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	conn, res, err := dialer.DialContext(ctx, address, header)
	if res != nil {
		defer func() { _ = res.Body.Close() }()
		d.clock(res.Header.Get("Date"))
	}
	switch {
	case err == nil:
		defer func() { _ = conn.Close() }()
		d.pong(conn, address)
	case res != nil:
		d.bad(socketAdvice(res), "the socket %s is refused: %s", address, res.Status)
	default:
		d.bad("Is the name right, does Caddy listen there, and does a firewall let it through? A certificate of your own authority: --insecure.", "the socket %s: %s", address, err)
	}
}

// checkTimeout bounds the socket's opening and its answer.
const checkTimeout = 20 * time.Second

// pong pings through the socket.
func (d *doctor) pong(conn *websocket.Conn, address string) {
	_ = conn.SetReadDeadline(time.Now().Add(checkTimeout))
	err := conn.WriteMessage(websocket.TextMessage, []byte(`{"action":"ping"}`))
	if err == nil {
		_, _, err = conn.ReadMessage()
	}
	if err != nil {
		d.bad("A proxy in front opens the socket but passes nothing on: docs/proxies.md.", "the socket %s opens, and then: %s", address, err)
		return
	}
	d.ok("the socket %s opens for pages of its site, and answers", address)
}

func (d *doctor) clock(date string) {
	there, err := http.ParseTime(date)
	if err != nil {
		return // a handshake has no date
	}
	if skew := time.Since(there); skew.Abs() > maxSkew {
		d.bad("Set the clocks, by NTP.", "the clocks here and there differ by %s", skew.Round(time.Second))
		return
	}
	d.ok("the clocks here and there agree")
}

// socketAdvice says what to do about a handshake that is refused.
func socketAdvice(res *http.Response) string {
	switch status := res.StatusCode; {
	case status == http.StatusUnauthorized:
		return "A sign-in is in front: give --user or --header."
	case status == http.StatusForbidden && res.Header.Get("Assistant-Refusal") == "foreign_origin":
		return "Pages of this host may not connect. A proxy in front changes the Host header (nginx: proxy_set_header Host $http_host), or origins lacks this site: docs/proxies.md."
	case status == http.StatusForbidden:
		return "Something in front of the assistant refuses it: a sign-in or a firewall."
	case status == http.StatusNotFound:
		return "No assistant is at this path: look at the matcher of assistant, and at the path that a proxy in front passes on."
	case status == http.StatusServiceUnavailable:
		return "The assistant takes no more sockets now: " + cmp.Or(res.Header.Get("Assistant-Refusal"), "see Caddy's log") + "."
	case status == http.StatusUpgradeRequired, status == http.StatusBadRequest, status == http.StatusOK:
		return "A proxy in front drops the upgrade to WebSocket: docs/proxies.md has what nginx, Apache and HAProxy need."
	case status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
		return "The proxy in front does not reach Caddy."
	case status >= 500:
		return "If forward_auth is in front: add header_up -Connection and header_up -Upgrade to it. See also Caddy's log."
	}
	return "See the access logs of what is in front, and of Caddy."
}

package command

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/admin"
	"github.com/caddy-assistant/caddy-assistant/termchat"
	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// operatorCommands returns the commands that use the admin API.
func operatorCommands() []*cobra.Command {
	status := client(command("status", "Shows the assistant handlers and their activity", runStatus))
	nodes := client(command("nodes", "Lists the nodes that share a handler's store", runNodes))
	providers := client(command("providers", "Lists the models of a handler, and which of them are passed over", runProviders))
	tools := client(command("tools", "Lists the tools that a handler's models may call", runTools))
	waiting := client(command("waiting", "Lists calls of tools that wait for a person", runWaiting))
	sockets := client(command("sockets", "Lists open sockets", runSockets))
	answers := client(command("answers", "Lists running answers", runAnswers))
	follow := client(command("follow <message_id>", "Shows a running answer while it streams", runFollow))
	stop := client(command("stop <message_id>", "Stops a running answer", runStop))
	closing := client(anyArguments(command("close (<socket_id> | --user <user>)", "Closes a socket, or all sockets of a user", runClose)))
	conversations := client(command("conversations <user>", "Lists a user's stored conversations", runConversations))
	export := client(command("export <user>", "Writes all conversations of a user, one JSON object per line", runExport))
	erase := client(command("erase <user>", "Deletes all conversations of a user", runErase))
	drain := client(command("drain", "Refuses new sockets and questions, ends answers, closes sockets", runDrain(http.MethodPut)))
	drain.Long = drain.Short + `.

Running answers may go on for the handler's drain_timeout. The server keeps running
and serves everything else. "caddy assistant resume" undoes it; a reload does not.
Other nodes that share the store go on.`
	resume := client(command("resume", "Serves again after a drain", runDrain(http.MethodDelete)))

	for _, cmd := range []*cobra.Command{status, nodes, providers, tools, waiting, sockets, answers, conversations} {
		cmd.Flags().Bool("json", false, "Print lines of JSON")
	}
	for _, cmd := range []*cobra.Command{sockets, answers, closing} {
		cmd.Flags().StringP("user", "u", "", "Only those of this user")
		cmd.Flags().Bool("local", false, "Only those of this node, where several share the store")
	}
	stop.Example = `  $ caddy assistant answers
  $ caddy assistant stop 0198c3a1-5b1e-7c44-9a44-0b1f2f3f4a5b`
	closing.Example = `  $ caddy assistant close --user ann
  $ caddy assistant close 42`
	export.Flags().StringP("output", "o", "-", "File to create, which must not exist; - is standard output")
	erase.Flags().BoolP("yes", "y", false, "Do not ask")
	return []*cobra.Command{status, nodes, providers, tools, waiting, sockets, answers, follow, stop, closing, conversations, export, erase, drain, resume}
}

// table prints items: with --json each at once as a line of JSON, otherwise all together in columns with a heading.
func table[T any](fl caddycmd.Flags, heading string, items iter.Seq2[T, error], columns func(T) []any) (int, error) {
	out, lines := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0), json.NewEncoder(os.Stdout)
	if !fl.Bool("json") {
		_, _ = fmt.Fprintln(out, strings.ReplaceAll(heading, " ", "\t"))
	}
	for item, err := range items {
		switch {
		case err != nil:
		case fl.Bool("json"):
			err = lines.Encode(item)
		default:
			var row []string
			for _, value := range columns(item) {
				row = append(row, cell(value))
			}
			_, err = fmt.Fprintln(out, strings.Join(row, "\t"))
		}
		if err != nil {
			return exit(err)
		}
	}
	return exit(out.Flush())
}

// listing prints one of the handler's lists.
func listing[T any](fl caddycmd.Flags, resource, user, heading string, columns func(T) []any) (int, error) {
	s, err := newServer(fl)
	if err != nil {
		return exit(err)
	}
	return table(fl, heading, list[T](s, resource, user), columns)
}

// listingOfNodes is listing for a list whose items are on nodes, which get a column where there are several.
func listingOfNodes[T any](fl caddycmd.Flags, resource, heading string, node func(T) assistant.NodeID, columns func(T) []any) (int, error) {
	s, err := newServer(fl)
	if err != nil {
		return exit(err)
	}
	s.isLocal = fl.Bool("local")
	nodes, err := s.nodes()
	if err != nil {
		return exit(err)
	}
	items := list[T](s, resource, fl.String("user"))
	if len(nodes) < 2 {
		return table(fl, heading, items, columns)
	}
	names := namesOf(nodes)
	return table(fl, heading+" NODE", items, func(item T) []any {
		return append(columns(item), cmp.Or(names[node(item)], strconv.FormatInt(int64(node(item)), 10)))
	})
}

// namesOf returns what nodes are called: by their names or, where several have the same, by their ids.
func namesOf(nodes []admin.NodeInfo) map[assistant.NodeID]string {
	times, names := map[string]int{}, map[assistant.NodeID]string{}
	for _, n := range nodes {
		times[n.Name]++
	}
	for _, n := range nodes {
		if times[n.Name] == 1 {
			names[n.ID] = n.Name
		}
	}
	return names
}

// cell returns the text of a value, safe for a terminal: clients choose some of them.
func cell(value any) string {
	if t, ok := value.(time.Time); ok && !t.IsZero() {
		return t.Local().Format(time.DateTime)
	}
	text := termchat.Printable(strings.Join(strings.Fields(fmt.Sprint(value)), " "))
	if text == "" || value == (time.Time{}) {
		return "-"
	}
	return text
}

// each yields items, and then the error.
func each[T any](items []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

func runStatus(fl caddycmd.Flags) (int, error) {
	s, err := serverOf(fl)
	if err != nil {
		return exit(err)
	}
	handlers, err := s.handlers()
	return table(fl, "NAME ADDRESS STATE SOCKETS ANSWERS STORE", each(handlers, err), func(h admin.HandlerInfo) []any {
		return []any{h.Name, h.Address, h.State, h.Sockets, h.Answers, h.Store}
	})
}

func runNodes(fl caddycmd.Flags) (int, error) {
	s, err := newServer(fl)
	if err != nil {
		return exit(err)
	}
	nodes, err := s.nodes()
	return table(fl, "NODE NAME SINCE DRAINING", each(nodes, err), func(n admin.NodeInfo) []any {
		return []any{n.ID, n.Name, n.JoinedAt, n.Draining}
	})
}

func runProviders(fl caddycmd.Flags) (int, error) {
	return listing(fl, "/providers", "", "PROVIDER MODEL STATE FAILURES REASON UNTIL", func(p admin.ProviderInfo) []any {
		return []any{p.Provider, p.Model, p.State, p.Failures, p.Reason, p.Until}
	})
}

func runTools(fl caddycmd.Flags) (int, error) {
	return listing(fl, "/tools", "", "TOOL SERVER APPROVAL HASH DESCRIPTION", func(t admin.ToolInfo) []any {
		approval := "never"
		if t.Approve {
			approval = "always"
		}
		description, _, _ := strings.Cut(t.Description, "\n")
		return []any{t.Name, t.Server, approval, t.Hash, description}
	})
}

func runWaiting(fl caddycmd.Flags) (int, error) {
	return listing(fl, "/waiting", "", "CALL TOOL FOR USER EXPIRES CONVERSATION", func(c conversation.WaitingCall) []any {
		return []any{c.CallID, c.Tool, c.WaitingFor, c.User, c.ExpiresAt, c.Conversation}
	})
}

func runSockets(fl caddycmd.Flags) (int, error) {
	return listingOfNodes(fl, "/sockets", "SOCKET USER CLIENT_IP REMOTE_ADDR SINCE IN OUT CONVERSATIONS", func(s admin.SocketInfo) assistant.NodeID { return s.Node }, func(s admin.SocketInfo) []any {
		return []any{s.ID, s.User, addressOf(s.ClientIP), s.RemoteAddr, s.Since, s.Received, s.Sent, strings.Join(s.Conversations, " ")}
	})
}

// addressOf writes an address, nothing where there is none.
func addressOf(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

func runAnswers(fl caddycmd.Flags) (int, error) {
	return listingOfNodes(fl, "/answers", "MESSAGE USER MODEL SINCE WAITING CONVERSATION", func(a admin.AnswerInfo) assistant.NodeID { return a.Node }, func(a admin.AnswerInfo) []any {
		return []any{a.ID, a.User, a.Model, a.Since, a.Waiting, a.Conversation}
	})
}

func runConversations(fl caddycmd.Flags) (int, error) {
	return listing(fl, "/conversations", fl.Arg(0), "CONVERSATION CREATED UPDATED", func(c admin.ConversationInfo) []any {
		return []any{c.ID, c.CreatedAt, c.UpdatedAt}
	})
}

func runStop(fl caddycmd.Flags) (int, error) {
	s, err := newServer(fl)
	if err == nil {
		err = s.read(http.MethodDelete, s.path("/answers/"+url.PathEscape(fl.Arg(0)), nil), nil)
	}
	return exit(err)
}

func runClose(fl caddycmd.Flags) (int, error) {
	user := fl.String("user")
	if (len(fl.Args()) == 1) == (user != "") {
		return exit(misuse("expected either a <socket_id>, which caddy assistant sockets lists, or --user <user>"))
	}
	s, err := newServer(fl)
	if err != nil {
		return exit(err)
	}
	s.isLocal = fl.Bool("local")
	if user == "" {
		return exit(s.read(http.MethodDelete, s.path("/sockets/"+url.PathEscape(fl.Arg(0)), nil), nil))
	}
	var closed admin.Closed
	if err := s.read(http.MethodDelete, s.path("/sockets", ofUser(user)), &closed); err != nil {
		return exit(err)
	}
	warn(closed.Unreachable)
	fmt.Println(plural(closed.Sockets, "socket"), "closed")
	return exit(nil)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func runExport(fl caddycmd.Flags) (int, error) {
	s, err := newServer(fl)
	if err != nil {
		return exit(err)
	}
	res, err := s.do(http.MethodGet, s.path("/export", ofUser(fl.Arg(0))))
	if err != nil {
		return exit(err)
	}
	defer func() { _ = res.Body.Close() }()
	out := os.Stdout
	if name := fl.String("output"); name != "-" {
		if out, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return exit(err)
		}
	}
	_, err = io.Copy(out, res.Body)
	if err = errors.Join(err, out.Close()); err != nil {
		err = fmt.Errorf("the export is incomplete: %w", err)
	}
	return exit(err)
}

func runErase(fl caddycmd.Flags) (int, error) {
	s, err := newServer(fl)
	if err != nil {
		return exit(err)
	}
	user := fl.Arg(0)
	if !fl.Bool("yes") {
		if err := confirm(s, user); err != nil {
			return exit(err)
		}
	}
	var erased struct{ Conversations int }
	if err := s.read(http.MethodDelete, s.path("/conversations", ofUser(user)), &erased); err != nil {
		return exit(err)
	}
	fmt.Println(plural(erased.Conversations, "conversation"), "erased")
	return exit(nil)
}

// confirm asks before an erasure, and returns an error unless the reply is yes.
func confirm(s *server, user string) error {
	n := 0
	for _, err := range list[admin.ConversationInfo](s, "/conversations", user) {
		if err != nil {
			return err
		}
		n++
	}
	fmt.Fprintf(os.Stderr, "Erase %s of %s for ever? [y/N] ", plural(n, "conversation"), termchat.Printable(user))
	reply, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if r := strings.ToLower(strings.TrimSpace(reply)); r != "y" && r != "yes" {
		return errors.New("nothing was erased")
	}
	return nil
}

func runDrain(method string) caddycmd.CommandFunc {
	return func(fl caddycmd.Flags) (int, error) {
		s, err := newServer(fl)
		if err != nil {
			return exit(err)
		}
		var info admin.HandlerInfo
		if err := s.read(method, s.path("/drain", nil), &info); err != nil {
			return exit(err)
		}
		fmt.Println(info.Name, "is", info.State)
		return caddy.ExitCodeSuccess, nil
	}
}

// Package command adds the command "caddy assistant" and its subcommands.
package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/admin"
	"github.com/caddy-assistant/caddy-assistant/termchat"
	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "assistant",
		Usage: "<command>",
		Short: "Chats with, watches and controls the assistants of a running server",
		Long: `
Commands for the assistant handlers of a Caddyfile.

All but asyncapi and version need a running server. They look for its admin API at --address, at
the admin address in --config, or else at the default address. They need --name only
if the server has several handlers.

Lists are tables or, with --json, lines of JSON.

Exit status: 0 for success, 1 when a command has failed, 2 when its command line is
wrong, 130 after Ctrl-C.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args = subcommand
			cmd.SilenceErrors = true
			cmd.Version = versionText()
			cmd.SetFlagErrorFunc(misused)
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			cmd.AddCommand(chatCommand(), asyncAPICommand(), doctorCommand(), versionCommand())
			cmd.AddCommand(operatorCommands()...)
		},
	})
}

// command makes a subcommand, whose arguments are those in angle brackets of its use; with any, it checks them itself.
func command(use, short string, run caddycmd.CommandFunc) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: arguments, SilenceErrors: true, DisableFlagsInUseLine: true}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		status, err := run(caddycmd.Flags{FlagSet: cmd.Flags()})
		return ended(cmd, status, err)
	}
	cmd.SetFlagErrorFunc(misused)
	return cmd
}

// subcommand says that there is none of that name, and which may be meant.
func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2
	if meant := cmd.SuggestionsFor(args[0]); len(meant) > 0 {
		text += "; did you mean " + strings.Join(meant, " or ") + "?"
	}
	return misused(cmd, misuse("%s", text))
}

// anyArguments is for a command that checks its arguments itself.
func anyArguments(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	return cmd
}

// exitMisused is the exit status for a command line that cannot be understood.
const exitMisused = 2

// misusedError is an error of the command line.
type misusedError string

func (m misusedError) Error() string { return string(m) }

// misuse says what is wrong with a command line.
func misuse(format string, args ...any) error { return misusedError(fmt.Sprintf(format, args...)) }

// arguments checks that a command has the arguments that its use names.
func arguments(cmd *cobra.Command, args []string) error {
	var names []string
	for word := range strings.FieldsSeq(cmd.Use) {
		if strings.HasPrefix(word, "<") {
			names = append(names, word)
		}
	}
	switch {
	case len(args) < len(names):
		return misused(cmd, misuse("%s is missing", strings.Join(names[len(args):], " ")))
	case len(args) > len(names):
		return misused(cmd, misuse("unexpected argument %q", args[len(names)]))
	}
	return nil
}

// misused ends a command whose command line is wrong.
func misused(cmd *cobra.Command, err error) error {
	return ended(cmd, exitMisused, misusedError(err.Error()))
}

// ended prints why a command has failed, as a sentence for people, and returns the error that has its exit status.
func ended(cmd *cobra.Command, status int, err error) error {
	if err != nil {
		text := termchat.Printable(sentence(err))
		if _, ok := errors.AsType[misusedError](err); ok {
			status = exitMisused
			text += "\nUsage: " + cmd.UseLine() + "; --help tells more"
		}
		fmt.Fprintln(os.Stderr, "Error:", text)
	}
	cmd.SilenceErrors = true // it has been printed
	if status > 1 {
		return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return status, nil })(cmd, nil)
	}
	return err
}

// response is how Caddy's client reports an error of the admin API.
var response = regexp.MustCompile(`(?s)caddy responded with error: HTTP (\d+): (.*)$`)

// sentence writes an error for people: what the admin API said without its wrapping, and what to do where no server
// answers.
func sentence(err error) string {
	text := err.Error()
	if found := response.FindStringSubmatch(text); found != nil {
		var body struct{ Error string }
		if json.Unmarshal([]byte(found[2]), &body) == nil && body.Error != "" {
			return strings.Replace(text, found[0], body.Error, 1)
		}
	}
	if errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(text, "connection refused") {
		text += ". Is Caddy running here? Its admin API is looked for at --address, or where --config says"
	}
	return text
}

// client adds the flags of a command that uses a running server.
func client(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String("address", "", "Address of the admin API, if it is not the default")
	cmd.Flags().StringP("config", "c", "", "Configuration file to take the address of the admin API from")
	cmd.Flags().StringP("adapter", "a", "", "Name of the adapter of that file")
	cmd.Flags().String("name", "", "Name of the assistant handler")
	return cmd
}

// server is a running server, by its admin API.
type server struct {
	address, name string
	isLocal       bool // only this node, where several share the store
}

// serverOf returns the server that the flags name.
func serverOf(fl caddycmd.Flags) (*server, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(fl.String("address"), nil, fl.String("config"), fl.String("adapter"))
	return &server{address: address, name: fl.String("name")}, err
}

// newServer returns the server with a handler chosen: the one that the flag name gives, or the only one.
func newServer(fl caddycmd.Flags) (*server, error) {
	s, err := serverOf(fl)
	if err != nil || s.name != "" {
		return s, err
	}
	handlers, err := s.handlers()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, h := range handlers {
		names = append(names, h.Name)
	}
	switch len(names) {
	case 0:
		return nil, errors.New("the server has no assistant handler")
	case 1:
		s.name = names[0]
		return s, nil
	}
	return nil, fmt.Errorf("the server has several assistant handlers; choose with --name one of %s", strings.Join(names, ", "))
}

// handlers returns the chosen handler, or all of the server's if none is chosen.
func (s *server) handlers() ([]admin.HandlerInfo, error) {
	if s.name != "" {
		var one admin.HandlerInfo
		if err := s.read(http.MethodGet, s.path("", nil), &one); err != nil {
			return nil, err
		}
		return []admin.HandlerInfo{one}, nil
	}
	var list admin.Page[admin.HandlerInfo]
	err := s.read(http.MethodGet, "/assistant/", &list)
	return list.Items, err
}

// nodes returns the nodes that share the chosen handler's store; none where it is not shared.
func (s *server) nodes() ([]admin.NodeInfo, error) {
	var info admin.HandlerInfo
	err := s.read(http.MethodGet, s.path("", nil), &info)
	return info.Nodes, err
}

// warn tells of nodes that do not reply.
func warn(unreachable []admin.NodeRef) {
	for _, n := range unreachable {
		fmt.Fprintln(os.Stderr, "warning: no reply from", termchat.Printable(n.String())+"; what it has is missing")
	}
}

// path returns the path of one of the handler's resources.
func (s *server) path(resource string, query url.Values) string {
	path := "/assistant/" + url.PathEscape(s.name) + resource
	if s.isLocal {
		query = maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		query.Set("node", "local")
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// ofUser returns the query that selects a user; "" selects all.
func ofUser(user string) url.Values {
	if user == "" {
		return url.Values{}
	}
	return url.Values{"user": {user}}
}

// do sends a request. A status that does not mean success is an error.
func (s *server) do(method, path string) (*http.Response, error) {
	return caddycmd.AdminAPIRequest(s.address, method, path, nil, nil)
}

// read decodes the answer of a request into body, unless that is nil.
func (s *server) read(method, path string, body any) error {
	res, err := s.do(method, path)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if body == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(body); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}

// list yields the items of all pages. An error is the last value.
func list[T any](s *server, resource, user string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query := ofUser(user)
		query.Set("limit", strconv.Itoa(admin.MaxLimit))
		isWarned := false
		for more := true; more; more = query.Get("cursor") != "" {
			var p admin.Page[T]
			if err := s.read(http.MethodGet, s.path(resource, query), &p); err != nil {
				var none T
				yield(none, err)
				return
			}
			if !isWarned {
				warn(p.Unreachable)
				isWarned = len(p.Unreachable) > 0
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			query.Set("cursor", p.Next)
		}
	}
}

// exit returns a command's exit status for err.
func exit(err error) (int, error) {
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	return caddy.ExitCodeSuccess, nil
}

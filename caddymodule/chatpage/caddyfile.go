package chatpage

import (
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterDirective("assistant_chat", parse)
	// Before respond, which would shadow it where a site has one without a matcher.
	httpcaddyfile.RegisterDirectiveOrder("assistant_chat", httpcaddyfile.Before, "respond")
}

// Settings is the table of the directive assistant_chat.
func (p *ChatPage) Settings() setting.Table {
	return setting.Table{{
		{Name: "path", Value: folder.Into(&p.Path), Without: "the matcher's", Help: "where the page is"},
		{Name: "socket", Value: socket.Into(&p.Socket), Without: "this site's assistant", Help: "required where there are several, or none"},
		{Name: "title", Value: setting.Text("<text>").Into(&p.Title), Without: "Assistant", Help: "in the browser's tab"},
		{Name: "heading", Value: setting.Text("<text>").Into(&p.Heading), Without: "the title"},
		{Name: "logo", Value: place.Into(&p.Logo), Without: "a speech bubble", Help: "before the heading"},
		{Name: "language", Value: language.Into(&p.Language), Without: "the reader's", Help: "such as de or pt-BR"},
		{Name: "greeting", Value: setting.Text("<text>").Into(&p.Greeting), Without: "How can I help?", Help: "shown until something is said"},
		{Name: "suggest", Value: setting.Lines("<question>", &p.Suggest), Without: "none", Help: "offered until something is said; may be repeated"},
		{Name: "disclaimer", Value: setting.Text("<text>").Into(&p.Disclaimer), Without: "none", Help: "a line under the input"},
		{Name: "privacy", Value: place.Into(&p.Privacy), Without: "none", Help: "where a link under the input leads"},
		{Name: "texts", Value: setting.Text("<file>").Into(&p.Texts), Without: "none", Help: "the page's words in further languages, as JSON"},
		{Name: "logs", Value: setting.Switch().Into(&p.Logs), Default: "off", Help: `"View Logs": the frames, for developers`},
	}}
}

// UnmarshalCaddyfile reads the directive assistant_chat; its subdirectives are those of [ChatPage.Settings].
func (p *ChatPage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return p.Settings().Read(d, "assistant_chat")
}

// parse reads the directive with its matcher. If the matcher has one path, that is where the page is: /chat, /chat/
// and /chat/* all match the path without the slash, which redirects, and everything below it.
func parse(helper httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !helper.Next() {
		return nil, helper.ArgErr()
	}
	matchers, err := helper.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	p := new(ChatPage)
	if err := p.UnmarshalCaddyfile(helper.Dispenser); err != nil {
		return nil, err
	}
	if mount := mountOf(matchers); mount != "" && p.Path == "" {
		p.Path = mount
		matchers = maps.Clone(matchers) // others may use the same named matcher
		matchers["path"] = caddyconfig.JSON(pathsOf(mount), nil)
	}
	return helper.NewRoute(matchers, p), nil
}

// mountOf returns the path that matchers let through, with a slash at its end, or "" if that is not one path.
func mountOf(matchers caddy.ModuleMap) string {
	var paths caddyhttp.MatchPath
	if json.Unmarshal(matchers["path"], &paths) != nil || len(paths) != 1 {
		return ""
	}
	path := strings.TrimRight(strings.TrimSuffix(paths[0], "*"), "/") + "/"
	if !isFolder(path) {
		return ""
	}
	return path
}

func pathsOf(mount string) caddyhttp.MatchPath {
	if mount == "/" {
		return caddyhttp.MatchPath{"/*"}
	}
	return caddyhttp.MatchPath{strings.TrimSuffix(mount, "/"), mount + "*"}
}

var folder = setting.Matching("<path>", "a path with a slash at both ends", isFolder)

func isFolder(path string) bool {
	return strings.HasPrefix(path, "/") && strings.HasSuffix(path, "/") && !strings.ContainsAny(path, "*{}")
}

var socket = setting.Matching("<path or url>", "a path with a leading slash, or a URL like wss://chat.example.com/ws/assistants/", func(text string) bool {
	return isPlace(text, "ws", "wss", "http", "https")
})

var place = setting.Matching("<path or url>", "a path with a leading slash, or a URL like https://example.com/", func(text string) bool {
	return isPlace(text, "http", "https")
})

// host is what a Content-Security-Policy can name, with or without a port.
var host = regexp.MustCompile(`^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]+)?$`)

// isPlace reports whether text is an absolute path or a URL of one of the schemes.
func isPlace(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.User != nil || strings.ContainsAny(text, " {}\\"):
		return false
	case u.Scheme == "":
		return u.Host == "" && strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//")
	}
	return slices.Contains(schemes, u.Scheme) && host.MatchString(u.Host)
}

var language = setting.Matching("<tag>", "a language tag like de or pt-BR", regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`).MatchString)

var _ caddyfile.Unmarshaler = (*ChatPage)(nil)

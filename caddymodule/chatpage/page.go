package chatpage

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/webchat"
	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/html"
)

// index returns index.html with the settings in it, and its Content-Security-Policy. The policy is the one that the
// file has for those who host it elsewhere, with the origins of the settings, and with what only a header can say.
func (p *ChatPage) index(socket string) (page []byte, policy string, err error) {
	source, err := fs.ReadFile(webchat.Files, indexFile)
	if err != nil {
		return nil, "", err
	}
	document, err := html.Parse(bytes.NewReader(source))
	if err != nil {
		return nil, "", err
	}
	for node := range document.Descendants() {
		switch node.Data {
		case "html":
			set(node, "lang", p.Language)
		case "title":
			if p.Title != "" {
				node.FirstChild.Data = p.Title
			}
		case "assistant-chat":
			p.describe(node, socket)
		}
	}
	for node := range document.Descendants() {
		if node.Data == "meta" && get(node, "http-equiv") == "Content-Security-Policy" {
			policy = extend(get(node, "content"), map[string]string{"connect-src": socketOrigins(socket), "img-src": origin(p.Logo)})
			node.Parent.RemoveChild(node)
			break
		}
	}
	if policy == "" {
		return nil, "", errors.New("the page has no Content-Security-Policy")
	}
	var b bytes.Buffer
	err = html.Render(&b, document)
	return b.Bytes(), policy, err
}

// describe writes the settings into the element, as attributes.
func (p *ChatPage) describe(element *html.Node, socket string) {
	for name, value := range map[string]string{
		"url": socket, "heading": cmp.Or(p.Heading, p.Title), "logo": p.Logo, "lang": p.Language, "greeting": p.Greeting,
		"suggest": strings.Join(p.Suggest, "\n"), "disclaimer": p.Disclaimer, "privacy": p.Privacy,
	} {
		set(element, name, value)
	}
	if p.Texts != "" {
		set(element, "texts", textsFile)
	}
	if p.Logs {
		element.Attr = append(element.Attr, html.Attribute{Key: "logs"})
	}
	slices.SortFunc(element.Attr, func(a, b html.Attribute) int { return cmp.Compare(a.Key, b.Key) })
}

func get(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// set sets an attribute, unless the value is empty.
func set(node *html.Node, name, value string) {
	if value == "" {
		return
	}
	node.Attr = slices.DeleteFunc(node.Attr, func(a html.Attribute) bool { return a.Key == name })
	node.Attr = append(node.Attr, html.Attribute{Key: name, Val: value})
}

// extend adds sources to directives of a policy.
func extend(policy string, sources map[string]string) string {
	directives := strings.Split(policy, "; ")
	for i, directive := range directives {
		name, _, _ := strings.Cut(directive, " ")
		directives[i] = strings.TrimSpace(directive + " " + sources[name])
	}
	return strings.Join(append(directives, "frame-ancestors 'none'"), "; ")
}

// socketOrigins returns what a policy has to allow for a socket: its WebSocket, and GETs of the same address. Chromium
// does not take the one for the other, as CSP Level 3 does (section 6.7.2.8).
func socketOrigins(address string) string {
	_, host, ok := strings.Cut(origin(address), "://")
	if !ok {
		return ""
	}
	secure := ""
	if strings.HasPrefix(address, "wss:") || strings.HasPrefix(address, "https:") {
		secure = "s"
	}
	return "ws" + secure + "://" + host + " http" + secure + "://" + host
}

// origin returns the origin of a URL, for a policy, or "" for a path.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// readTexts reads the file of texts, which may be a placeholder.
func readTexts(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(file, true, true)
	if err != nil {
		return nil, fmt.Errorf("texts: %w", err)
	}
	texts, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("texts: %w", err)
	}
	var languages map[string]map[string]any
	if err := json.Unmarshal(texts, &languages); err != nil {
		return nil, fmt.Errorf("texts: expected JSON like {\"nl\": {\"send\": \"Verstuur\"}} in %s: %w", path, err)
	}
	return texts, nil
}

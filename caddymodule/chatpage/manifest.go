package chatpage

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"

	"github.com/caddy-assistant/caddy-assistant/webchat"
)

const manifestFile = "manifest.webmanifest"

// manifest returns what a browser needs to install the page as an application (W3C Web Application Manifest), under
// the page's own name.
func (p *ChatPage) manifest() ([]byte, error) {
	source, err := fs.ReadFile(webchat.Files, manifestFile)
	if err != nil {
		return nil, err
	}
	var members map[string]any
	if err := json.Unmarshal(source, &members); err != nil {
		return nil, fmt.Errorf("read %s: %w", manifestFile, err)
	}
	if name := cmp.Or(p.Title, p.Heading); name != "" {
		members["name"], members["short_name"] = name, name
	}
	if p.Language != "" {
		members["lang"], members["dir"] = p.Language, "auto"
	}
	return json.Marshal(members)
}

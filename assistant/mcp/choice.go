package mcp

import (
	"regexp"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// globs are patterns for the server's names of tools. nil matches none.
type globs []*regexp.Regexp

func newGlobs(patterns []string) globs {
	var g globs
	for _, pattern := range patterns {
		expression := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
		g = append(g, regexp.MustCompile(`(?s)^`+expression+`$`))
	}
	return g
}

func (g globs) match(name string) bool {
	for _, glob := range g {
		if glob.MatchString(name) {
			return true
		}
	}
	return false
}

// choice is what the operator has chosen of a server's tools.
type choice struct {
	allow, deny, repeatable globs
	approve                 []rule
	untrusted               bool
}

type rule struct {
	mode  string
	tools globs
}

func newChoice(c Config) choice {
	everything := []string{"*"}
	orAll := func(patterns []string) globs {
		if len(patterns) == 0 {
			patterns = everything
		}
		return newGlobs(patterns)
	}
	ch := choice{
		allow: orAll(c.Allow), deny: newGlobs(c.Deny), repeatable: newGlobs(c.Repeatable), untrusted: c.Untrusted,
		approve: []rule{{writes, newGlobs(everything)}},
	}
	for _, r := range c.Approve {
		ch.approve = append(ch.approve, rule{r.Mode, orAll(r.Tools)})
	}
	return ch
}

func (c choice) allowed(name string) bool { return c.allow.match(name) && !c.deny.match(name) }

// reads reports whether the server says that the tool only reads, and is believed.
func (c choice) reads(tool *sdk.Tool) bool {
	return !c.untrusted && tool.Annotations != nil && tool.Annotations.ReadOnlyHint
}

func (c choice) needsApproval(tool *sdk.Tool) bool {
	mode := writes
	for _, r := range c.approve {
		if r.tools.match(tool.Name) {
			mode = r.mode
		}
	}
	return mode == always || mode == writes && !c.reads(tool)
}

func (c choice) mayRepeat(tool *sdk.Tool) bool {
	return c.reads(tool) || c.repeatable.match(tool.Name)
}

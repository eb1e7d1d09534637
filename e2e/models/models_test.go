// Package models asks servers of models that are not ours, in the ways that the settings offer, and holds what becomes
// of each answer. docs/models.md has it as tables, which -update rewrites.
//
// TestAimock is part of make test. The others are built with the tag engines and need what e2e/models/install
// installs: make engines.
package models

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/models.md with what happens now")

// server is a model's server.
type server struct {
	name, version string
	key           string
	ways          []way
	probes        []probe
	watchers      []watcher
}

// watcher is who sees that a request is given up.
type watcher struct {
	who   string
	deaf  []string // titles of the ways by which it does not see it at once
	watch func(way string) (wait func(context.Context) error)
}

// way is how a server is asked: a column of the table.
type way struct {
	title    string
	prefix   string // of the models' names
	settings string // of the provider; KEY stands for the key
}

// probe is one thing that a server does: a row of the table.
type probe struct {
	does      string
	questions []string // one after the other; what becomes of the last is the outcome. Default: does
	model     string   // Default: gpt-4o
	settings  string   // of the provider, beside those of the way
	key       string   // Default: the server's
	text      string   // that the server sends; empty where nobody can know
	stop      bool     // the answer is stopped after its first piece
	ways      []string // titles of the ways that have it. Default: all
}

func (p probe) asked() []string {
	if p.questions == nil {
		return []string{p.does}
	}
	return p.questions
}

func (p probe) has(w way) bool {
	return p.ways == nil || slices.Contains(p.ways, w.title)
}

// site has an assistant for each probe by each way.
func (s server) site() string {
	var text strings.Builder
	for i, w := range s.ways {
		for j, p := range s.probes {
			fmt.Fprintf(&text, `
				assistant %s* {
					name w%dp%d
					provider openai {
						model %s%s
						max_retries 0
						%s
						%s
					}
				}
			`, address(i, j), i, j, w.prefix, cmp.Or(p.model, "gpt-4o"), strings.ReplaceAll(w.settings, "KEY", cmp.Or(p.key, s.key)), p.settings)
		}
	}
	return harness.Site("log\n" + text.String())
}

// none is the outcome of what a way does not have.
const none = "–"

func address(way, probe int) string { return fmt.Sprintf("/ws/%d/%d/", way, probe) }

// run asks everything in every way, and compares the outcomes with the document.
func (s server) run(t *testing.T) {
	t.Helper()
	c := harness.Start(t, s.site())
	outcomes := make([][]string, len(s.probes))
	for j, p := range s.probes {
		for i, w := range s.ways {
			outcome := none
			if p.has(w) {
				t.Run(p.does+", "+w.title, func(t *testing.T) {
					outcome = s.ask(t, harness.DialPath(t, c, address(i, j)), p, w)
				})
			}
			outcomes[j] = append(outcomes[j], outcome)
		}
	}
	if !t.Failed() {
		s.compare(t, outcomes)
	}
}

// compare holds the outcomes against the document.
func (s server) compare(t *testing.T, outcomes [][]string) {
	t.Helper()
	var rows bytes.Buffer
	titles := make([]string, len(s.ways))
	for i, w := range s.ways {
		titles[i] = w.title
	}
	fmt.Fprintf(&rows, "| %s %s | %s |\n|---%s|\n", s.name, s.version, strings.Join(titles, " | "), strings.Repeat("|---", len(titles)))
	for j, p := range s.probes {
		fmt.Fprintf(&rows, "| %s | %s |\n", p.does, strings.Join(abridged(outcomes[j]), " | "))
	}
	file := filepath.Join(harness.Root(t), "docs", "models.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)(<!-- made by ` + t.Name() + `, )[-0-9]+( -->\n)(.*?)(<!-- end -->\n)`)
	old := table.FindSubmatch(text)
	switch {
	case old == nil:
		t.Fatalf("%s has no place for the table of %s", file, t.Name())
	case string(old[3]) == rows.String() && !*update:
	case !*update:
		t.Errorf("%s is not what happens; rewrite it with -update\n--- got\n%s", file, rows.String())
	default:
		made := fmt.Appendf(nil, "%s%s%s%s%s", old[1], time.Now().UTC().Format(time.DateOnly), old[2], rows.Bytes(), old[4])
		if err := os.WriteFile(file, bytes.Replace(text, old[0], made, 1), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// abridged writes an outcome that is the one before it as same.
func abridged(outcomes []string) []string {
	cells := slices.Clone(outcomes)
	for i := 1; i < len(cells); i++ {
		if outcomes[i] == outcomes[i-1] && outcomes[i] != none {
			cells[i] = "same"
		}
	}
	return cells
}

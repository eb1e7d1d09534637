package caddytest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Update says that golden files are to be rewritten.
var Update = flag.Bool("update", false, "rewrite the golden files with what comes out now")

// Golden is a pair of testdata: a part of a Caddyfile and, below a line, what comes of it.
type Golden struct{ Input, Want, file string }

const separator = "----------\n"

// Goldens returns every golden pair of testdata.
func Goldens(t testing.TB) (all []Golden) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		input, want, _ := strings.Cut(string(data), separator)
		all = append(all, Golden{input, want, file})
	}
	return all
}

// ExpectGoldens expects of every golden pair of testdata that result makes the one of the other, and that no secret
// shows in it.
func ExpectGoldens(t *testing.T, secret string, result func(t *testing.T, input string) string) {
	for _, g := range Goldens(t) {
		t.Run(strings.TrimSuffix(filepath.Base(g.file), ".caddyfiletest"), func(t *testing.T) {
			got := result(t, g.Input)
			if strings.Contains(got, secret) {
				t.Errorf("a secret shows in %s", got)
			}
			if got == g.Want {
				return
			}
			if !*Update {
				t.Fatalf("rewrite with -update\n--- got\n%s\n--- want\n%s", got, g.Want)
			}
			if err := os.WriteFile(g.file, []byte(g.Input+separator+got), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

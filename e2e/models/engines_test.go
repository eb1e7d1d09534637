//go:build engines

package models

import (
	"os"
	"strings"
	"testing"
)

// engines is the folder into which e2e/models/install has installed the servers.
func engines(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("ENGINES")
	if folder == "" {
		t.Fatal("ENGINES names no folder; make engines does")
	}
	return folder
}

// pinned is the version of a package in a file of requirements.
func pinned(t *testing.T, file, name string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if pin, ok := strings.CutPrefix(line, name+"=="); ok {
			return strings.Fields(pin)[0]
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return ""
}

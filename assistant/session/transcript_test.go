package session_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant/session/sessiontest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTranscripts plays every conversation of testdata; they are the protocol by example.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) { sessiontest.Transcript(t, file) })
	}
}

package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
)

func TestFiles(t *testing.T) {
	storetest.TestFiles(t, true, func(t *testing.T) storetest.Place {
		t.Helper()
		path := filepath.Join(t.TempDir(), "chat.db")
		return func(t *testing.T) assistant.Store {
			t.Helper()
			return open(t, path)
		}
	})
}

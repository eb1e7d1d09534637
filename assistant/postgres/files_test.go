package postgres

import (
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
)

func TestFiles(t *testing.T) {
	storetest.TestFiles(t, true, func(t *testing.T) storetest.Place {
		t.Helper()
		place := emptyPlace(t)
		return func(t *testing.T) assistant.Store {
			t.Helper()
			return place(t)
		}
	})
}

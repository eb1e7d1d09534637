package storetest_test

import (
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
	"github.com/caddy-assistant/caddy-assistant/assistant/memory"
)

// The test of a store of one's own is the contract suite, with a function that opens an empty one.
func ExampleTestStore() {
	_ = func(t *testing.T) { // TestStore in your package
		storetest.TestStore(t, func(t *testing.T) assistant.Store {
			return memory.Open(memory.Config{}) // yours
		})
	}
	// Output:
}

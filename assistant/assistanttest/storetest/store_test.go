package storetest

import (
	"testing"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// The model, which stores are compared with, keeps the contract itself.
func TestStoreModel(t *testing.T) {
	TestStore(t, func(*testing.T) assistant.Store { return &storeModel{} })
}

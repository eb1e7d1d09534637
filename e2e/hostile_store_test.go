package e2e

import "testing"

type hostileStore struct {
	hostile
	run func(t *testing.T) string
}

var hostileStores []hostileStore

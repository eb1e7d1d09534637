package ws

import (
	"testing"
	"time"
)

// SetCloseTimeout sets how long Close waits for the peer in this test, so that real peers on a busy machine
// answer in time.
func SetCloseTimeout(t *testing.T, d time.Duration) {
	before := closeTimeout
	closeTimeout = d
	t.Cleanup(func() { closeTimeout = before })
}

package ws

import (
	"testing"
	"time"
)

// SetCloseTimeout lets Close wait for that long in this test, where real peers of a busy machine must not
// come too late.
func SetCloseTimeout(t *testing.T, d time.Duration) {
	before := closeTimeout
	closeTimeout = d
	t.Cleanup(func() { closeTimeout = before })
}

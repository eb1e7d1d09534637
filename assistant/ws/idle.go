package ws

import (
	"errors"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// Await waits until Recv has something to do: a message has begun, or the connection has ended. It answers pings
// meanwhile. Errors are those of the next Recv.
//
// It needs less than 1 KiB of stack, where Recv and what handles a message need several. Go doubles a stack that is too
// small and hardly ever halves it. So a goroutine that only calls Await, and has others do the rest, keeps the smallest
// stack for as long as the connection is idle. Await and Recv may not be called at once.
func (c *Conn) Await() {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	for c.net.await(c.taken) && c.control() {
	}
}

// await waits for the first bytes of a frame. It returns false, and has not waited, where gorilla may have to do
// something with what came before: Recv has not yet read as many messages as have come, or something has come after the
// last of them.
func (c *netConn) await(taken uint32) bool {
	if len(c.early) > 0 || c.failed != nil || c.isOpen || c.messages != taken {
		return false
	}
	n, err := c.wait(c.first[:])
	c.early, c.failed = c.first[:n], err
	return true
}

// control handles the pings and pongs with which the data that await has read begins, and reports whether that was all.
func (c *Conn) control() bool {
	for len(c.net.early) > 0 {
		const ping, pong, masked = 0x89, 0x8a, 0x80 // whole frames (RFC 6455 section 5.2)
		early := c.net.early
		if len(early) < 6 || early[0] != ping && early[0] != pong || early[1]&masked == 0 {
			return false
		}
		size := 6 + int(early[1]&^masked)
		if len(early) < size {
			return false
		}
		if early[0] == ping {
			c.pong(early[2:6], early[6:size])
		}
		c.net.early = early[size:]
	}
	return c.net.failed == nil
}

// pong answers a ping, on another goroutine because of the stack. Its error ends the connection, unless it may pass.
func (c *Conn) pong(mask, masked []byte) {
	data := make([]byte, len(masked))
	for i, b := range masked {
		data[i] = b ^ mask[i%len(mask)]
	}
	done := make(chan error)
	go func() { done <- c.ws.WriteControl(websocket.PongMessage, data, time.Now().Add(time.Second)) }()
	err := <-done
	if passing, ok := errors.AsType[net.Error](err); err != nil && !errors.Is(err, websocket.ErrCloseSent) && (!ok || !passing.Timeout()) {
		c.net.failed = err
	}
}

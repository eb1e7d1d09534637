package session

// Conn carries a session's messages: a WebSocket, or a pipe in tests.
//
// One goroutine may Recv while another Sends. Close may be called at any time and ends both. Errors are
// permanent, but for a Recv error with a method Malformed(): it describes one message, and others may follow.
// A Recv error may have a method CloseCode() int: the code to close with. io.EOF means that the peer closed
// the connection.
type Conn interface {
	// Recv returns the next text message, which is valid UTF-8 and of bounded size.
	Recv() ([]byte, error)
	// Send writes text messages. It takes bounded time.
	Send(messages ...[]byte) error
	// Close says goodbye with a code of RFC 6455 section 7.4.1 and frees everything.
	Close(code int, reason string) error
}

// awaiter is a [Conn] that can wait for its next message with a small stack. A session then calls Recv, and all that
// handles the message, on another goroutine, so that an idle one keeps a small stack.
type awaiter interface {
	// Await waits until Recv has something to do.
	Await()
}

// trier is a [Conn] that can send without waiting, so that whoever has something to say need not wake the writer.
type trier interface {
	// CanTry reports whether TrySend can do more than nothing. It never changes.
	CanTry() bool
	// TrySend sends messages as far as that needs no wait. If something is left, rest is not nil, and must be called
	// before anything else is sent: it waits. The messages must not change before that. Errors are permanent.
	TrySend(messages ...[]byte) (rest func() error, err error)
}

// Close codes of RFC 6455 section 7.4.1 and its registry.
const (
	closeNormal          = 1000
	closePolicyViolation = 1008
	closeInternalError   = 1011
	closeServiceRestart  = 1012
)

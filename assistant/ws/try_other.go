//go:build !unix

package ws

import (
	"net"
	"syscall"
)

// rawOf returns nil: writes that do not wait are done on Unix only.
func rawOf(net.Conn) syscall.RawConn { return nil }

func tryWrite(syscall.RawConn, []byte) (int, error) { return 0, nil }

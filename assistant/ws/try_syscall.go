//go:build unix && !linux

package ws

import "syscall"

// writeOnce is a write to a socket that does not block.
func writeOnce(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }

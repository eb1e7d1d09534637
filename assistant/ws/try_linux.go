package ws

import (
	"syscall"
	"unsafe"
)

// writeOnce is a write to a socket that does not block. The runtime is not told of it: it would take the processor away
// from a system call that lasts a few microseconds, and wake another thread to use it.
func writeOnce(fd uintptr, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

//go:build unix

package mcp

import (
	"os/exec"
	"syscall"
)

// ownGroup starts a program in a process group of its own, so that what it starts can be ended with it.
func ownGroup(program *exec.Cmd) {
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// killGroup ends what a program that has ended has left behind.
func killGroup(program *exec.Cmd) {
	if program.Process != nil {
		_ = syscall.Kill(-program.Process.Pid, syscall.SIGKILL)
	}
}

package harness

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Peer is a program that is not ours, to talk to.
type Peer struct {
	Logs *Logs // what it writes to stdout and stderr

	cmd *exec.Cmd
}

// StartPeer runs cmd until the test ends, and returns when the peer has written a line that ready accepts, with that
// line. A failed test shows what it wrote.
func StartPeer(t testing.TB, cmd *exec.Cmd, ready func(line string) bool) (*Peer, string) {
	t.Helper()
	p := &Peer{Logs: new(Logs), cmd: cmd}
	cmd.Stdout, cmd.Stderr = p.Logs, p.Logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // it ends with the test, whatever becomes of that
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, ended := context.WithCancelCause(context.Background())
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // ProcessState tells how it ended
		ended(fmt.Errorf("it has ended: %v", cmd.ProcessState))
		close(exited)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its children too
		<-exited
		if t.Failed() {
			t.Logf("%s wrote:\n%s", cmd.Path, p.Logs)
		}
	})
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	line, err := p.Logs.WaitLine(ctx, 0, ready)
	if err != nil {
		t.Fatalf("start %s: %v", strings.Join(cmd.Args, " "), err)
	}
	return p, line
}

// Watch returns a function that waits for a line that match accepts and that the peer writes from now on.
func (p *Peer) Watch(match func(line string) bool) (wait func(context.Context) error) {
	n := p.Logs.Len()
	return func(ctx context.Context) error {
		_, err := p.Logs.WaitLine(ctx, n, match)
		return err
	}
}

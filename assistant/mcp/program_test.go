//go:build unix

package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// pids returns the programs that were started.
func pids(t *testing.T, dir string) []int {
	t.Helper()
	var pids []int
	for _, name := range traces(t, dir, "started") {
		pid, err := strconv.Atoi(filepath.Base(name)[len("started-"):])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestProgramEnvironment(t *testing.T) {
	t.Setenv("MCP_TEST_OTHER", "inherited")
	c, dir := program(t, "serve ")
	log, logged := observer.New(zap.DebugLevel)
	c.Logger = zap.New(log)
	s := open(t, c)
	expectWorks(t, s)
	text, err := os.ReadFile(traces(t, dir, "started")[0])
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, "=")
		got = append(got, name)
	}
	slices.Sort(got)
	if want := []string{"HOME", variableDir, variableKey, variableServe, "PATH"}; !slices.Equal(got, want) {
		t.Errorf("the environment has %q, want %q", got, want)
	}
	eventually(t, "its standard error is logged", func() bool { return logged.FilterMessage("standard error of the program").Len() > 0 })
	if text := fmt.Sprint(logged.All()[0].ContextMap()); strings.Contains(text, canary) || !strings.Contains(text, "ready with [redacted]") {
		t.Errorf("logged: %s", text)
	}
}

// TestProgramEnds expects that the program is one for all users, and ends with Close.
func TestProgramEnds(t *testing.T) {
	c, dir := program(t, "serve ")
	s := open(t, c)
	for range 3 {
		expectWorks(t, s)
	}
	started := pids(t, dir)
	if len(started) != 1 {
		t.Fatalf("%d programs were started", len(started))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if alive(started[0]) {
		t.Error("the program has not ended")
	}
}

// TestProgramGroup expects that what the program has started ends with it.
func TestProgramGroup(t *testing.T) {
	c, dir := program(t, "parent")
	s := open(t, c)
	expectWorks(t, s)
	text, err := os.ReadFile(traces(t, dir, "child")[0])
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "the program's program has ended", func() bool { return !running(child) })
}

// running reports whether a process runs; one that has ended may wait to be reaped.
func running(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return alive(pid)
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(state, "Z")
}

// TestProgramDeaf expects that a program that neither answers nor ends is ended.
func TestProgramDeaf(t *testing.T) {
	c, dir := program(t, "deaf")
	s := open(t, c)
	begin := time.Now()
	if _, err := s.Tools(t.Context(), ann); err == nil || time.Since(begin) > time.Second {
		t.Errorf("the list: error %v after %s", err, time.Since(begin))
	}
	eventually(t, "the program is started", func() bool { return len(pids(t, dir)) == 1 })
	pid := pids(t, dir)[0]
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if alive(pid) {
		t.Error("the program has not ended")
	}
}

// TestProgramDies expects that a program that dies at once is not started again and again.
func TestProgramDies(t *testing.T) {
	c, dir := program(t, "die")
	s := open(t, c)
	var last error
	for range 50 {
		if _, last = s.Tools(t.Context(), ann); last == nil {
			t.Fatal("no error")
		}
	}
	if !strings.Contains(last.Error(), "after a pause of") {
		t.Errorf("error %v", last)
	}
	if n := len(pids(t, dir)); n < 1 || n > 2 {
		t.Errorf("started %d times", n)
	}
	_, err := s.Call(t.Context(), toolCall("echo"))
	expectNotCalled(t, err)
	eventually(t, "it is started again after a pause", func() bool {
		_, _ = s.Tools(t.Context(), ann)
		return len(pids(t, dir)) > 2
	})
}

// TestProgramDiesInCall expects that a call whose program dies may have been made, and that another is started.
func TestProgramDiesInCall(t *testing.T) {
	for _, tool := range []string{"exit", "noise"} {
		t.Run(tool, func(t *testing.T) {
			c, dir := program(t, "serve ")
			s := open(t, c)
			expectWorks(t, s)
			_, err := s.Call(t.Context(), toolCall(tool))
			expectUnknown(t, err)
			eventually(t, "another program works", func() bool {
				_, err := s.Call(t.Context(), toolCall("echo"))
				return err == nil
			})
			if n := len(pids(t, dir)); n != 2 {
				t.Errorf("%d programs were started, want 2", n)
			}
		})
	}
}

// TestProgramStuck expects that a program that has stopped to read holds up nobody, and is replaced.
func TestProgramStuck(t *testing.T) {
	c, dir := program(t, "serve ")
	c.Timeout = 5 * time.Second
	s := open(t, c)
	expectWorks(t, s)
	pid := pids(t, dir)[0]
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	large := toolCall("echo")
	large.Arguments = json.RawMessage(`{"text":"` + strings.Repeat("x", 1<<20) + `"}`)
	begin := time.Now()
	_, err := s.Call(ctx, large)
	expectUnknown(t, err)
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("the call ended after %s", took)
	}
	eventually(t, "another program works", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Call(ctx, toolCall("echo"))
		return err == nil
	})
	eventually(t, "the program has ended", func() bool { return !alive(pid) })
}

// TestProgramSilent expects that a program which reads and does not answer is replaced, once calls have timed out.
func TestProgramSilent(t *testing.T) {
	c, dir := program(t, "serve ")
	c.Timeout = 500 * time.Millisecond
	s := open(t, c)
	names(t, s)
	pid := pids(t, dir)[0]
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := s.Call(ctx, toolCall("echo"))
	expectUnknown(t, err)
	eventually(t, "another program works", func() bool {
		_, err := s.Tools(t.Context(), ann)
		return err == nil && len(pids(t, dir)) == 2
	})
	expectWorks(t, s)
}

func TestPause(t *testing.T) {
	var p pause
	now := time.Now()
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		want := time.Duration(seconds) * time.Second
		p.begin(now)
		p.end(now.Add(time.Second))
		if got := p.until.Sub(now.Add(time.Second)); got != want {
			t.Errorf("a pause of %s, want %s", got, want)
		}
		now = p.until
	}
	p.begin(now)
	now = now.Add(healthyAfter)
	p.end(now)
	if !p.until.Equal(now) {
		t.Errorf("a pause until %s after a long life", p.until.Sub(now))
	}
	p.begin(now)
	p.end(now)
	if p.until.Sub(now) != firstPause {
		t.Errorf("then a pause of %s", p.until.Sub(now))
	}
}

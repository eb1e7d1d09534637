package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// usage is what a process has used and holds.
type usage struct {
	user, system time.Duration // of its processor time
	resident     int           // bytes
}

// ticks is how many there are in a second of /proc/<pid>/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const ticks = 100

// used looks at a process.
func used(t *testing.T, pid int) usage {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatalf("look at the server: %v", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // ends the name, which may have spaces
	fields := strings.Fields(rest)
	if len(fields) < 22 {
		t.Fatalf("look at the server: %s", stat)
	}
	number := func(i int) int { // of the field that proc(5) numbers so
		n, err := strconv.Atoi(fields[i-3])
		if err != nil {
			t.Fatalf("look at the server: %v", err)
		}
		return n
	}
	return usage{
		user:     time.Duration(number(14)) * time.Second / ticks,
		system:   time.Duration(number(15)) * time.Second / ticks,
		resident: number(24) * os.Getpagesize(),
	}
}

// since is the processor time from before until u.
func (u usage) since(before usage) usage {
	return usage{user: u.user - before.user, system: u.system - before.system}
}

func (u usage) total() time.Duration { return u.user + u.system }

// busy is the processor time that the machine has spent on anything.
func busy(t *testing.T) (sum time.Duration) {
	t.Helper()
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatalf("look at the machine: %v", err)
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	var name string
	var user, nice, system, idle, wait, irq, softirq, steal int
	if _, err := fmt.Sscan(line, &name, &user, &nice, &system, &idle, &wait, &irq, &softirq, &steal); err != nil {
		t.Fatalf("look at the machine: %q: %v", line, err)
	}
	return time.Duration(user+nice+system+irq+softirq+steal) * time.Second / ticks
}

// allowFiles raises the limit of open files, also for servers that are started from now on.
func allowFiles(t *testing.T, files uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur, limit.Max = max(limit.Cur, files), max(limit.Max, files)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatalf("the rig needs %d open files, see ulimit -n: %v", files, err)
	}
}

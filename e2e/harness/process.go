package harness

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Usage is what the process holds at a moment.
type Usage struct {
	Goroutines int
	Files      int // open file descriptors, sockets included
	Heap       int // bytes in use after a garbage collection
}

// Usage measures the process. It collects garbage first.
func (c *Caddy) Usage(t testing.TB) (u Usage) {
	t.Helper()
	u.Heap = c.profile(t, "heap?gc=1&debug=1", "# HeapAlloc = %d")
	u.Goroutines = c.profile(t, "goroutine?debug=1", "goroutine profile: total %d")
	files, err := os.ReadDir(c.proc("fd"))
	if err != nil {
		t.Fatalf("look at caddy: %v", err)
	}
	u.Files = len(files)
	return u
}

// profile is the number in that line of a profile of Caddy's admin API which has the given form.
func (c *Caddy) profile(t testing.TB, name, form string) (n int) {
	t.Helper()
	response, body := Fetch(t, "http://"+c.Admin+"/debug/pprof/"+name, nil)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET /debug/pprof/%s: %s", name, response.Status)
	}
	for line := range strings.Lines(body) {
		if _, err := fmt.Sscanf(line, form, &n); err == nil {
			return n
		}
	}
	t.Fatalf("the profile %s has no line %q", name, form)
	return 0
}

// Peak is the most memory that the process has had resident since ForgetPeak, in bytes.
func (c *Caddy) Peak(t testing.TB) int {
	t.Helper()
	status, err := os.ReadFile(c.proc("status"))
	if err != nil {
		t.Fatalf("look at caddy: %v", err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	return kib << 10
}

// ForgetPeak makes what is resident now the peak.
func (c *Caddy) ForgetPeak(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(c.proc("clear_refs"), []byte("5"), 0); err != nil {
		t.Fatalf("look at caddy: %v", err)
	}
}

// Pid is the number of the process.
func (c *Caddy) Pid() int { return c.cmd.Process.Pid }

// Lives tells whether the process has not ended.
func (c *Caddy) Lives() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

func (c *Caddy) proc(file string) string { return fmt.Sprintf("/proc/%d/%s", c.Pid(), file) }

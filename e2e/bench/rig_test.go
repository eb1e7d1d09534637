// Package bench measures what a streamed answer costs in the server, beside other servers in the same run: make
// bench-rig.
//
//	upstream ──► server under test ──► load client
//
// Each is a process of its own: the model's server and the floor are this test's binary again, see [TestMain]; the
// load client is the test itself. Only the server's time and memory are measured, but all share the machine. So
// numbers of different machines or days tell nothing; ratios within a table do. A round measures every server once,
// each in a fresh process, and the tables show medians over the rounds.
package bench

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-assistant/caddy-assistant/e2e/harness"
)

// roles are what this binary is where $RIG_ROLE says so. They run until they are killed.
var roles = map[string]func() error{"upstream": serveUpstream, "floor": serveFloor}

func TestMain(m *testing.M) {
	role, ok := roles[os.Getenv("RIG_ROLE")]
	if !ok {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, role())
	os.Exit(1)
}

// startRole runs a role until the test ends, and returns the address where it listens.
func startRole(t *testing.T, role string, env ...string) (addr string, pid int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), append(env, "RIG_ROLE="+role)...)
	return startListening(t, cmd)
}

// startListening runs a program that writes "listening at " and its address.
func startListening(t *testing.T, cmd *exec.Cmd) (addr string, pid int) {
	t.Helper()
	const said = "listening at "
	_, line := harness.StartPeer(t, cmd, func(line string) bool { return strings.HasPrefix(line, said) })
	return strings.TrimPrefix(line, said), cmd.Process.Pid
}

// scenario is one table: the same load for each row.
type scenario struct {
	name, about string
	columns     []column
	rows        []row
}

// row is one server under test, and how to measure it once.
type row struct {
	name    string
	measure func(*testing.T) sample
}

// TestRig measures the scenarios that $RIG names, in $ROUNDS rounds (5), and of their rows those that $SERVERS names
// with commas between them (all). Without $RIG it only sees to it that the rig works: a small load once,
// of which every piece must arrive.
func TestRig(t *testing.T) {
	names := strings.Fields(os.Getenv("RIG"))
	if len(names) == 0 {
		smoke(t)
		return
	}
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("ROUNDS"), "5"))
	if err != nil || rounds < 1 {
		t.Fatalf("ROUNDS: %v", err)
	}
	allowFiles(t, 15_000) // of one process: a socket each, or 5,000 and as many to the upstream
	servers := strings.FieldsFunc(os.Getenv("SERVERS"), func(r rune) bool { return r == ',' })
	known := scenarios(t)
	for _, name := range names {
		i := slices.IndexFunc(known, func(s scenario) bool { return s.name == name })
		if i < 0 {
			t.Fatalf("RIG: %q is none of: paced flat growth followers idle connect storm turns", name)
		}
		if len(servers) > 0 {
			known[i].rows = slices.DeleteFunc(known[i].rows, func(r row) bool { return !slices.Contains(servers, r.name) })
		}
		fmt.Println(known[i].run(t, rounds))
	}
}

// smoke runs a small load through all servers but Node.
func smoke(t *testing.T) {
	s := paced(buildGorilla(t), load{sockets: 10, every: time.Second / 50, warm: time.Second / 4, window: time.Second / 2})
	s.rows = slices.DeleteFunc(s.rows, func(r row) bool { return r.name == nodeRow })
	table := s.run(t, 1)
	for _, r := range s.rows {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(r.name) + ` +[0-9]`).MatchString(table) {
			t.Errorf("the table has no line for %s", r.name)
		}
	}
	t.Log("\n" + table)
}

// run measures all rows in each round, and returns the table.
func (s scenario) run(t *testing.T, rounds int) string {
	results := newTable(s.columns)
	for round := range rounds {
		for _, r := range s.rows {
			t.Run(fmt.Sprint(s.name, "/", r.name, "/", round+1), func(t *testing.T) {
				results.add(r.name, r.measure(t))
			})
		}
		if t.Failed() {
			break
		}
	}
	return fmt.Sprintf("%s: %s; medians of %d\n\n%s", s.name, s.about, rounds, results)
}

// scenarios are all that there are.
func scenarios(t *testing.T) []scenario {
	gorilla := buildGorilla(t)
	const warm, window = 2 * time.Second, 5 * time.Second
	return []scenario{
		paced(gorilla, load{sockets: 200, every: time.Second / 50, warm: warm, window: window}),
		flat(gorilla, load{sockets: 200, pieces: 10_000, warm: warm, window: window}),
		growth(gorilla, []int{100, 1000, 5000}, 9000, load{warm: warm, window: window}),
		followers(load{sockets: 200, every: time.Second / 50, warm: warm, window: window}),
		idle(gorilla, 10_000),
		connecting(gorilla, warm, window),
		storm(10_000),
		turning(100, warm, window),
	}
}

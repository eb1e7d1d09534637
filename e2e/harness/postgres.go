package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Postgres is a PostgreSQL server of the test's own, which can be taken away and come back.
type Postgres struct {
	DSN string

	bin, folder, port string
	as                []string // what runs a command as another user than root, whom PostgreSQL refuses
	settings          []string
	cmd               *exec.Cmd
}

// StartPostgres runs a server until the test ends. It does not wait for the disk, unless settings such as "fsync=on" say so.
func StartPostgres(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	p := &Postgres{bin: PostgresPrograms(t), settings: settings}
	var err error
	if p.folder, err = os.MkdirTemp("", "postgres-test-"); err != nil { //nolint:usetesting // t.TempDir lets nobody else in
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(p.folder) })
	if os.Getuid() == 0 {
		p.lowerRights(t)
	}
	_, p.port, _ = net.SplitHostPort(freeAddrs(t, 1)[0])
	p.DSN = "postgres://tester@127.0.0.1:" + p.port + "/postgres"
	if out, err := p.command("initdb", "-D", p.folder+"/data", "-U", "tester", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	p.Start(t)
	t.Cleanup(func() {
		if p.cmd != nil {
			p.Stop(t)
		}
	})
	return p
}

// PostgresPrograms is where initdb, postgres and pg_dump are: Debian keeps them off PATH.
func PostgresPrograms(t testing.TB) string {
	t.Helper()
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	initdb, err := exec.LookPath("initdb")
	if err == nil {
		initdb, err = filepath.EvalSymlinks(initdb)
	}
	if err != nil {
		t.Fatalf("the tests need PostgreSQL, see make deps: %v", err)
	}
	return filepath.Dir(initdb)
}

func (p *Postgres) lowerRights(t testing.TB) {
	t.Helper()
	other, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	p.as = []string{"setpriv", "--reuid=" + other.Uid, "--regid=" + other.Gid, "--clear-groups", "--pdeathsig=QUIT", "--"}
	uid, _ := strconv.Atoi(other.Uid)
	gid, _ := strconv.Atoi(other.Gid)
	if err := os.Chown(p.folder, uid, gid); err != nil {
		t.Fatal(err)
	}
}

func (p *Postgres) command(program string, args ...string) *exec.Cmd {
	return p.commandOf(filepath.Join(p.bin, program), args...)
}

// commandOf runs a program as the user that PostgreSQL runs as.
func (p *Postgres) commandOf(path string, args ...string) *exec.Cmd {
	line := slices.Concat(p.as, []string{path}, args)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = p.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT} // it ends with the test, whatever becomes of that
	return cmd
}

// Start runs the server and returns when it accepts connections.
func (p *Postgres) Start(t testing.TB) {
	t.Helper()
	args := []string{"-D", p.folder + "/data", "-p", p.port, "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=" + p.folder, "-c", "fsync=off", "-c", "full_page_writes=off",
		"-c", "max_connections=500"} // each handler of each node has up to 17
	for _, setting := range p.settings {
		args = append(args, "-c", setting)
	}
	p.cmd = p.command("postgres", args...)
	said, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := untilReady(said); err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
}

// untilReady reads what a server says until it is ready; the rest is read by nobody, so that it can go on.
func untilReady(said io.Reader) error {
	var text strings.Builder
	for lines := bufio.NewScanner(said); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if strings.HasSuffix(lines.Text(), "database system is ready to accept connections") {
			go func() { _, _ = io.Copy(io.Discard, said) }() // until the server ends
			return nil
		}
	}
	return errors.New(text.String())
}

// Database creates another database on the server and returns its DSN.
func (p *Postgres) Database(t testing.TB, name string) string {
	t.Helper()
	p.Query(t, "CREATE DATABASE "+name)
	return "postgres://tester@127.0.0.1:" + p.port + "/" + name
}

// Query runs a statement and returns its rows as psql prints them: a line each, columns between bars.
func (p *Postgres) Query(t testing.TB, statement string) string {
	t.Helper()
	return p.QueryIn(t, p.DSN, statement)
}

// QueryIn is [Postgres.Query] in the database of a DSN.
func (p *Postgres) QueryIn(t testing.TB, dsn, statement string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(p.bin, "psql"), "-XAtq", "-d", dsn, "-c", statement).CombinedOutput()
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// Addr is where it listens.
func (p *Postgres) Addr() string { return "127.0.0.1:" + p.port }

// Stop ends all sessions and the server.
func (p *Postgres) Stop(t testing.TB) { t.Helper(); p.end(t, syscall.SIGINT) }

// Kill ends the server at once, as a crash does.
func (p *Postgres) Kill(t testing.TB) { t.Helper(); p.end(t, syscall.SIGQUIT) }

func (p *Postgres) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatalf("stop PostgreSQL: %v", err)
	}
	_ = p.cmd.Wait()
	p.cmd = nil
}

// Pause stops all its processes where they are; Resume lets them go on.
func (p *Postgres) Pause(t testing.TB) { t.Helper(); p.signalAll(t, syscall.SIGSTOP) }

// Resume ends a pause.
func (p *Postgres) Resume(t testing.TB) { t.Helper(); p.signalAll(t, syscall.SIGCONT) }

// signalAll reaches the children too, which are in process groups of their own.
func (p *Postgres) signalAll(t testing.TB, signal syscall.Signal) {
	t.Helper()
	pid := p.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	for child := range strings.FieldsSeq(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(pid, signal) // it may have ended
		}
	}
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(err)
	}
}

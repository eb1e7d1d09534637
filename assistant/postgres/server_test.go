package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

// password is the server's, and what no error may contain.
const password = "hunter2/secret"

// database is the server that all tests share. Each has a schema of its own.
var database *server

func TestMain(m *testing.M) {
	if task := os.Getenv(childDSN); task != "" {
		childMain(task)
		return
	}
	var err error
	if database, err = newServer(); err != nil {
		fmt.Fprintln(os.Stderr, "start PostgreSQL:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := database.remove(); err != nil {
			fmt.Fprintln(os.Stderr, "stop PostgreSQL:", err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

// server is a PostgreSQL that exists for these tests only.
type server struct {
	bin, folder string
	port        int
	as          []string // what runs a command as another user than root, whom PostgreSQL refuses
	cmd         *exec.Cmd
	alive       io.Closer // the server stops when it is closed, or its owner dies
}

func newServer() (s *server, err error) {
	s = new(server)
	if s.bin, err = findPrograms(); err != nil {
		return nil, err
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	if s.folder, err = os.MkdirTemp("", "postgres-test-"); err != nil {
		return nil, err
	}
	if err = s.init(); err == nil {
		err = s.start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.folder))
	}
	return s, nil
}

// findPrograms is where initdb and postgres are: the newest that Debian has, or where PATH leads.
func findPrograms() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), err
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("no initdb (Debian package postgresql): %w", err)
	}
	initdb, err = filepath.EvalSymlinks(initdb)
	return filepath.Dir(initdb), err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (s *server) init() error {
	secret := filepath.Join(s.folder, "password")
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		other, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		s.as = []string{"setpriv", "--reuid=" + other.Uid, "--regid=" + other.Gid, "--clear-groups", "--"}
		uid, _ := strconv.Atoi(other.Uid)
		gid, _ := strconv.Atoi(other.Gid)
		if err := errors.Join(os.Chown(s.folder, uid, gid), os.Chown(secret, uid, gid)); err != nil {
			return err
		}
	}
	out, err := s.command("initdb", "-D", filepath.Join(s.folder, "data"), "-U", "tester", "--pwfile="+secret,
		"-A", "scram-sha-256", "--no-locale", "-E", "UTF8", "--no-sync").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *server) command(program string, args ...string) *exec.Cmd {
	line := append(append([]string{}, s.as...), append([]string{filepath.Join(s.bin, program)}, args...)...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = s.folder
	return cmd
}

// runServer starts the server, says so, and stops it when its input is closed: the process that started it
// may have died.
const runServer = `trap '' INT; "$@" -w start >/dev/null && echo ready && cat >/dev/null; "$@" -w -m fast stop >/dev/null`

// start returns when the server accepts connections.
func (s *server) start() error {
	log := filepath.Join(s.folder, "log")
	control := s.command("pg_ctl", "-D", filepath.Join(s.folder, "data"), "-l", log, "-o",
		fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories=%s -c fsync=off -c full_page_writes=off", s.port, s.folder))
	s.cmd = exec.Command("sh", append([]string{"-c", runServer, "sh"}, control.Args...)...)
	s.cmd.Dir = s.folder
	said, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if s.alive, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "ready\n" {
		reason, _ := os.ReadFile(log)
		return errors.Join(err, fmt.Errorf("%s", reason), s.stop())
	}
	return nil
}

// stop ends all sessions and the server.
func (s *server) stop() error { return errors.Join(s.alive.Close(), s.cmd.Wait()) }

func (s *server) remove() error { return errors.Join(s.stop(), os.RemoveAll(s.folder)) }

// dsn is a URL for the server with more settings, as key=value.
func (s *server) dsn(settings ...string) string {
	query := make(url.Values)
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		query.Set(key, value)
	}
	host := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	return (&url.URL{Scheme: "postgres", User: url.UserPassword("tester", password), Host: host, Path: "/postgres", RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20")}).String()
}

var schemas atomic.Int32

// emptySchema is a DSN with a schema that is not there yet.
func emptySchema(settings ...string) string {
	return database.dsn(append(settings, fmt.Sprintf("search_path=test_%d", schemas.Add(1)))...)
}

func openHere(tb testing.TB, dsn string) *Store {
	tb.Helper()
	s, err := Open(context.Background(), Config{DSN: dsn}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

package harness

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// PgBouncer is the pooler of connections in front of a PostgreSQL server (Debian's package; 1.18 in Debian 12).
type PgBouncer struct {
	Addr string
}

// StartPgBouncer runs one until the test ends. mode is session or transaction. ignored are start parameters that it
// drops instead of refusing the connection: what everybody configures who meets that refusal.
func StartPgBouncer(t testing.TB, p *Postgres, mode string, ignored ...string) *PgBouncer {
	t.Helper()
	b := &PgBouncer{Addr: FreeAddr(t)}
	host, port, _ := net.SplitHostPort(b.Addr)
	folder, err := os.MkdirTemp(p.folder, "pgbouncer-") //nolint:usetesting // t.TempDir lets nobody else in
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(folder, "pgbouncer.ini")
	text := strings.Join([]string{
		"[databases]", "* = host=127.0.0.1 port=" + p.port + " user=tester",
		"[pgbouncer]", "listen_addr = " + host, "listen_port = " + port, "unix_socket_dir = ",
		"auth_type = any", "pool_mode = " + mode, "max_client_conn = 500", "default_pool_size = 50",
		"ignore_startup_parameters = " + strings.Join(ignored, ","), "",
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if len(p.as) > 0 {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	StartPeer(t, p.commandOf(pgbouncerProgram(t), config), func(line string) bool { return strings.Contains(line, "process up") })
	return b
}

// pgbouncerProgram is where it is: Debian keeps it off the PATH of users.
func pgbouncerProgram(t testing.TB) string {
	t.Helper()
	for _, folder := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
		program := filepath.Join(folder, "pgbouncer")
		if info, err := os.Stat(program); err == nil && !info.IsDir() {
			return program
		}
	}
	t.Fatal("the tests need PgBouncer, see make deps")
	return ""
}

// DSN is that of a database by way of the pooler.
func (b *PgBouncer) DSN(database string) string {
	return "postgres://tester@" + b.Addr + "/" + database
}

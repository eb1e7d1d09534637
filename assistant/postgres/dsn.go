package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// place is what a DSN says.
type place struct {
	*pgxpool.Config

	searchPath  string // names the schema; no setting of a session
	idleTimeout string // of sessions in a transaction
	modeIsSet   bool   // default_query_exec_mode was given
}

// errDSN hides what is wrong on purpose: the parser's own words quote the text, password and all when the
// text is mistaken for something else.
var errDSN = errors.New("dsn is no valid PostgreSQL URL or key=value list (it is not shown, for it may hold a password; " +
	"in a URL, a password with any of :/?#[]@% must be percent-encoded)")

func parse(dsn string) (place, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil || ambiguous(dsn) {
		return place{}, errDSN
	}
	if !strings.Contains(dsn, "pool_max_conns") {
		config.MaxConns = defaultConns
	}
	config.ConnConfig.ConnectTimeout = cmp.Or(config.ConnConfig.ConnectTimeout, defaultTimeout)
	session := config.ConnConfig.RuntimeParams
	session["application_name"] = cmp.Or(session["application_name"], "caddy-assistant")
	p := place{config, cmp.Or(session["search_path"], "assistant"), cmp.Or(session[idleTimeout], "3s"), strings.Contains(dsn, "default_query_exec_mode")}
	// A pooler refuses a session that begins with these.
	maps.DeleteFunc(session, func(name, _ string) bool { return name == "search_path" || name == idleTimeout })
	return p, nil
}

// ambiguous reports whether a URL has an @ that is no separator. Then part of a password that is not
// percent-encoded may be taken for a host or a database, which errors name.
func ambiguous(dsn string) bool {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return false
	}
	_, rest, _ := strings.Cut(dsn, "://")
	authority := len(rest)
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority = i
	}
	return strings.Count(rest[:authority], "@") > 1 || strings.Contains(rest[authority:], "@")
}

const idleTimeout = "idle_in_transaction_session_timeout"

// adapt makes the sessions of the pool what the way to the server allows. Through a pooler, whose statements may run in
// any of its sessions, nothing is prepared by name and nothing is set for a session. conn is a session to ask.
func (p place) adapt(ctx context.Context, conn *pgx.Conn) error {
	var pid uint32
	var commit string
	if err := conn.QueryRow(ctx, `SELECT pg_backend_pid(), current_setting('synchronous_commit')`).Scan(&pid, &commit); err != nil {
		return err
	}
	if pid == conn.PgConn().PID() { // poolers make numbers of their own
		p.AfterConnect = p.prepare
		return nil
	}
	if commit == "off" {
		return errors.New("synchronous_commit is off, which cannot be mended through a connection pooler: " +
			"set it for the role or the database (ALTER ROLE … SET synchronous_commit = on), or connect directly")
	}
	for _, statement := range []string{`BEGIN`, `COMMIT`} {
		if err := conn.PgConn().Exec(ctx, statement).Close(); err != nil {
			return fmt.Errorf("a connection pooler is in between that allows no transactions (its mode must be session or transaction): %v", err) //nolint:errorlint // it does not pass by itself
		}
	}
	switch {
	case !p.modeIsSet:
		p.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	case p.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement:
		return p.keepsStatements(ctx, conn)
	}
	return nil
}

// keepsStatements returns an error where a pooler runs a prepared statement in another session than that in which it was
// prepared. To see that, another client keeps the latter busy.
func (p place) keepsStatements(ctx context.Context, conn *pgx.Conn) error {
	name := "caddy-assistant " + assistant.NewID()
	if _, err := conn.PgConn().Prepare(ctx, name, `SELECT 1`, nil); err != nil {
		return err
	}
	other, err := pgx.ConnectConfig(ctx, p.ConnConfig)
	if err != nil {
		return err
	}
	defer other.Close(ctx)
	if err := other.PgConn().Exec(ctx, `BEGIN`).Close(); err != nil {
		return err
	}
	if err := conn.PgConn().ExecPrepared(ctx, name, nil, nil, nil).Read().Err; err != nil {
		return fmt.Errorf("a connection pooler is in between that loses prepared statements: "+
			"leave default_query_exec_mode=cache_statement out, or have it keep them (max_prepared_statements of PgBouncer): %v", err)
	}
	return nil
}

// prepare makes a session ready. It ends the locks of a client that was cut off, and overrides a server that confirms commits
// before they are on its disk; stronger settings stay. All statements look rows up by an index, whatever their parameters
// are: making a plan for each call would take longer than the calls.
func (p place) prepare(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SELECT set_config('`+idleTimeout+`', $1, false), set_config('plan_cache_mode', 'force_generic_plan', false),
		CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END`, p.idleTimeout)
	return err
}

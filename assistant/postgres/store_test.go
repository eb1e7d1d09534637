package postgres

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/assistanttest/storetest"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	storetest.TestDurableStore(t, func(t *testing.T) storetest.Place {
		t.Helper()
		dsn := emptySchema()
		return func(t *testing.T) assistant.Store {
			t.Helper()
			return openHere(t, dsn)
		}
	})
}

func BenchmarkStore(b *testing.B) {
	s := openHere(b, emptySchema())
	defer s.Close()
	storetest.BenchmarkStore(b, s)
}

func head() assistant.Conversation {
	return assistant.Conversation{ID: uuid.NewString(), CreatedAt: time.Now(), UpdatedAt: time.Now()}
}

func asked(clientID string) assistant.Beginning {
	return assistant.Beginning{
		Question: &assistant.Message{ID: uuid.NewString(), Role: assistant.RoleUser, Content: "Hi", Status: assistant.StatusComplete, ClientID: clientID},
		Answer:   assistant.Message{ID: uuid.NewString(), Role: assistant.RoleAssistant, Status: assistant.StatusStreaming},
	}
}

// The schema's name comes from the DSN; else it is assistant. What is there already is used.
func TestSchema(t *testing.T) {
	for dsn, want := range map[string]string{
		database.dsn(): "assistant",
		database.dsn(`search_path=Chats, nothing`):     "chats",
		database.dsn(`search_path="od d;''", nothing`): "od d;''",
		database.dsn(`search_path="Chats"`):            "Chats",
		database.dsn(`search_path=nothing, public`):    "public",
	} {
		for range 2 {
			s := openHere(t, dsn)
			var got string
			must(t, s.pool.QueryRow(t.Context(), `SELECT nspname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE pg_class.oid = $1::regclass`, s.in("assistant.message")).Scan(&got))
			if got != want {
				t.Errorf("tables are in %q, want %q", got, want)
			}
			must(t, s.Close())
		}
	}
}

func TestOpenTogether(t *testing.T) {
	dsn := emptySchema()
	stores := make([]*Store, 6)
	var wg sync.WaitGroup
	for i := range stores {
		wg.Go(func() {
			var err error
			if stores[i], err = Open(t.Context(), Config{DSN: dsn}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, s := range stores {
		if s != nil {
			must(t, s.Close())
		}
	}
}

func TestNewerSchema(t *testing.T) {
	dsn := emptySchema()
	s := openHere(t, dsn)
	_, err := s.exec(t.Context(), `INSERT INTO assistant.schema_version VALUES (99)`)
	must(t, err)
	must(t, s.Close())
	if _, err = Open(t.Context(), Config{DSN: dsn}, nil); err == nil || !strings.Contains(err.Error(), "version 99") {
		t.Errorf("got error %v", err)
	}
}

// A server that is away may come back; what is wrong with the configuration stays wrong.
func TestUnavailable(t *testing.T) {
	valid := database.dsn()
	refuses, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer refuses.Close()
	go func() { // as a proxy whose server is away does
		for {
			c, err := refuses.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(refuses.Addr().String())
	for name, test := range map[string]struct {
		dsn  string
		want bool
	}{
		"no server":     {strings.ReplaceAll(valid, fmt.Sprint(database.port), "1"), true},
		"cut off":       {strings.ReplaceAll(valid, fmt.Sprint(database.port), port), true},
		"password":      {strings.ReplaceAll(valid, "secret", "secrets"), false},
		"no database":   {strings.ReplaceAll(valid, "/postgres", "/nothing"), false},
		"no connection": {strings.ReplaceAll(valid, "%2F", "@"), false},
	} {
		s, err := Open(t.Context(), Config{DSN: test.dsn}, nil)
		if err == nil {
			must(t, s.Close())
		}
		if err == nil || errors.Is(err, assistant.ErrUnavailable) != test.want {
			t.Errorf("%s: got %v; unavailable: %v", name, err, test.want)
		}
	}
}

// No error contains the password, whatever is wrong with the DSN.
func TestSecrets(t *testing.T) {
	valid := database.dsn()
	for name, dsn := range map[string]string{
		"slash":         strings.ReplaceAll(valid, "%2F", "/"),
		"port":          strings.ReplaceAll(valid, "hunter2%2F", "12/"),
		"at":            strings.ReplaceAll(valid, "%2F", "@"),
		"question mark": strings.ReplaceAll(valid, "hunter2%2F", "12?secret"),
		"percent":       strings.ReplaceAll(valid, "%2F", "%"),
		"scheme":        strings.ReplaceAll(valid, "postgres:", "postgresq:"),
		"quote":         "host=127.0.0.1 password='hunter2/secret",
		"spaces":        "host=127.0.0.1 password=hunter2/ secret user=x",
		"mode":          valid + "?sslmode=bogus",
		"number":        valid + "?pool_max_conns=hunter2",
		"wrong":         strings.ReplaceAll(valid, "secret", "secrets"),
		"no tls":        valid + "?sslmode=require",
		"no database":   strings.ReplaceAll(valid, "/postgres", "/nothing"),
		"no server":     strings.ReplaceAll(valid, fmt.Sprint(database.port), "1"),
		"no role":       strings.ReplaceAll(valid, "tester", "nobody"),
		"no parameter":  valid + "?no_such_parameter=1",
	} {
		s, err := Open(t.Context(), Config{DSN: dsn}, nil)
		if err == nil {
			must(t, s.Close())
			t.Errorf("%s: opened", name)
			continue
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if text := fmt.Sprintf("%v %+v", e, e); strings.Contains(text, "hunter2") || strings.Contains(text, "secret") {
				t.Errorf("%s: error tells the password: %v", name, e)
			}
		}
	}
}

// Commits are durable even where the server or the DSN says otherwise; stronger settings stay.
func TestSynchronousCommit(t *testing.T) {
	for set, want := range map[string]string{"off": "on", "on": "on", "remote_apply": "remote_apply", "local": "local"} {
		s := openHere(t, emptySchema("synchronous_commit="+set))
		var got string
		must(t, s.pool.QueryRow(t.Context(), `SHOW synchronous_commit`).Scan(&got))
		if got != want {
			t.Errorf("synchronous_commit=%s has become %s, want %s", set, got, want)
		}
		must(t, s.Close())
	}
}

// A call that the server does not answer ends by itself.
func TestTimeout(t *testing.T) {
	dsn := emptySchema()
	s, err := open(t.Context(), Config{DSN: dsn, Timeout: time.Second}, nil, still)
	must(t, err)
	defer s.Close()
	other := openHere(t, dsn)
	defer other.Close()
	tx, err := other.pool.Begin(t.Context())
	must(t, err)
	defer tx.Rollback(t.Context())
	_, err = tx.Exec(t.Context(), s.in(`LOCK TABLE assistant.conversation`))
	must(t, err)
	c := head()
	var wg sync.WaitGroup
	for name, call := range map[string]func() error{
		"Create": func() error { return s.Create(t.Context(), "alice", c) },
		"Begin": func() error {
			return s.Begin(t.Context(), assistant.Claim{Owned: assistant.Owned{Owner: "alice", ID: c.ID}}, asked(""))
		},
		"Conversation": func() error {
			_, err := s.Conversation(t.Context(), "alice", c.ID)
			return err
		},
	} {
		wg.Go(func() {
			if err := call(); err == nil || errors.Is(err, assistant.ErrNotFound) {
				t.Errorf("%s: got error %v", name, err)
			}
		})
	}
	wg.Wait()
	must(t, tx.Rollback(t.Context()))
	must(t, s.Create(t.Context(), "alice", c))
}

// wantRows counts the rows of a table.
func wantRows(t *testing.T, s *Store, table string, want int) {
	t.Helper()
	var got int
	must(t, s.pool.QueryRow(t.Context(), s.in(`SELECT count(*) FROM assistant.`+table)).Scan(&got))
	if got != want {
		t.Errorf("%d rows in %s, want %d", got, table, want)
	}
}

package bench

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite" // the engine of the assistant's store
)

// turnInSQLite measures the engine. So many changes are committed together.
func turnInSQLite(t *testing.T, conversations, together int, window time.Duration) sample {
	s := startKept(t)
	conversationsOf(t, s, conversations)
	s.caddy.Stop(t)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.caddy.Home, "chat.db")+"?_pragma=synchronous(full)&_pragma=foreign_keys(on)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e := &sqliteEngine{t: t, conn: conn, statements: make(map[string]*sql.Stmt)}
	ids := e.conversations()
	n, began := 0, time.Now()
	for time.Since(began) < window {
		batch := make([][3]string, together) // a conversation, its question and its answer
		for i := range batch {
			batch[i] = [3]string{ids[n%len(ids)], uuid.NewString(), uuid.NewString()}
			n++
		}
		e.commit(func() {
			for _, ids := range batch {
				e.begin(ids[0], ids[1], ids[2])
			}
		})
		e.commit(func() {
			for _, ids := range batch {
				e.finish(ids[0], ids[2])
			}
		})
	}
	return sample{turnsPerSecond: float64(n) / time.Since(began).Seconds()}
}

const question, answer = "5 pieces every 0 ns", "~AAABCDEFG~AABBCDEFG~AACBCDEFG~AADBCDEFG~AAEBCDEFG"

type sqliteEngine struct {
	t          *testing.T
	conn       *sql.Conn
	statements map[string]*sql.Stmt
}

func (e *sqliteEngine) conversations() (ids []string) {
	rows, err := e.conn.QueryContext(e.t.Context(), "SELECT id FROM conversation")
	if err != nil {
		e.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			e.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		e.t.Fatal(err)
	}
	return ids
}

func (e *sqliteEngine) exec(query string, args ...any) {
	statement, ok := e.statements[query]
	var err error
	if !ok {
		if statement, err = e.conn.PrepareContext(e.t.Context(), query); err != nil {
			e.t.Fatal(err)
		}
		e.statements[query] = statement
	}
	if _, err := statement.Exec(args...); err != nil {
		e.t.Fatalf("%s: %v", query, err)
	}
}

func (e *sqliteEngine) commit(changes func()) {
	e.exec("BEGIN IMMEDIATE")
	changes()
	e.exec("COMMIT")
}

func (e *sqliteEngine) begin(conversation, questionID, answerID string) {
	now := time.Now().UnixMilli()
	const insert = `INSERT INTO message (conversation_id, id, role, content, status, finish_reason, client_id, created_at) VALUES (?, ?, ?, ?, ?, '', '', ?)`
	e.exec("UPDATE conversation SET updated_at = ? WHERE id = ?", now, conversation)
	e.exec(insert, conversation, questionID, "user", question, "complete", now)
	e.exec(insert, conversation, answerID, "assistant", "", "streaming", now)
}

func (e *sqliteEngine) finish(conversation, answerID string) {
	e.exec("UPDATE conversation SET updated_at = ? WHERE id = ?", time.Now().UnixMilli(), conversation)
	e.exec("UPDATE message SET content = ?, status = 'complete', finish_reason = 'stop' WHERE conversation_id = ? AND id = ?", answer, conversation, answerID)
}

// turnInPostgres measures the engine, over as many connections as the store has. A change is one batch of statements.
func turnInPostgres(t *testing.T, conversations int, window time.Duration) sample {
	postgres := startPostgres(t)
	s := startShared(t, postgres)
	conversationsOf(t, s, conversations)
	s.caddy.Stop(t)
	pool, err := pgxpool.New(t.Context(), postgres.DSN+"?pool_max_conns=16")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	rows, err := pool.Query(t.Context(), "SELECT id FROM assistant.conversation")
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	var workers sync.WaitGroup
	began := time.Now()
	for _, id := range ids {
		workers.Go(func() {
			for seq := 1_000_000; time.Since(began) < window; seq += 10 {
				if err := turnIn(t.Context(), pool, id, seq); err != nil {
					t.Errorf("turn: %v", err)
					return
				}
				n.Add(1)
			}
		})
	}
	workers.Wait()
	return sample{turnsPerSecond: float64(n.Load()) / time.Since(began).Seconds()}
}

// turnIn stores a turn. Its events are numbered from seq on.
func turnIn(ctx context.Context, pool *pgxpool.Pool, id string, seq int) error {
	const (
		touch  = `UPDATE assistant.conversation SET updated_at = $2 WHERE id = $1`
		insert = `INSERT INTO assistant.message (conversation_id, id, role, content, status, finish_reason, client_id, created_at, first_event)
			VALUES ($1, $2, $3, $4, $5, '', '', $6, $7)`
		finish = `UPDATE assistant.message SET content = $3, status = 'complete', finish_reason = 'stop' WHERE conversation_id = $1 AND id = $2`
		follow = `INSERT INTO assistant.event (conversation_id, epoch, first, last, data, reasoning_live)
			SELECT id, epoch, $2, $3, $4, FALSE FROM assistant.conversation WHERE id = $1`
	)
	now, answerID := time.Now(), uuid.NewString()
	var begin, end pgx.Batch
	begin.Queue(touch, id, now)
	begin.Queue(insert, id, uuid.NewString(), "user", question, "complete", now, nil)
	begin.Queue(insert, id, answerID, "assistant", "", "streaming", now, seq)
	begin.Queue(follow, id, seq, seq+1, eventData)
	end.Queue(touch, id, now)
	end.Queue(finish, id, answerID, answer)
	end.Queue(follow, id, seq+2, seq+7, eventData)
	if err := pool.SendBatch(ctx, &begin).Close(); err != nil {
		return err
	}
	return pool.SendBatch(ctx, &end).Close()
}

// eventData is about as long as the events of a short answer.
var eventData = fmt.Sprintf("%500s", "")

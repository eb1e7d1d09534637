package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// maxBatch bounds how many writes wait for one commit.
const maxBatch = 256

var errClosed = errors.New("store is closed")

// writer is the one goroutine that writes. It commits together what has come while it committed.
//
//	write ──► queue ──► run: BEGIN, for each write SAVEPOINT … RELEASE, COMMIT ──► done
type writer struct {
	db   *sql.DB
	conn *sql.Conn

	queue   chan *write   // unbuffered: what was received will be answered; never closed
	closing chan struct{} // closed by finish
	ended   chan struct{} // closed when run ends; nil where it was never started

	// run's
	statements map[string]*sql.Stmt
	answers    map[answer]int64 // the seq of those that were extended and have not ended
	soon       bool             // commits do not wait for the disk
}

// write is a change that waits for its commit.
type write struct {
	ctx  context.Context
	do   func(tx) error
	soon bool // need not be on the disk
	once bool // one statement at most changes something: it needs no savepoint
	err  error
	done chan struct{}
}

func newWriter(ctx context.Context, dataSource string) (*writer, error) {
	db, err := sql.Open("sqlite", dataSource)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return &writer{
		db: db, conn: conn, statements: make(map[string]*sql.Stmt), answers: make(map[answer]int64),
		queue: make(chan *write), closing: make(chan struct{}),
	}, nil
}

func (w *writer) start() {
	w.ended = make(chan struct{})
	go w.run()
}

// write makes a change and returns when it is on the disk, or was not made: all of it or nothing. When ctx
// ends first, write does not wait for the outcome: then do must not touch what its caller goes on to use.
func (w *writer) write(ctx context.Context, do func(tx) error) error {
	return w.submit(ctx, &write{ctx: ctx, do: do, done: make(chan struct{})})
}

// submit hands a change to the writer and waits for it, as write does.
func (w *writer) submit(ctx context.Context, next *write) error {
	select {
	case w.queue <- next:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.closing:
		return errClosed
	}
	select {
	case <-next.done:
		return translate(context.Background(), next.err)
	case <-ctx.Done(): // it may still be made
		return context.Cause(ctx)
	}
}

// writeFor is write for a change that has a result.
func writeFor[T any](ctx context.Context, w *writer, do func(tx) (T, error)) (T, error) {
	var result, none T // result is the writer's until it has answered
	err := w.write(ctx, func(tx tx) (err error) {
		result, err = do(tx)
		return err
	})
	if err != nil {
		return none, err
	}
	return result, nil
}

func (w *writer) run() {
	defer close(w.ended)
	for {
		select {
		case first := <-w.queue:
			w.commit(w.gather(first))
		case <-w.closing:
			return
		}
	}
}

// gather takes what waits already.
func (w *writer) gather(first *write) []*write {
	batch := []*write{first}
	for len(batch) < maxBatch {
		select {
		case next := <-w.queue:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// commit makes the changes in one transaction. A change that fails leaves the others alone; where the
// transaction fails, all have failed.
func (w *writer) commit(batch []*write) {
	err := w.transact(batch)
	if err != nil {
		_, _ = tx{w}.exec("ROLLBACK") // SQLite may have done so itself
	}
	for _, next := range batch {
		if err != nil {
			next.err = fmt.Errorf("commit: %w", err)
		}
		close(next.done)
	}
}

func (w *writer) transact(batch []*write) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	if err := w.sync(batch); err != nil {
		return err
	}
	if _, err := (tx{w}).exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, next := range batch {
		if next.err = context.Cause(next.ctx); next.err != nil {
			continue
		}
		if err := w.apply(next); err != nil {
			return err
		}
	}
	_, err = tx{w}.exec("COMMIT")
	return err
}

// sync lets the next commit wait for the disk, unless no change of the batch needs that. The statement is not kept: it does
// its work when it is compiled.
func (w *writer) sync(batch []*write) error {
	soon := !slices.ContainsFunc(batch, func(next *write) bool { return !next.soon })
	if soon == w.soon {
		return nil
	}
	mode := "full"
	if soon {
		mode = "normal"
	}
	if _, err := w.conn.ExecContext(context.Background(), "PRAGMA synchronous = "+mode); err != nil {
		return err
	}
	w.soon = soon
	return nil
}

// apply makes one change. It returns only an error that ends the transaction.
func (w *writer) apply(next *write) error {
	if next.once {
		next.err = next.do(tx{w})
		return nil
	}
	if _, err := (tx{w}).exec("SAVEPOINT change"); err != nil {
		return err
	}
	if next.err = next.do(tx{w}); next.err != nil {
		// After some faults SQLite has rolled back everything; then there is no savepoint.
		if _, err := (tx{w}).exec("ROLLBACK TO change"); err != nil {
			return errors.Join(next.err, err)
		}
	}
	_, err := tx{w}.exec("RELEASE change")
	return err
}

// finish takes nothing further from the queue and waits until what was taken is answered.
func (w *writer) finish() {
	close(w.closing)
	if w.ended != nil {
		<-w.ended
	}
}

func (w *writer) close() error {
	var errs []error
	for _, statement := range w.statements {
		errs = append(errs, statement.Close())
	}
	return errors.Join(append(errs, w.conn.Close(), w.db.Close())...)
}

// tx is what a change is made with. Its statements are never cancelled: SQLite would roll back all changes
// of the batch.
type tx struct{ writer *writer }

// exec returns how many rows were changed.
func (tx tx) exec(query string, args ...any) (int64, error) {
	statement, err := tx.prepare(query)
	if err != nil {
		return 0, err
	}
	result, err := statement.Exec(args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// change is exec for a statement that must change a row: none is ErrNotFound.
func (tx tx) change(query string, args ...any) error {
	n, err := tx.exec(query, args...)
	if err == nil && n == 0 {
		err = assistant.ErrNotFound
	}
	return err
}

func (tx tx) row(query string, args ...any) (*sql.Row, error) {
	statement, err := tx.prepare(query)
	if err != nil {
		return nil, err
	}
	return statement.QueryRow(args...), nil
}

// rows scans all rows that a statement returns.
func rows[T any](tx tx, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	statement, err := tx.prepare(query)
	if err != nil {
		return nil, err
	}
	found, err := statement.Query(args...)
	if err != nil {
		return nil, err
	}
	return collect(found, scan)
}

// prepare keeps statements: to compile one takes longer than to run it.
func (tx tx) prepare(query string) (*sql.Stmt, error) {
	if statement, ok := tx.writer.statements[query]; ok {
		return statement, nil
	}
	statement, err := tx.writer.conn.PrepareContext(context.Background(), query)
	if err == nil {
		tx.writer.statements[query] = statement
	}
	return statement, err
}

package nats

import "sync"

// group is work that must have ended before a node has. The zero group is empty.
type group struct {
	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup
}

// Go runs f in a goroutine, unless the group is closed.
func (g *group) Go(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.work.Go(f)
	}
	return !g.closed
}

// Do runs f, unless the group is closed.
func (g *group) Do(f func()) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.work.Add(1)
	g.mu.Unlock()
	defer g.work.Done()
	f()
}

// Close lets nothing begin any more, and waits for what has begun.
func (g *group) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.work.Wait()
}

package endpoint

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// quitOnSignal ends the process at the next SIGINT or SIGTERM. It is called once the process is about to exit, while
// answers are drained: Caddy itself takes a second SIGINT, but neither a second SIGTERM nor one after the other.
var quitOnSignal = sync.OnceFunc(func() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // up to the end of the process
		received := <-signals
		caddy.Log().Warn("force quit: answers under way are cut", zap.Stringer("signal", received))
		os.Exit(caddy.ExitCodeForceQuit)
	}()
})

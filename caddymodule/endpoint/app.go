package endpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/observe"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

func init() { caddy.RegisterModule(App{}) }

// App is where the handlers of one configuration meet: it starts and drains them, and rejects two with the same name
// or store. It has no settings, and Caddy loads it by itself.
type App struct {
	// complete once the configuration is provisioned
	handlers []*Handler
	pages    map[string]string // paths of chat pages, by the handler that they talk to
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "assistant", New: func() caddy.Module { return new(App) }}
}

// Provision registers the metrics, and subscribes to the events of start and stop.
func (a *App) Provision(ctx caddy.Context) error {
	events, err := ctx.App("events")
	if err != nil {
		return err
	}
	app := events.(*caddyevents.App)
	return errors.Join(observe.Register(ctx.GetMetricsRegistry()), app.On("started", started{a, app, ctx}), app.On("stopping", drain{a}))
}

// Start starts the handlers. Files are created and connections opened only from here on.
func (a *App) Start() error {
	for _, h := range a.handlers {
		if err := h.start(); err != nil {
			return fmt.Errorf("start assistant %s: %w", h.Name, err)
		}
	}
	return nil
}

// Stop restores the settings of the configuration before, if this one was refused. After a successful reload it
// does nothing.
func (a *App) Stop() error {
	for _, h := range a.handlers {
		h.stop()
	}
	return nil
}

// Add adds a handler, unless it conflicts with another.
func (a *App) Add(h *Handler) error {
	for _, other := range a.handlers {
		switch {
		case other.Name == h.Name:
			return fmt.Errorf("two assistant handlers are named %q; give one of them another name", h.Name)
		case other.storeKey == h.storeKey && h.storeKey != "":
			return fmt.Errorf("the assistant handlers %q and %q have the same store; give one of them another", other.Name, h.Name)
		}
	}
	a.handlers = append(a.handlers, h)
	slices.SortFunc(a.handlers, func(x, y *Handler) int { return cmp.Compare(x.Name, y.Name) })
	return nil
}

// AppOf returns the App of the configuration that ctx belongs to.
func AppOf(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("assistant")
	if err != nil {
		return nil, fmt.Errorf("load assistant app: %w", err)
	}
	return app.(*App), nil
}

// Running returns the handlers of the running configuration that have started, by name.
func Running() []*Handler {
	app, err := caddy.ActiveContext().AppIfConfigured("assistant")
	if err != nil {
		return nil // no assistant is configured
	}
	return slices.DeleteFunc(slices.Clone(app.(*App).handlers), func(h *Handler) bool {
		select {
		case <-h.started:
			return false
		default:
			return true
		}
	})
}

// Handlers returns the handlers of the configuration, by name.
func (a *App) Handlers() []*Handler { return slices.Clone(a.handlers) }

// HasPage notes that the handler of that name has a chat page, for who opens the socket's address in a browser.
func (a *App) HasPage(handler, path string) {
	if a.pages == nil {
		a.pages = map[string]string{}
	}
	a.pages[handler] = path
}

// Protocol is the same for all handlers.
var Protocol = session.Protocol()

// started directs events to the event handlers of this configuration, once all its apps have started.
type started struct {
	app    *App
	events *caddyevents.App
	ctx    caddy.Context
}

func (s started) Handle(context.Context, caddy.Event) error {
	for _, h := range s.app.handlers {
		h.hub.events.Use(s.events, s.ctx)
	}
	return nil
}

// drain ends sessions and answers before the process exits; a reload leaves them alone. The event comes before the
// HTTP server shuts down, which would wait for some of them for ever.
type drain struct{ app *App }

func (d drain) Handle(ctx context.Context, _ caddy.Event) error {
	if !caddy.Exiting() {
		return nil
	}
	errs := make([]error, len(d.app.handlers))
	var wg sync.WaitGroup
	for i, h := range d.app.handlers {
		wg.Go(func() { errs[i] = h.drain(ctx) })
	}
	wg.Wait()
	silent.close()
	return errors.Join(errs...)
}

var (
	_ caddy.App         = (*App)(nil)
	_ caddy.Provisioner = (*App)(nil)

	_ caddyevents.Handler = started{}
	_ caddyevents.Handler = drain{}
)

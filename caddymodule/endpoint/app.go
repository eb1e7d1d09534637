package endpoint

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-assistant/caddy-assistant/assistant/session"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/observe"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

func init() { caddy.RegisterModule(App{}) }

// App is where the handlers of one configuration meet: it starts and drains them, makes one of those that are the same,
// and rejects two with the same name or store otherwise. It has no settings, and Caddy loads it by itself.
type App struct {
	// complete once the configuration is provisioned
	handlers []*Handler
	pages    map[string]string // paths of chat pages, by the handler that they talk to
	expected []expectation
}

// expectation is a setting that names handlers.
type expectation struct {
	setting string
	names   []string
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
	for _, e := range a.expected {
		for _, name := range e.names {
			if !slices.ContainsFunc(a.handlers, func(h *Handler) bool { return h.Name == name }) {
				return fmt.Errorf("%s: expected names of assistants, of which there are %s; found %q", e.setting, a.names(), name)
			}
		}
	}
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

// First returns the handler that was added under the name of h, nil if there is none. It must have the settings of h:
// one block of a Caddyfile may have several addresses, and several sites may import one. h has its defaults, and its
// modules are not loaded.
func (a *App) First(h *Handler) (first *Handler, err error) {
	if h.config, err = json.Marshal(h); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(a.handlers, func(other *Handler) bool { return other.Name == h.Name })
	if i < 0 {
		return nil, nil
	}
	if err := a.handlers[i].checkSame(h); err != nil {
		return nil, err
	}
	return a.handlers[i], nil
}

// checkSame reports in what settings another handler of the same name differs. Both have their config.
func (h *Handler) checkSame(other *Handler) error {
	differing, err := differences(h.config, other.config)
	if err == nil && len(differing) > 0 {
		err = fmt.Errorf("name: expected different names or the same settings, found two assistant handlers that are named %q and differ in %s",
			h.Name, strings.Join(differing, ", "))
	}
	return err
}

// differences returns the settings in which two configurations differ.
func differences(a, b []byte) (names []string, err error) {
	var x, y map[string]any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		return nil, err
	}
	for name := range x {
		if !reflect.DeepEqual(x[name], y[name]) {
			names = append(names, name)
		}
		delete(y, name)
	}
	names = slices.AppendSeq(names, maps.Keys(y))
	slices.Sort(names)
	return names, nil
}

// Add adds a handler that is the first of its name, unless it conflicts with another.
func (a *App) Add(h *Handler) error {
	for _, other := range a.handlers {
		if other.storeKey == h.storeKey && h.storeKey != "" {
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

// loadedApp returns what AppOf does, or an App without handlers where nothing has loaded it yet. A handler loads the App
// after its own modules: a context of Caddy's shares memory with those made of it, and the App's would then be one of
// these modules'.
func loadedApp(ctx caddy.Context) *App {
	app, err := ctx.AppIfConfigured("assistant")
	if err != nil {
		return new(App)
	}
	return app.(*App)
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

// Expect has Start fail unless there are handlers of these names. The message begins with the setting that has them.
func (a *App) Expect(setting string, names []string) {
	a.expected = append(a.expected, expectation{setting, names})
}

func (a *App) names() string {
	names := make([]string, len(a.handlers))
	for i, h := range a.handlers {
		names[i] = h.Name
	}
	return cmp.Or(strings.Join(names, ", "), "none")
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
	quitOnSignal()
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

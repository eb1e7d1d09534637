package harness

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/tracing"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Page is a tab of a headless Chromium that shows a site.
//
// When the test ends it fails for everything that the browser's console would show as an error or a
// warning (exceptions, breaches of the content security policy, failed requests), for each request to
// another host than the site's, and for each frame from a socket that is not as documented.
//
// In its JavaScript expressions, $(selector) is the first such element of the page or of its chat, whose
// elements are in a shadow root, and $$(selector) is an array of all of them.
type Page struct {
	t     testing.TB
	ctx   context.Context
	hosts []string

	document *Document

	mu       sync.Mutex
	expected []string
	problems []string
	frames   []string
	trace    *trace
}

// Open starts a browser and shows a page of c's site.
func Open(t testing.TB, c *Caddy, path string) *Page { t.Helper(); return OpenURL(t, c.URL(path)) }

// OpenURL starts a browser and shows a page, which may ask its own host and others that are named.
func OpenURL(t testing.TB, address string, others ...string) *Page {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("the browser tests need chromium, see make deps: %v", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // root has no other choice
		chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(Patience),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("ignore-certificate-errors", u.Scheme == "https"),
		chromedp.Flag("disable-quic", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	p := &Page{t: t, hosts: append(others, u.Host), document: published(t)}
	p.ctx, _ = chromedp.NewContext(allocator) // finish cancels it
	t.Cleanup(p.finish)
	if err := chromedp.Listen(p.ctx, p.watch); err != nil { // starts the browser
		t.Fatalf("start browser: %v", err)
	}
	p.Do(chromedp.Navigate(address))
	return p
}

// Tab shows another page in the same browser.
func (p *Page) Tab(address string) *Page {
	p.t.Helper()
	tab := &Page{t: p.t, hosts: p.hosts, document: p.document}
	tab.ctx, _ = chromedp.NewContext(p.ctx)
	p.t.Cleanup(tab.finish)
	if err := chromedp.Listen(tab.ctx, tab.watch); err != nil {
		p.t.Fatalf("open tab: %v", err)
	}
	tab.Do(chromedp.Navigate(address))
	return tab
}

// Expect lets the browser complain of what a test brings about, before or after, if the complaint contains text.
func (p *Page) Expect(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, text)
}

// Do takes steps, and fails the test with what the page shows when they cannot be taken.
func (p *Page) Do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.fatal(err)
	}
}

// Look sets the size of the window and the colours that the reader prefers, light or dark.
func (p *Page) Look(width, height int64, scheme string) {
	p.t.Helper()
	p.Do(chromedp.EmulateViewport(width, height))
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	call(p, emulation.SetEmulatedMedia, media)
}

// Touch makes the browser a phone's: it has a finger in place of a mouse, which Tap uses.
func (p *Page) Touch(width, height int64, scheme string) {
	p.t.Helper()
	p.Do(chromedp.EmulateViewport(width, height, chromedp.EmulateMobile, chromedp.EmulateTouch))
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	call(p, emulation.SetEmulatedMedia, media)
}

// Tap puts a finger on a point of the window, and takes it away.
func (p *Page) Tap(x, y float64) {
	p.t.Helper()
	call(p, input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: input.DispatchTouchEventTypeTouchStart, TouchPoints: []*input.TouchPoint{{X: x, Y: y}}})
	call(p, input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: input.DispatchTouchEventTypeTouchEnd, TouchPoints: []*input.TouchPoint{}})
}

// Speak shows the page anew to a reader of languages, the preferred one first, as in Accept-Language. What the
// browser itself formats stays as it was, in English.
func (p *Page) Speak(languages string) {
	p.t.Helper()
	agent := Eval[string](p, "navigator.userAgent")
	call(p, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: languages})
	p.Reload()
}

// SetOnline tells the browser whether it has a network; connections stay as they are.
func (p *Page) SetOnline(online bool) {
	p.t.Helper()
	call(p, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: !online, DownloadThroughput: -1, UploadThroughput: -1})
}

// Screenshot is what the window shows, as PNG.
func (p *Page) Screenshot() []byte {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.fatal(err)
	}
	return picture
}

// PDF is the page as it would be printed.
func (p *Page) PDF() []byte {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	printed, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (page.PrintToPDFResult, error) {
		return cdp.Call(ctx, target, page.PrintToPDF, page.PrintToPDFParams{})
	})
	if err != nil {
		p.fatal(err)
	}
	return printed.Data
}

// Manifest is the page's web application manifest, and what keeps the browser from installing the page.
func (p *Page) Manifest() (text string, problems []string) {
	p.t.Helper()
	p.Do(func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		manifest, err := cdp.Call(ctx, target, page.GetAppManifest, page.GetAppManifestParams{})
		if err != nil {
			return chromedp.Void{}, err
		}
		text = manifest.Data
		for _, e := range manifest.Errors {
			problems = append(problems, e.Message)
		}
		found, err := cdp.Call(ctx, target, page.GetInstallabilityErrors, cdp.Empty{})
		for _, e := range found.InstallabilityErrors {
			problems = append(problems, e.ErrorID)
		}
		return chromedp.Void{}, err
	})
	return text, problems
}

// OnPaper shows the page on the screen as on paper.
func (p *Page) OnPaper() {
	p.t.Helper()
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
}

// Reload shows the page anew and returns when it is there.
func (p *Page) Reload() { p.t.Helper(); p.Do(chromedp.Reload()) }

// Type sends keys to the element of a CSS selector.
func (p *Page) Type(selector, keys string) {
	p.t.Helper()
	p.WaitFor("$(`" + selector + "`)?.checkVisibility()")
	p.Run("$(`" + selector + "`).focus()")
	p.Press(keys)
}

// Press sends keys to the element that has the focus. As with a keyboard, a key whose default the page
// prevents types nothing; chromedp.KeyEvent would type it all the same.
func (p *Page) Press(keys string) {
	p.t.Helper()
	for _, key := range keys {
		events := kb.Encode(key)
		down, up := *events[0], *events[len(events)-1]
		if len(events) > 2 { // in the middle is what it types
			down.Text, down.UnmodifiedText = events[1].Text, events[1].UnmodifiedText
		}
		call(p, input.DispatchKeyEvent, down)
		call(p, input.DispatchKeyEvent, up)
	}
}

// Click clicks on the middle of the element of a CSS selector, when nothing covers it and it has stayed where it is for
// three frames: what scrolls by itself does so in the frames after a change.
func (p *Page) Click(selector string) {
	p.t.Helper()
	at := Eval[[]float64](p, "new Promise(done => { let last, still = 0; (function look() {"+
		"const element = $(`"+selector+"`);"+
		"element?.scrollIntoView({block: 'nearest', behavior: 'instant'});"+
		"const {x, y, width, height} = element?.getBoundingClientRect() ?? {};"+
		"const at = [x + width / 2, y + height / 2];"+
		"still = String(at) === last ? still + 1 : 0;"+
		"last = String(at);"+
		"still >= 2 && element?.contains(element.getRootNode().elementFromPoint(...at)) ? done(at) : requestAnimationFrame(look) })() })")
	p.Do(chromedp.MouseClickXY(at[0], at[1]))
}

// Run takes JavaScript statements that return nothing.
func (p *Page) Run(statements string) {
	p.t.Helper()
	Eval[bool](p, "(() => {"+statements+"; return true})()")
}

// WaitFor returns when a JavaScript expression is true; it is looked at once for each frame drawn.
func (p *Page) WaitFor(expression string) {
	p.t.Helper()
	// chromedp.Poll compiles its argument in the page, which a strict content security policy forbids.
	Eval[bool](p, "new Promise(done => { (function look() { ("+expression+") ? done(true) : requestAnimationFrame(look) })() })")
}

// Eval returns the value of a JavaScript expression, or what its promise resolves to.
func Eval[T any](p *Page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](prelude+"("+expression+") }", chromedp.EvalAwaitPromise))
	if err != nil {
		p.fatal(fmt.Errorf("%s: %w", expression, err))
	}
	return value
}

// prelude makes $ and $$ for the expression that follows it.
const prelude = `{
	const $$ = (selector) => [document, ...[...document.querySelectorAll("assistant-chat")].map((chat) => chat.shadowRoot)]
		.flatMap((root) => [...root.querySelectorAll(selector)]);
	const $ = (selector) => $$(selector)[0];
	`

func (p *Page) fatal(err error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, Patience)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("location + '\\n' + document.body.innerText + document.querySelector('assistant-chat')?.shadowRoot.querySelector('#chat')?.innerText"))
	p.t.Fatalf("browser: %v\npage: %s", err, text)
}

// watch is called for every event, on the goroutine that reads them.
func (p *Page) watch(event any) {
	switch event := event.(type) {
	case *runtime.EventExceptionThrown:
		p.report("exception: %s %s", event.ExceptionDetails.Text, describe(event.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		switch event.Type {
		case runtime.ConsoleAPICalledTypeError, runtime.ConsoleAPICalledTypeWarning, runtime.ConsoleAPICalledTypeAssert:
			p.report("console.%s: %s", event.Type, describe(event.Args...))
		}
	case *log.EventEntryAdded:
		switch entry := event.Entry; entry.Level {
		case log.EntryLevelError, log.EntryLevelWarning:
			p.report("%s %s: %s %s", entry.Source, entry.Level, entry.Text, entry.URL)
		}
	case *network.EventRequestWillBeSent:
		p.checkHost(event.Request.URL)
	case *network.EventWebSocketCreated:
		p.checkHost(event.URL)
	case *network.EventWebSocketFrameReceived:
		p.mu.Lock()
		p.frames = append(p.frames, string(event.Response.PayloadData))
		p.mu.Unlock()
	case *tracing.EventDataCollected:
		p.traced().add(event)
	case *tracing.EventTracingComplete:
		close(p.traced().done)
	}
}

func (p *Page) traced() *trace {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trace
}

func (p *Page) checkHost(address string) {
	u, err := url.Parse(address)
	if err != nil || (!slices.Contains(p.hosts, u.Host) && u.Scheme != "data" && u.Scheme != "blob") {
		p.report("request to another host: %.200s", address)
	}
}

func describe(objects ...*runtime.RemoteObject) string {
	var texts []string
	for _, object := range objects {
		if object != nil {
			texts = append(texts, object.Description+string(object.Value))
		}
	}
	return strings.Join(texts, " ")
}

func (p *Page) report(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// Undocumented says that the page talks to a newer server, whose frames the document does not describe.
func (p *Page) Undocumented() { p.document = nil }

func (p *Page) finish() {
	if err := chromedp.Cancel(p.ctx); err != nil {
		p.t.Errorf("close browser: %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	unexpected := slices.DeleteFunc(p.problems, func(problem string) bool {
		return slices.ContainsFunc(p.expected, func(text string) bool { return strings.Contains(problem, text) })
	})
	if len(unexpected) > 0 {
		p.t.Errorf("the browser complains:\n\t%s", strings.Join(unexpected, "\n\t"))
	}
	if p.document == nil {
		return
	}
	for _, text := range p.frames {
		p.document.check(p.t, []Frame{ParseFrame(p.t, text)})
	}
}

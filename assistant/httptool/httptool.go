package httptool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/internal/outbound"
)

// Tool is one tool. It is safe for concurrent use.
type Tool struct {
	tool    assistant.Tool
	method  string
	address *address
	header  map[string]template
	body    body   // nil = none
	kind    string // media type of the body; "" = none, or as the header says
	timeout time.Duration
	client  *http.Client
}

// New returns a tool. It opens no connection. The error names every setting that is wrong.
func New(c Config) (*Tool, error) {
	t := &Tool{method: c.method(), header: map[string]template{}, timeout: c.timeout()}
	errs := []error{c.validate()}
	var err error
	if t.address, err = newAddress(c.URL); err == nil {
		err = errors.Join(c.checkArguments("url", joined(t.address.path, "/")), c.checkArguments("url", joined(t.address.query, "&")))
	}
	errs = append(errs, err)
	for name, value := range c.Header {
		t.header[http.CanonicalHeaderKey(name)] = parse(value)
		errs = append(errs, c.checkArguments("header "+name, parse(value)))
	}
	if !t.header[contentType].isText() {
		errs = append(errs, errors.New("header Content-Type: expected no placeholders, found some"))
	}
	t.body, t.kind, err = newBody(c)
	errs = append(errs, err, c.checkArguments("body", parse(c.Body)))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	t.tool = assistant.Tool{
		Name: c.Label, Title: c.Title, Description: c.Description, Parameters: c.parameters(), Where: assistant.WhereServer, Server: c.Label,
		Approve: c.needsApproval(), Repeatable: c.Repeatable || c.method() == http.MethodGet, Untrusted: c.Untrusted,
	}
	transport := outbound.NewTransport(t.timeout)
	transport.DisableKeepAlives = true // on a connection that was used before, net/http may send a request again
	t.client = &http.Client{Transport: transport, CheckRedirect: outbound.Stay}
	return t, nil
}

// Tools returns the tool.
func (t *Tool) Tools(context.Context, assistant.Peer) ([]assistant.Tool, error) {
	return []assistant.Tool{t.tool}, nil
}

func (t *Tool) notCalled(err error) error {
	return fmt.Errorf("%w: http tool %s: %w", assistant.ErrNotCalled, t.tool.Name, err)
}

// Call sends the request. Arguments that cannot stand where the templates have them are a fault that the model is told.
func (t *Tool) Call(ctx context.Context, c assistant.Call) (assistant.Result, error) {
	if c.Name != t.tool.Name {
		return assistant.Result{}, t.notCalled(errors.New("there is no such tool"))
	}
	if ctx.Err() != nil {
		return assistant.Result{}, t.notCalled(context.Cause(ctx))
	}
	limited, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(limited, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, err := t.newRequest(traced, c)
	if fault, ok := errors.AsType[*argumentError](err); ok {
		return assistant.Result{IsError: true, Text: fault.Error()}, nil
	}
	if err != nil {
		return assistant.Result{}, t.notCalled(err)
	}
	result, err := t.send(req)
	if err == nil {
		return result, nil
	}
	if err = t.explain(ctx, limited, req, err); !sent.Load() {
		return assistant.Result{}, t.notCalled(err)
	}
	return assistant.Result{}, fmt.Errorf("http tool %s: %w", t.tool.Name, err)
}

// explain returns why a request failed, without its URL and its secrets.
func (t *Tool) explain(ctx, limited context.Context, req *http.Request, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case limited.Err() != nil:
		return fmt.Errorf("no response within %s: %w", t.timeout, context.DeadlineExceeded)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	all, _ := secretsOf(req)
	return errors.New(all.Shorten(err.Error()))
}

func (t *Tool) newRequest(ctx context.Context, c assistant.Call) (*http.Request, error) {
	v, err := newValues(c)
	if err != nil {
		return nil, err
	}
	u, err := t.address.fill(v)
	if err != nil {
		return nil, err
	}
	var content []byte
	if t.body != nil {
		if content, err = t.body(v, c); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, t.method, u.String(), bytes.NewReader(content))
	if err != nil {
		return nil, errors.New("the request cannot be made of the values") // the error has the URL
	}
	if t.body == nil {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	return req, t.fillHeader(req, v, c)
}

func (t *Tool) fillHeader(req *http.Request, v values, c assistant.Call) error {
	req.Header.Set("Accept", "application/json, text/*;q=0.9")
	req.Header.Set("User-Agent", "caddy-assistant")
	if t.kind != "" {
		req.Header.Set(contentType, t.kind)
	}
	for name, template := range t.header {
		text, err := template.render(v, writeHeader)
		if err != nil {
			return err
		}
		req.Header.Set(name, text)
	}
	if !outbound.ValidValue(c.ID) {
		return errors.New("the call's id has control characters")
	}
	req.Header.Set("Idempotency-Key", c.ID)
	return nil
}

// writeHeader refuses what could be more than a part of a value (RFC 9110 section 5.6).
func writeHeader(p piece, v value) (string, error) {
	if !outbound.ValidValue(v.text) {
		return "", errorOf(p, "must not have control characters")
	}
	if p.argument != "" && strings.ContainsFunc(v.text, func(r rune) bool { return r > '~' || strings.ContainsRune(`,;"\`, r) }) {
		return "", errorOf(p, "must not have commas, semicolons, quotes, backslashes or characters beyond ASCII")
	}
	return v.text, nil
}

func (t *Tool) send(req *http.Request) (assistant.Result, error) {
	res, err := t.client.Do(req)
	if err != nil {
		return assistant.Result{}, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= http.StatusMultipleChoices {
		return assistant.Result{IsError: true, Text: strings.TrimSpace(fmt.Sprintf("the service answered %d %s", res.StatusCode, http.StatusText(res.StatusCode)))}, nil
	}
	content, err := io.ReadAll(outbound.Bounded(res.Body))
	if errors.Is(err, outbound.ErrTooLarge) {
		return assistant.Result{IsError: true, Text: "the call was made, but its result is larger than 4 MiB"}, nil
	}
	if err != nil {
		return assistant.Result{}, err
	}
	_, hidden := secretsOf(req)
	return convert(res, content, hidden), nil
}

// convert returns a response as a result.
func convert(res *http.Response, content []byte, hidden outbound.Secrets) assistant.Result {
	kind, _, _ := mime.ParseMediaType(res.Header.Get(contentType))
	isJSON := kind == "application/json" || strings.HasSuffix(kind, "+json")
	switch {
	case len(content) == 0:
		return assistant.Result{Text: fmt.Sprintf("%d %s", res.StatusCode, http.StatusText(res.StatusCode))}
	case !isJSON && kind != "" && !strings.HasPrefix(kind, "text/") && kind != "application/xml" && !strings.HasSuffix(kind, "+xml"):
		return assistant.Result{Text: fmt.Sprintf("[%s, %d bytes: left out]", kind, len(content))}
	}
	result := assistant.Result{Text: strings.ToValidUTF8(hidden.Redact(string(content)), "\ufffd")}
	if isJSON && json.Valid([]byte(result.Text)) {
		result.Structured = json.RawMessage(result.Text)
	}
	return result
}

// secretsOf returns what an error about a request must not show, and what a result must not.
func secretsOf(req *http.Request) (all, credentials outbound.Secrets) {
	values, granting := []string{req.URL.String(), req.URL.RequestURI()}, []string(nil)
	add := func(name string, of []string) {
		values = append(values, of...)
		if outbound.IsCredential(name) {
			granting = append(granting, of...)
		}
	}
	for name, of := range req.Header {
		if name != "Idempotency-Key" {
			add(name, of)
		}
	}
	for name, of := range req.URL.Query() {
		add(name, of)
	}
	return outbound.NewSecrets(values...), outbound.NewSecrets(granting...)
}

var _ assistant.Tools = (*Tool)(nil)

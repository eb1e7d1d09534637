package httptool

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	properties := json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}}}`)
	for _, test := range []struct {
		change func(*Config)
		want   string // part of the error; "" = none
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.Label = "a b" }, "label: expected"},
		{func(c *Config) { c.Label = "" }, "label: expected"},
		{func(c *Config) { c.Description = " " }, "description: expected"},
		{func(c *Config) { c.Method = "TRACE" }, "method: expected"},
		{func(c *Config) { c.Approve = "writes" }, "approve: expected"},
		{func(c *Config) { c.Parameters = json.RawMessage(`{"type":"string"}`) }, "parameters: expected"},
		{func(c *Config) { c.Timeout = -1 }, "timeout: expected"},
		{func(c *Config) { c.Method, c.Body = "GET", "{}" }, "body: expected none"},
		{func(c *Config) { c.Header = map[string]string{"Idempotency-Key": "canary"} }, "header: expected a name that is none"},
		{func(c *Config) { c.Header = map[string]string{"X": "{args.b}"} }, "header X: expected arguments that parameters have, found {args.b}"},
		{func(c *Config) { c.Header = map[string]string{"Content-Type": "{args.a}"} }, "Content-Type: expected no placeholders"},

		{func(c *Config) { c.URL = "" }, "url: expected"},
		{func(c *Config) { c.URL = "/orders" }, "url: expected"},
		{func(c *Config) { c.URL = "ftp://example.org/{args.a}" }, "url: expected"},
		{func(c *Config) { c.URL = "{args.a}://example.org/" }, "url: expected"},
		{func(c *Config) { c.URL = "http{args.a}://example.org/" }, "url: expected"},
		{func(c *Config) { c.URL = "https://{args.a}/" }, "url: expected"},
		{func(c *Config) { c.URL = "https://{args.a}.example.org/" }, "url: expected"},
		{func(c *Config) { c.URL = "https://example.org{args.a}/" }, "only behind the host and port"},
		{func(c *Config) { c.URL = "https://example.org:{args.a}/" }, "url: expected"},
		{func(c *Config) { c.URL = "https://example.org:80{args.a}" }, "only behind the host and port"},
		{func(c *Config) { c.URL = "https://{assistant.user}.example.org/" }, "url: expected"},
		{func(c *Config) { c.URL = "https://user:canary@example.org/" }, "url: expected"},
		{func(c *Config) { c.URL = "https://example.org/#{args.a}" }, "url: expected"},
		{func(c *Config) { c.URL = "https://example.org/%{args.a}" }, "url: expected"},
		{func(c *Config) { c.URL = "https://example.org/%2{args.a}" }, "url: expected"},
		{func(c *Config) { c.URL = "https://example.org/?x=%2{args.a}" }, "url: expected"},
		{func(c *Config) { c.URL = "https://example.org/{args.b}" }, "url: expected arguments that parameters have"},
		{func(c *Config) { c.URL = "https://example.org/?x={args.b}" }, "url: expected arguments that parameters have"},
		{func(c *Config) { c.URL = "https://example.org?x={args.a}" }, ""},
		{func(c *Config) { c.URL = "https://example.org:8443/{args.a}/x?{args.a}=1" }, ""},

		{func(c *Config) { c.Body = `{"a": "{args.a}", "b": {args.a}}` }, ""},
		{func(c *Config) { c.Body = `{"a": {args.b}}` }, "body: expected arguments that parameters have"},
		{func(c *Config) { c.Body = `{"a": 1{args.a}}` }, "body: expected JSON"},
		{func(c *Config) { c.Body = `{"a": -{args.a}}` }, "body: expected JSON"},
		{func(c *Config) { c.Body = `{"a": "\{args.a}"}` }, "body: expected JSON"},
		{func(c *Config) { c.Body = `{"a": "\u00{args.a}"}` }, "body: expected JSON"},
		{func(c *Config) { c.Body = `{{args.a}: 1}` }, "body: expected JSON"},
		{func(c *Config) { c.Body = `{"x{args.a}": 1}` }, "found one in a name"},
		{func(c *Config) { c.Body = `{"b": [{"c": 1, "{args.a}": 1}]}` }, "found one in a name"},
		{func(c *Config) { c.Body = `hello` }, "body: expected JSON"},
		{func(c *Config) { c.Body, c.Header = `hello {args.a}`, map[string]string{"Content-Type": "text/plain"} }, "only in JSON and form fields"},
		{func(c *Config) { c.Header = map[string]string{"Content-Type": "text/xml"} }, "body: expected one"},
		{func(c *Config) {
			c.Body, c.Header = `a=%2{args.a}`, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
		}, "body: expected form fields"},
	} {
		c := Config{Label: "refund", Description: "Refunds.", URL: "https://example.org/{args.a}", Parameters: properties}
		test.change(&c)
		_, err := New(c)
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%+v: error %v, want %q", c, err, test.want)
		case err != nil && strings.Contains(err.Error(), "canary"):
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func TestApproval(t *testing.T) {
	for _, test := range []struct {
		method, approve     string
		approval, repeating bool
	}{{"GET", "", false, true}, {"GET", "always", true, true}, {"", "", true, false}, {"POST", "never", false, false}, {"DELETE", "", true, false}} {
		tools, err := open(t, Config{URL: "https://example.org", Method: test.method, Approve: test.approve}).Tools(t.Context(), ann)
		if err != nil || len(tools) != 1 || tools[0].Approve != test.approval || tools[0].Repeatable != test.repeating {
			t.Errorf("%s %s: got %+v, error %v", test.method, test.approve, tools, err)
		}
	}
}

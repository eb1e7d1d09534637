package harness

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Document is the AsyncAPI document of a server, as the tests use it: a schema for each action.
type Document struct {
	Text    string
	schemas map[string]*jsonschema.Schema // by action
}

// FetchDocument reads the document that c serves at /asyncapi/schema/.
func FetchDocument(t testing.TB, c *Caddy) *Document {
	t.Helper()
	response, text := c.Get(t, "/asyncapi/schema/")
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET /asyncapi/schema/: %s\n%s", response.Status, text)
	}
	document, err := parseDocument(text)
	if err != nil {
		t.Fatalf("AsyncAPI document: %v", err)
	}
	return document
}

// Validate checks a frame against the message of its action.
func (d *Document) Validate(frame Frame) error {
	schema := d.schemas[frame.Action]
	if schema == nil {
		return fmt.Errorf("no message has the action %q", frame.Action)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(frame.Text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

func parseDocument(text string) (*Document, error) {
	const location = "https://document.test/asyncapi.json"
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7) // AsyncAPI 3.0: Schema Object
	compiler.AssertFormat()
	if err := compiler.AddResource(location, value); err != nil {
		return nil, err
	}
	var messages struct {
		Components struct {
			Messages map[string]json.RawMessage
			Schemas  map[string]struct {
				Properties struct{ Action struct{ Const string } }
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &messages); err != nil {
		return nil, err
	}
	document := &Document{Text: text, schemas: make(map[string]*jsonschema.Schema)}
	for name, schema := range messages.Components.Schemas {
		action := schema.Properties.Action.Const
		if action == "" {
			continue // a payload's schema
		}
		if document.schemas[action], err = compiler.Compile(location + "#/components/schemas/" + name); err != nil {
			return nil, err
		}
	}
	if len(document.schemas) == 0 || len(document.schemas) != len(messages.Components.Messages) {
		return nil, fmt.Errorf("%d schemas with an action for %d messages", len(document.schemas), len(messages.Components.Messages))
	}
	return document, nil
}

// check fails the test for each frame that the document does not describe.
func (d *Document) check(t testing.TB, frames []Frame) {
	t.Helper()
	for _, frame := range frames {
		if err := d.Validate(frame); err != nil {
			t.Errorf("frame is not as documented: %.500s\n%v", frame.Text, err)
		}
	}
}

// published is the document of the server under test, fetched once for all tests.
func published(t testing.TB) *Document {
	t.Helper()
	publication.Lock()
	defer publication.Unlock()
	if publication.Document == nil {
		c := Start(t, Site("assistant "+AssistantPath+"* {\n provider demo\n}\nasyncapi /asyncapi/*"))
		publication.Document = FetchDocument(t, c)
		c.Stop(t)
	}
	return publication.Document
}

var publication struct {
	sync.Mutex
	*Document
}

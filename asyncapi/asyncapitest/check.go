// Package asyncapitest checks AsyncAPI documents against the specification's own JSON Schema, and for rules that
// neither that schema nor any official tool checks in version 3.
package asyncapitest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Check returns all faults of a document in JSON, joined, or nil when there are none. It checks that:
//
//   - the document is valid AsyncAPI 3.0.0
//   - every $ref stands alone and resolves, and everything in components is used
//   - messages have the same key in channels and components, the const of their action as name, and the
//     member that their correlation ID names
//   - every example is valid for its message and for no other message of the channel
//   - addresses are unique on their servers, which are the document's, and have exactly the declared parameters, and
//     servers exactly the variables
//   - operations and replies name messages of their channel
//   - schemas have a title when they have a name, only keywords of draft-07, and required members that exist
//   - operations, tags, properties and schemas that have a name have descriptions
func Check(text []byte) error {
	d, err := parse(text)
	if err != nil {
		return err
	}
	c := &checker{document: d}
	c.references()
	c.servers()
	c.channels()
	c.operations()
	c.messages()
	c.schemas()
	for _, t := range d.Info.Tags {
		c.must(t.Description != "", "tag %s: no description", t.Name)
	}
	return errors.Join(c.problems...)
}

// Frames returns a function that checks a frame, as it goes over the wire in either direction, against a
// document in JSON.
func Frames(text []byte) (func(frame []byte) error, error) {
	d, err := parse(text)
	if err != nil {
		return nil, err
	}
	schemas := map[string]*jsonschema.Schema{}
	for _, m := range d.Components.Messages {
		schemas[m.Name] = d.compiled[m.Payload.name()]
	}
	return func(frame []byte) error {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(frame))
		if err != nil {
			return err
		}
		object, _ := value.(map[string]any)
		action, _ := object["action"].(string)
		if schemas[action] == nil {
			return fmt.Errorf("no message has the action %q", action)
		}
		return schemas[action].Validate(value)
	}, nil
}

type checker struct {
	*document
	problems []error
}

func (c *checker) must(holds bool, format string, args ...any) {
	if !holds {
		c.problems = append(c.problems, fmt.Errorf(format, args...))
	}
}

func (c *checker) references() {
	used := map[string]bool{}
	c.walk(c.value, func(object map[string]any) {
		target, ok := object["$ref"].(string)
		if !ok {
			return
		}
		used[target] = true
		c.must(len(object) == 1, "%s: $ref has siblings, which are ignored", target)
		c.must(c.find(target) != nil, "%s: leads nowhere", target)
	})
	for name := range c.Components.Messages {
		c.must(used["#/components/messages/"+name], "message %s is not used", name)
	}
	for name := range c.Components.Schemas {
		c.must(used["#/components/schemas/"+name], "schema %s is not used", name)
	}
}

func (c *checker) walk(value any, visit func(map[string]any)) {
	switch v := value.(type) {
	case map[string]any:
		visit(v)
		for _, member := range v {
			c.walk(member, visit)
		}
	case []any:
		for _, element := range v {
			c.walk(element, visit)
		}
	}
}

func (c *checker) find(ref string) any {
	value := c.value
	for _, name := range strings.Split(ref, "/")[1:] {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

var parameter = regexp.MustCompile(`\{([^}]*)\}`)

// parameters returns the names in braces, sorted.
func parameters(address string) []string {
	var names []string
	for _, match := range parameter.FindAllStringSubmatch(address, -1) {
		names = append(names, match[1])
	}
	slices.Sort(names)
	return names
}

func (c *checker) servers() {
	for name, s := range c.Servers {
		used, declared := parameters(s.Host+s.Pathname), slices.Sorted(maps.Keys(s.Variables))
		c.must(slices.Equal(used, declared), "server %s: the host and path have the variables %q, declared are %q", name, used, declared)
	}
}

func (c *checker) channels() {
	addresses := map[string]string{}
	for name, ch := range c.Channels {
		url := fmt.Sprint(ch.Servers, ch.Address)
		c.must(addresses[url] == "", "channels %s and %s have the same address", name, addresses[url])
		addresses[url] = name
		for _, server := range ch.Servers {
			_, ok := c.Servers[strings.TrimPrefix(server.Ref, "#/servers/")]
			c.must(ok, "channel %s: its server %s is none of the document's", name, server.Ref)
		}
		c.must(strings.HasPrefix(ch.Address, "/"), "channel %s: address %q has no leading slash", name, ch.Address)
		c.must(ch.Title == name, "channel %s: title is %q", name, ch.Title)
		used, declared := parameters(ch.Address), slices.Sorted(maps.Keys(ch.Parameters))
		c.must(slices.Equal(used, declared), "channel %s: the address has the parameters %q, declared are %q", name, used, declared)
		for key, ref := range ch.Messages {
			c.must(ref.Ref == "#/components/messages/"+key, "channel %s: message %s is %s", name, key, ref.Ref)
		}
		c.examples(name, ch)
	}
}

// examples checks that each frame is exactly one of the channel's messages.
func (c *checker) examples(name string, ch channel) {
	for key := range ch.Messages {
		m := c.Components.Messages[key]
		c.must(len(m.Examples) > 0, "message %s has no example", key)
		for i, example := range m.Examples {
			frame, err := jsonschema.UnmarshalJSON(bytes.NewReader(example.Payload))
			c.must(err == nil, "message %s: example %d: %v", key, i, err)
			for other := range ch.Messages {
				schema := c.compiled[c.Components.Messages[other].Payload.name()]
				if schema == nil {
					continue // reported as a reference that leads nowhere
				}
				err := schema.Validate(frame)
				c.must((err == nil) == (other == key), "channel %s: example %d of %s as %s: %v", name, i, key, other, err)
			}
		}
	}
}

func (c *checker) operations() {
	for name, op := range c.Operations {
		c.must(op.Summary != "" && op.Description != "", "operation %s: no summary or no description", name)
		c.must(len(op.Messages) > 0, "operation %s has no message", name)
		c.belong(name, op.Channel, op.Messages)
		if op.Reply != nil {
			c.belong(name+": reply", op.Reply.Channel, op.Reply.Messages)
		}
	}
}

func (c *checker) belong(name string, channel reference, messages []reference) {
	for _, m := range messages {
		c.must(strings.HasPrefix(m.Ref, channel.Ref+"/messages/"), "operation %s: %s is not of %s", name, m.Ref, channel.Ref)
	}
}

func (c *checker) messages() {
	for key, m := range c.Components.Messages {
		frame := c.Components.Schemas[m.Payload.name()]
		action := decode[string](frame.property("action")["const"])
		c.must(action != "" && m.Name == action, "message %s: the name is %q, the action %q", key, m.Name, action)
		member, ok := strings.CutPrefix(m.CorrelationID.Location, "$message.payload#/")
		c.must(ok && frame.property(member) != nil, "message %s: nothing at the correlation ID %s", key, m.CorrelationID.Location)
	}
}

func (c *checker) schemas() {
	for name, s := range c.Components.Schemas {
		c.must(decode[string](s["title"]) == name, "schema %s: title is %s", name, s["title"])
		c.must(decode[string](s["description"]) != "", "schema %s: no description", name)
		c.parts(s.parts(name, false))
	}
	for name, ch := range c.Channels {
		c.parts(ch.Bindings.WS.Query.parts(name+" query", false))
		c.parts(ch.Bindings.WS.Headers.parts(name+" headers", false))
	}
}

func (c *checker) parts(parts []part) {
	for _, p := range parts {
		for keyword := range p.schema {
			c.must(slices.Contains(keywords, keyword), "schema %s: keyword %s", p.path, keyword)
		}
		c.must(!p.isProperty || p.schema.described(), "schema %s: no description", p.path)
		for _, name := range decode[[]string](p.schema["required"]) {
			c.must(p.schema.property(name) != nil, "schema %s: %s is required but not described", p.path, name)
		}
	}
}

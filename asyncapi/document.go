package asyncapi

import (
	"fmt"
	"slices"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// Document is an immutable AsyncAPI document.
type Document struct{ json []byte }

// JSON returns the document as indented JSON. The caller must not change it.
func (d Document) JSON() []byte { return d.json }

// YAML returns the document as YAML, which means the same in YAML 1.1 and 1.2.
func (d Document) YAML() ([]byte, error) { return toYAML(d.json) }

// Build returns the document of api as seen from view. It fails when an example in the protocol cannot be
// written as JSON.
func Build(api API, view View) (Document, error) {
	b := builder{API: api, view: view, servers: serversOf(api)}
	text, err := marshal(b.document())
	if err != nil {
		return Document{}, fmt.Errorf("write document: %w", err)
	}
	return Document{text}, nil
}

type builder struct {
	API
	view    View
	servers []namedServer
}

func (b builder) document() object {
	return object{
		{"asyncapi", "3.0.0"},
		{"id", "urn:com:github:caddy-assistant:" + string(b.view)},
		{"info", b.Info.object(b.tags())},
		{"defaultContentType", contentType},
		{"servers", b.serverObjects()},
		{"channels", b.channels()},
		{"operations", b.operations()},
		{"components", object{
			{"messages", b.messages()},
			{"schemas", b.schemas()},
		}},
	}
}

// tags returns all tags in use, in alphabetical order.
func (b builder) tags() []string {
	var tags []string
	add := func(names []string) {
		for _, name := range names {
			if !slices.Contains(tags, name) {
				tags = append(tags, name)
			}
		}
	}
	for _, c := range b.Channels {
		add(c.Tags)
	}
	for _, op := range b.Protocol.Operations {
		add(op.Tags)
	}
	for _, m := range b.Protocol.Messages {
		add(m.Tags)
	}
	slices.Sort(tags)
	return tags
}

// pathname returns the path that is part of the server instead of an address, or "".
func (b builder) pathname() string {
	if b.view == ClientView && len(b.Channels) == 1 {
		return b.Channels[0].Address
	}
	return ""
}

func (b builder) channels() object {
	var messages, channels object
	for _, m := range b.Protocol.Messages {
		messages = append(messages, member{m.Key, ref("components", "messages", m.Key)})
	}
	for _, c := range b.Channels {
		address := c.Address
		if b.pathname() != "" {
			address = "/"
		}
		channels = append(channels, member{c.Name, object{
			{"address", address},
			{"servers", b.serversOf(c)},
			{"title", c.Name},
			{"description", c.Description},
			{"messages", messages},
			{"tags", namedTags(c.Tags)},
			{"bindings", handshake(c)},
			{"x-handshake-refusals", c.Refusals},
			{"x-close-codes", c.CloseCodes},
			{"x-limits", c.Limits},
		}})
	}
	return channels
}

// handshake returns the WebSocket binding, which describes the opening request (RFC 6455 section 4.1).
func handshake(c Channel) object {
	return object{{"ws", object{
		{"method", "GET"},
		{"query", group(c.Query)},
		{"headers", group(c.Headers)},
		{"bindingVersion", "0.1.0"},
	}}}
}

// group returns the schema of an object with the properties, nil when there are none.
func group(properties []wire.Property) object {
	if len(properties) == 0 {
		return nil
	}
	return schema(&wire.Schema{Type: "object", Properties: properties})
}

func (b builder) operations() object {
	var operations object
	taken := map[string]bool{}
	for _, c := range b.Channels {
		for _, op := range b.channelOperations(c.Name) {
			if taken[op.name] {
				op.name = c.Name + "_" + op.name
			}
			taken[op.name] = true
			operations = append(operations, op)
		}
	}
	return operations
}

func (b builder) channelOperations(channel string) object {
	var operations object
	for _, op := range b.Protocol.Operations {
		name, action := op.Name, "receive"
		if b.view == ClientView {
			name, action = "send_"+op.Action, "send"
		}
		operation := object{
			{"action", action},
			{"channel", ref("channels", channel)},
			{"summary", op.Summary},
			{"description", op.Description},
			{"tags", namedTags(op.Tags)},
			{"messages", messageRefs(channel, op.Message)},
		}
		if len(op.Replies) > 0 {
			operation = append(operation, member{"reply", object{
				{"channel", ref("channels", channel)},
				{"messages", messageRefs(channel, op.Replies...)},
			}})
		}
		operations = append(operations, member{name, operation})
	}
	if b.view == ClientView {
		return append(operations, b.receipts(channel)...)
	}
	if p := b.Protocol.Pushed; p != nil {
		operations = append(operations, member{p.Name, object{
			{"action", "send"},
			{"channel", ref("channels", channel)},
			{"summary", p.Summary},
			{"description", p.Description},
			{"messages", messageRefs(channel, p.Replies...)},
		}})
	}
	return operations
}

// receipts returns an operation for every message that a client receives, as an answer or not.
func (b builder) receipts(channel string) object {
	var operations object
	for _, m := range b.Protocol.Messages {
		if m.Direction != wire.FromServer {
			continue
		}
		operations = append(operations, member{"on_" + m.Action, object{
			{"action", "receive"},
			{"channel", ref("channels", channel)},
			{"summary", "Handle " + m.Action},
			{"description", m.Description},
			{"tags", namedTags(m.Tags)},
			{"messages", messageRefs(channel, m.Key)},
		}})
	}
	return operations
}

func messageRefs(channel string, keys ...string) []object {
	refs := make([]object, len(keys))
	for i, key := range keys {
		refs[i] = ref("channels", channel, "messages", key)
	}
	return refs
}

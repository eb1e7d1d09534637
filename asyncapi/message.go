package asyncapi

import (
	"slices"
	"strings"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
	"github.com/go-json-experiment/json/jsontext"
)

const contentType = "application/json"

func (b builder) messages() object {
	var messages object
	for _, m := range b.Protocol.Messages {
		messages = append(messages, member{m.Key, object{
			{"name", m.Action},
			{"title", title(m.Action)},
			{"summary", m.Description},
			{"contentType", contentType},
			{"correlationId", correlation},
			{"tags", namedTags(m.Tags)},
			{"payload", ref("components", "schemas", m.Title)},
			{"examples", examples(m)},
		}})
	}
	return messages
}

// title returns an action as a title for people: "Streaming start".
func title(action string) string {
	words := strings.ReplaceAll(action, "_", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

var correlation = object{
	{"description", "The `ref` of a request is repeated in every frame that answers it."},
	{"location", "$message.payload#/ref"},
}

// examples returns example frames. A client's are shown with and without a ref. The server's are answers to a
// ref, because only these have all members of their payloads.
func examples(m wire.MessageDescription) []object {
	var payload any
	switch {
	case m.Payload != nil:
		payload = m.Example
	case m.Direction == wire.FromServer:
		payload = jsontext.Value("null")
	}
	frame := object{{"action", m.Action}, {"payload", payload}}
	if m.Direction == wire.FromServer {
		frame = append(frame, member{"version", wire.Version}, member{"topic", m.Topic}, member{"ref", "q1"})
		return []object{example("answer", "The answer to a request with a ref", frame)}
	}
	frame = append(frame, member{"topic", m.Topic})
	return []object{
		example("plain", "The shortest form", frame),
		example("with_ref", "With a ref, for fuller answers that carry it", append(slices.Clip(frame), member{"ref", "q1"})),
	}
}

func example(name, summary string, frame object) object {
	return object{{"name", name}, {"summary", summary}, {"payload", frame}}
}

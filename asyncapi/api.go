package asyncapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/mail"
	"net/url"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// API is all that a document describes.
type API struct {
	Info     Info
	Server   Server
	Protocol wire.Description // what every channel speaks
	Channels []Channel
}

// Info is about the API as a whole. Its JSON form is that of the Info Object and of configurations.
type Info struct {
	// The title. Default: Assistant API
	Title string `json:"title,omitempty"`

	// The version of the API, not of AsyncAPI. Default: 1.0.0
	Version string `json:"version,omitempty"`

	// What the API is for, as CommonMark. Default: how frames and answers work
	Description string `json:"description,omitempty"`

	// Whom to ask. Default: no contact
	Contact *Contact `json:"contact,omitempty"`

	// The licence of the API. Default: none is named
	License *License `json:"license,omitempty"`
}

// Contact is whom to ask about the API. Empty fields are left out.
type Contact struct {
	Name  string `json:"name,omitempty"`
	URL   string `json:"url,omitempty"`
	Email string `json:"email,omitempty"`
}

// License is the licence of the API. The name is required, the URL is not.
type License struct {
	Name string `json:"name"`
	URL  string `json:"url,omitempty"`
}

// Validate finds what would make a document invalid.
func (info Info) Validate() error {
	contact, license := cmp.Or(info.Contact, &Contact{}), cmp.Or(info.License, &License{Name: "none"})
	if license.Name == "" {
		return errors.New("license: expected a name, found nothing")
	}
	for name, address := range map[string]string{"contact": contact.URL, "license": license.URL} {
		if u, err := url.Parse(address); address != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
			return fmt.Errorf("%s: expected a URL like https://example.com/, found %q", name, address)
		}
	}
	if address, err := mail.ParseAddress(contact.Email); contact.Email != "" && (err != nil || address.Address != contact.Email) {
		return fmt.Errorf("contact: expected an e-mail address, found %q", contact.Email)
	}
	return nil
}

// Channel is one route that clients connect to.
type Channel struct {
	// Name is the channel's key, title and, to client generators, a name in code: letters, digits and
	// underscores, and no other channel has it.
	Name string

	// Address is the path, with a leading slash.
	Address string

	Description string // CommonMark
	Tags        []string

	// Query and Headers are what the server understands of the handshake's URL and header.
	Query, Headers []wire.Property

	// Refusals says which HTTP statuses refuse a handshake, and why. AsyncAPI has no place for them: they
	// become x-handshake-refusals.
	Refusals map[int]string

	// CloseCodes says what the codes mean with which the server closes a connection (RFC 6455 section
	// 7.4). They become x-close-codes.
	CloseCodes map[int]string

	// Limits are sizes and counts that clients should know, by name. They become x-limits.
	Limits map[string]int64
}

// View is the point of view of a document.
type View string

const (
	// ServerView says what the server receives and sends. It is what AsyncAPI's tools expect.
	ServerView View = "server"

	// ClientView is its mirror, for generators that take a document as the client's own, such as
	// AsyncAPI's templates for Python and JavaScript. They need an operation for every message that the
	// client receives, a discriminator to tell these apart, and, since they do not look at addresses,
	// the path in the server, where it can be when there is one channel.
	ClientView View = "client"
)

const defaultDescription = "Streaming chat with a language model over one WebSocket.\n\n" +
	"Every frame is a JSON object. Its `action` selects exactly one of the messages below, and so what its `payload` is. " +
	"An `assistant_message` is answered by one `streaming_start`, any number of `streaming` and one `complete_streaming`. " +
	"An `error` never closes the connection.\n\n" +
	"A client that sends a `ref` gets it back on every frame of the answer, and more in their payloads.\n\n" +
	"A `topic` addresses a stored conversation, which may be open in many places: `subscribe` opens it, and `seq` numbers " +
	"what happens in it, so that a client that was cut off can ask for what it missed."

func (info Info) object(tags []string) object {
	return object{
		{"title", cmp.Or(info.Title, "Assistant API")},
		{"version", cmp.Or(info.Version, "1.0.0")},
		{"description", cmp.Or(info.Description, defaultDescription)},
		{"contact", info.Contact},
		{"license", info.License},
		{"tags", describedTags(tags)},
	}
}

func describedTags(names []string) []object {
	tags := namedTags(names)
	for i, name := range names {
		tags[i] = append(tags[i], member{"description", describeTag(name)})
	}
	return tags
}

func namedTags(names []string) []object {
	tags := make([]object, len(names))
	for i, name := range names {
		tags[i] = object{{"name", name}}
	}
	return tags
}

// describeTag is for the tags that come with the assistant, and for those that a site gives to channels.
func describeTag(name string) string {
	switch name {
	case "ai":
		return "A language model answers."
	case "chat":
		return "Questions, and answers while they are written."
	case "connection":
		return "Upkeep of the connection."
	case "conversations":
		return "Conversations that are kept: opening, listing, naming and deleting them."
	}
	return "A tag of this site."
}

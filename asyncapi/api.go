package asyncapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/mail"
	"net/url"

	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// API is everything that a document describes.
type API struct {
	Info     Info
	Server   Server           // where channels are that name no other
	Protocol wire.Description // what every channel speaks
	Channels []Channel
}

// Info describes the API as a whole. Its JSON form is that of the Info Object and of configurations.
type Info struct {
	// The title. Default: Assistant API
	Title string `json:"title,omitempty"`

	// The version of the API, not of AsyncAPI. Default: 1.0.0
	Version string `json:"version,omitempty"`

	// What the API does, as CommonMark. Default: how frames and answers work
	Description string `json:"description,omitempty"`

	// The contact for questions about the API. Default: none
	Contact *Contact `json:"contact,omitempty"`

	// The licence of the API. Default: none
	License *License `json:"license,omitempty"`
}

// Contact is the contact for questions about the API. Empty fields are left out.
type Contact struct {
	Name  string `json:"name,omitempty"`
	URL   string `json:"url,omitempty"`
	Email string `json:"email,omitempty"`
}

// License is the licence of the API. The name is required, the URL is optional.
type License struct {
	Name string `json:"name"`
	URL  string `json:"url,omitempty"`
}

// Validate returns an error if info would make a document invalid.
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
	// Name is the channel's key and title, and a name in the code of generated clients. It consists of
	// letters, digits and underscores, and is unique.
	Name string

	// Address is the path, with a leading slash.
	Address string

	// Server is where the channel is. Without a Host it is at the Server of the API.
	Server Server

	Description string // CommonMark
	Tags        []string

	// Query and Headers are the query parameters and header fields of the handshake that the server reads.
	Query, Headers []wire.Property

	// Refusals maps the HTTP statuses that refuse a handshake to their reasons. AsyncAPI has no place for
	// them, so they become x-handshake-refusals.
	Refusals map[int]string

	// CloseCodes maps the codes with which the server closes a connection (RFC 6455 section 7.4) to their
	// meanings. They become x-close-codes.
	CloseCodes map[int]string

	// Limits are sizes and counts that clients should know, by name. They become x-limits.
	Limits map[string]int64
}

// View is the point of view of a document.
type View string

const (
	// ServerView describes what the server receives and sends. AsyncAPI's tools expect it.
	ServerView View = "server"

	// ClientView is its mirror, for generators that read a document as the client's own, such as
	// AsyncAPI's templates for Python and JavaScript. They need an operation for every message that the
	// client receives and a discriminator for these messages. They also ignore addresses, so when there is
	// only one channel its path is in the server.
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

// describeTag describes the tags of the assistant itself, and those that a site gives to channels.
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

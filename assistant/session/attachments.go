package session

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-assistant/caddy-assistant/assistant"
	"github.com/caddy-assistant/caddy-assistant/assistant/conversation"
	"github.com/caddy-assistant/caddy-assistant/assistant/wire"
)

// Attachments is what a question has besides its text.
type Attachments []Attachment

// Attachment is an [AttachedImage] or an [AttachedFile].
type Attachment interface{ fields() AttachedFile }

// AttachedImage is an image of a question.
type AttachedImage struct {
	FileID    string `json:"file_id,omitempty" maxLength:"64" doc:"Id of an upload of this user that no other question uses."`
	Data      string `json:"data,omitempty" doc:"The image itself, in base64 (RFC 4648, section 4). It must fit into the frame."`
	MediaType string `json:"media_type,omitempty" maxLength:"255" doc:"Its media type, for people who read frames: the server looks at the data."`
	Name      string `json:"name,omitempty" maxLength:"255" doc:"Its name, with data only."`
}

// AttachedFile is a file of a question that is no image.
type AttachedFile struct {
	FileID    string `json:"file_id,omitempty" maxLength:"64" doc:"Id of an upload of this user that no other question uses."`
	Data      string `json:"data,omitempty" doc:"The file itself, in base64 (RFC 4648, section 4). It must fit into the frame."`
	MediaType string `json:"media_type,omitempty" maxLength:"255" doc:"Its media type, for people who read frames: the server looks at the data."`
	Name      string `json:"name,omitempty" maxLength:"255" doc:"Its name, with data only."`
}

// Variants lists the kinds of attachments.
func (Attachments) Variants() (tag string, variants []any) {
	return "type", []any{AttachedImage{}, AttachedFile{}}
}

func (a AttachedImage) fields() AttachedFile { return AttachedFile(a) }
func (a AttachedFile) fields() AttachedFile  { return a }

// Doc describes images of questions.
func (AttachedImage) Doc() string {
	return "An image of a question, uploaded before or in the frame itself."
}

// Doc describes files of questions.
func (AttachedFile) Doc() string {
	return "A file of a question that is no image, uploaded before or in the frame itself."
}

// MarshalJSON writes the type first.
func (a AttachedImage) MarshalJSON() ([]byte, error) {
	type fields AttachedImage
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{"image", fields(a)})
}

// MarshalJSON writes the type first.
func (a AttachedFile) MarshalJSON() ([]byte, error) {
	type fields AttachedFile
	return json.Marshal(struct {
		Type string `json:"type"`
		fields
	}{"file", fields(a)})
}

// attachedFile is what a question has: what is stored already, or, with data, what came with the frame.
type attachedFile struct {
	assistant.Upload

	received int
	took     time.Duration
}

// open finds what is attached to a question, and checks what comes with the frame. Nothing is stored yet. parts are what the
// question has of them.
func (r *request) open(ctx context.Context, a *conversation.Assistant, attached Attachments) (files []attachedFile, parts assistant.Parts, err error) {
	if err := a.MayUpload(r.s.peer); err != nil {
		return nil, nil, err
	}
	if len(attached) > a.Files.MaxPerMessage {
		return nil, nil, assistant.Refuse(assistant.ReasonTooManyFiles)
	}
	raw, err := r.decode(attached)
	if err != nil {
		return nil, nil, err
	}
	for i, attachment := range attached {
		var f attachedFile
		if data := raw[i]; data != nil {
			f, err = r.take(ctx, a, attachment.fields().Name, data)
		} else {
			f.File, err = r.find(ctx, attachment.fields().FileID)
		}
		if err != nil {
			return nil, nil, err
		}
		if isTwice := slices.ContainsFunc(files, func(other attachedFile) bool { return other.ID == f.ID }); !isTwice {
			files, parts = append(files, f), append(parts, f.Part())
		}
	}
	if !assistant.Accepts(a.Provider, parts) {
		return nil, nil, assistant.Refuse(assistant.ReasonContentUnsupported)
	}
	return files, parts, nil
}

// decode returns the data of those that have some.
func (r *request) decode(attached Attachments) ([][]byte, error) {
	raw, items := make([][]byte, len(attached)), []wire.Item(nil)
	for i, attachment := range attached {
		f, at := attachment.fields(), []string{r.envelope.Action, "payload", "parts", strconv.Itoa(i)}
		if (f.FileID == "") == (f.Data == "") {
			items = append(items, wire.Item{Type: "value_error", Loc: at, Msg: "Value error, expected either file_id or data"})
			continue
		}
		if f.Data == "" {
			continue
		}
		var err error
		if raw[i], err = base64.StdEncoding.DecodeString(f.Data); err != nil {
			items = append(items, wire.Item{Type: "base64_invalid", Loc: append(at, "data"), Msg: "Input should be base64"})
		}
	}
	if items != nil {
		return nil, &wire.ValidationError{Items: items}
	}
	return raw, nil
}

// take checks what came with the frame as an upload. Of one that is refused all is said here.
func (r *request) take(ctx context.Context, a *conversation.Assistant, name string, data []byte) (f attachedFile, err error) {
	start := time.Now()
	if err = a.CountUpload(r.s.peer); err == nil {
		f.Upload, err = a.Take(ctx, r.s.peer, name, data)
	}
	f.received, f.took = len(data), time.Since(start)
	if err != nil {
		a.Uploaded(r.s.peer, f.File, f.received, f.took, err)
	}
	return f, err
}

// find returns an upload. In the connection's own conversation there are none.
func (r *request) find(ctx context.Context, id string) (assistant.File, error) {
	if r.id == "" || !assistant.IsID(id) {
		return assistant.File{}, assistant.Refuse(assistant.ReasonFileUnknown)
	}
	return r.s.hub.File(ctx, r.s.peer.User, id)
}

// attach stores what came with the frame. For the connection's own conversation, which has no store, it returns that.
func (r *request) attach(ctx context.Context, a *conversation.Assistant, files []attachedFile) (own map[string][]byte, err error) {
	var total int64
	for _, f := range files {
		total += int64(len(f.Data))
	}
	if r.id == "" && total > a.Files.InMemory {
		return nil, assistant.Refuse(assistant.ReasonFileTooLarge)
	}
	for _, f := range files {
		switch {
		case f.Data == nil:
			continue
		case r.id == "":
			if own == nil {
				own = make(map[string][]byte)
			}
			own[f.ID] = f.Data
		default:
			err = a.AddFile(ctx, r.s.peer, f.Upload)
		}
		if a.Uploaded(r.s.peer, f.File, f.received, f.took, err); err != nil {
			return nil, err
		}
	}
	return own, nil
}

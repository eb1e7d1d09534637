package nats

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	natsio "github.com/nats-io/nats.go"

	"github.com/caddy-assistant/caddy-assistant/assistant"
)

// The version of the messages, and the header that names it.
const versionHeader, version = "Caddy-Assistant", "1"

var versioned = natsio.Header{versionHeader: {version}}

// maxData is how much data a message has at most, in bytes. Where the server takes less, it is half of that.
const maxData = 256 << 10

// encode writes a message: a head in JSON, and data.
func encode(head any, data []byte) ([]byte, error) {
	line, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	return append(append(line, '\n'), data...), nil
}

// decode reads a message.
func decode(message []byte, head any) (data []byte, err error) {
	line, data, found := bytes.Cut(message, []byte{'\n'})
	if !found {
		return nil, errors.New("message has no head")
	}
	if err := json.Unmarshal(line, head); err != nil {
		return nil, fmt.Errorf("read head: %w", err)
	}
	return data, nil
}

// read reads a message of our version.
func (n *node) read(m *natsio.Msg, head any) (data []byte, err error) {
	if v := m.Header.Get(versionHeader); v != version {
		n.trouble("message of another version was not read", fmt.Errorf("version %.20q", v))
		return nil, errVersion
	}
	return decode(m.Data, head)
}

var errVersion = errors.New("message has another version")

// subjects are those of one node.
type subjects struct {
	prefix string
	inbox  string // begins the subjects of replies to this node
}

func subjectsOf(prefix string, me assistant.NodeID) subjects {
	return subjects{prefix, "_INBOX_" + prefix + "." + token(me)}
}

// token is a node in a subject.
func token(id assistant.NodeID) string { return strconv.FormatUint(uint64(id), 16) }

func (s subjects) all() string                     { return s.prefix + ".all" }
func (s subjects) node(id assistant.NodeID) string { return s.prefix + ".node." + token(id) }
func (s subjects) feed(id assistant.NodeID) string { return s.prefix + ".feed." + token(id) }
func (s subjects) reply(call uint64) string        { return s.inbox + ".call." + strconv.FormatUint(call, 10) }
func (s subjects) link(number uint64) string {
	return s.inbox + ".link." + strconv.FormatUint(number, 10)
}
func (s subjects) replies() string { return s.inbox + ".*.*" }
func (s subjects) kind(subject string) (string, uint64) {
	kind, number, _ := strings.Cut(strings.TrimPrefix(subject, s.inbox+"."), ".")
	n, _ := strconv.ParseUint(number, 10, 64)
	return kind, n
}

// noResponders reports whether a message is the server's, which says that nobody has subscribed.
func noResponders(m *natsio.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}

// part is a stretch of something that comes in several messages.
type part struct {
	Number int  `json:"part,omitzero"` // from 0 on
	More   bool `json:"more,omitzero"` // it is not the last
}

// split calls f with the parts of data, at least one, until it returns an error.
func split(data []byte, limit int, f func(part, []byte) error) error {
	for number := 0; ; number++ {
		n := min(limit, len(data))
		more := n < len(data)
		if err := f(part{number, more}, data[:n]); err != nil || !more {
			return err
		}
		data = data[n:]
	}
}

// joined is what has come of something that comes in parts.
type joined struct {
	data []byte
	next int
}

// maxJoined is how much may come in parts, in bytes.
const maxJoined = 64 << 20

// add adds the next part. It returns false where it is another one, or too much.
func (j *joined) add(p part, data []byte) bool {
	if p.Number != j.next || len(j.data)+len(data) > maxJoined {
		return false
	}
	j.next++
	if j.data == nil && !p.More {
		j.data = data
		return true
	}
	j.data = append(j.data, data...)
	return true
}

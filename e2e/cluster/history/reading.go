package history

import (
	"fmt"
	"time"
)

// reading is a history, sorted into what the invariants look at.
type reading struct {
	History
	Limits
	stretches []*stretch
	stored    map[string]Conversation    // by id
	deleted   map[string]time.Duration   // by conversation: when the first client was told
	asked     map[string]string          // the conversation of each question, by its text
	commands  map[string]map[string]int  // by conversation and action: how often it was sent
	starts    map[string]map[string]bool // by message id: the epochs in which an answer's start was shown
	questions map[string]string          // by message id of an answer: the text of its question
	fresh     map[string]bool            // by message id of an answer: it is the first to its question, which was shown before it
	failed    map[string]bool            // by message id of an answer: its end was told as an error
	found     []Violation
}

// stretch is what one socket was shown of one conversation, from one subscribed on: until the next, the socket's end,
// or the history's.
type stretch struct {
	client, node string
	socket       int
	conversation string
	epoch        string
	began        time.Duration
	asked        *Frame // the client's subscribe; nil = the server began anew by itself
	recovered    bool   // it begins where the client had been, and not with a snapshot
	first        mark   // at its beginning
	isAsked      bool   // a question was shown whose answer has not begun
	restored     bool   // it has its snapshot:
	snapshot     Frame
	frames       []shown
	last         View
	open         bool // at the history's end
}

// shown is a frame with what the client knew before and after it.
type shown struct {
	Entry
	before, after mark
}

// mark is a View in short.
type mark struct {
	seq      uint64
	running  string // id of the answer that runs; "" = none
	size     int    // of its text so far
	sum      uint64 // a hash of that
	question string // id of the last question
	turns    int    // how many questions there are
	more     bool   // and older ones
}

func (s *stretch) String() string {
	return fmt.Sprintf("%s at %s (socket %d, conversation %.8s, epoch %.8s)", s.client, s.node, s.socket, s.conversation, s.epoch)
}

// read sorts a history.
func read(h History, limits Limits) *reading {
	r := &reading{
		History: h, Limits: limits,
		stored: make(map[string]Conversation), deleted: make(map[string]time.Duration), asked: make(map[string]string),
		commands: make(map[string]map[string]int), starts: make(map[string]map[string]bool), questions: make(map[string]string),
		fresh: make(map[string]bool), failed: make(map[string]bool),
	}
	for _, c := range h.Stored {
		r.stored[c.ID] = c
	}
	t := tape{reading: r, known: make(map[tab]View), current: make(map[track]*stretch), requests: make(map[request]Frame)}
	for _, e := range h.Entries {
		t.play(e)
	}
	for _, s := range t.current {
		s.open = !s.last.Deleted
	}
	return r
}

// tape plays the entries in their order, as the clients saw them.
type tape struct {
	*reading
	known    map[tab]View // what a client knows, also between its sockets
	current  map[track]*stretch
	requests map[request]Frame
}

// tab is a client with one conversation; track is that over one socket.
type (
	tab   struct{ client, conversation string }
	track struct {
		socket       int
		conversation string
	}
	request struct {
		socket int
		ref    string
	}
)

func (t *tape) play(e Entry) {
	switch e.Kind {
	case Sent:
		t.sent(e)
	case Received:
		t.received(e)
	case Closed:
		for at := range t.current {
			if at.socket == e.Socket {
				delete(t.current, at)
			}
		}
	}
}

func (t *tape) sent(e Entry) {
	t.requests[request{e.Socket, e.Ref}] = e.Frame
	if t.commands[e.Conversation] == nil {
		t.commands[e.Conversation] = make(map[string]int)
	}
	t.commands[e.Conversation][e.Action]++
	if e.Replaces != "" {
		t.commands[e.Conversation]["replace"]++
	}
	switch e.Action {
	case "send_message":
		t.asked[e.Content] = e.Conversation
	case "unsubscribe":
		delete(t.current, track{e.Socket, e.Conversation})
	}
}

func (t *tape) received(e Entry) {
	if e.Action == "complete_streaming" && e.Finish == "error" {
		t.failed[e.ID] = true
	}
	if e.Action == "conversation_deleted" {
		if at, ok := t.deleted[e.Conversation]; !ok || e.At < at {
			t.deleted[e.Conversation] = e.At
		}
	}
	at := track{e.Socket, e.Conversation}
	s := t.current[at]
	switch {
	case e.Conversation == "":
	case e.Action == "subscribed":
		t.begin(e)
	case s == nil:
	case e.Action == "snapshot" && !s.recovered && !s.restored:
		s.last.Restore(e.Frame)
		s.first, s.restored, s.snapshot = s.last.mark(), true, e.Frame
		t.known[tab{e.Client, e.Conversation}] = s.last
	case e.Seq != 0 || e.Action == "snapshot":
		t.event(s, e)
	}
}

// begin begins a stretch.
func (t *tape) begin(e Entry) {
	s := &stretch{client: e.Client, node: e.Node, socket: e.Socket, conversation: e.Conversation, epoch: e.Epoch, recovered: e.Recovered, began: e.At}
	if asked, ok := t.requests[request{e.Socket, e.Ref}]; ok && e.Ref != "" {
		s.asked = &asked
	}
	if s.recovered {
		s.last = t.known[tab{e.Client, e.Conversation}]
		s.first = s.last.mark()
	}
	s.last.Epoch, s.last.Deleted = s.epoch, false
	t.current[track{e.Socket, e.Conversation}] = s
	t.stretches = append(t.stretches, s)
}

// event takes a frame with a number.
func (t *tape) event(s *stretch, e Entry) {
	before := s.last.mark()
	s.last.Apply(e.Frame)
	s.frames = append(s.frames, shown{e, before, s.last.mark()})
	t.known[tab{e.Client, e.Conversation}] = s.last
	if e.Action == "user_message" {
		s.isAsked = true
	}
	if e.Action == "streaming_start" {
		t.fresh[e.ID] = t.fresh[e.ID] || s.isAsked
		s.isAsked = false
		if t.starts[e.ID] == nil {
			t.starts[e.ID] = make(map[string]bool)
		}
		t.starts[e.ID][s.epoch] = true
		if q := s.last.Question(); q != nil {
			t.questions[e.ID] = q.Content
		}
	}
}

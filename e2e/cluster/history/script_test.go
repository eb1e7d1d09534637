package history

import (
	"fmt"
	"time"
)

// script writes a history by hand.
type script struct {
	History
	now     time.Duration
	sockets int
	refs    int
}

// page is a client's tab in a script, with one conversation.
type page struct {
	*script
	client, node, conversation string
	socket                     int
}

const theOne = "c"

// wait lets time pass.
func (s *script) wait(d time.Duration) { s.now += d }

func (s *script) add(e Entry) {
	s.now += time.Millisecond
	e.At = s.now
	s.Entries = append(s.Entries, e)
}

// open opens a tab's socket.
func (s *script) open(client, node string) *page {
	s.sockets++
	p := &page{s, client, node, theOne, s.sockets}
	p.entry(Opened, Frame{})
	return p
}

func (p *page) entry(kind Kind, f Frame) {
	if kind == Sent || kind == Received {
		f.Conversation = p.conversation
	}
	p.add(Entry{Client: p.client, User: "ann", Node: p.node, Socket: p.socket, Kind: kind, Frame: f})
}

func (p *page) send(f Frame) (ref string) {
	p.refs++
	f.Ref = fmt.Sprint("r", p.refs)
	p.entry(Sent, f)
	return f.Ref
}

func (p *page) get(f Frame) *page { p.entry(Received, f); return p }

func (p *page) close() { p.entry(Closed, Frame{}) }

// anew subscribes and gets a snapshot.
func (p *page) anew(epoch string, seq uint64, running *Message, messages ...Message) *page {
	ref := p.send(Frame{Action: "subscribe"})
	p.get(Frame{Action: "subscribed", Epoch: epoch, Ref: ref})
	return p.get(Frame{Action: "snapshot", Seq: seq, Ref: ref, Messages: messages, Running: running})
}

// resume subscribes from where the client was.
func (p *page) resume(epoch string, after uint64) *page {
	ref := p.send(Frame{Action: "subscribe", Epoch: epoch, After: after})
	return p.get(Frame{Action: "subscribed", Epoch: epoch, Recovered: true, Ref: ref})
}

func (p *page) ask(text string) (ref string) {
	return p.send(Frame{Action: "send_message", Content: text, ClientID: text})
}

func (p *page) question(seq uint64, text string) *page {
	return p.get(Frame{Action: "user_message", Seq: seq, ID: "q" + text, Content: text, ClientID: text})
}

func (p *page) start(seq uint64, id, ref string) *page {
	return p.get(Frame{Action: "streaming_start", Seq: seq, ID: id, Ref: ref})
}

func (p *page) piece(seq uint64, text string) *page {
	return p.get(Frame{Action: "streaming", Seq: seq, Content: text})
}

func (p *page) end(seq uint64, id, finish string) *page {
	return p.get(Frame{Action: "complete_streaming", Seq: seq, ID: id, Finish: finish})
}

func user(text string) Message {
	return Message{ID: "q" + text, Role: "user", Content: text, ClientID: text, Status: "complete"}
}

func answer(id, text, finish string) Message {
	status := map[string]string{"stop": "complete", "stopped": "stopped", "interrupted": "interrupted", "": "streaming", "error": "failed"}[finish]
	return Message{ID: id, Role: "assistant", Content: text, Status: status, Finish: finish, Usage: &Usage{Total: 10}}
}

// call is what the model was asked and has sent.
func (s *script) call(question, text string, told ...Message) {
	s.Calls = append(s.Calls, Call{
		Question: question, Told: append(append([]Message{{Role: "system", Content: "Be kind."}}, told...), user(question)),
		Began: s.now, Ended: s.now + time.Millisecond, Text: text, Finished: true,
	})
}

// store is what the store has of the conversation in the end.
func (s *script) store(messages ...Message) {
	s.Stored = append(s.Stored, Conversation{ID: theOne, Owner: "ann", Messages: messages})
}

// play is a history of one question, with a tab at another node.
func play(change func(s *script, a, b *page)) History {
	s := new(script)
	a, b := s.open("a", "node1").anew("e", 0, nil), s.open("b", "node2").anew("e", 0, nil)
	change(s, a, b)
	return s.History
}

// one asks one question and answers it, as both tabs see it.
func one(s *script, a, b *page) {
	ref := a.ask("one")
	a.question(1, "one").start(2, "A", ref)
	s.call("one", "xyz")
	b.question(1, "one").start(2, "A", "")
	a.piece(3, "x").piece(4, "y").piece(5, "z").end(6, "A", "stop")
	b.piece(4, "xy").piece(5, "z").end(6, "A", "stop")
}

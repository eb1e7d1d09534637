package history

import "slices"

// View is what a client knows of a conversation. A copy of it does not change.
type View struct {
	Epoch    string
	Seq      uint64
	Messages []Message // without the answer that runs
	More     bool      // there are older messages
	Running  string    // id of the answer that runs; "" = none
	Text     string    // of that answer, so far
	Title    string
	Deleted  bool

	size int    // of Text
	sum  uint64 // a hash of Text
}

// Pieces of text and of reasoning are merged for clients that lag: a frame may stand for several numbers.
func merges(action string) bool { return action == "streaming" || action == "reasoning" }

// Apply takes an event of the log.
func (v *View) Apply(f Frame) {
	v.Seq = f.Seq
	switch f.Action {
	case "snapshot":
		v.Restore(f)
	case "user_message":
		v.Messages = append(slices.Clip(v.Messages), Message{ID: f.ID, Role: "user", Content: f.Content, ClientID: f.ClientID})
	case "streaming_start":
		v.Running, v.Text, v.size, v.sum = f.ID, "", 0, 0
	case "streaming":
		v.Text += f.Content
		v.add(f.Content)
	case "complete_streaming":
		v.Messages = append(slices.Clip(v.Messages), Message{ID: f.ID, Role: "assistant", Content: v.Text, Finish: f.Finish})
		v.Running, v.Text, v.size, v.sum = "", "", 0, 0
	case "conversation_updated":
		v.Title = f.Title
	case "conversation_deleted":
		v.Deleted = true
	}
}

// Restore begins anew with a snapshot.
func (v *View) Restore(f Frame) {
	*v = View{Epoch: v.Epoch, Seq: f.Seq, Messages: f.Messages, More: f.More, Title: f.Title}
	if f.Running != nil {
		v.Running, v.Text = f.Running.ID, f.Running.Content
		v.add(v.Text)
	}
}

// add hashes a piece (FNV-1a): what is added in parts has the same hash as the whole.
func (v *View) add(piece string) {
	if piece == "" {
		return
	}
	if v.size == 0 {
		v.sum = 14695981039346656037
	}
	for i := range len(piece) {
		v.sum = (v.sum ^ uint64(piece[i])) * 1099511628211
	}
	v.size += len(piece)
}

func (v *View) mark() mark {
	m := mark{seq: v.Seq, running: v.Running, size: v.size, sum: v.sum, turns: v.Turns(), more: v.More}
	if q := v.Question(); q != nil {
		m.question = q.ID
	}
	return m
}

// Question is the user's message that is answered, or was answered last; nil = there is none.
func (v *View) Question() *Message {
	for i, m := range slices.Backward(v.Messages) {
		if m.Role == "user" {
			return &v.Messages[i]
		}
	}
	return nil
}

// Turns counts the questions.
func (v *View) Turns() (n int) {
	for _, m := range v.Messages {
		if m.Role == "user" {
			n++
		}
	}
	return n
}

package nats

import "github.com/caddy-assistant/caddy-assistant/assistant"

// control is what a follower tells the node that holds logs. The messages of a link are numbered from 1 on.
type control struct {
	Op    op     `json:"op,omitempty"`
	Link  uint64 `json:"link,omitzero"`
	Count uint64 `json:"n,omitzero"`
	Feeds []ask  `json:"feeds,omitempty"`
}

// ask names a feed, and the log that is to be sent as that after a place.
type ask struct {
	Feed  uint64 `json:"f"`
	ID    string `json:"c,omitempty"`
	Epoch string `json:"e,omitempty"`
	After uint64 `json:"a,omitzero"`
}

// maxAsks is how many logs are asked for in one message.
const maxAsks = 100

type op string

const (
	opFollow op = "follow" // begin feeds
	opLeave  op = "leave"  // end feeds
	opKeep   op = "keep"   // a sign of life
	opBye    op = "bye"    // end the link
)

// packet is a message of a link from the node that holds logs, numbered from 1 on: frames and, below them, what is in
// them. Only the last part of a packet has frames.
type packet struct {
	From   assistant.NodeID `json:"from"`
	Link   uint64           `json:"link"`
	Count  uint64           `json:"n"`
	State  state            `json:"state,omitempty"` // of the link
	Frames []frame          `json:"frames,omitempty"`
	part
}

type state string

const (
	stateBroken state = "broken" // something was lost: begin a new one
	stateClosed state = "closed" // the node is closed
)

// frame is a batch of a log, or its end.
type frame struct {
	Feed  uint64 `json:"f"`
	First uint64 `json:"a,omitzero"`
	Last  uint64 `json:"z,omitzero"`
	Size  int    `json:"s,omitzero"` // bytes of the batch
	End   ending `json:"e,omitempty"`
}

type ending string

const (
	endReleased ending = "released"
	endGone     ending = "gone"
	endFailed   ending = "failed"
)

func (e ending) err() error {
	switch e {
	case endReleased:
		return nil
	case endGone:
		return assistant.ErrGone
	default:
		return assistant.ErrNoNode
	}
}

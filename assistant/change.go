package assistant

import "unsafe"

// Change is what became of one conversation in the list of its owner: a plain value, as [Event] is.
type Change struct {
	Kind ChangeKind `json:"kind"`
	// Conversation is as it is now; of one that was deleted only the ID is set.
	Conversation Conversation `json:"conversation"`
}

// ChangeKind says what became of a conversation.
type ChangeKind string

// The kinds of changes.
const (
	ChangeCreated ChangeKind = "created"
	ChangeUpdated ChangeKind = "updated" // it has another title or another UpdatedAt
	ChangeDeleted ChangeKind = "deleted"
)

// Size is what the change holds in memory, in bytes.
func (c Change) Size() int {
	return int(unsafe.Sizeof(c)) + len(c.Conversation.ID) + len(c.Conversation.Title)
}

package assistant

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Cursor names the conversation's place in a list of conversations; clients take it as it is.
func (c Conversation) Cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.UpdatedAt.UnixMicro(), 10) + " " + c.ID))
}

// minCursor and maxCursor are the first microsecond of the year 1 and the last one of the year 9999: no store
// has to know other times.
const minCursor, maxCursor = -62135596800_000000, 253402300799_999999

// ParseCursor returns what is known of the conversation whose Cursor that is, for [Store.List]: the zero Conversation
// for "".
func ParseCursor(cursor string) (Conversation, error) {
	if cursor == "" {
		return Conversation{}, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	micros, id, _ := strings.Cut(string(data), " ")
	n, numErr := strconv.ParseInt(micros, 10, 64)
	if err := errors.Join(err, numErr); err != nil || n < minCursor || n > maxCursor || !IsID(id) {
		return Conversation{}, errors.New("no cursor of ours")
	}
	return Conversation{ID: id, UpdatedAt: time.UnixMicro(n).UTC()}, nil
}
